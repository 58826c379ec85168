"""What ``quantize`` does: from a float file to one whose convolutions compute in int8.

The int8 file has to say what the float file says: Platt scaling is fitted to the float file's
probabilities, the threshold to its decisions, both on the validation part. So a file that was
trained on every case keeps the calibration that its folds gave it; no label is learned twice.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from idc_desktop.errors import ModelError, UsageError
from idc_desktop.models.card import CARD_KEY, ModelCard, encode_golden, parse_card
from idc_desktop.plain_text import counted
from trainer.data.augmentation import POLICIES
from trainer.data.dataset import PatchArray
from trainer.errors import DataError
from trainer.files import replacing, scratch_folder
from trainer.release.about import About
from trainer.release.assessment import Loaded, load_model
from trainer.release.golden import choose_golden
from trainer.release.model_card import Document, to_json
from trainer.release.onnx_file import (
    OPSET,
    PRODUCER,
    measure_speed,
    open_session,
    restore_float32,
    run_session,
    store_as_float16,
)
from trainer.release.robustness import card_blocks
from trainer.release.steps import KeptBack, release
from trainer.scoring.calibration import Platt, fit_platt
from trainer.scoring.elsewhere import Elsewhere, score_elsewhere
from trainer.scoring.looks import log_look
from trainer.scoring.markdown import table
from trainer.scoring.metrics import Metrics, Scored, youden_threshold
from trainer.training.feeding import Part
from trainer.training.runs import Sources, load_data, load_run

if TYPE_CHECKING:
    from trainer.release.onnx_file import Session

RANGE_PATCHES = 512
"""Training patches that the ranges of activations are taken from, each also as a random variant."""

OPERATORS = ("Conv", "MaxPool", "Relu")
"""What computes in int8: nearly all the work. The layers after it stay in float32."""

METHOD = "static, QDQ; weights int8 per channel, 7 bits of them used; activations uint8"

_SHOWN = ("auc", "balanced_accuracy", "sensitivity", "specificity", "ece")
_SPEED_PATCHES = 256
_EXTENSIONS = ("sse4_1", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
"""Of a processor's flags, those that decide how fast int8 is."""


@dataclass(frozen=True)
class Side:
    """A file on the validation patches: its size, speed, and weighted figures at its threshold."""

    size: int
    patches_per_second: float
    metrics: Metrics
    probability: NDArray[np.float64]
    called: NDArray[np.bool_]


