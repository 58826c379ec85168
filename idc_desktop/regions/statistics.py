"""The figures of regions on a layer of a map.

The region of every statistic is its part within the slide; a patch is a whole grid cell, weighted
by how much of it the region covers. How much that is only depends on region and grid, what is
sorted by probability only on the map too; so a new threshold costs a look-up per region.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.layers import STEPS, LayerKind
from idc_desktop.maps.probability_map import MapLayer, PatchState
from idc_desktop.regions.shape import Moments, Region, Shape, rectangle

WHOLE_SLIDE = "Whole slide"

_HALF = 0.5 * (1 - 1e-12)  # sums of equal weights must reach a half in spite of rounding
_LAST = STEPS + 1  # comes after every value
_PLACE_BITS = 40
_KEPT_ALONE = 8
_NOTHING = 1e-12  # of a cell: 0.2 square nanometres, and above all rounding below

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Cells = npt.NDArray[np.intp]


@dataclass(frozen=True)
class RegionStatistics:
    """The figures of one region; None where a figure is not defined.

    Areas are µm², lengths µm. `patches` counts grid cells whose centre lies in the region.
    """

    centroid_x_um: float
    centroid_y_um: float
    area_um2: float
    perimeter_um: float
    patches: int
    patches_analyzed: int
    patches_failed: int
    patches_background: int
    patches_excluded: int
    coverage_percent: float | None
    idc_patches: int
    idc_fraction: float | None
    idc_area_um2: float
    mean_probability: float | None
    median_probability: float | None
    max_probability: float | None


@dataclass(frozen=True)
class Overlap:
    """Where a shape lies on a grid; cells are numbered row by row.

    Attributes
    ----------
    cells : ndarray of int, shape (n,)
        The cells that it covers in part or wholly.
    areas_px : ndarray of float, shape (n,)
        How much of each, level-0 pixels squared; only what lies on the slide.
    centred : ndarray of int, shape (m,)
        The cells whose centre is inside, right and lower edges excluded, and on the slide.
    """

    cells: Cells
    areas_px: Floats
    centred: Cells

    @classmethod
    def of(cls, shape: Shape, grid: PatchGrid) -> Overlap:
        """Compute exactly what part of each cell a shape covers."""
        cells, parts = _covered(shape, grid)
        return cls(cells, parts * (grid.step_x_l0 * grid.step_y_l0), _centred(shape, grid))


@dataclass(frozen=True)
class _Order:
    """A layer's cells by how far their value is below the highest, one state of the map.

    Attributes
    ----------
    below_top : ndarray of int, shape (cells,)
        Steps of the range; `_LAST` where there is no value.
    is_failed, is_background, is_excluded : ndarray of bool, shape (cells,)
    """

    below_top: Ints
    is_failed: npt.NDArray[np.bool_]
    is_background: npt.NDArray[np.bool_]
    is_excluded: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, layer: MapLayer) -> _Order:
        below_top = STEPS - layer.stored.ravel().astype(np.int64)
        below_top[~layer.analyzed.ravel()] = _LAST
        is_background = layer.map.states.ravel() == PatchState.BACKGROUND
        failed, excluded = layer.map.failed.ravel(), layer.map.excluded.ravel()
        return cls(below_top, failed, is_background, excluded)


@dataclass(frozen=True)
class _Profile:
    """What a region says of a layer, ready for any threshold.

    Attributes
    ----------
    kind : LayerKind
    below_top : ndarray of int, shape (n,)
        Of the analyzed cells that it covers, ascending: the highest value first.
    cumulated_um2 : ndarray of float, shape (n,)
        Area of these cells up to and with each.
    centred_below_top : ndarray of int
        Of the analyzed cells whose centre it holds, ascending.
    """

    kind: LayerKind
    moments: Moments
    patches: int
    patches_failed: int
    patches_background: int
    patches_excluded: int
    below_top: Ints
    cumulated_um2: Floats
    centred_below_top: Ints
    mean: float | None
    median: float | None

    @classmethod
    def of(
        cls, kind: LayerKind, overlap: Overlap, moments: Moments, order: _Order, px_um2: float
    ) -> _Profile:
        # Sorting whole numbers is several times faster than finding out their order.
        places = np.arange(len(overlap.cells))
        keys = np.sort(order.below_top[overlap.cells] << _PLACE_BITS | places)
        keys = keys[: np.searchsorted(keys, _LAST << _PLACE_BITS)]
        below_top = keys >> _PLACE_BITS
        areas_um2 = overlap.areas_px[keys & ((1 << _PLACE_BITS) - 1)] * px_um2
        cumulated = np.cumsum(areas_um2)
        mean = median = None
        if len(below_top):
            weighted = float(areas_um2 @ (STEPS - below_top))
            mean = kind.at(weighted / STEPS / float(cumulated[-1]))
            # The smallest value with half of the area at or below it: the last with half above it.
            above = cumulated - areas_um2
            last = np.searchsorted(above, cumulated[-1] * (1 - _HALF), side="right") - 1
            median = kind.value(STEPS - int(below_top[last]))
        centred = np.sort(order.below_top[overlap.centred])
        return cls(
            kind=kind,
            moments=moments,
            patches=len(centred),
            patches_failed=int(np.count_nonzero(order.is_failed[overlap.centred])),
            patches_background=int(np.count_nonzero(order.is_background[overlap.centred])),
            patches_excluded=int(np.count_nonzero(order.is_excluded[overlap.centred])),
            below_top=below_top,
            cumulated_um2=cumulated,
            centred_below_top=centred[: np.searchsorted(centred, _LAST)],
            mean=mean,
            median=median,
        )

    def at(self, most_below_top: np.int64) -> RegionStatistics:
        """Return the figures where all that is so far below the highest value, or less, is IDC."""
        total = float(self.cumulated_um2[-1]) if len(self.below_top) else 0.0
        positive = int(np.searchsorted(self.below_top, most_below_top, side="right"))
        idc_area = float(self.cumulated_um2[positive - 1]) if positive else 0.0
        centred = self.centred_below_top
        area = self.moments.area
        return RegionStatistics(
            centroid_x_um=self.moments.centroid[0],
            centroid_y_um=self.moments.centroid[1],
            area_um2=area,
            perimeter_um=self.moments.perimeter,
            patches=self.patches,
            patches_analyzed=len(centred),
            patches_failed=self.patches_failed,
            patches_background=self.patches_background,
            patches_excluded=self.patches_excluded,
            coverage_percent=100 * _share(total, area) if area > 0 else None,
            idc_patches=int(np.searchsorted(centred, most_below_top, side="right")),
            idc_fraction=idc_area / total if total > 0 else None,
            idc_area_um2=idc_area,
            mean_probability=self.mean,
            median_probability=self.median,
            max_probability=(
                self.kind.value(STEPS - int(self.below_top[0])) if total > 0 else None
            ),
        )


class RegionMeter:
    """Measures regions on one layer, again and again, at little cost.

    What depends on a region's shape alone is computed once for each shape; what depends on the
    map, once for each state of the map; a threshold is looked up. Kept are the shapes of the last
    call that had several, and the last few that were asked about alone. Not for two threads at
    once.

    Parameters
    ----------
    layer : MapLayer
        Its map may grow between calls, by its own `add`.
    mpp : (x, y)
        Level-0 resolution, µm per pixel.

    Attributes
    ----------
    layer : MapLayer
    mpp : (x, y)
    """

    def __init__(self, layer: MapLayer, mpp: tuple[float, float]) -> None:
        self.layer = layer
        self.mpp = mpp
        self._overlaps: dict[Shape, tuple[Overlap, Moments]] = {}
        self._profiles: dict[Shape, _Profile] = {}
        self._together: Collection[Shape] = ()
        self._alone: dict[Shape, None] = {}  # the last one last
        self._version = layer.map.version
        self._order = _Order.of(layer)

    def measure(self, shapes: Iterable[Shape], threshold: float) -> list[RegionStatistics]:
        """Return the figures of shapes, in their order.

        Parameters
        ----------
        threshold : float
            A patch is IDC if its value is at least this.
        """
        bound = np.int64(STEPS - self.layer.kind.least(threshold))
        return [profile.at(bound) for profile in self._take(list(shapes))]

    def histogram(self, shape: Shape, bins: int) -> Floats:
        """Return how the analyzed area of a shape is spread over the range, µm² per part of it."""
        (profile,) = self._take([shape])
        index = np.minimum((STEPS - profile.below_top) * bins // STEPS, bins - 1)
        areas = np.diff(profile.cumulated_um2, prepend=0.0)
        return np.bincount(index, areas, bins).astype(np.float64)

    def _take(self, shapes: list[Shape]) -> list[_Profile]:
        layer = self.layer
        if self._version != layer.map.version:
            self._profiles.clear()
            self._version, self._order = layer.map.version, _Order.of(layer)
        px_um2 = self.mpp[0] * self.mpp[1]
        wanted = dict.fromkeys(shapes)
        if len(wanted) > 1:
            self._together, self._alone = wanted.keys(), {}
            self._forget(self._overlaps.keys() - wanted.keys())
        elif wanted:
            self._keep_alone(*wanted)
        for shape in wanted:
            if shape not in self._overlaps:
                overlap = Overlap.of(shape, layer.grid)
                self._overlaps[shape] = overlap, shape.moments(self.mpp)
            if shape not in self._profiles:
                overlap, moments = self._overlaps[shape]
                self._profiles[shape] = _Profile.of(
                    layer.kind, overlap, moments, self._order, px_um2
                )
        return [self._profiles[shape] for shape in shapes]

    def _keep_alone(self, shape: Shape) -> None:
        # A drag asks about another shape with every move of the mouse, and about none again.
        if shape not in self._together:
            self._alone.pop(shape, None)
            self._alone[shape] = None
            if len(self._alone) > _KEPT_ALONE:
                oldest = next(iter(self._alone))
                del self._alone[oldest]
                self._forget([oldest])

    def _forget(self, shapes: Iterable[Shape]) -> None:
        for gone in shapes:
            self._overlaps.pop(gone, None)
            self._profiles.pop(gone, None)


def measure(
    region: Region, layer: MapLayer, mpp: tuple[float, float], threshold: float
) -> RegionStatistics:
    """Compute the statistics of one region once; see `RegionMeter` for many and again."""
    (figures,) = RegionMeter(layer, mpp).measure([region.shape], threshold)
    return figures


def whole_slide(grid: PatchGrid) -> Region:
    """Return the grid's rectangle within the slide as a region."""
    shape = rectangle(grid.origin_x_l0, grid.origin_y_l0, grid.right_l0, grid.bottom_l0)
    return Region(WHOLE_SLIDE, shape)


