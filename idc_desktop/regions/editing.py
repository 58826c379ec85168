"""New shapes: drawn, or made of others.

Every function returns a valid shape or says why there is none. What crosses itself is repaired,
and the second value of a `Drawn` says so. Coordinates and lengths are level-0 pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from idc_desktop.errors import RegionsError
from idc_desktop.plain_text import counted
from idc_desktop.regions.shape import (
    MAX_COORDINATE,
    Point,
    Region,
    Ring,
    Roi,
    Shape,
    Vertex,
    rectangle,
    shape_of,
)

_ELLIPSE_CORNERS = 180
_SAME_PLACE = 1e-9  # of the largest coordinate: so exactly are points of a cut on it
_BRUSH_TOLERANCE = 0.01  # of the brush's radius: keeps long strokes from growing without end


class CoordinateError(RegionsError):
    """What should be a point is none: not merely no area, but damaged."""


class Drawn(NamedTuple):
    """A shape, and what was repaired in it: part of a sentence, or nothing."""

    shape: Shape
    repair: str


def draw_rectangle(corner: Point, opposite: Point) -> Shape:
    """Draw a rectangle between two corners; `RegionsError` if it has no area."""
    left, top, right, bottom = _box(corner, opposite)
    return rectangle(left, top, right, bottom)


def draw_ellipse(corner: Point, opposite: Point) -> Shape:
    """Draw an ellipse into the box between two corners; `RegionsError` if it has no area."""
    left, top, right, bottom = _box(corner, opposite)
    angles = np.arange(_ELLIPSE_CORNERS) * (2 * np.pi / _ELLIPSE_CORNERS)
    x = (left + right) / 2 + (right - left) / 2 * np.cos(angles)
    y = (top + bottom) / 2 + (bottom - top) / 2 * np.sin(angles)
    return shape_of([[np.stack([x, y], axis=1)]], "Ellipse")


def draw_polygon(points: npt.ArrayLike, tolerance: float = 0.0) -> Drawn:
    """Draw a polygon through points, shape (n, 2), or along a freehand line.

    Parameters
    ----------
    tolerance : float
        How far the outline may leave the points to need fewer corners; for a freehand line about
        one pixel of the screen.

    Raises
    ------
    RegionsError
        It has no area.
    """
    drawn = repaired([[points]])
    if tolerance <= 0:
        return drawn
    simpler = shapely.simplify(to_shapely(drawn.shape), tolerance)
    return Drawn(from_shapely(simpler), drawn.repair) if simpler.area > 0 else drawn


def brush(shape: Shape | None, points: npt.ArrayLike, radius: float) -> Shape:
    """Add what a round brush covers on its way through points, shape (n, 2), n >= 1."""
    stroke = _stroke(points, radius)
    painted = stroke if shape is None else to_shapely(shape).union(stroke)
    return _smoothed(painted, radius)


def erase(shape: Shape, points: npt.ArrayLike, radius: float) -> Shape | None:
    """Take away what a round eraser covers.

    Returns
    -------
    Shape or None
        None if nothing is left; the same object where the eraser does not reach it.
    """
    whole, stroke = to_shapely(shape), _stroke(points, radius)
    if not whole.intersects(stroke):
        return shape
    left = whole.difference(stroke)
    return _smoothed(left, radius) if _has_area(left) else None


def unite(shapes: Iterable[Shape]) -> Shape:
    """Return all that at least one of the shapes covers."""
    return from_shapely(shapely.union_all([to_shapely(shape) for shape in shapes]))


def by_class(regions: Iterable[Region]) -> list[Region]:
    """Return one region per class, in the order of their names: all that its regions cover.

    Where regions of a class overlap, their common area counts once.
    """
    members: dict[str, list[Region]] = {}
    for region in regions:
        members.setdefault(region.classification, []).append(region)
    return [
        Region(name or "No class", unite(it.shape for it in found), name, found[0].color)
        for name, found in sorted(members.items())
    ]


def intersect(shape: Shape, other: Shape) -> Shape | None:
    """Return what two shapes have in common; None if that is no area."""
    common = to_shapely(shape).intersection(to_shapely(other))
    areas = shapely.union_all(_polygons(common))
    return from_shapely(areas) if _has_area(areas) else None


def common_corners(shape: Shape, boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the corners, shape (n, 2), of what a shape has in common with each of many boxes.

    Parameters
    ----------
    boxes : ndarray of float, shape (m, 4)
        Left, top, right, bottom.
    """
    common = shapely.intersection(shapely.box(*boxes.T), to_shapely(shape))
    corners: npt.NDArray[np.float64] = shapely.get_coordinates(common)
    return corners


