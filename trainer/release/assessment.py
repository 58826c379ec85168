"""What ``evaluate`` does: an exported model against a part of the data, in figures and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from idc_desktop.models.card import CARD_KEY, ModelCard, parse_card
from idc_desktop.plain_text import counted
from trainer.data.case_layout import lay_out
from trainer.data.weighting import weightings
from trainer.errors import DataError, named
from trainer.files import make_folder
from trainer.release.case_ids import CaseIds, of_card
from trainer.release.embedding import hidden_features, plane, some
from trainer.release.onnx_file import load_file, stored_probabilities
from trainer.scoring.markdown import interval
from trainer.scoring.metrics import Confusion, Interval, Scored, evaluate
from trainer.training.feeding import Part
from trainer.training.figures import draw_confusions, draw_embedding, draw_map, draw_reliability

if TYPE_CHECKING:
    from trainer.release.onnx_file import Session

PICTURES = ("confusion", "reliability", "tsne")
"""What `draw_figures` draws."""


@dataclass(frozen=True)
class Loaded:
    """An exported model, open."""

    path: Path
    session: Session
    card: ModelCard


def load_model(path: Path) -> Loaded:
    """Open an exported model; `ModelError` where the file is none."""
    session = load_file(path)
    properties = session.get_modelmeta().custom_metadata_map
    return Loaded(path, session, parse_card(properties.get(CARD_KEY, ""), path.name))


@dataclass(frozen=True)
class Assessment:
    """A model's probabilities for a part, and what they are worth, by weighting.

    Attributes
    ----------
    threshold : float
        The card's.
    patches, cases : int
    is_origin_known : bool
        Whether the cases that made the model are known.
    not_held_out : dict
        Those of the cases that, by its card, trained the model, or chose its calibration and
        threshold; by which of the two they did.
    probability : ndarray of float, shape (n,)
    figures, confusions : dict
    """

    threshold: float
    patches: int
    cases: int
    is_origin_known: bool
    not_held_out: dict[str, tuple[str, ...]]
    probability: NDArray[np.float64]
    figures: dict[str, dict[str, Interval]]
    confusions: dict[str, Confusion]

    def document(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        return {
            "cases": self.cases,
            "cases_not_held_out": {done: list(of) for done, of in self.not_held_out.items()},
            "threshold": self.threshold,
            "confusion": {name: asdict(one) for name, one in self.confusions.items()},
        } | {
            name: {figure: asdict(one) for figure, one in group.items()}
            for name, group in self.figures.items()
        }

    def lines(self) -> Iterator[str]:
        """Say all of it, a line each."""
        if not self.is_origin_known:
            yield (
                "The card does not name the cases that made this model: name its folder with --run "
                "to see whether these are among them"
            )
        for done, cases in self.not_held_out.items():
            yield (
                f"NOT HELD OUT: {len(cases)} of these {counted(self.cases, 'case')} {done} "
                f"this model "
                f"({named(cases)})"
            )
        yield f"{self.patches} patches, threshold {self.threshold:.4f}"
        yield f"{'':18}" + "".join(f" {name:>26}" for name in self.figures)
        for figure in next(iter(self.figures.values())):
            cells = (interval(group[figure], digits=4) for group in self.figures.values())
            yield f"{figure:18}" + "".join(f" {text:>26}" for text in cells)
        for cell in vars(next(iter(self.confusions.values()))):
            counts = (getattr(one, cell) for one in self.confusions.values())
            yield f"{cell:18}" + "".join(f" {count:>26,.0f}" for count in counts)


def assess(model: Loaded, part: Part, made_by: CaseIds | None = None) -> Assessment:
    """Score an exported model on a part, weighted and unweighted, at its card's threshold.

    Parameters
    ----------
    made_by : dict, optional
        Cases that made the model, where they are known from its run; else the card's.

    Raises
    ------
    DataError
        The part lacks a class.
    """
    card, threshold = model.card, model.card.threshold
    index = part.store.index
    if len(np.unique(index.label)) < 2:
        raise DataError("This part has no patches of both classes to score; choose another --part.")
    probability = stored_probabilities(model.session, part.store.batches())
    cases = {str(case) for case in index.case}
    known = made_by if made_by is not None else of_card(card.document)
    touched = {done: tuple(sorted(cases & ids)) for done, ids in known.items()}
    scored = Scored(probability, index.label)
    of = weightings(part.weight)
    return Assessment(
        threshold,
        len(index),
        len(cases),
        all(known.values()),
        {done: of for done, of in touched.items() if of},
        probability,
        {
            name: evaluate(probability, index.label, index.case, weight, threshold)
            for name, weight in of.items()
        },
        {name: scored.confusion(weight, threshold) for name, weight in of.items()},
    )


def draw(model: Path, found: Assessment, part: Part, out: Path, cases: Sequence[str]) -> None:
    """Write the pictures of `draw_figures` and maps of cases to a folder."""
    maps = [lay_out(part.store, found.probability, case) for case in cases]
    make_folder(out)
    content = model.read_bytes()
    draw_figures(content, found.probability, found.confusions, part, lambda n: out / f"{n}.png")
    for one in maps:
        draw_map(one, found.threshold, out / f"map_{one.case}.png")


def draw_figures(
    model: bytes,
    probability: NDArray[np.float64],
    confusions: Mapping[str, Confusion],
    part: Part,
    path: Callable[[str], Path],
) -> None:
    """Draw what shows no patches: confusion matrices, reliability diagrams, t-SNE.

    Parameters
    ----------
    model : bytes
        ONNX file.
    path : callable
        Each of `PICTURES` to the file to write.
    """
    confusion, reliability, tsne = map(path, PICTURES)
    draw_confusions(confusions, confusion)
    scored = Scored(probability, part.store.index.label)
    curves = {name: scored.reliability(weight) for name, weight in weightings(part.weight).items()}
    draw_reliability(curves, reliability)
    shown = part.take(some(len(part.store.index))).store
    draw_embedding(plane(hidden_features(model, shown)), shown.index.label, tsne)
