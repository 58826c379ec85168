"""What a pathologist's verdicts come to: accepted tumour, and which foci are judged.

A focus is an area of the map at a threshold, and another threshold makes other foci. So a judged
focus is kept as a region: its verdict stays what it was given for, whatever becomes of the map.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.probability_map import MapLayer
from idc_desktop.regions import editing
from idc_desktop.regions.diameter import Diameter, farthest
from idc_desktop.regions.mask import drawn
from idc_desktop.regions.overlap import Overlap
from idc_desktop.regions.shape import Region, Shape, Verdict
from idc_desktop.regions.statistics import RegionMeter

_ACCEPTED: Verdict = "IDC"

_TOUCHING = 1e-6  # of an area: where two only touch, rounding may leave so much in common
_MOSTLY = 0.5 * (1 - 1e-9)  # of a focus: so much of it must be judged


class Accepted:
    """The tumour that was accepted of a slide: all that was judged IDC, drawn or focus.

    Of it counts what is analyzed and at or above the threshold; what is not judged never counts.
    It is the union: what was judged otherwise within an area judged IDC counts with that area, and
    stands in `conflicts`.

    Parameters
    ----------
    regions : iterable of Region
        All of the slide, judged or not.

    Attributes
    ----------
    is_begun : bool
        Whether there is any verdict: before that, nothing is known.
    shape : Shape or None
        All that was judged IDC.
    """

    def __init__(self, regions: Iterable[Region]) -> None:
        judged = [it for it in drawn(regions) if it.verdict]
        shapes = [it.shape for it in judged if it.verdict == _ACCEPTED]
        self.is_begun = bool(judged)
        self._judged = judged
        self.shape = editing.unite(shapes) if shapes else None
        self._parts: dict[tuple[Shape, Verdict], Shape | None] = {}

    @cached_property
    def conflicts(self) -> dict[str, Shape]:
        """What of areas judged otherwise lies within larger ones judged IDC, by their ids.

        A focus judged IDC within a larger area judged benign is none: there the verdicts say the
        same of each place as the figures do.
        """
        accepted = [it.shape for it in self._judged if it.verdict == _ACCEPTED]
        found = {}
        for region in (it for it in self._judged if it.verdict != _ACCEPTED):
            least = region.shape.area_px * _MOSTLY * 2
            around = [it for it in accepted if it.area_px >= least and not _apart(it, region.shape)]
            common = editing.intersect(region.shape, editing.unite(around)) if around else None
            if common is not None and common.area_px > region.shape.area_px * _TOUCHING:
                found[region.id] = common
        return found

    def disputed_um2(self, row: Region, meter: RegionMeter, threshold: float) -> float:
        """Return how much of the accepted area of a row lies in `conflicts`."""
        if not self.conflicts:
            return 0.0
        disputed = editing.intersect(row.shape, editing.unite(self.conflicts.values()))
        return 0.0 if disputed is None else meter.measure([disputed], threshold)[0].idc_area_um2

    def areas_um2(
        self, rows: Sequence[Region], meter: RegionMeter, threshold: float
    ) -> list[float | None]:
        """Return how much accepted tumour is in each of some areas; None before any verdict."""
        if not self.is_begun:
            return [None] * len(rows)
        for row in rows:
            if (row.shape, row.verdict) not in self._parts:
                self._parts[row.shape, row.verdict] = self._part_in(row)
        parts = [self._parts[row.shape, row.verdict] for row in rows]
        wanted = [part for part in parts if part is not None]
        areas = iter([it.idc_area_um2 for it in meter.measure(wanted, threshold)])
        return [0.0 if part is None else next(areas) for part in parts]

    def diameter(
        self, layer: MapLayer, mpp: tuple[float, float], threshold: float
    ) -> Diameter | None:
        """Return the longest line in the tumour as a whole, its parts together; None if none is."""
        return None if self.shape is None else _diameter(self.shape, layer, mpp, threshold)

    def _part_in(self, row: Region) -> Shape | None:
        if row.verdict == _ACCEPTED:
            return row.shape
        if self.shape is None or _apart(row.shape, self.shape):
            return None
        if row.shape.roi == "Rectangle" and _holds(row.shape.bounds, self.shape.bounds):
            return self.shape  # as the whole slide does
        return editing.intersect(row.shape, self.shape)


def judge_focus(
    regions: Sequence[Region], name: str, shape: Shape, verdict: Verdict
) -> tuple[Region, list[Region], list[str]]:
    """Judge a focus: its region, and what that makes of the foci that were judged before.

    The last verdict holds: what a focus has in common with others that were judged is taken from
    them. What was drawn by hand is never reshaped.

    Returns
    -------
    region : Region
        That of the focus: new, or the one of exactly this shape.
    put : list of Region
        It, and all that changes with it.
    remove : list of str
        Ids of those of which nothing is left.
    """
    same = next((it for it in regions if it.shape == shape), None)
    if same is not None:
        region = replace(same, verdict=verdict)
    else:
        region = Region(_unused(name, regions), shape, verdict=verdict, is_focus=True)
    put, remove = [], []
    for other in regions:
        if other is same or not other.is_focus or _apart(other.shape, shape):
            continue
        left = editing.subtract(other.shape, [shape])
        if left is None:
            remove.append(other.id)
            if other.note and not region.note:
                region = replace(region, note=other.note)
        elif left.area_px < other.shape.area_px:
            put.append(replace(other, shape=left))
    return region, [*put, region], remove


def verdicts_of(
    shapes: Sequence[Shape], regions: Iterable[Region], grid: PatchGrid
) -> list[Verdict]:
    """Return what foci are judged to be, also at another threshold than the map's of then.

    A focus is judged where judged regions cover at least half of it; what covers most of it says
    what it is.

    Parameters
    ----------
    shapes : sequence of Shape
        Whole cells of the grid, as foci are.
    """
    judged = [it for it in drawn(regions) if it.verdict]
    exactly = {it.shape: it.verdict for it in judged}
    # A region of exactly one of them has nothing of the others.
    wanted = {*shapes}
    loose = [it for it in judged if it.shape not in wanted]
    # How much of each cell was judged to be what.
    areas = {it.verdict: np.zeros(grid.rows * grid.cols) for it in loose}
    for region in loose:
        overlap = Overlap.of(region.shape, grid)
        areas[region.verdict][overlap.cells] += overlap.areas_px
    found: list[Verdict] = []
    for shape in shapes:
        verdict: Verdict = exactly.get(shape, "")
        if not verdict and any(not _apart(it.shape, shape) for it in loose):
            cells = Overlap.of(shape, grid).cells
            inside = {it: float(area[cells].sum()) for it, area in areas.items()}
            if sum(inside.values()) >= shape.area_px * _MOSTLY:
                verdict = max(inside, key=lambda it: inside[it])
        found.append(verdict)
    return found


def _diameter(
    accepted: Shape, layer: MapLayer, mpp: tuple[float, float], threshold: float
) -> Diameter | None:
    grid = layer.grid
    overlap = Overlap.of(accepted, grid)
    is_idc = layer.positive(threshold).ravel()[overlap.cells]
    cells, areas_px = overlap.cells[is_idc], overlap.areas_px[is_idc]
    if not len(cells):
        return None
    x = np.minimum(grid.column_edges_l0(), grid.right_l0)
    y = np.minimum(grid.row_edges_l0(), grid.bottom_l0)
    row, col = np.divmod(cells, grid.cols)
    boxes = np.stack([x[col], y[row], x[col + 1], y[row + 1]], axis=1)
    size = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    is_whole = areas_px >= size * (1 - 1e-9)
    whole, row = boxes[is_whole], row[is_whole]
    # Cells come row by row; between two of a row nothing lies farther out.
    is_end = np.append(True, row[1:] != row[:-1]) | np.append(row[1:] != row[:-1], True)
    ends = whole[is_end[: len(whole)]]
    corners = [ends[:, pair] for pair in ([0, 1], [2, 1], [2, 3], [0, 3])]
    return farthest(
        np.concatenate([*corners, editing.common_corners(accepted, boxes[~is_whole])]), mpp
    )


def _holds(outer: tuple[float, ...], inner: tuple[float, ...]) -> bool:
    return all(a <= b for a, b in zip(outer[:2], inner[:2], strict=True)) and all(
        a >= b for a, b in zip(outer[2:], inner[2:], strict=True)
    )


def _apart(one: Shape, two: Shape) -> bool:
    """Whether two shapes surely have nothing in common."""
    (left, top, right, bottom), (x1, y1, x2, y2) = one.bounds, two.bounds
    return right <= x1 or left >= x2 or bottom <= y1 or top >= y2


def _unused(name: str, regions: Iterable[Region]) -> str:
    taken, number, free = {it.name for it in regions}, 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free
