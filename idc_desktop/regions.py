"""Regions of a slide and their statistics.

Geometry is in level-0 pixels, origin at the slide's top left. The region of every statistic is
its part within the slide; a patch is a whole grid cell.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from idc_desktop.errors import RegionsError
from idc_desktop.grid import MILLIONTHS, PatchGrid, PatchState, ProbabilityMap

WHOLE_SLIDE = "Whole slide"

_MAX_BYTES = 256 << 20
_MAX_COORDINATE = 1e8  # px; far beyond any slide, and its square is still exact enough
_BAD_COORDINATES = (
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    OverflowError,
    shapely.errors.ShapelyError,
)
_HALF = 0.5 * (1 - 1e-12)  # sums of equal weights must reach a half in spite of rounding


@dataclass(frozen=True)
class Region:
    """A named area.

    Attributes
    ----------
    roi : {"Polygon", "Rectangle", "Ellipse"}
    geometry : shapely Polygon or MultiPolygon
        Level-0 pixels.
    """

    name: str
    classification: str
    roi: str
    geometry: BaseGeometry


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
    coverage_percent: float | None
    idc_patches: int
    idc_fraction: float | None
    idc_area_um2: float
    mean_probability: float | None
    median_probability: float | None
    max_probability: float | None


def whole_slide(grid: PatchGrid) -> Region:
    """Return the grid's rectangle within the slide as a region."""
    return Region(WHOLE_SLIDE, "", "Rectangle", _extent(grid))


def overlaps_slide(region: Region, grid: PatchGrid) -> bool:
    """Whether any part of a region lies on the slide."""
    return bool(shapely.intersects(region.geometry, _extent(grid)))


def measure(
    region: Region, probability_map: ProbabilityMap, mpp: tuple[float, float], threshold: float
) -> RegionStatistics:
    """Compute the statistics of a region.

    Parameters
    ----------
    mpp : (x, y)
        Level-0 resolution, µm per pixel.
    threshold : float
        A patch is IDC if its probability is at least this.
    """
    grid = probability_map.grid
    px_um2 = mpp[0] * mpp[1]
    scaled = shapely.transform(region.geometry, lambda points: points * np.array(mpp))
    area_um2 = float(scaled.area)
    inside = shapely.intersection(region.geometry, _extent(grid))
    rows, cols, areas_px = _overlaps(inside, probability_map)
    weights = areas_px * px_um2
    millionths = probability_map.millionths[rows, cols]
    probabilities = millionths / MILLIONTHS
    positive = probabilities >= threshold
    total = math.fsum(weights)
    idc_area = math.fsum(weights[positive])
    mean = math.fsum(weights * probabilities) / total if total > 0 else None

    centred = _centres_within(inside, grid)
    states = probability_map.states[centred]
    analyzed = states == PatchState.OK
    counted = probability_map.millionths[centred][analyzed] / MILLIONTHS
    return RegionStatistics(
        centroid_x_um=float(scaled.centroid.x),
        centroid_y_um=float(scaled.centroid.y),
        area_um2=area_um2,
        perimeter_um=float(scaled.length),
        patches=int(np.count_nonzero(centred)),
        patches_analyzed=int(np.count_nonzero(analyzed)),
        patches_failed=int(
            np.count_nonzero(np.isin(states, (PatchState.FAILED, PatchState.INVALID_OUTPUT)))
        ),
        coverage_percent=100 * total / area_um2 if area_um2 > 0 else None,
        idc_patches=int(np.count_nonzero(counted >= threshold)),
        idc_fraction=idc_area / total if total > 0 else None,
        idc_area_um2=idc_area,
        mean_probability=mean,
        median_probability=_weighted_median(probabilities, weights) if total > 0 else None,
        max_probability=float(probabilities.max()) if total > 0 else None,
    )


def read_regions(path: Path) -> tuple[list[Region], list[str]]:
    """Read regions from a GeoJSON file, plain or gzipped, as QuPath writes them.

    Returns
    -------
    regions : list of Region
    notes : list of str
        What was repaired.

    Raises
    ------
    RegionsError
        The file is unreadable, no GeoJSON, holds no region, or any feature is not an area. It is
        never read by half.
    """
    try:
        if not path.is_file() and path.exists():
            raise RegionsError(f"{path.name}: This is not a file. Give a GeoJSON file.")
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise RegionsError(f"{path.name}: The regions file is larger than 256 MiB.")
        document = json.loads(data)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RegionsError(f"{path.name}: The regions cannot be read ({reason}).") from error
    except json.JSONDecodeError as error:
        raise RegionsError(
            f"{path.name}: This is not GeoJSON (line {error.lineno}: {error.msg})."
        ) from error
    except (ValueError, EOFError, zlib.error, RecursionError) as error:
        raise RegionsError(f"{path.name}: This is not GeoJSON ({error}).") from error
    features = _features(document)
    if not features:
        raise RegionsError(f"{path.name}: The file holds no regions.")
    notes: list[str] = []
    return [_region(path.name, n, it, notes) for n, it in enumerate(features, 1)], notes


def _features(document: Any) -> list[Any]:  # noqa: ANN401 - any JSON value
    if isinstance(document, list):  # QuPath may write a bare list of features
        return document
    if not isinstance(document, dict):
        return []
    if document.get("type") == "FeatureCollection":
        features = document.get("features")
        return features if isinstance(features, list) else []
    return [document] if document.get("type") == "Feature" else []