def overlaps_slide(region: Region, grid: PatchGrid) -> bool:
    """Whether any part of a region lies on the slide."""
    left, top, right, bottom = region.shape.bounds
    is_within = left >= grid.origin_x_l0 and top >= grid.origin_y_l0
    is_within = is_within and right <= grid.right_l0 and bottom <= grid.bottom_l0
    return is_within or len(_covered(region.shape, grid)[0]) > 0


def _share(part: float, whole: float) -> float:
    """Return what part of a whole it is; both are rounded sums, and all of it is exactly 1."""
    return 1.0 if math.isclose(part, whole, rel_tol=1e-12) else part / whole


def _covered(shape: Shape, grid: PatchGrid) -> tuple[Cells, Floats]:
    """Return the cells that a shape covers and which part of each, 0 to 1, exactly.

    Edges are cut into pieces that lie in one cell each. The part of its cell to the right of a
    piece is added where the piece goes up and taken away where it goes down; of all cells further
    right, its height. What is left or right of the slide counts as its shadow on the slide's side.
    """
    cell = _only_cell(shape, grid)
    if cell is not None:  # nothing to cut, as of the most where there are 100,000
        share = shape.area_px / (grid.step_x_l0 * grid.step_y_l0)
        found = int(share > _NOTHING)
        return np.full(found, cell, np.intp), np.full(found, min(share, 1.0))
    u1, v1, u2, v2 = _in_cells(shape.edges, grid).T
    end_u = min(grid.width_l0 / grid.step_x_l0, grid.cols)
    end_v = min(grid.height_l0 / grid.step_y_l0, grid.rows)
    walls_u = np.append(np.arange(grid.cols, dtype=np.float64), end_u)
    walls_v = np.append(np.arange(grid.rows, dtype=np.float64), end_v)
    (v1, u1, v2, u2), interval = _cut(v1, u1, v2, u2, walls_v)
    on_slide = (interval > 0) & (interval <= grid.rows)
    row = interval[on_slide] - 1
    pieces = (it[on_slide] for it in (u1, v1, u2, v2))
    (u1, v1, u2, v2, row), interval = _cut(*pieces, walls_u, row)
    if not len(row):
        return np.empty(0, np.intp), np.empty(0)
    col = np.clip(interval - 1, 0, grid.cols - 1)
    middle = (np.clip(u1, 0, end_u) + np.clip(u2, 0, end_u)) / 2
    height = v1 - v2
    first_row, first_col = row.min(), col.min()
    rows, cols = row.max() - first_row + 1, col.max() - first_col + 1
    at = (row - first_row) * (cols + 1) + col - first_col  # with a column for what is further right
    shape_px = rows, cols + 1
    own = np.bincount(at, height * (col + 1 - middle), rows * (cols + 1)).reshape(shape_px)
    passed_on = np.bincount(at + 1, height, rows * (cols + 1) + 1)[:-1].reshape(shape_px)
    is_crossed = np.bincount(at, minlength=rows * (cols + 1)).reshape(shape_px) > 0
    from_left = np.cumsum(passed_on, axis=1)
    # Where no edge passes, a cell is in or out as far as its row is on the slide: whatever else
    # stands there is rounding.
    whole = np.diff(walls_v, append=end_v)[first_row : first_row + rows, None]
    in_or_out = np.rint(from_left / whole) * whole
    part = np.where(is_crossed, own + from_left, in_or_out)[:, :cols]
    found_row, found_col = np.nonzero(part > _NOTHING)
    cells = (found_row + first_row) * grid.cols + found_col + first_col
    return cells, np.minimum(part[found_row, found_col], 1.0)


