"""The model card: what a file says about itself, with every figure named by cases and weighting."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idc_desktop.models.card import CLASS_NAMES, encode_golden
from idc_desktop.plain_text import counted
from trainer.data.dataset import PatchArray, PatchIndex
from trainer.data.splits import LEAKY, thinness
from trainer.data.weighting import DESCRIPTION
from trainer.release.about import About
from trainer.scoring.calibration import Platt
from trainer.scoring.metrics import Interval, Scored, case_bootstrap, percentiles
from trainer.training.runs import Data, Run

Document = dict[str, Any]

_RESEARCH = "For Research Use Only. Not for use in diagnostic procedures."
_MIX = (
    "Glass, fat, margins and ink: {glass}. The probability is calibrated to the mix of the "
    "training archive's patches, not to a whole slide's."
)
VALIDATED = (
    "Validation figures chose the epoch, the calibration and the threshold; only the figures named "
    "test are of held-out cases."
)
CROSSVALIDATED = (
    "This file was trained on every case. The figures named out_of_fold are of networks trained "
    "alike on four fifths of the cases, each on the cases that it did not see; those named "
    "official of one trained alike on the training part of the official split."
)
LEAK = (
    f"{LEAKY}: patches of one case train, validate and test. Only the figures named unseen are of "
    "held-out cases."
)
_OF_NETWORK = {
    "vgg16-features": "The convolutions are those of VGG-16 for photographs (ImageNet) and never "
    "saw tissue; only the layers after them were trained.",
    "vgg16-finetuned": "Blocks 1 to 3 are those of VGG-16 for photographs (ImageNet); blocks 4 and "
    "5 and the layers after them were trained on tissue.",
}
_TAUGHT = (
    "Learned from the answers of a larger network, too, which was trained on the same cases; what "
    "that one gets wrong, this one is likely to."
)
_OF_PAPER = (
    "Made with the literal settings of Abdolahi et al. 2020 to show what they lead to; not for use."
)
_VGG_LICENCE = "; the weights taken from VGG-16 are CC BY 4.0"
_VGG_ATTRIBUTION = (
    " Starts from the ImageNet weights of VGG-16 (Karen Simonyan and Andrew Zisserman, Visual "
    "Geometry Group, University of Oxford, 2014; CC BY 4.0); the limitations say which are changed."
)


@dataclass(frozen=True)
class Evidence:
    """What calibration, threshold and figures rest on, in the card's words.

    Attributes
    ----------
    cases : str
        Prefix of the figures that calibration and threshold were chosen by.
    index : PatchIndex
        The patches that calibration and threshold were fitted to.
    of : str
        Says after their numbers what they are.
    limitation : str
        A sentence on what the figures are of.
    """

    cases: str
    index: PatchIndex
    of: str
    limitation: str


@dataclass(frozen=True)
class OperatingPoint:
    """Sensitivity and specificity at a threshold, with 95 % intervals."""

    threshold: float
    sensitivity: Interval
    specificity: Interval


def validation_curve(
    probability: NDArray[np.float64],
    index: PatchIndex,
    weight: NDArray[np.float64],
    threshold: float,
) -> list[OperatingPoint]:
    """Compute operating points at 0.05 ... 0.95 and at the default threshold, ascending."""
    scored = Scored(probability, index.label)
    thresholds = np.unique([*np.linspace(0.05, 0.95, 19).round(2), threshold])

    # Where no patch reaches a threshold, nothing is called IDC: sensitivity 0, specificity 1.
    position = np.searchsorted(scored.values, thresholds)

    def at(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        sensitivity, specificity = scored.rates(weights)
        return np.stack([[*sensitivity, 0.0], [*specificity, 1.0]], axis=1)[position]

    value = at(weight)
    draws = [at(weight * times) for times in case_bootstrap(index.case, index.label)]

    def interval(*place: int) -> Interval:
        return Interval(float(value[place]), *percentiles([float(one[place]) for one in draws]))

    return [
        OperatingPoint(float(threshold), interval(i, 0), interval(i, 1))
        for i, threshold in enumerate(thresholds)
    ]


def build_card(
    name: str,
    version: str,
    run: Run,
    data: Data,
    evidence: Evidence,
    platt: Platt,
    threshold: float,
    curve: list[OperatingPoint],
    metrics: dict[str, dict[str, Interval]],
    golden: tuple[PatchArray, NDArray[np.float64]],
    about: About,
) -> Document:
    """Put together the card's document (see ``resources/card.schema.json``)."""
    index = data.train.store.index
    cases = sorted({str(case) for case in index.case})
    imbalance = run.sources.imbalance
    return {
        "spec_version": "1.0",
        "architecture": f"idc-{run.settings.network}",
        "num_classes": len(CLASS_NAMES),
        "class_names": list(CLASS_NAMES),
        "patch_size_pixels": data.train.store.patch.side_px,
        "spacing_um_px": data.train.store.patch.spacing_um_px,
        "transform": [],
        "idc": {
            "name": name,
            "version": version,
            "recipe": run.settings.recipe,
            "created": run.finished,
            "training": {
                "data": f"{about.data}, {_trained_on(run)}",
                "split": data.split.name,
                "patches": len(index),
                "patches_idc": int(index.label.sum()),
                "cases": len(cases),
                "case_ids": cases,
                "case_ids_sha256": hashlib.sha256("\n".join(cases).encode()).hexdigest(),
                "data_sha256": index.digest(),
                "settings": run.settings.recorded(),
                **({} if run.imagenet is None else {"imagenet_sha256": run.imagenet}),
                **({} if run.teacher is None else {"teacher_sha256": run.teacher}),
                **({} if imbalance == "none" else {"imbalance": imbalance}),
            },
            "calibration": {
                "method": "platt",
                "a": platt.a,
                "b": platt.b,
                "fitted_on": f"{_part_name(evidence.index)}{evidence.of}",
                "weighting": DESCRIPTION,
                "case_ids": sorted({str(case) for case in evidence.index.case}),
            },
            "threshold": threshold,
            "threshold_rule": "largest Youden index on the weighted patches that calibration was "
            "fitted on",
            "validation_curve": [curve_entry(point) for point in curve],
            "metrics": {
                group: {figure: rounded(interval) for figure, interval in figures.items()}
                for group, figures in metrics.items()
            },
            "intended_use": {
                "tissue": about.tissue,
                "stain": about.stain,
                "scanner": about.scanner,
            },
            "limitations": limitations(run, evidence, about),
            "licence": about.licence + ("" if run.imagenet is None else _VGG_LICENCE),
            "attribution": about.attribution + ("" if run.imagenet is None else _VGG_ATTRIBUTION),
            "golden": [
                encode_golden(pixels, float(probability))
                for pixels, probability in zip(*golden, strict=True)
            ],
        },
    }