@dataclass(frozen=True)
class Quantized:
    """An int8 file beside the float file that it comes of.

    Attributes
    ----------
    path : Path
    sha256 : str
    card : Document
        Of the int8 file.
    before, after : Side
    patches, cases : int
        Of the validation part that both were run on.
    elsewhere : Elsewhere or None
        The int8 file on other laboratories' slides.
    """

    path: Path
    sha256: str
    card: Document
    before: Side
    after: Side
    patches: int
    cases: int
    elsewhere: Elsewhere | None

    @property
    def speedup(self) -> float:
        """How many times as many patches per second."""
        return self.after.patches_per_second / self.before.patches_per_second

    def lines(self) -> Iterator[str]:
        """Say what was written and what it cost, a line each."""
        idc = self.card["idc"]
        yield f"{self.path}  {self.after.size:,} bytes  SHA-256 {self.sha256}"
        origin = idc["quantized"]["from_sha256"]
        yield f"quantized from SHA-256 {origin}, {self.before.size:,} bytes"
        platt = idc["calibration"]
        yield f"calibration a {platt['a']:.4f} b {platt['b']:.4f}  threshold {idc['threshold']:.4f}"
        yield (
            f"{self.after.patches_per_second:,.0f} patches/s instead of "
            f"{self.before.patches_per_second:,.0f}: {self.speedup:.2f} times as fast "
            f"(1 thread, batches of 16; {processor()})"
        )
        for name in _SHOWN:
            was, now = getattr(self.before.metrics, name), getattr(self.after.metrics, name)
            yield f"validation weighted {name}: {was:.4f} to {now:.4f} ({now - was:+.4f})"
        yield idc["limitations"][-1]
        if self.elsewhere is not None:
            yield from self.elsewhere.lines()

    def report(self) -> str:
        """Return all of it as Markdown."""
        idc = self.card["idc"]
        agreed = idc["quantized"]
        sides = {"float": self.before, "int8": self.after}
        speed = f"patches/s, 1 thread, batches of 16 ({processor()})"
        rows = [
            ("bytes", *(f"{one.size:,}" for one in sides.values()), ""),
            (
                speed,
                *(f"{one.patches_per_second:,.0f}" for one in sides.values()),
                f"× {self.speedup:.2f}",
            ),
        ]
        for name in _SHOWN:
            was, now = (getattr(one.metrics, name) for one in sides.values())
            rows.append(
                (f"{name}, validation weighted", f"{was:.4f}", f"{now:.4f}", f"{now - was:+.4f}")
            )
        lines = [
            f"# {idc['name']} {idc['version']}",
            "",
            "For Research Use Only. Not for use in diagnostic procedures.",
            "",
            f"- file: `{self.path.name}`, {self.after.size:,} bytes, SHA-256 `{self.sha256}`",
            f"- quantized from the float file with SHA-256 `{agreed['from_sha256']}`, whose report "
            "tells of training and held-out cases",
            f"- {agreed['method']}; their ranges by {agreed['patches']:,} training patches",
            f"- calibration (Platt): a = {idc['calibration']['a']:.4f}, "
            f"b = {idc['calibration']['b']:.4f}; threshold {idc['threshold']:.4f}: "
            f"{idc['threshold_rule']}",
            f"- {idc['limitations'][-1]}",
            "",
            f"## {counted(self.patches, 'validation patch')} in "
            f"{counted(self.cases, 'case')}, by both files",
            "",
            *table(("", *sides, "difference"), rows),
            "",
            "A file that was trained on these cases, too, is not tested by them: the figures are "
            "there for their difference.",
            "",
            "## Beyond its own archive",
            "",
            *(f"- {line}" for line in parse_card(to_json(self.card), "").beyond_its_archive()),
        ]
        return "\n".join(lines) + "\n"


def quantize(
    source: Path,
    sources: Sources | None,
    out: Path,
    name: str | None = None,
    version: str | None = None,
    about: About | None = None,
    report: Path | None = None,
    kept_back: KeptBack | None = None,
) -> Quantized:
    """Write the int8 file of a run or of an exported file, and check that it says the same.

    Parameters
    ----------
    source : Path
        Run folder, which is exported first, or ONNX file.
    sources : Sources or None
        Where the patches lie; None: those of the run.
    name, version : str or None
        None: those of the file, the version with "-int8" behind it.
    about : About or None
        Of a run.
    report : Path or None
        Markdown to write.
    kept_back : KeptBack, optional
        Other laboratories' slides to score for the card, and where such a look is logged.

    Raises
    ------
    UsageError, ModelError, DataError, RunError, OutputError
    """
    with scratch_folder() as scratch:
        if source.is_dir():
            exported = scratch / out.name
            release(source, exported, name or out.stem, version or "1.0.0", about or About())
            sources, source = sources or load_run(source).sources, exported
        elif about is not None:
            raise UsageError("--about belongs to a run; a file's card is carried over.")
        if sources is None:
            raise UsageError("Name the prepared patches with --data: int8 needs their ranges.")
        kept_back = kept_back or KeptBack(None, {})
        done = _quantize(load_model(source), sources, out, name, version, kept_back)
    if report is not None:
        with replacing(report) as file:
            file.write(done.report().encode())
    return done


