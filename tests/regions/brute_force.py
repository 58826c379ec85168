"""The statistics of a region a second time: slowly, with one shapely intersection per patch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.layers import NO_VALUE
from idc_desktop.maps.probability_map import PatchState, ProbabilityMap

MPP = (0.7, 0.9)
SIZE = (9_300, 5_100)
ORIGINS = [(0, 0), (1_234, 567)]


def painted_map(origin: tuple[int, int]) -> ProbabilityMap:
    """Return a map with all states and many equal probabilities."""
    rng = np.random.default_rng(11)
    probability_map = ProbabilityMap(PatchGrid.over((*origin, *SIZE), MPP, 400.0))
    shape = probability_map.states.shape
    probability_map.states[:] = rng.choice([1, 1, 1, 1, 2, 3, 4, 5], shape)
    values = rng.integers(0, 21, shape) * 50_000
    probability_map.layer().stored[:] = np.where(
        probability_map.states == PatchState.OK, values, NO_VALUE
    )
    return probability_map


def figures(
    geometry: BaseGeometry, probability_map: ProbabilityMap, threshold: float
) -> dict[str, Any]:
    """Compute a region's figures."""
    grid = probability_map.grid
    extent = shapely.box(grid.origin_x_l0, grid.origin_y_l0, grid.right_l0, grid.bottom_l0)
    inside = geometry.intersection(extent)
    x, y = grid.column_edges_l0(), grid.row_edges_l0()
    px_um2 = MPP[0] * MPP[1]
    weights: list[tuple[float, float]] = []
    counts = dict.fromkeys(("patches", "analyzed", "background", "failed", "idc"), 0)
    for row, col in np.ndindex(grid.rows, grid.cols):
        state = probability_map.states[row, col]
        p = probability_map.layer().stored[row, col] / 1e6
        cell = shapely.box(x[col], y[row], x[col + 1], y[row + 1])
        if state == PatchState.OK:
            weights.append((p, cell.intersection(inside).area * px_um2))
        if inside.contains(shapely.Point((x[col] + x[col + 1]) / 2, (y[row] + y[row + 1]) / 2)):
            counts["patches"] += 1
            counts["analyzed"] += state == PatchState.OK
            counts["background"] += state == PatchState.BACKGROUND
            counts["failed"] += state in (PatchState.FAILED, PatchState.INVALID_OUTPUT)
            counts["idc"] += bool(state == PatchState.OK and p >= threshold)
    weights = sorted((p, w) for p, w in weights if w > 0)
    total = math.fsum(w for _, w in weights)
    median = None
    cumulated = 0.0
    for p, w in weights:
        cumulated += w
        if cumulated >= total / 2 * (1 - 1e-12):
            median = p
            break
    positive = math.fsum(w for p, w in weights if p >= threshold)
    scaled = affinity.scale(geometry, *MPP, origin=(0, 0))
    return {
        "centroid_x_um": scaled.centroid.x,
        "centroid_y_um": scaled.centroid.y,
        "area_um2": scaled.area,
        "perimeter_um": scaled.length,
        "patches": counts["patches"],
        "patches_analyzed": counts["analyzed"],
        "patches_failed": counts["failed"],
        "patches_background": counts["background"],
        "coverage_percent": 100 * total / scaled.area,
        "idc_patches": counts["idc"],
        "idc_fraction": positive / total if total else None,
        "idc_area_um2": positive,
        "mean_probability": math.fsum(p * w for p, w in weights) / total if total else None,
        "median_probability": median,
        "max_probability": max((p for p, _ in weights), default=None),
    }


def random_region(seed: int, origin: tuple[int, int]) -> BaseGeometry:
    """Draw a polygon: a star, a tilted box, one with a hole, two parts; some partly off."""
    rng = np.random.default_rng(seed)
    centre = np.array(origin) + rng.uniform((-500, -500), (SIZE[0] + 500, SIZE[1] + 500))
    size = rng.uniform(50, 3_000)
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 15)))
    radii = rng.uniform(0.3, 1, len(angles)) * size
    star = shapely.Polygon(
        np.stack([centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)], axis=1)
    ).buffer(0)
    box = shapely.box(*(centre - size / 2), *(centre + size * np.array([0.1, 0.4])))
    box = affinity.rotate(box, rng.uniform(0, 90))
    kind = seed % 4
    if kind == 0:
        return star if star.area > 1 else box
    if kind == 1:
        return box
    if kind == 2:
        return box.difference(affinity.scale(box, 0.5, 0.6))
    return box.union(affinity.translate(box, 1.7 * size, 0.2 * size))