def subtract(shape: Shape, others: Iterable[Shape]) -> Shape | None:
    """Return what is left of a shape without the others; None if nothing is."""
    left = to_shapely(shape).difference(shapely.union_all([to_shapely(it) for it in others]))
    return from_shapely(left) if _has_area(left) else None


def split(shape: Shape, line: npt.ArrayLike) -> list[Shape]:
    """Cut a shape along a line through points, shape (n, 2).

    One cut makes two shapes, whatever the number of pieces: what lies on either side of it. What
    it does not reach stays with the larger one.

    Returns
    -------
    list of Shape
        The parts, the largest first; a single one if the line does not cut through.
    """
    way = _points(line)
    cut = shapely.LineString(way)
    whole: list[BaseGeometry] = []
    pieces: list[BaseGeometry] = []
    for polygon in shapely.get_parts([to_shapely(shape)]):
        lines = shapely.union(polygon.boundary, cut)
        found = shapely.get_parts([shapely.polygonize([lines])])
        inside = [it for it in found if polygon.contains(it.representative_point())]
        if len(inside) > 1:
            pieces += inside
        else:
            whole.append(polygon)
    if not pieces:
        return [shape]
    pieces.sort(key=lambda piece: -piece.area)
    left = [_lies_left(piece, way) for piece in pieces]
    if all(left) or not any(left):  # the line ends in the shape: what it cuts off has no side
        left = [piece is pieces[0] for piece in pieces]
    sides = [
        [piece for piece, is_left in zip(pieces, left, strict=True) if is_left == side]
        for side in (True, False)
    ]
    larger, smaller = sorted(sides, key=lambda side: -sum(piece.area for piece in side))
    return [from_shapely(shapely.union_all(part)) for part in ([*larger, *whole], smaller)]


