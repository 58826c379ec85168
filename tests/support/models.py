"""Tiny real models that obey the model contract, and models that each break it in one way.

The network is a formula, so that every probability can be computed in a test without running the
model: the raw log-odds are ``slope * mean(red - green / 3 - blue) / 255 + bias``. No two channels
weigh the same, and neither do black and white.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, external_data_helper, helper, numpy_helper

Defect = Literal[
    "not-onnx",
    "empty",
    "truncated",
    "no-card",
    "card-not-json",
    "card-class-order",
    "card-few-golden",
    "card-golden-size",
    "golden-value",
    "input-name",
    "input-float",
    "input-channels-first",
    "input-fixed-batch",
    "output-name",
    "output-no-logit",
    "output-double",
    "output-column",
    "output-short",
    "output-nan",
    "output-out-of-range",
    "logit-short",
    "logit-nan",
    "batch-dependent",
    "unknown-domain",
    "runtime-domain",
    "opset-too-new",
    "external-data",
]
DEFECTS: tuple[Defect, ...] = get_args(Defect)

Trap = Literal["endless", "greedy"]
"""What a model does on one number of patches: it never ends, or takes 5 GB."""

CONTEXT: dict[str, Any] = {
    "sigma_patches": 1.4,
    "calibration": {"a": 1.2, "b": -0.5},
    "threshold": 0.4,
    "curve": [
        {"threshold": 0.2, "sensitivity": 0.97, "specificity": 0.6},
        {"threshold": 0.4, "sensitivity": 0.9, "specificity": 0.9},
        {"threshold": 0.6, "sensitivity": 0.7, "specificity": 0.96},
    ],
    "margins": [0.0, 0.5, 1.0, 2.0, 4.0],
    "prevalence": 0.3,
    "fitted_on": "painted slides",
}
"""A block that gives a model a context map."""

_WEIGHTS = (3, -1, -3)  # thirds of the channels
_OPSET = 18


@dataclass(frozen=True)
class TinyModel:
    """A model file and the formula in it."""

    path: Path
    name: str = "tiny"
    version: str = "1.2.3"
    recipe: str = "formula"
    slope: float = 16.0
    bias: float = 1.0
    calibration: tuple[float, float] = (0.8, 0.3)
    threshold: float = 0.5
    nan_color: tuple[int, int, int] | None = None
    side_px: int = 50
    spacing_um_px: float = 8.0
    context: dict[str, Any] | None = field(default=None, compare=False, repr=False)
    card: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def sha256(self) -> str:
        """Hash of the file as it lies there."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def probability(self, patches: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return what the model must answer, in double precision, shape (n,)."""
        weighted = (patches.astype(float) * _WEIGHTS).sum(axis=-1)
        logit = self.slope * weighted.mean(axis=(-2, -1)) / (3 * 255) + self.bias
        a, b = self.calibration
        return 1 / (1 + np.exp(-(a * logit + b)))


