"""What a card says of a model beyond its own archive: under shifts, and on others' slides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idc_desktop.plain_text import counted
from trainer.data.shifts import MILD, STRONG, Shift
from trainer.release.model_card import Document, rounded
from trainer.release.onnx_file import stored_probabilities
from trainer.scoring.elsewhere import Elsewhere
from trainer.scoring.metrics import Metrics, Scored
from trainer.training.feeding import Part

if TYPE_CHECKING:
    from trainer.release.onnx_file import Session

MOST = 1000
"""Patches that shifts are scored on, spread evenly over cases: VGG-16 takes ten seconds each."""

SHOWN = ("auc", "balanced_accuracy", "sensitivity", "specificity")


@dataclass(frozen=True)
class ShiftScores:
    """Weighted figures of the same patches as they are and changed, at the card's threshold.

    Attributes
    ----------
    patches, cases : int
    plain : Metrics
    mild, strong : dict
        Name of the shift -> figures.
    """

    patches: int
    cases: int
    plain: Metrics
    mild: Mapping[str, Metrics]
    strong: Mapping[str, Metrics]

    @property
    def all(self) -> dict[str, Metrics]:
        """All figures, first those of the patches as they are."""
        return {"as they are": self.plain, **self.mild, **self.strong}

    def mean(self, figure: str) -> float:
        """Mean of a figure over the strong shifts."""
        return float(np.mean([getattr(one, figure) for one in self.strong.values()]))

    def worst(self, figure: str) -> tuple[str, float]:
        """Name and figure of the strong shift with the smallest one."""
        found = {name: float(getattr(one, figure)) for name, one in self.strong.items()}
        name = min(found, key=found.__getitem__)
        return name, found[name]

    def document(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        return {
            "patches": self.patches,
            "cases": self.cases,
            "figures": {name: asdict(one) for name, one in self.all.items()},
            "mean_strong": {figure: self.mean(figure) for figure in SHOWN},
            "worst_strong": {figure: list(self.worst(figure)) for figure in SHOWN},
        }

    def lines(self) -> Iterator[str]:
        """Say the figures of every shift, a line each, with mean and worst of the strong ones."""
        yield f"{counted(self.patches, 'patch')} of {counted(self.cases, 'case')}, weighted"
        yield f"{'':20}" + "".join(f" {figure:>18}" for figure in SHOWN)
        rows = {name: [getattr(one, figure) for figure in SHOWN] for name, one in self.all.items()}
        rows["strong: mean"] = [self.mean(figure) for figure in SHOWN]
        rows["strong: worst"] = [self.worst(figure)[1] for figure in SHOWN]
        for name, values in rows.items():
            yield f"{name:20}" + "".join(f" {value:>18.4f}" for value in values)
        yield f"smallest AUC: {self.worst('auc')[0]}"


def score_shifts(session: Session, part: Part, threshold: float, mild: bool = True) -> ShiftScores:
    """Score a model on at most `MOST` patches of a part under every shift.

    Parameters
    ----------
    mild : bool
        Whether the mild ones are scored, too.

    Raises
    ------
    DataError
        The part lacks a class.
    """
    count = len(part.store.index)
    rows = np.unique(np.linspace(0, count - 1, min(count, MOST)).astype(np.intp))
    shown = part.take(rows)
    index = shown.store.index

    def score(shift: Shift) -> Metrics:
        said = stored_probabilities(session, map(shift, shown.store.batches()))
        return Scored(said, index.label).metrics(shown.weight, threshold)

    return ShiftScores(
        len(index),
        len(np.unique(index.case)),
        score(lambda patches: patches),
        {name: score(shift) for name, shift in MILD.items()} if mild else {},
        {name: score(shift) for name, shift in STRONG.items()},
    )


def card_blocks(shifts: ShiftScores | None, elsewhere: Elsewhere | None) -> dict[str, Document]:
    """Return the blocks ``shifts`` and ``elsewhere`` of a card; what was not scored says so.

    No laboratory and no slide is named: names of files tell of patients.
    """
    found: dict[str, Document] = {"elsewhere": {"laboratories": 0}}
    if shifts is not None:
        worst = shifts.worst("auc")
        found["shifts"] = {
            "patches": shifts.patches,
            "cases": shifts.cases,
            "mean": _rounded({name: shifts.mean(name) for name in SHOWN}),
            "worst": {"shift": worst[0], **_rounded({"auc": worst[1]})},
            "figures": {name: _of(one) for name, one in shifts.strong.items()},
        }
    if elsewhere is not None:
        label = np.concatenate([one.label for one in elsewhere.slides])
        worst_slide = elsewhere.worst_auc
        found["elsewhere"] = {
            "laboratories": len(elsewhere.laboratories),
            "slides": len(elsewhere.slides),
            "patches": len(label),
            "patches_idc": int(label.sum()),
            "intervals": "by slide" if elsewhere.by_slide else "by patch",
            **({} if worst_slide is None else _rounded({"worst_slide_auc": worst_slide})),
            "figures": {
                name: rounded(one) for name, one in next(iter(elsewhere.scores().values())).items()
            },
        }
    return found


def _of(metrics: Metrics) -> dict[str, float]:
    return _rounded({name: getattr(metrics, name) for name in SHOWN})


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    """To 6 decimals: sums of weights may end a hair above 1."""
    return {name: round(value, 6) for name, value in figures.items()}