def _region(file: str, number: int, feature: Any, notes: list[str]) -> Region:  # noqa: ANN401
    where = f"{file}: Feature {number}"
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    if not isinstance(geometry, dict) or geometry.get("type") not in ("Polygon", "MultiPolygon"):
        kind = geometry.get("type") if isinstance(geometry, dict) else None
        raise RegionsError(f"{where} is not a Polygon or MultiPolygon but {kind}. Remove it.")
    try:
        parts = geometry["coordinates"]
        polygons = [parts] if geometry["type"] == "Polygon" else parts
        shape: BaseGeometry = shapely.MultiPolygon(
            [(_ring(part[0]), [_ring(ring) for ring in part[1:]]) for part in polygons]
        )
    except _BAD_COORDINATES as error:
        raise RegionsError(f"{where} has no valid coordinates ({error}).") from error
    if not shape.is_valid:
        notes.append(f"{where} was repaired: {shapely.is_valid_reason(shape)}.")
        shape = shapely.make_valid(shape, method="structure")
    if shape.geom_type == "MultiPolygon" and len(shape.geoms) == 1:
        shape = shape.geoms[0]
    if shape.geom_type not in ("Polygon", "MultiPolygon") or shape.area == 0:
        raise RegionsError(f"{where} has no area. Remove it.")
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    name = properties.get("name")
    if geometry.get("isEllipse") is True:
        roi = "Ellipse"
    else:
        roi = "Rectangle" if shape.equals(shapely.envelope(shape)) else "Polygon"
    return Region(
        name if isinstance(name, str) else f"Region {number}",
        _classification(properties.get("classification")),
        roi,
        shape,
    )


def _ring(points: Any) -> list[tuple[float, float]]:  # noqa: ANN401
    ring = [(float(point[0]), float(point[1])) for point in points]
    if not all(abs(value) <= _MAX_COORDINATE for point in ring for value in point):
        raise ValueError("a coordinate is not finite, or far beyond any slide")
    if len(ring) < 3:
        raise ValueError(f"a ring has {len(ring)} points")
    return ring


def _classification(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, dict):
        names = value.get("names")
        value = ": ".join(map(str, names)) if isinstance(names, list) else value.get("name")
    return value if isinstance(value, str) else ""


def _extent(grid: PatchGrid) -> BaseGeometry:
    return shapely.box(grid.origin_x_l0, grid.origin_y_l0, grid.right_l0, grid.bottom_l0)


def _overlaps(
    area: BaseGeometry, probability_map: ProbabilityMap
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return rows, columns and overlap in px² of the analyzed patches that overlap `area`."""
    empty = np.empty(0, np.intp)
    if area.is_empty:
        return empty, empty, np.empty(0)
    grid = probability_map.grid
    x, y = grid.column_edges_l0(), grid.row_edges_l0()
    left, top, right, bottom = area.bounds
    first_row, last_row = np.searchsorted(y, [top, bottom], side="right") - 1
    first_col, last_col = np.searchsorted(x, [left, right], side="right") - 1
    window = np.s_[max(first_row, 0) : last_row + 1, max(first_col, 0) : last_col + 1]
    rows, cols = np.nonzero(probability_map.analyzed[window])
    rows, cols = rows + window[0].start, cols + window[1].start
    if area.equals(shapely.envelope(area)):  # a rectangle, as the whole slide is
        across = np.minimum(x[cols + 1], right) - np.maximum(x[cols], left)
        down = np.minimum(y[rows + 1], bottom) - np.maximum(y[rows], top)
        overlap = np.clip(across, 0, None) * np.clip(down, 0, None)
        hit = overlap > 0
        return rows[hit], cols[hit], overlap[hit]
    cells = shapely.box(x[cols], y[rows], x[cols + 1], y[rows + 1])
    shapely.prepare(area)
    within = shapely.contains_properly(area, cells)
    overlap = np.where(within, shapely.area(cells), 0.0)
    crossing = ~within
    overlap[crossing] = shapely.area(shapely.intersection(cells[crossing], area))
    hit = overlap > 0
    return rows[hit], cols[hit], overlap[hit]


def _centres_within(area: BaseGeometry, grid: PatchGrid) -> npt.NDArray[np.bool_]:
    """Return which cells have their centre in `area`, its right and lower edges excluded."""
    inside = np.zeros((grid.rows, grid.cols), np.bool_)
    edges = _ring_edges(area)
    if not len(edges):
        return inside
    x = grid.origin_x_l0 + (np.arange(grid.cols) + 0.5) * grid.step_x_l0
    y = grid.origin_y_l0 + (np.arange(grid.rows) + 0.5) * grid.step_y_l0
    x1, y1, x2, y2 = edges.T
    for row in np.flatnonzero((y >= min(y1.min(), y2.min())) & (y < max(y1.max(), y2.max()))):
        cut = (y1 > y[row]) != (y2 > y[row])
        slope = (x2[cut] - x1[cut]) / (y2[cut] - y1[cut])
        crossings = np.sort(x1[cut] + (y[row] - y1[cut]) * slope)
        to_the_right = len(crossings) - np.searchsorted(crossings, x, side="right")
        inside[row] = to_the_right % 2 == 1
    return inside


def _ring_edges(area: BaseGeometry) -> npt.NDArray[np.float64]:
    """Return all edges of all rings, shape (n, 4): x1, y1, x2, y2."""
    polygons = [part for part in shapely.get_parts([area]) if part.geom_type == "Polygon"]
    rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(polygons)]
    pieces = [np.hstack([points[:-1], points[1:]]) for points in rings]
    return np.concatenate(pieces) if pieces else np.empty((0, 4))


def _weighted_median(values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> float:
    """Return the smallest value at which the cumulated weight reaches half of the total."""
    order = np.argsort(values, kind="stable")
    cumulated = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulated, _HALF * cumulated[-1])])