def write_tiny_model(
    path: Path,
    *,
    defect: Defect | None = None,
    golden_shift: float = 0.0,
    nan_color: tuple[int, int, int] | None = None,
    trap: tuple[Trap, int] | None = None,
    **formula: Any,
) -> TinyModel:
    """Write a model.

    Parameters
    ----------
    defect : str, optional
        The one way in which the file breaks the contract.
    golden_shift : float
        Added to the first golden probability (0.01 is what ``defect="golden-value"`` adds).
    nan_color : (red, green, blue), optional
        Patches whose mean colour is within 0.5 of this one get NaN.
    trap : (str, int), optional
        What it does on so many patches at once; on all other numbers it is sound.
    formula
        Fields of `TinyModel`: name, slope, bias, calibration, threshold …
    """
    model = TinyModel(path, nan_color=nan_color, **formula)
    if defect == "empty":
        path.write_bytes(b"")
        return model
    if defect == "not-onnx":
        path.write_bytes(np.random.default_rng(7).bytes(4096))
        return model
    model.card.update(_card(model, golden_shift + (0.01 if defect == "golden-value" else 0.0)))
    _spoil_card(model.card, defect)
    proto = _graph(model, defect, trap)
    text = json.dumps(model.card)
    if defect != "no-card":
        helper.set_model_props(
            proto, {"idc.card": text[:-40] if defect == "card-not-json" else text}
        )
    if defect == "external-data":
        weights = next(item for item in proto.graph.initializer if len(item.dims) == 2)
        external_data_helper.set_external_data(weights, "weights.bin")
        onnx.save_model(proto, path)
        return model
    data = proto.SerializeToString()
    path.write_bytes(data[: len(data) // 2] if defect == "truncated" else data)
    return model


def golden_patches(count: int = 8, side_px: int = 50) -> npt.NDArray[np.uint8]:
    """Paint patches whose probabilities spread over the range."""
    random = np.random.default_rng(20)
    patches = np.empty((count, side_px, side_px, 3), np.uint8)
    for patch, blue in zip(patches, np.linspace(60, 220, count).astype(int), strict=True):
        texture = random.integers(-20, 21, (side_px, side_px, 3))
        patch[:] = np.clip(np.array([150, 100, blue]) + texture, 0, 255)
    return patches


def _card(model: TinyModel, golden_shift: float) -> dict[str, Any]:
    patches = golden_patches(side_px=model.side_px)
    expected = model.probability(patches)
    expected[0] += golden_shift if expected[0] < 0.5 else -golden_shift
    a, b = model.calibration
    return {
        "spec_version": "1.0",
        "architecture": "formula",
        "num_classes": 2,
        "class_names": ["Other", "IDC"],
        "patch_size_pixels": model.side_px,
        "spacing_um_px": model.spacing_um_px,
        "transform": [],
        "idc": {
            "name": model.name,
            "version": model.version,
            "recipe": model.recipe,
            "created": "2026-01-31",
            "training": {"data": "none", "split": "none", "patches": 0, "cases": 0},
            "calibration": {
                "method": "platt",
                "a": a,
                "b": b,
                "fitted_on": "nothing",
                "weighting": "none",
            },
            "threshold": model.threshold,
            "validation_curve": [
                {"threshold": 0.5, "sensitivity": 0.8, "specificity": 0.8},
            ],
            "metrics": {},
            "intended_use": {"tissue": "painted", "stain": "painted", "scanner": "none"},
            "licence": "Apache-2.0",
            "attribution": "",
            **({} if model.context is None else {"context": model.context}),
            "golden": [
                {
                    "pixels": base64.b64encode(patch.tobytes()).decode("ascii"),
                    "probability": float(probability),
                }
                for patch, probability in zip(patches, expected, strict=True)
            ],
        },
    }


def _spoil_card(card: dict[str, Any], defect: Defect | None) -> None:
    if defect == "card-class-order":
        card["class_names"] = ["IDC", "Other"]
    elif defect == "card-few-golden":
        del card["idc"]["golden"][7:]
    elif defect == "card-golden-size":
        short = base64.b64encode(bytes(49 * 50 * 3)).decode("ascii")
        card["idc"]["golden"][0]["pixels"] = short


class _Graph:
    """Collects nodes and constants under made-up names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __call__(self, operator: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        name = out or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name


def _graph(
    model: TinyModel, defect: Defect | None, trap: tuple[Trap, int] | None
) -> onnx.ModelProto:
    graph = _Graph()
    first = "x" if defect == "input-name" else "patches"
    channels_first = defect == "input-channels-first"
    pixel_axes = graph.constant([2, 3] if channels_first else [1, 2], np.int64)
    floats = graph("Cast", first, to=TensorProto.FLOAT)
    # Whole numbers below 2^24: all sums are exact in float32.
    sums = graph("ReduceSum", floats, pixel_axes, keepdims=0)
    weighted = graph("MatMul", sums, graph.constant([[float(weight)] for weight in _WEIGHTS]))
    flat = graph("Squeeze", weighted, graph.constant([1], np.int64))
    scaled = graph("Mul", flat, graph.constant(model.slope / (model.side_px**2 * 3 * 255)))
    given = _spoil_given_logit(graph, scaled, defect)
    logit = graph("Add", scaled, graph.constant(model.bias), out="" if given else "logit")
    a, b = model.calibration
    calibrated = graph("Add", graph("Mul", logit, graph.constant(a)), graph.constant(b))
    calibrated = _spoil_logit(graph, calibrated, defect)
    if trap is not None:
        calibrated = graph("Add", calibrated, _zero_from_trap(graph, first, *trap))
    probability = graph("Sigmoid", calibrated)
    if model.nan_color is not None:
        probability = _nan_where(graph, probability, sums, model)
    probability, kind, shape = _spoil_output(graph, probability, defect)
    last = "p" if defect == "output-name" else "probability"
    graph("Identity", probability, out=last)

    batch = 1 if defect == "input-fixed-batch" else "n"
    side = model.side_px
    patches = helper.make_tensor_value_info(
        first,
        TensorProto.FLOAT if defect == "input-float" else TensorProto.UINT8,
        [batch, 3, side, side] if channels_first else [batch, side, side, 3],
    )
    outputs = [helper.make_tensor_value_info(last, kind, [batch, *shape])]
    if defect != "output-no-logit":
        outputs.append(helper.make_tensor_value_info("logit", TensorProto.FLOAT, [batch]))
    opsets = [helper.make_opsetid("", 21 if defect == "opset-too-new" else _OPSET)]
    if defect == "unknown-domain":
        opsets.append(helper.make_opsetid("org.example", 1))
    if defect == "runtime-domain":
        opsets.append(helper.make_opsetid("com.microsoft", 1))
    body = helper.make_graph(graph.nodes, "tiny", [patches], outputs, initializer=graph.constants)
    return helper.make_model(body, opset_imports=opsets, ir_version=10)


def _spoil_logit(graph: _Graph, logit: str, defect: Defect | None) -> str:
    if defect == "batch-dependent":
        # Weak enough for the golden patches to pass when they are run together.
        mean = graph("ReduceMean", logit, keepdims=1)
        return graph("Add", logit, graph("Mul", mean, graph.constant(0.01)))
    if defect == "unknown-domain":
        return graph("Nothing", logit, domain="org.example")
    if defect == "runtime-domain":
        # onnxruntime can run this one, which is why the loader has to look.
        curved = graph("Gelu", logit, domain="com.microsoft")
        return graph("Add", logit, graph("Mul", curved, graph.constant(0.0)))
    return logit


def _spoil_given_logit(graph: _Graph, logit: str, defect: Defect | None) -> str:
    """Give another value out as the logit; empty if it is to be the real one."""
    if defect == "logit-nan":
        return graph("Mul", logit, graph.constant(np.nan), out="logit")
    if defect == "logit-short":
        ends = (graph.constant([it], np.int64) for it in (0, 8))
        return graph("Slice", logit, *ends, out="logit")
    return ""


def _spoil_output(
    graph: _Graph, probability: str, defect: Defect | None
) -> tuple[str, int, list[int]]:
    if defect == "output-nan":
        nan = graph("Mul", probability, graph.constant(np.nan))
        return nan, TensorProto.FLOAT, []
    if defect == "output-out-of-range":
        return graph("Mul", probability, graph.constant(3.0)), TensorProto.FLOAT, []
    if defect == "output-double":
        wide = graph("Cast", probability, to=TensorProto.DOUBLE)
        return wide, TensorProto.DOUBLE, []
    if defect == "output-short":
        first_eight = [graph.constant([it], np.int64) for it in (0, 8)]
        return graph("Slice", probability, *first_eight), TensorProto.FLOAT, []
    if defect == "output-column":
        column = graph("Unsqueeze", probability, graph.constant([1], np.int64))
        return column, TensorProto.FLOAT, [1]
    return probability, TensorProto.FLOAT, []


def _zero_from_trap(graph: _Graph, patches: str, trap: Trap, at: int) -> str:
    """Return a 0 that costs nothing, or everything for `at` patches."""
    count = graph("Gather", graph("Shape", patches), graph.constant(0, np.int64))
    springs = graph("Equal", count, graph.constant(at, np.int64))
    if trap == "greedy":
        more = graph(
            "Mul", graph("Cast", springs, to=TensorProto.INT64), graph.constant(5 << 28, np.int64)
        )
        shape = graph("Add", more, graph.constant([1], np.int64))
        zeros = graph("ConstantOfShape", shape)
        return graph("ReduceMax", zeros, keepdims=0)
    state = [("again", TensorProto.BOOL), ("x", TensorProto.FLOAT)]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["again"], ["again_out"]),
            helper.make_node("Abs", ["x"], ["x_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info(name, kind, [])
            for name, kind in [("turn", TensorProto.INT64), *state]
        ],
        [helper.make_tensor_value_info(f"{name}_out", kind, []) for name, kind in state],
    )
    return graph("Loop", "", springs, graph.constant(0.0), body=body)


def _nan_where(graph: _Graph, probability: str, sums: str, model: TinyModel) -> str:
    pixels = float(model.side_px**2)
    target = graph.constant([channel * pixels for channel in model.nan_color or ()])
    distance = graph("Abs", graph("Sub", sums, target))
    far = graph("ReduceMax", distance, graph.constant([1], np.int64), keepdims=0)
    near = graph("Less", far, graph.constant(0.5 * pixels))
    return graph("Where", near, graph.constant(np.nan), probability)
