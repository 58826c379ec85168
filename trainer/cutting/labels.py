"""Which label outlines give to each cell of a slide's grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idc_desktop.maps.grid import PatchGrid
from idc_desktop.regions.editing import unite
from idc_desktop.regions.overlap import Overlap
from idc_desktop.regions.shape import Region

NEGATIVE, POSITIVE, UNLABELLED, AMBIGUOUS = 0, 1, -1, -2
"""The label of a cell, or why it has none: no outline reaches it, or too little of one does."""

TOUCH = 0.005
"""A cell of which an outline covers less is not reached by it: corners are whole pixels."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class LabelRules:
    """How outlines become labels.

    Attributes
    ----------
    positive, negative : tuple of str
        Names of classes; of an outline without a class its own name counts. Case does not matter.
    min_cover : float
        Part of a cell that outlines must cover to give it a label.
    unlabelled_is_negative : bool
        Whether cells that no outline reaches are negative.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...] = ()
    min_cover: float = 0.5
    unlabelled_is_negative: bool = False


@dataclass(frozen=True)
class CellLabels:
    """The labels of a grid.

    Attributes
    ----------
    label : ndarray of int8, shape (rows, cols)
        `POSITIVE`, `NEGATIVE`, `UNLABELLED` or `AMBIGUOUS`.
    cover : ndarray of float, shape (rows, cols)
        Part of the cell that has the class of its label.
    """

    label: NDArray[np.int8]
    cover: NDArray[np.float64]

    @property
    def wanted(self) -> NDArray[np.bool_]:
        """Which cells have a label."""
        mask: NDArray[np.bool_] = self.label >= NEGATIVE
        return mask


def class_of(region: Region) -> str:
    """Return the class of an outline; where it has none, its name."""
    return region.classification.strip() or region.name.strip()


def label_cells(regions: Sequence[Region], grid: PatchGrid, rules: LabelRules) -> CellLabels:
    """Label the cells of a grid by outlines in level-0 pixels.

    A cell is positive if positive outlines cover at least `min_cover` of it; negative if none of
    them reaches it and negative outlines cover at least that.
    """
    positive = _cover(_of(regions, rules.positive), grid)
    negative = _cover(_of(regions, rules.negative), grid)
    others = _cover(_of(regions, (*rules.positive, *rules.negative), others=True), grid)
    least = rules.min_cover - _ROUNDING
    reached = np.maximum(np.maximum(positive, negative), others)
    label = np.where(reached < TOUCH, UNLABELLED, AMBIGUOUS).astype(np.int8)
    label[(positive < TOUCH) & (negative >= least)] = NEGATIVE
    label[positive >= least] = POSITIVE
    cover = np.where(label == POSITIVE, positive, negative)
    if rules.unlabelled_is_negative:
        cover[label == UNLABELLED] = 1.0
        label[label == UNLABELLED] = NEGATIVE
    return CellLabels(label, cover)


def _of(regions: Sequence[Region], names: Sequence[str], *, others: bool = False) -> list[Region]:
    wanted = {name.strip().casefold() for name in names}
    return [it for it in regions if (class_of(it).casefold() in wanted) != others]


def _cover(regions: Sequence[Region], grid: PatchGrid) -> NDArray[np.float64]:
    """Return the part of each cell that outlines cover together, shape (rows, cols)."""
    cover = np.zeros(grid.rows * grid.cols)
    if regions:
        overlap = Overlap.of(unite(it.shape for it in regions), grid)
        cover[overlap.cells] = overlap.areas_px / (grid.step_x_l0 * grid.step_y_l0)
    return cover.reshape(grid.rows, grid.cols)
