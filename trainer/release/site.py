"""A model for a laboratory: calibrated by its own cases, or with its end trained on them.

It takes minutes: all but the end of the graph stays as it is. Figures
are out of fold: each of five groups of whole cases is judged by what the others gave.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from idc_desktop.models.card import CARD_KEY, ModelCard, encode_golden, parse_card
from idc_desktop.plain_text import counted
from trainer.data.splits import ENOUGH_CASES, ENOUGH_PATCHES, FOLDS, thinness
from trainer.data.weighting import DESCRIPTION, weightings
from trainer.errors import DataError
from trainer.files import replacing
from trainer.release.about import About
from trainer.release.base_model import (
    BaseModel,
    Logits,
    Progress,
    find_float,
    head_logits,
    together,
    train_head,
)
from trainer.release.case_ids import Keeping
from trainer.release.head import Head, hidden_layer, with_end
from trainer.release.model_card import curve_entry, rounded, to_json, validation_curve
from trainer.release.onnx_file import open_session, run_session
from trainer.release.page import write_model_page
from trainer.release.reliability import Reliability, rehearse
from trainer.scoring.calibration import Agreement, Platt, agreement, calibrate
from trainer.scoring.markdown import interval, table
from trainer.scoring.metrics import ECE_NOTE, Interval, Scored
from trainer.settings import Settings
from trainer.training.crossvalidation import Fold, Tested, judge
from trainer.training.feeding import Part
from trainer.training.runs import Sources, load_data

_SHOWN = ("auc", "balanced_accuracy", "sensitivity", "specificity", "ece")

Values = NDArray[np.float64]


@dataclass(frozen=True)
class SiteModel:
    """A file for a laboratory, and what it is worth on cases that did not make it.

    Attributes
    ----------
    path : Path
    sha256 : str
    card : dict
    figures : dict
        Weighting -> figure -> value, out of fold.
    before : dict
        Weighting -> figures of the base model at its own threshold; empty where its patches are of
        another size.
    agreed : Agreement
    reliability : Reliability
    few : str
    """

    path: Path
    sha256: str
    card: dict[str, Any]
    figures: dict[str, dict[str, Interval]]
    before: dict[str, float]
    agreed: Agreement
    reliability: Reliability
    few: str

    def lines(self) -> Iterator[str]:
        """Say it, a line each."""
        idc = self.card["idc"]
        platt = idc["calibration"]
        yield f"{self.path}  SHA-256 {self.sha256}"
        yield f"calibration a {platt['a']:.4f} b {platt['b']:.4f}  threshold {idc['threshold']:.4f}"
        for name, of in self.figures.items():
            said = "  ".join(f"{it} {interval(of[it])}" for it in _SHOWN)
            yield f"out of fold, {name}: {said}"
        said = "  ".join(f"{it} {value:.3f}" for it, value in self.before.items())
        yield f"before, weighted: {said}"
        yield self.reliability.line()

    def report(self) -> str:
        """Return it as Markdown."""
        idc = self.card["idc"]
        platt = idc["calibration"]
        columns = ("before, weighted", *self.figures)
        rows = [
            (it, f"{self.before[it]:.3f}", *(interval(of[it]) for of in self.figures.values()))
            for it in _SHOWN
        ]
        lines = [
            f"# {idc['name']} {idc['version']}",
            "",
            "For Research Use Only. Not for use in diagnostic procedures.",
            "",
            f"- file: `{self.path.name}`, SHA-256 `{self.sha256}`",
            f"- made from the file with SHA-256 `{idc['site']['base_sha256']}`",
            f"- calibration (Platt): a = {platt['a']:.4f}, b = {platt['b']:.4f}; threshold "
            f"{idc['threshold']:.4f}: {idc['threshold_rule']}",
            f"- fitted on {platt['fitted_on']}",
            "",
            "## On cases that did not make it",
            "",
            "*before* is the base model at its own threshold. The others are out of fold: each "
            "case by what the other four fifths gave. In brackets: 95 % intervals by bootstrap "
            f"over cases. *weighted*: {DESCRIPTION}. {ECE_NOTE}",
            "",
            *table(("figure", *columns), rows),
            "",
            *self.agreed.lines(),
            f"- {self.reliability.line()}",
            "",
            "## Limitations",
            "",
            *(f"- {line}" for line in idc["limitations"]),
        ]
        return "\n".join(lines) + "\n"


def calibrate_on_site(
    model: Path,
    sources: Sources,
    out: Path,
    name: str | None = None,
    version: str | None = None,
    report: Path | None = None,
    progress: Progress = lambda done, total: None,
    drawn: int | None = None,
) -> SiteModel:
    """Give a model a calibration and a threshold by a laboratory's own cases.

    Parameters
    ----------
    drawn : int, optional
        Cases that calibrate in each of the draws that say how far off the promises are.

    Raises
    ------
    DataError
        There are too few cases to say anything, or patches of another size.
    ModelError, OutputError
    """
    base = BaseModel(model)
    parts = _groups(sources, base.card)
    few = thinness(together(parts).store.index)
    if few:
        raise DataError(
            f"A calibration by these patches would say nothing: {few}. Label more cases "
            f"({ENOUGH_CASES} and {ENOUGH_PATCHES} are the least; 30 cases are a good start)."
        )
    logits = base.run(parts, ["logit"], progress)
    said = [one[:, 0].astype(np.float64) for one in logits]
    about = (
        "Calibration and threshold are by cases of the laboratory that uses this file; all else is "
        "the base model's, whose figures stand in its own card."
    )
    words = _Words(name, version, "calibrated", about, drawn=drawn)
    return _write(base, _Made(base.graph), parts, said, said, out, words, report)


def fit_head(
    model: Path,
    sources: Sources,
    out: Path,
    about: About,
    name: str | None = None,
    version: str | None = None,
    report: Path | None = None,
    progress: Progress = lambda done, total: None,
    keeping: Keeping | None = None,
) -> SiteModel:
    """Train a model's last layer anew on a laboratory's cases, and calibrate it by folds.

    Raises
    ------
    DataError
        There are fewer cases than folds, a class is missing, or patches are of another size.
    ModelError, OutputError
    """
    base = BaseModel(model)
    parts = _groups(sources, base.card)
    hidden = hidden_layer(base.graph)
    both = base.run(parts, [hidden, "logit"], progress)
    features = [one[:, :-1] for one in both]
    former = [one[:, -1].astype(np.float64) for one in both]
    said = []
    for held in range(len(parts)):
        rest = [at for at in range(len(parts)) if at != held]
        head = train_head([features[at] for at in rest], [parts[at] for at in rest])
        said.append(head_logits(features[held], head))
    whole = train_head(features, parts)
    fitted = (
        "The last layer was trained, and calibration and threshold fitted, by cases of the "
        "laboratory that uses this file; all other layers are the base model's."
    )
    words = _Words(name, version, "head", fitted, about, keeping)
    made = _Made(base.graph, "last layer", whole)
    return _write(base, made, parts, said, former, out, words, report)


def fit_last_block(
    model: Path,
    sources: Sources,
    out: Path,
    about: About,
    settings: Settings,
    folder: Path,
    say: Callable[[str], None],
    name: str | None = None,
    version: str | None = None,
    report: Path | None = None,
    keeping: Keeping | None = None,
) -> SiteModel:
    """Train a model's last block of convolutions and its dense layers on, as `fit_head` its last.

    Parameters
    ----------
    folder : Path
        Gets what is computed on the way; the same command goes on there.

    Raises
    ------
    DataError, ModelError, OutputError, RunError
    """
    from trainer.release.tuning import tune

    base = BaseModel(find_float(model))
    parts = _groups(sources, base.card)
    graph, said, former = tune(base, parts, settings, folder, say)
    fitted = (
        "The last block of convolutions and what follows it were trained on, and calibration and "
        "threshold fitted, by cases of the laboratory that uses this file; the layers before are "
        "the base model's."
    )
    words = _Words(name, version, "tuned", fitted, about, keeping)
    return _write(base, _Made(graph, "last block"), parts, said, former, out, words, report)


@dataclass(frozen=True)
class _Made:
    """A graph, its name for what was trained of it, and another last layer if it gets one."""

    graph: onnx.ModelProto
    trained: str = ""
    head: Head | None = None


@dataclass(frozen=True)
class _Words:
    """What a card is told beside its figures."""

    name: str | None
    version: str | None
    suffix: str
    limitation: str
    about: About | None = None
    keeping: Keeping | None = None
    drawn: int | None = None


def _groups(sources: Sources, card: ModelCard) -> list[Part]:
    """Cut all cases into the five groups that are held out in turn."""
    cut = [replace(sources, split="held-out", fold=at + 1) for at in range(FOLDS)]
    parts = []
    for one in cut:
        data = load_data(one)
        data.require_test()
        parts.append(data.test)
    if parts[0].store.patch != card.patch:
        mine, its = parts[0].store.patch, card.patch
        raise DataError(
            f"{sources.store} has patches of {mine.side_px} px at {mine.spacing_um_px:g} µm/px; "
            f"{card.name} sees {its.side_px} px at {its.spacing_um_px:g}. Prepare such patches."
        )
    return parts


def _write(
    base: BaseModel,
    made: _Made,
    parts: Sequence[Part],
    said: Sequence[Logits],
    former: Sequence[Logits],
    out: Path,
    words: _Words,
    report: Path | None,
) -> SiteModel:
    """Calibrate by what was said out of fold, and write file and report."""
    whole = together(parts)
    index, weight = whole.store.index, whole.weight
    logit = np.concatenate(list(said))
    platt, threshold = calibrate(logit, index.label, weight)
    tested = _judged(parts, said)
    figures = {name: tested.figures(of) for name, of in weightings(tested.weight).items()}
    old = Platt(*(base.card.document["idc"]["calibration"][name] for name in "ab"))
    was = Scored(old.stored(np.concatenate(list(former))), index.label)
    before = vars(was.metrics(weight, base.card.threshold))
    graph = with_end(made.graph, platt, made.head)
    session = open_session(graph.SerializeToString())
    golden = base.card.golden_patches
    probability, _ = run_session(session, golden)
    card = _card(
        base, platt, threshold, tested, figures, (golden, probability), words, made.trained
    )
    if words.keeping is not None:
        cases = sorted({str(case) for case in index.case})
        for block in ("training", "calibration"):
            card["idc"][block]["case_ids"] = cases
        words.keeping.keep(card)
    helper.set_model_props(graph, {CARD_KEY: to_json(card)})
    content = graph.SerializeToString(deterministic=True)
    parse_card(to_json(card), out.name)
    with replacing(out) as file:
        file.write(content)
    done = SiteModel(
        out,
        hashlib.sha256(content).hexdigest(),
        card,
        figures,
        {name: float(before[name]) for name in _SHOWN},
        agreement(tested.probability, tested.index.label, tested.index.case, tested.weight),
        rehearse(whole, logit, words.drawn),
        thinness(index),
    )
    if report is not None:
        with replacing(report) as file:
            file.write(done.report().encode())
        write_model_page(report.with_suffix(".html"), card, tested, whole.store)
    return done


def _judged(parts: Sequence[Part], said: Sequence[Logits]) -> Tested:
    folds = [Fold(at, "", "", 0.0, 0, it.tolist()) for at, it in enumerate(said, 1)]
    return judge(folds, parts)


def _card(
    base: BaseModel,
    platt: Platt,
    threshold: float,
    tested: Tested,
    figures: dict[str, dict[str, Interval]],
    golden: tuple[NDArray[np.uint8], Values],
    words: _Words,
    trained: str,
) -> dict[str, Any]:
    """Carry the base model's card over; what its old calibration decided is left out."""
    idc, index = base.card.document["idc"], tested.index
    cases = len(np.unique(index.case))
    numbers = (
        f"{counted(len(index), 'patch')} in {counted(cases, 'case')} of the laboratory, out of fold"
    )
    curve = validation_curve(tested.probability, index, tested.weight, threshold)
    kept = {
        name: value
        for name, value in idc.items()
        if name not in ("elsewhere", "shifts", "context", "metrics")
    }
    limitations = [it for it in idc.get("limitations", ()) if "figures" not in it]
    if few := thinness(index):
        limitations.append(f"Calibration and threshold rest on {few}: they are largely chance.")
    if "context" in idc:
        limitations.append(
            "The context map of the base model was of its calibration and is left out; "
            "`idc-trainer context` fits another."
        )
    changed: dict[str, Any] = {
        "name": words.name or base.card.name,
        "version": words.version or f"{base.card.version}-{words.suffix}",
        "created": datetime.now(UTC).strftime("%Y-%m-%d"),
        "calibration": {
            "method": "platt",
            "a": platt.a,
            "b": platt.b,
            "fitted_on": numbers,
            "weighting": DESCRIPTION,
        },
        "threshold": threshold,
        "threshold_rule": "largest Youden index on the weighted patches that calibration was "
        "fitted on",
        "validation_curve": [curve_entry(point) for point in curve],
        "metrics": {
            f"out_of_fold_{name}": {figure: rounded(of) for figure, of in group.items()}
            for name, group in figures.items()
        },
        "limitations": [*limitations, words.limitation],
        "golden": [
            encode_golden(pixels, float(value)) for pixels, value in zip(*golden, strict=True)
        ],
        "site": {
            "base_name": base.card.name,
            "base_version": base.card.version,
            "base_sha256": base.sha256,
            "patches": len(index),
            "patches_idc": int(index.label.sum()),
            "cases": cases,
            "data_sha256": index.digest(),
            "trained": trained or "nothing",
        },
    }
    if trained and words.about is not None:
        about = words.about
        changed |= {
            "training": {
                "data": f"the {trained}: {about.data}; the others: {idc['training']['data']}",
                "split": "all cases",
                "patches": len(index),
                "patches_idc": int(index.label.sum()),
                "cases": cases,
                "data_sha256": index.digest(),
            },
            "intended_use": {
                "tissue": about.tissue,
                "stain": about.stain,
                "scanner": about.scanner,
            },
        }
    return {**base.card.document, "idc": {**kept, **changed}}
