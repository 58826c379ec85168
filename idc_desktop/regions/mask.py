"""The tissue mask as the user changed it: regions of two reserved classes.

As QuPath's ``Ignore*`` does, their class says what they are for: they are drawn, edited, kept,
undone and written as any region, but have no figures and no verdict. A patch counts as the
uppermost one says that its centre lies in: the rule by which regions count patches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.mask import MaskEdits
from idc_desktop.regions.overlap import overlaps
from idc_desktop.regions.shape import MASK_ADDED, Region, Shape, shape_of

Outline = tuple[tuple[tuple[tuple[float, float], ...], ...], ...]
"""A shape as it is told: the points of each ring of each polygon, level-0 pixels."""

MaskArea = tuple[bool, Outline]
"""An area that counts as tissue (True) or as background."""


def drawn(regions: Iterable[Region]) -> tuple[Region, ...]:
    """Return the regions that have figures: all that change nothing of the mask."""
    return tuple(it for it in regions if not it.changes_mask)


def mask_areas(regions: Iterable[Region]) -> tuple[MaskArea, ...]:
    """Return what regions change of the mask, in their order."""
    return tuple(
        (it.classification == MASK_ADDED, outline(it.shape)) for it in regions if it.changes_mask
    )


def mask_edits(regions: Iterable[Region], grid: PatchGrid) -> MaskEdits | None:
    """Return what regions change of the mask of a grid; None if they change nothing."""
    areas = [(it.classification == MASK_ADDED, it.shape) for it in regions if it.changes_mask]
    return _edits(areas, grid)


def edits_of(areas: Iterable[MaskArea], grid: PatchGrid) -> MaskEdits | None:
    """Return what areas change of the mask of a grid; None if there are none."""
    return _edits([(is_added, shape_of(polygons)) for is_added, polygons in areas], grid)


def outline(shape: Shape) -> Outline:
    """Return a shape as it is told."""
    return tuple(
        tuple(tuple((x, y) for x, y in ring.tolist()) for ring in polygon)
        for polygon in shape.polygons
    )


def touched(outlines: Iterable[Outline], grid: PatchGrid) -> npt.NDArray[np.bool_]:
    """Return the cells, shape (rows, cols), of which some area lies in one of the outlines."""
    cells = np.zeros(grid.rows * grid.cols, np.bool_)
    for found in overlaps([shape_of(it) for it in outlines], grid):
        cells[found.cells] = True
    return cells.reshape(grid.rows, grid.cols)


def _edits(areas: Sequence[tuple[bool, Shape]], grid: PatchGrid) -> MaskEdits | None:
    if not areas:
        return None
    said = np.zeros(grid.rows * grid.cols, np.int8)
    shapes = [shape for _, shape in areas]
    for (is_added, _), found in zip(areas, overlaps(shapes, grid), strict=True):
        said[found.centred] = 1 if is_added else -1
    on_grid = said.reshape(grid.rows, grid.cols)
    return MaskEdits(on_grid > 0, on_grid < 0, len(areas))