def _only_cell(shape: Shape, grid: PatchGrid) -> int | None:
    """Return the cell in which the whole shape lies, if there is one."""
    left, top, right, bottom = shape.bounds
    col = math.floor((left - grid.origin_x_l0) / grid.step_x_l0)
    row = math.floor((top - grid.origin_y_l0) / grid.step_y_l0)
    end_x = min(grid.origin_x_l0 + (col + 1) * grid.step_x_l0, grid.right_l0)
    end_y = min(grid.origin_y_l0 + (row + 1) * grid.step_y_l0, grid.bottom_l0)
    is_on_grid = 0 <= col < grid.cols and 0 <= row < grid.rows
    return row * grid.cols + col if is_on_grid and right <= end_x and bottom <= end_y else None


def _in_cells(edges: Floats, grid: PatchGrid) -> Floats:
    origin = np.array([grid.origin_x_l0, grid.origin_y_l0] * 2)
    steps = np.array([grid.step_x_l0, grid.step_y_l0] * 2)
    located: Floats = (edges - origin) / steps
    return located


def _cut(
    a1: Floats, b1: Floats, a2: Floats, b2: Floats, walls: Floats, *labels: Cells
) -> tuple[tuple[npt.NDArray[Any], ...], Cells]:
    """Cut edges from (a1, b1) to (a2, b2) wherever a crosses a wall.

    Returns
    -------
    pieces : tuple of ndarrays
        a1, b1, a2, b2 and the labels of each piece.
    interval : ndarray of int
        Between which walls each lies: i is below `walls[i]` and not below `walls[i - 1]`.
    """
    low, high = np.minimum(a1, a2), np.maximum(a1, a2)
    first = np.searchsorted(walls, low, side="right")
    count = np.maximum(np.searchsorted(walls, high, side="left"), first) - first + 1
    source = np.repeat(np.arange(len(a1)), count)
    interval = first[source] + _count_up(count)
    a1, b1, a2, b2, low, high = (it[source] for it in (a1, b1, a2, b2, low, high))
    bounded = np.concatenate([[-np.inf], walls, [np.inf]])
    low, high = np.maximum(low, bounded[interval]), np.minimum(high, bounded[interval + 1])
    start, end = np.where(a1 <= a2, low, high), np.where(a1 <= a2, high, low)
    width = np.where(a1 == a2, 1.0, a2 - a1)
    slope = (b2 - b1) / width
    # The ends of an edge are taken as they are, so that neighbours meet without a gap.
    at_start = np.where(start == a1, b1, np.where(start == a2, b2, b1 + (start - a1) * slope))
    at_end = np.where(end == a2, b2, np.where(end == a1, b1, b1 + (end - a1) * slope))
    return (start, at_start, end, at_end, *(label[source] for label in labels)), interval