def _quantize(
    model: Loaded,
    sources: Sources,
    out: Path,
    name: str | None,
    version: str | None,
    kept_back: KeptBack,
) -> Quantized:
    content = model.path.read_bytes()
    old = model.card.document["idc"]
    if "quantized" in old:
        raise ModelError(f"{model.path.name} computes in int8 already. Name the float file.")
    data = load_data(sources)
    shown = _range_patches(data.train, old["training"].get("settings", {}).get("augmentation"))
    graph = in_int8(content, shown)
    part = data.validation
    index = part.store.index
    said, _ = _answers(model.session, part)
    called = said >= model.card.threshold
    if called.all() or not called.any():
        raise DataError(
            f"{model.path.name} calls {'all' if called.all() else 'none'} of the validation "
            "patches IDC, so they cannot say where its threshold is."
        )
    _, logit = _answers(open_session(graph.SerializeToString()), part)
    platt = fit_platt(logit, said, part.weight)
    probability = platt.stored(logit)
    threshold = youden_threshold(Scored(probability, called.astype(np.uint8)), part.weight)
    _set_platt(graph, platt)
    session, literal = (open_session(graph.SerializeToString(), how) for how in (False, True))
    golden = choose_golden(
        lambda patches: run_session(session, patches)[0],
        again=lambda patches: run_session(literal, patches)[0],
        patch=part.store.patch,
    )
    now = probability >= threshold
    scored = [
        Scored(said, index.label).metrics(part.weight, model.card.threshold),
        Scored(probability, index.label).metrics(part.weight, threshold),
    ]
    agreed = {
        "from_sha256": hashlib.sha256(content).hexdigest(),
        "method": METHOD,
        "patches": len(shown),
        "compared": len(index),
        "auc": [round(one.auc, 6) for one in scored],
        "mean_difference": round(float(np.abs(probability - said).mean()), 6),
        "largest_difference": round(float(np.abs(probability - said).max()), 6),
        "calls_changed": round(float((now != called).mean()), 6),
    }
    card = _card(model.card, name, version, platt, threshold, golden, agreed)
    labs = None
    if kept_back.elsewhere:
        with tempfile.TemporaryDirectory() as folder:
            early = Path(folder) / out.name
            early.write_bytes(_content(graph, card))
            labs = score_elsewhere(early, threshold, kept_back.elsewhere)
        card["idc"] |= {"elsewhere": card_blocks(None, labs)["elsewhere"]}
    written = _content(graph, card)
    _check(written, out.name)
    some = part.store.read(np.arange(min(len(index), _SPEED_PATCHES)))
    # Of one thread, the processor's time is what a quiet machine's clock says.
    speeds = [measure_speed(one, some, time.process_time) for one in (content, written)]
    with replacing(out) as file:
        file.write(written)
    sha256 = hashlib.sha256(written).hexdigest()
    if kept_back.log is not None and labs is not None:
        log_look(kept_back.log, out.name, sha256, labs.scores())
    return Quantized(
        *(out, sha256, card),
        Side(len(content), speeds[0], scored[0], said, called),
        Side(len(written), speeds[1], scored[1], probability, now),
        *(len(index), len(np.unique(index.case)), labs),
    )


def in_int8(content: bytes, patches: PatchArray) -> onnx.ModelProto:
    """Return a file's graph with its convolutions in int8; the ranges are those of `patches`.

    Seven bits of the weights are used: processors without VNNI add products of pairs in 16 bits,
    and eight would overflow there. So one file gives the same on all of them.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(range(0, len(patches), 16))

        def get_next(self) -> Mapping[str, PatchArray] | None:
            at = next(self._left, None)
            return None if at is None else {"patches": patches[at : at + 16]}

    model = onnx.load_from_string(content)
    restore_float32(model.graph)
    # Without this mark a warning asks for fusions that the trainer has made already.
    helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})
    model = onnx.shape_inference.infer_shapes(model)
    with scratch_folder() as folder:
        quantize_static(
            model,
            folder / "int8.onnx",
            Batches(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(OPERATORS),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        found = onnx.load(folder / "int8.onnx")
    del found.graph.value_info[:]
    # The scales of channels stay as they are: runtimes look for constants there.
    store_as_float16(found.graph, fewest=4096)
    clean = helper.make_model(
        found.graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name=PRODUCER,
    )
    onnx.checker.check_model(clean, full_check=True)
    return clean


def processor() -> str:
    """Name the instruction sets of this processor that decide how fast int8 is, if it says them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "instruction sets not known"
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return ", ".join(one for one in _EXTENSIONS if one in flags) or "no vector extensions named"


