"""The figures of regions on a layer of a map.

The region of every statistic is its part within the slide; a patch is a whole grid cell, weighted
by how much of it the region covers. How much that is only depends on region and grid, what is
sorted by probability only on the map too; so a new threshold costs a look-up per region.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.layers import STEPS, LayerKind
from idc_desktop.maps.probability_map import MapLayer, PatchState
from idc_desktop.regions.overlap import Overlap, overlaps
from idc_desktop.regions.shape import Moments, Region, Shape, rectangle

WHOLE_SLIDE = "Whole slide"

_HALF = 0.5 * (1 - 1e-12)  # sums of equal weights must reach a half in spite of rounding
_LAST = STEPS + 1  # comes after every value
_PLACE_BITS = 40
_KEPT_ALONE = 8

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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
        below_top, areas_um2, cumulated = _ranked(overlap, order, px_um2)
        median = None
        if len(below_top):
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
            mean=_mean(kind, below_top, areas_um2, cumulated),
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


def _ranked(overlap: Overlap, order: _Order, px_um2: float) -> tuple[Ints, Floats, Floats]:
    """Return of the analyzed cells, ascending, `below_top`; and their areas, each and cumulated."""
    # Sorting whole numbers is several times faster than finding out their order.
    places = np.arange(len(overlap.cells))
    keys = np.sort(order.below_top[overlap.cells] << _PLACE_BITS | places)
    keys = keys[: np.searchsorted(keys, _LAST << _PLACE_BITS)]
    areas_um2 = overlap.areas_px[keys & ((1 << _PLACE_BITS) - 1)] * px_um2
    return keys >> _PLACE_BITS, areas_um2, np.cumsum(areas_um2)


def _mean(
    kind: LayerKind, below_top: Ints, areas_um2: Floats, cumulated_um2: Floats
) -> float | None:
    """Return the mean by area; None of nothing."""
    if not len(below_top):
        return None
    weighted = float(areas_um2 @ (STEPS - below_top))
    mean: float = kind.at(weighted / STEPS / float(cumulated_um2[-1]))
    return mean


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
        new = [shape for shape in wanted if shape not in self._overlaps]
        for shape, overlap in zip(new, overlaps(new, layer.grid), strict=True):
            self._overlaps[shape] = overlap, shape.moments(self.mpp)
        for shape in wanted:
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


def measure_once(
    shapes: Sequence[Shape],
    layer: MapLayer,
    mpp: tuple[float, float],
    threshold: float,
    averaged: MapLayer | None = None,
) -> Iterator[tuple[RegionStatistics, float | None]]:
    """Yield the figures of shapes on a layer, keeping nothing of them.

    Parameters
    ----------
    averaged : MapLayer, optional
        Another layer of the map, of which the mean by area is yielded, too.
    """
    order, bound = _Order.of(layer), np.int64(STEPS - layer.kind.least(threshold))
    other = None if averaged is None else (averaged.kind, _Order.of(averaged))
    px_um2 = mpp[0] * mpp[1]
    for shape, overlap in zip(shapes, overlaps(shapes, layer.grid), strict=True):
        profile = _Profile.of(layer.kind, overlap, shape.moments(mpp), order, px_um2)
        mean = other and _mean(other[0], *_ranked(overlap, other[1], px_um2))
        yield profile.at(bound), mean


def measure(
    region: Region, layer: MapLayer, mpp: tuple[float, float], threshold: float
) -> RegionStatistics:
    """Compute the statistics of one region once; see `RegionMeter` for many and again."""
    ((figures, _),) = measure_once([region.shape], layer, mpp, threshold)
    return figures


def whole_slide(grid: PatchGrid) -> Region:
    """Return the grid's rectangle within the slide as a region."""
    shape = rectangle(grid.origin_x_l0, grid.origin_y_l0, grid.right_l0, grid.bottom_l0)
    return Region(WHOLE_SLIDE, shape)


def overlaps_slide(region: Region, grid: PatchGrid) -> bool:
    """Whether any part of a region lies on the slide."""
    left, top, right, bottom = region.shape.bounds
    if left >= grid.right_l0 or right <= grid.origin_x_l0:
        return False
    if top >= grid.bottom_l0 or bottom <= grid.origin_y_l0:
        return False
    is_within = left >= grid.origin_x_l0 and top >= grid.origin_y_l0
    is_within = is_within and right <= grid.right_l0 and bottom <= grid.bottom_l0
    return is_within or len(Overlap.of(region.shape, grid).cells) > 0


def _share(part: float, whole: float) -> float:
    """Return what part of a whole it is; both are rounded sums, and all of it is exactly 1."""
    return 1.0 if math.isclose(part, whole, rel_tol=1e-12) else part / whole
