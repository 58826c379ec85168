"""From a trained network to one ONNX file that holds everything: the model contract's only writer.

The order matters. Weights are rounded to float16 values first; calibration, threshold, golden
values and parity are then those of the rounded network, so that storing float16 loses nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import keras
import numpy as np
import onnx
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from idc_desktop.errors import ModelError
from idc_desktop.models.card import CARD_KEY, parse_card
from trainer.data.dataset import PatchArray
from trainer.errors import ParityError, RunError
from trainer.files import replacing, scratch_folder
from trainer.quiet import expected_left_out
from trainer.scoring.calibration import PROBABILITY_DIGITS, Platt

if TYPE_CHECKING:
    import onnxruntime

    Session: TypeAlias = onnxruntime.InferenceSession

OPSET = 18
PARITY = 1e-4
"""Largest difference of probability between network and file."""
PARITY_PATCHES = 1000
"""Fewest real patches that parity is shown on."""
PRODUCER = "idc-trainer"


@dataclass(frozen=True)
class Exported:
    """What was written, and how far file and network differ (largest |difference| of p)."""

    path: Path
    sha256: str
    size: int
    parity: float


def round_weights(model: keras.Model) -> None:
    """Round every weight to the nearest float16 value, in place.

    Raises
    ------
    RunError
        A weight is beyond the range of float16 or not a number.
    """
    for variable in model.weights:
        value = variable.numpy()
        with np.errstate(over="ignore"):
            rounded = value.astype(np.float16).astype(value.dtype)
        if not np.isfinite(rounded).all():
            raise RunError(f"The weights of {variable.path} do not fit float16; train again.")
        variable.assign(rounded)


@dataclass(frozen=True)
class Converted:
    """A network with its calibration in the model contract's form, but for the card.

    Attributes
    ----------
    model : keras.Model
        Of uint8 (n, side, side, 3) to a logit (n, 1); its weights are float16 values.
    platt : Platt
    graph : onnx.ModelProto
    """

    model: keras.Model
    platt: Platt
    graph: onnx.ModelProto

    def content(self, card: str = "") -> bytes:
        """Return the file with a card; the same weights and card give the same bytes."""
        helper.set_model_props(self.graph, {CARD_KEY: card})
        return self.graph.SerializeToString(deterministic=True)


def export_model(
    converted: Converted,
    card: str,
    patches: PatchArray,
    path: Path,
    fewest: int = PARITY_PATCHES,
) -> Exported:
    """Write a network with its calibration and card, after proving that the file agrees with it.

    Parameters
    ----------
    converted : Converted
    card : str
        The card's JSON.
    patches : ndarray of uint8, shape (n, side, side, 3)
        Real patches for the comparison.
    fewest : int
        Fewest patches to accept.

    Raises
    ------
    ParityError
        Too few patches, or probabilities differ by more than 1e-4.
    ModelError
        The card breaks its schema, or a golden patch gets another probability.
    OutputError
        The file cannot be written.
    """
    if len(patches) < fewest:
        raise ParityError(
            f"Parity needs {fewest} real patches and there are {len(patches)}; prepare more data."
        )
    parsed = parse_card(card, path.name)
    data = converted.content(card)
    session = open_session(data)
    logit = predict_logits(converted.model, patches)
    difference = 0.0
    # Odd sizes, so that batch size is shown to be dynamic and without influence.
    for size, count in ((256, len(patches)), (1, 3), (7, 21)):
        found_p, found_logit = run_session(session, patches[:count], size)
        difference = max(
            difference,
            float(np.abs(found_p - converted.platt.probability(logit[:count])).max()),
            # A raw logit is compared on the scale of p: its slope there is at most 1/4.
            float(np.abs(found_logit - logit[:count]).max()) / 4,
        )
    if not difference <= PARITY:
        raise ParityError(
            f"{path.name}: file and network differ by {difference:.2g} (allowed {PARITY:g}); "
            "nothing was written."
        )
    golden, _ = run_session(session, parsed.golden_patches, 5)
    if not np.abs(golden - parsed.golden_probabilities).max() <= PARITY:
        raise ModelError(f"{path.name}: the golden patches do not match; nothing was written.")
    with replacing(path) as file:
        file.write(data)
    return Exported(path, hashlib.sha256(data).hexdigest(), len(data), difference)


def predict_logits(model: keras.Model, patches: PatchArray, size: int = 256) -> NDArray[np.float64]:
    """Run a network over an array of patches; float64, shape (n,)."""
    starts = range(0, len(patches), size)
    parts = [model(patches[at : at + size], training=False).numpy()[:, 0] for at in starts]
    return np.concatenate(parts).astype(np.float64)


def convert(model: keras.Model, platt: Platt) -> Converted:
    """Convert a network, whose weights are float16 values, to the model contract's form."""
    side = model.input_shape[1]
    patches = keras.Input((side, side, 3), dtype="uint8", name="patches")
    logit = layers.Reshape(())(model(patches))
    scaled = layers.Rescaling(platt.a, offset=platt.b)(logit)
    whole = keras.Model(patches, [layers.Activation("sigmoid")(scaled), logit])
    with scratch_folder() as folder:
        target = folder / "model.onnx"
        with expected_left_out():
            whole.export(
                target,
                format="onnx",
                verbose=False,
                opset_version=OPSET,
                input_signature=[tf.TensorSpec((None, side, side, 3), tf.uint8, name="patches")],
            )
        proto = onnx.load(target)
    canonicalize(proto.graph)
    store_as_float16(proto.graph)
    clean = helper.make_model(
        proto.graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name=PRODUCER,
    )
    onnx.checker.check_model(clean, full_check=True)
    return Converted(model, platt, clean)