def _count_up(counts: Cells) -> Cells:
    """Return 0, 1 … n - 1 for each n, one after the other."""
    steps: Cells = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return steps


def _centred(shape: Shape, grid: PatchGrid) -> Cells:
    """Return the cells whose centre is inside, by counting the edges to the left of it."""
    x = grid.origin_x_l0 + (np.arange(grid.cols) + 0.5) * grid.step_x_l0
    y = grid.origin_y_l0 + (np.arange(grid.rows) + 0.5) * grid.step_y_l0
    x, y = x[x < grid.right_l0], y[y < grid.bottom_l0]
    x1, y1, x2, y2 = shape.edges.T
    first = np.searchsorted(y, np.minimum(y1, y2))
    count = np.searchsorted(y, np.maximum(y1, y2)) - first
    source = np.repeat(np.arange(len(x1)), count)
    row = first[source] + _count_up(count)
    x1, y1, x2, y2 = (it[source] for it in (x1, y1, x2, y2))
    crossing = x1 + (y[row] - y1) * ((x2 - x1) / np.where(y1 == y2, 1.0, y2 - y1))
    col = np.searchsorted(x, crossing)  # the first centre that is not to the left
    if not len(row):
        return np.empty(0, np.intp)
    first_row, first_col = row.min(), col.min()
    rows, cols = row.max() - first_row + 1, len(x) - first_col + 1
    at = (row - first_row) * cols + col - first_col
    crossings = np.bincount(at, minlength=rows * cols).reshape(rows, cols)
    inside = np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1
    found_row, found_col = np.nonzero(inside)
    cells: Cells = (found_row + first_row) * grid.cols + found_col + first_col
    return cells