def move_vertex(shape: Shape, vertex: Vertex, to: Point) -> Drawn:
    """Put a corner elsewhere."""

    def put(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        points[vertex.point] = to
        return points

    return _edited(shape, vertex, put)


def insert_vertex(shape: Shape, vertex: Vertex, at: Point) -> Drawn:
    """Put a new corner before another one (see `Shape.nearest_edge`)."""
    return _edited(shape, vertex, lambda points: np.insert(points, vertex.point, at, axis=0))


def delete_vertex(shape: Shape, vertex: Vertex) -> Drawn:
    """Take a corner away; of a triangle the whole ring goes.

    Raises
    ------
    RegionsError
        It is the last ring.
    """
    return _edited(shape, vertex, lambda points: np.delete(points, vertex.point, axis=0))


def repaired(polygons: Iterable[Iterable[npt.ArrayLike]], roi: Roi = "Polygon") -> Drawn:
    """Make a shape of any rings: outline and holes of each polygon.

    Raises
    ------
    CoordinateError
        A coordinate is not finite, or far beyond any slide.
    RegionsError
        There is no area, or only rings of under three corners. Both messages are part of a
        sentence: "has no area".
    """
    return repaired_rings(rings_of(polygons), roi)


def rings_of(polygons: Iterable[Iterable[npt.ArrayLike]]) -> list[list[Ring]]:
    """Take the outline and holes of each polygon as arrays; `CoordinateError` as in `repaired`."""
    return [[_opened(_points(ring)) for ring in polygon] for polygon in polygons]


def repaired_rings(rings: list[list[Ring]], roi: Roi) -> Drawn:
    """Do what `repaired` does with what `rings_of` returned."""
    parts, slivers = _without_slivers(rings)
    if not parts:
        raise RegionsError(
            f"has a ring of {counted(slivers[0], 'point')}" if slivers else "has no rings"
        )
    mended = [f"{counted(len(slivers), 'ring')} of under three points left out"] if slivers else []
    geometry = _geometry(parts)
    if geometry.is_valid and _has_area(geometry):
        shape = shape_of(parts, roi)
    else:
        mended.append(shapely.is_valid_reason(geometry))
        # The union joins parts that share an edge, which GEOS leaves apart.
        geometry = shapely.union_all(_polygons(shapely.make_valid(geometry, method="structure")))
        if not _has_area(geometry):
            raise RegionsError("has no area")
        shape = from_shapely(geometry)
    return Drawn(shape, f"was repaired ({'; '.join(mended)})" if mended else "")


def to_shapely(shape: Shape) -> BaseGeometry:
    """Return a shapely Polygon or MultiPolygon."""
    return _geometry(shape.polygons)


def from_shapely(geometry: BaseGeometry, roi: Roi = "Polygon") -> Shape:
    """Take the polygons of a valid geometry; points and lines in it are dropped."""
    polygons = [
        [shapely.get_coordinates(ring)[:-1] for ring in (part.exterior, *part.interiors)]
        for part in _polygons(geometry)
    ]
    return shape_of(polygons, roi)


def _edited(
    shape: Shape,
    vertex: Vertex,
    change: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
) -> Drawn:
    polygons = [list(polygon) for polygon in shape.polygons]
    rings = polygons[vertex.polygon]
    rings[vertex.ring] = change(rings[vertex.ring].copy())
    if len(rings[vertex.ring]) < 3:
        # A hole that is no more is filled; an outline takes its holes with it.
        if vertex.ring:
            del rings[vertex.ring]
        else:
            del polygons[vertex.polygon]
    if not polygons:
        raise RegionsError("has no area")
    return repaired(polygons)


def _lies_left(piece: BaseGeometry, way: npt.NDArray[np.float64]) -> bool:
    """Whether a piece that was cut off along a way lies to the left of it, by its edges there."""
    oriented = orient(piece)  # what is inside lies to the left of each edge
    near = _SAME_PLACE * max(1.0, float(np.abs(way).max()))
    along = 0.0
    for ring in (oriented.exterior, *oriented.interiors):
        points = shapely.get_coordinates(ring)
        edges, middles = np.diff(points, axis=0), (points[1:] + points[:-1]) / 2
        for start, step in zip(way[:-1], np.diff(way, axis=0), strict=True):
            length = float(np.hypot(*step))
            if length > 0:
                x, y = ((middles - start) / length).T
                ahead = (x * step[0] + y * step[1]) / length
                aside = np.abs(x * step[1] - y * step[0])
                is_cut = (aside <= near) & (ahead >= 0) & (ahead <= 1)
                along += float(edges[is_cut].dot(step).sum()) / length
    return along > 0


def _points(points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    try:
        array = np.asarray(points, np.float64)
    except ValueError:  # some have a height, and others have none
        array = np.asarray([it[:2] for it in np.asarray(points, object)], np.float64)
    if array.shape == (0,):  # a ring without a point
        array = array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] < 2:
        raise CoordinateError("has points that are not x and y")
    array = array[:, :2]
    if not np.all(np.abs(array) <= MAX_COORDINATE):
        raise CoordinateError("has a coordinate that is not finite, or far beyond any slide")
    return array


def _opened(ring: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Drop a last point that repeats the first."""
    return ring[:-1] if len(ring) > 1 and np.array_equal(ring[0], ring[-1]) else ring


def _without_slivers(
    polygons: list[list[npt.NDArray[np.float64]]],
) -> tuple[list[list[npt.NDArray[np.float64]]], list[int]]:
    """Leave out rings of under three points, an outline with its holes; return their sizes too."""
    kept, slivers = [], []
    for polygon in polygons:
        slivers += [len(ring) for ring in polygon if len(ring) < 3]
        if polygon and len(polygon[0]) >= 3:
            kept.append([ring for ring in polygon if len(ring) >= 3])
    return kept, slivers


def _box(corner: Point, opposite: Point) -> tuple[float, float, float, float]:
    (left, top), (right, bottom) = np.sort(_points([corner, opposite]), axis=0).tolist()
    if not (right > left and bottom > top):
        raise RegionsError("has no area")
    return left, top, right, bottom


def _stroke(points: npt.ArrayLike, radius: float) -> BaseGeometry:
    if not (math.isfinite(radius) and radius > 0):
        raise ValueError(f"radius {radius} is not a positive length")
    way = _points(points)
    line = shapely.LineString(way) if len(way) > 1 else shapely.Point(way[0])
    return shapely.buffer(line, radius, quad_segs=8)


def _smoothed(geometry: BaseGeometry, radius: float) -> Shape:
    simpler = shapely.simplify(geometry, _BRUSH_TOLERANCE * radius)
    return from_shapely(simpler if _has_area(simpler) else geometry)


def _polygons(geometry: BaseGeometry) -> list[BaseGeometry]:
    parts = shapely.get_parts(shapely.get_parts([geometry]))
    return [part for part in parts if part.geom_type == "Polygon" and part.area > 0]


def _geometry(polygons: Sequence[Sequence[npt.NDArray[np.float64]]]) -> BaseGeometry:
    """Return a Polygon, or a MultiPolygon of several."""
    # Not `shapely.Polygon(...)`, which takes twice as long.
    parts = [
        shapely.polygons(outline, [shapely.linearrings(hole) for hole in holes] or None)
        for outline, *holes in polygons
    ]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _has_area(geometry: BaseGeometry) -> bool:
    return bool(geometry.area > 0)