def _range_patches(part: Part, augmentation: str | None) -> PatchArray:
    """Return training patches, spread evenly, as they are and as training varied them."""
    count = len(part.store.index)
    rows = np.unique(np.linspace(0, count - 1, min(count, RANGE_PATCHES)).astype(np.intp))
    plain = part.store.read(rows)
    varied = POLICIES[augmentation or "none"](np.random.default_rng(0), plain, None)
    return np.concatenate([plain, varied])


def _answers(session: Session, part: Part) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = [run_session(session, patches) for patches in part.store.batches()]
    probability, logit = (np.concatenate(one) for one in zip(*found, strict=True))
    return probability, logit


def _set_platt(graph: onnx.ModelProto, platt: Platt) -> None:
    """Put other factors between ``logit`` and ``probability``, in place."""
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    at = "logit"
    for kind, value in (("Mul", platt.a), ("Add", platt.b)):
        nodes = [node for node in graph.graph.node if at in node.input]
        own = [name for name in nodes[0].input if name in tensors] if nodes else []
        if len(nodes) != 1 or nodes[0].op_type != kind or len(own) != 1:
            raise ModelError("The calibration of the file is not where idc-trainer puts it.")
        tensor = tensors[own[0]]
        shape = numpy_helper.to_array(tensor).shape
        tensor.CopyFrom(numpy_helper.from_array(np.full(shape, value, np.float32), tensor.name))
        at = nodes[0].output[0]


def _content(graph: onnx.ModelProto, card: Document) -> bytes:
    helper.set_model_props(graph, {CARD_KEY: to_json(card)})
    return graph.SerializeToString(deterministic=True)


def _check(content: bytes, name: str) -> None:
    """Raise `ModelError` unless the file's card is valid and its golden patches agree with it."""
    session = open_session(content)
    card = parse_card(session.get_modelmeta().custom_metadata_map[CARD_KEY], name)
    found, _ = run_session(session, card.golden_patches, 5)
    if not np.abs(found - card.golden_probabilities).max() <= 1e-4:
        raise ModelError(f"{name}: the golden patches do not match; nothing was written.")


def _card(
    old: ModelCard,
    name: str | None,
    version: str | None,
    platt: Platt,
    threshold: float,
    golden: tuple[PatchArray, NDArray[np.float64]],
    agreed: Mapping[str, Any],
) -> Document:
    """Carry a float file's card over to the int8 file."""
    idc = old.document["idc"]
    was, now = agreed["auc"]
    change = (
        f"Computes in int8. The figures are those of the float file with SHA-256 "
        f"{agreed['from_sha256']}, but those of other laboratories, where there are any. On "
        f"{counted(agreed['compared'], 'patch')} the two differ by "
        f"{agreed['mean_difference']:.3f} in "
        f"probability on average, {agreed['largest_difference']:.3f} at most, call "
        f"{agreed['calls_changed']:.1%} of the patches otherwise, and reach an AUC of {now:.4f} "
        f"instead of {was:.4f}."
    )
    curve = [
        {**point, "threshold": threshold} if point["threshold"] == old.threshold else dict(point)
        for point in idc["validation_curve"]
    ]
    kept = {key: value for key, value in idc.items() if key != "elsewhere"}
    return {
        **old.document,
        "idc": {
            **kept,
            "name": name or old.name,
            "version": version or f"{old.version}-int8",
            "calibration": {
                **idc["calibration"],
                "a": platt.a,
                "b": platt.b,
                "fitted_on": "the float file's probabilities of "
                f"{counted(agreed['compared'], 'patch')}; "
                f"those: {idc['calibration']['fitted_on']}",
            },
            "threshold": threshold,
            "threshold_rule": "where this file calls most nearly the patches that the float file "
            f"calls; that one: {idc.get('threshold_rule', 'not stated')}",
            "validation_curve": sorted(curve, key=lambda point: point["threshold"]),
            "limitations": [*idc.get("limitations", ()), change],
            "golden": [
                encode_golden(pixels, float(probability))
                for pixels, probability in zip(*golden, strict=True)
            ],
            "quantized": dict(agreed),
            "elsewhere": {"laboratories": 0},
        },
    }
