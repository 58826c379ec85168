"""What ``evaluate`` does: an exported model against a part of the data, in figures and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idc_desktop.card import CARD_KEY, parse_card
from trainer.embedding import hidden_features, plane, some
from trainer.errors import DataError
from trainer.evaluation import Confusion, Interval, Scored, evaluate
from trainer.export import load_file, stored_probabilities
from trainer.figures import draw_confusions, draw_embedding, draw_map, draw_reliability
from trainer.files import make_folder
from trainer.maps import lay_out
from trainer.training import Part
from trainer.weighting import weightings

PICTURES = ("confusion", "reliability", "tsne")
"""What `draw_figures` draws."""


@dataclass(frozen=True)
class Assessment:
    """A model's probabilities for a part, and what they are worth, by weighting.

    Attributes
    ----------
    model : Path
    threshold : float
        The card's.
    cases : int
    seen : tuple of str
        Those of the cases that, by its card, the model was trained on.
    probability : ndarray of float, shape (n,)
    figures, confusions : dict
    """

    model: Path
    threshold: float
    cases: int
    seen: tuple[str, ...]
    probability: NDArray[np.float64]
    figures: dict[str, dict[str, Interval]]
    confusions: dict[str, Confusion]


def assess(model: Path, part: Part) -> Assessment:
    """Score an exported model on a part, weighted and unweighted, at its card's threshold.

    Raises
    ------
    ModelError
        The file is no exported model.
    DataError
        The part lacks a class.
    """
    session = load_file(model)
    properties = session.get_modelmeta().custom_metadata_map
    card = parse_card(properties.get(CARD_KEY, ""), model.name)
    threshold = card.threshold
    index = part.store.index
    if len(np.unique(index.label)) < 2:
        raise DataError("This part has no patches of both classes to score; choose another --part.")
    probability = stored_probabilities(session, part.store.batches())
    cases = {str(case) for case in index.case}
    trained_on = cases.intersection(card.document["idc"]["training"].get("case_ids", ()))
    scored = Scored(probability, index.label)
    of = weightings(part.weight)
    return Assessment(
        model,
        threshold,
        len(cases),
        tuple(sorted(trained_on)),
        probability,
        {
            name: evaluate(probability, index.label, index.case, weight, threshold)
            for name, weight in of.items()
        },
        {name: scored.confusion(weight, threshold) for name, weight in of.items()},
    )


def draw(found: Assessment, part: Part, out: Path, cases: Sequence[str]) -> None:
    """Write the pictures of `draw_figures` and maps of cases to a folder."""
    maps = [lay_out(part.store, found.probability, case) for case in cases]
    make_folder(out)
    content = found.model.read_bytes()
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