def open_session(data: bytes, literally: bool = False) -> Session:
    """Open a model from its bytes on the CPU, one thread, without telemetry.

    Parameters
    ----------
    literally : bool
        Run each node as it stands: slow, and an int8 file computes in rounded float32.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if literally:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def load_file(path: Path) -> Session:
    """Open an exported file; `ModelError` where it is none."""
    try:
        return open_session(path.read_bytes())
    # onnxruntime's errors have no common base but Exception.
    except Exception as cause:
        raise ModelError(
            f"{path} cannot be opened as a model. Name an exported .onnx file."
        ) from cause


def run_session(
    session: Session, patches: PatchArray, size: int = 16
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (probability, logit) of each patch, each of shape (n,)."""
    parts = [
        session.run(["probability", "logit"], {"patches": patches[at : at + size]})
        for at in range(0, len(patches), size)
    ]
    probability, logit = (
        np.concatenate(part).astype(np.float64) for part in zip(*parts, strict=True)
    )
    return probability, logit


def stored_probabilities(session: Session, batches: Iterable[PatchArray]) -> NDArray[np.float64]:
    """Run a file over batches of patches, to the digits that the application stores."""
    found = np.concatenate([run_session(session, patches)[0] for patches in batches])
    return found.round(PROBABILITY_DIGITS)


def _sort(graph: onnx.GraphProto) -> None:
    """Sort the nodes depth first from the outputs: the graph alone decides that order."""
    makers = {name: node for node in graph.node for name in node.output}
    found: list[onnx.NodeProto] = []

    def visit(name: str) -> None:
        node = makers.get(name)
        if node is None:
            return
        for made in node.output:
            del makers[made]
        for needed in node.input:
            visit(needed)
        found.append(node)

    for output in graph.output:
        visit(output.name)
    del graph.node[:]
    graph.node.extend(found)


def canonicalize(graph: onnx.GraphProto) -> None:
    """Give nodes one order and tensors the contract's names, or short ones; in place.

    The converter's order and names change from run to run; what tells of it is dropped.
    """
    _sort(graph)
    names = {graph.input[0].name: "patches"}
    names |= {graph.output[0].name: "probability", graph.output[1].name: "logit"}
    if len(names) != 3:
        raise ParityError("The converter merged inputs and outputs; the versions do not fit.")

    def short(name: str) -> str:
        return names.setdefault(name, f"t{len(names) - 3}") if name else name

    for index, node in enumerate(graph.node):
        node.name, node.doc_string = f"n{index}", ""
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
    for tensor in graph.initializer:
        tensor.name, tensor.doc_string = short(tensor.name), ""
    tensors = sorted(graph.initializer, key=lambda tensor: tensor.name)
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    graph.name, graph.doc_string = "idc", ""
    del graph.value_info[:]
    _, side, _, _ = graph.input[0].type.tensor_type.shape.dim
    shapes: tuple[tuple[str, int, list[str | int]], ...] = (
        ("patches", TensorProto.UINT8, ["n", side.dim_value, side.dim_value, 3]),
        ("probability", TensorProto.FLOAT, ["n"]),
        ("logit", TensorProto.FLOAT, ["n"]),
    )
    values = [helper.make_tensor_value_info(*shape) for shape in shapes]
    del graph.input[:], graph.output[:]
    graph.input.extend(values[:1])
    graph.output.extend(values[1:])


def store_as_float16(graph: onnx.GraphProto, fewest: int = 64) -> None:
    """Halve initializers that float16 holds exactly; a Cast restores float32 at load.

    Parameters
    ----------
    fewest : int
        Values that an initializer must have for that.
    """
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = value.astype(np.float16)
        if value.size < fewest or not np.array_equal(half.astype(np.float32), value):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_f16"))
        casts.append(
            helper.make_node("Cast", [f"{name}_f16"], [name], f"cast_{name}", to=TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def restore_float32(graph: onnx.GraphProto) -> None:
    """Undo `store_as_float16`, in place."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        half = tensors.get(node.input[0]) if node.op_type == "Cast" else None
        if half is None or half.data_type != TensorProto.FLOAT16:
            nodes.append(node)
            continue
        value = numpy_helper.to_array(half).astype(np.float32)
        half.CopyFrom(numpy_helper.from_array(value, node.output[0]))
    del graph.node[:]
    graph.node.extend(nodes)


def measure_speed(
    data: bytes, patches: PatchArray, clock: Callable[[], float], size: int = 16
) -> float:
    """Patches per second of a model in onnxruntime: one thread, batches of `size`."""
    session = open_session(data)
    run_session(session, patches[:size], size)
    started = clock()
    run_session(session, patches, size)
    return len(patches) / (clock() - started)