def _trained_on(run: Run) -> str:
    if run.sources.split == "all-cases":
        return "all cases"
    if run.sources.split != "official":
        return "training part of the split"
    unlisted = " and cases outside the split" if run.sources.unlisted else ""
    return f"official training cases{unlisted}"


def limitations(run: Run, evidence: Evidence, about: About) -> list[str]:
    """Return what is true of every model, of this one's data, and of its split and network."""
    glass = (
        "the network knows them from painted patches only"
        if run.settings.painted
        else "the network never saw them and may call them IDC"
    )
    found = [_RESEARCH, *about.limitations, _MIX.format(glass=glass), evidence.limitation]
    if few := thinness(evidence.index):
        found.append(f"Calibration and threshold rest on {few}: they are largely chance.")
    if run.settings.network in _OF_NETWORK:
        found.append(_OF_NETWORK[run.settings.network])
    if run.teacher is not None:
        found.append(_TAUGHT)
    if run.settings.recipe == "paper":
        found.append(_OF_PAPER)
    return found


def rounded(figure: Interval) -> dict[str, float]:
    """To 6 decimals, as sums of weights may end a hair above 1; no interval where there is none."""
    return {name: round(of, 6) for name, of in asdict(figure).items() if of is not None}


def curve_entry(point: OperatingPoint) -> Document:
    """Return an operating point as it stands in a card."""
    found: Document = {"threshold": point.threshold}
    for name in ("sensitivity", "specificity"):
        value, *ends = rounded(getattr(point, name)).values()
        found |= {name: value} | ({f"{name}_95ci": ends} if ends else {})
    return found


def to_json(card: Document) -> str:
    """Serialize a card; equal cards give equal text."""
    return json.dumps(card, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _part_name(index: PatchIndex) -> str:
    return f"{counted(len(index), 'patch')} in {counted(len(np.unique(index.case)), 'case')}"
