"""Shapes and regions as values: arrays of points that can be painted, hit and kept as they are.

All geometry is in level-0 pixels, origin at the slide's top left, points are (x, y).
"""

from __future__ import annotations

import colorsys
import math
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Ring = npt.NDArray[np.float64]
"""Corners of a closed line, shape (n, 2), the first not repeated at the end; read-only."""

Polygon = tuple[Ring, ...]
"""An outline and its holes."""

Roi = Literal["Polygon", "Rectangle", "Ellipse"]
Rgb = tuple[int, int, int]
Point = tuple[float, float]

Verdict = Literal["", "IDC", "DCIS", "benign", "artefact", "unsure"]
"""What a pathologist judges an area to be; empty before that."""

VERDICTS: tuple[Verdict, ...] = ("IDC", "DCIS", "benign", "artefact", "unsure")

MASK_ADDED, MASK_REMOVED = "Tissue mask: added", "Tissue mask: removed"
"""Classes of regions whose patches count as tissue, or as background, whatever the mask says."""

MAX_COORDINATE = 1e8
"""px; far beyond any slide, and its square is still exact enough."""

MAX_NAME_CHARS = 300
"""What a file names longer is cut."""

MAX_NOTE_CHARS = 4_000
"""A longer note is cut, too."""

_ROUNDING_PX = 1e-6
_CLASS_RGB = {
    "": (30, 90, 220),
    "idc": (200, 0, 0),
    "tumor": (200, 0, 0),
    "dcis": (240, 130, 0),
    "benign": (0, 150, 110),
    "artefact": (110, 110, 122),
    "unsure": (130, 70, 200),
    "stroma": (150, 200, 150),
    "immune cells": (160, 90, 160),
    "necrosis": (50, 50, 50),
    "other": (255, 200, 0),
    MASK_ADDED.casefold(): (0, 120, 235),
    MASK_REMOVED.casefold(): (95, 105, 130),
}


def new_id() -> str:
    """Return an id that nothing has."""
    return str(uuid.uuid4())


class Vertex(NamedTuple):
    """A corner of a shape: number of the polygon, of its ring, of the ring's point."""

    polygon: int
    ring: int
    point: int


class Moments(NamedTuple):
    """Size and place of a shape in the square of the unit it was asked in."""

    area: float
    perimeter: float
    centroid: Point


@dataclass(frozen=True, eq=False)
class Shape:
    """An area of one or more polygons with holes.

    Valid by construction: made by `shape_of` from rings that are known to be sound, or by
    `idc_desktop.regions.editing`, which repairs them. Outlines run one way and holes the other,
    so all rings filled by either rule give the area.

    Attributes
    ----------
    polygons : tuple of Polygon
    roi : {"Polygon", "Rectangle", "Ellipse"}
        What it was drawn as; an ellipse is a polygon of many corners.
    """

    polygons: tuple[Polygon, ...]
    roi: Roi = "Polygon"

    @property
    def rings(self) -> Iterator[Ring]:
        """All outlines and holes, to be painted as one path."""
        return (ring for polygon in self.polygons for ring in polygon)

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        outlines = np.concatenate([polygon[0] for polygon in self.polygons])
        (left, top), (right, bottom) = outlines.min(axis=0), outlines.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    @cached_property
    def area_px(self) -> float:
        """Its area, level-0 pixels squared."""
        x1, y1, x2, y2 = self._local((1.0, 1.0)).T
        return math.fsum(x1 * y2 - x2 * y1) / 2

    @cached_property
    def edges(self) -> npt.NDArray[np.float64]:
        """All edges, shape (n, 4): x1, y1, x2, y2."""
        return np.concatenate([np.hstack([ring, _following(ring)]) for ring in self.rings])

    def moments(self, scale: Point = (1.0, 1.0)) -> Moments:
        """Return area, perimeter (holes included) and centroid.

        Parameters
        ----------
        scale : (x, y)
            Size of a pixel, for instance in µm.
        """
        x0, y0 = self.bounds[:2]
        x1, y1, x2, y2 = self._local(scale).T
        cross = x1 * y2 - x2 * y1
        twice = math.fsum(cross)
        x = math.fsum((x1 + x2) * cross) / (3 * twice)
        y = math.fsum((y1 + y2) * cross) / (3 * twice)
        perimeter = math.fsum(np.hypot(x2 - x1, y2 - y1))
        return Moments(twice / 2, perimeter, (x + x0 * scale[0], y + y0 * scale[1]))

    def _local(self, scale: Point) -> npt.NDArray[np.float64]:
        """Return the edges, counted from the top left: near it their products lose no digits."""
        x0, y0 = self.bounds[:2]
        local: npt.NDArray[np.float64] = (self.edges - (x0, y0, x0, y0)) * (*scale, *scale)
        return local

    def contains(self, point: Point) -> bool:
        """Whether a point lies inside (left and upper edges belong to it)."""
        x1, y1, x2, y2 = self.edges.T
        cut = (y1 > point[1]) != (y2 > point[1])
        x1, y1, x2, y2 = x1[cut], y1[cut], x2[cut], y2[cut]
        crossings = x1 + (point[1] - y1) * (x2 - x1) / (y2 - y1)
        return int(np.count_nonzero(crossings > point[0])) % 2 == 1

    def nearest_vertex(self, point: Point) -> tuple[Vertex, float]:
        """Return the corner that is nearest to a point, and its distance."""
        return min(
            (
                (vertex, distance)
                for polygon, ring, points in self._numbered()
                for index, distance in [_nearest(np.hypot(*(points - point).T))]
                for vertex in [Vertex(polygon, ring, index)]
            ),
            key=lambda found: found[1],
        )

    def nearest_edge(self, point: Point) -> tuple[Vertex, float]:
        """Return where a corner at a point would be inserted, and the edge's distance."""
        found = []
        for polygon, ring, points in self._numbered():
            along = _following(points) - points
            length2 = np.maximum((along**2).sum(axis=1), 1e-300)
            at = np.clip(((point - points) * along).sum(axis=1) / length2, 0, 1)
            foot = points + at[:, None] * along
            index, distance = _nearest(np.hypot(*(foot - point).T))
            found.append((Vertex(polygon, ring, index + 1), distance))
        return min(found, key=lambda entry: entry[1])

    def is_close(self, other: Shape) -> bool:
        """Whether another shape has the same corners but for rounding; whatever their `roi`."""
        mine, others = list(self.rings), list(other.rings)
        return [len(it) for it in self.polygons] == [len(it) for it in other.polygons] and all(
            one.shape == two.shape and np.allclose(one, two, rtol=0, atol=_ROUNDING_PX)
            for one, two in zip(mine, others, strict=True)
        )

    def moved(self, dx: float, dy: float) -> Shape:
        """Return the shape elsewhere."""
        return shape_of(
            [[np.add(ring, (dx, dy)) for ring in polygon] for polygon in self.polygons], self.roi
        )

    def resized(self, across: float, down: float) -> Shape:
        """Return the shape with all coordinates multiplied; factors above 0."""
        return shape_of(
            [[ring * (across, down) for ring in polygon] for polygon in self.polygons], self.roi
        )

    def scaled(self, across: float, down: float) -> Shape:
        """Return the shape stretched around the middle of its bounds; factors above 0."""
        left, top, right, bottom = self.bounds
        middle = np.array(((left + right) / 2, (top + bottom) / 2))
        return shape_of(
            [
                [(ring - middle) * (across, down) + middle for ring in polygon]
                for polygon in self.polygons
            ],
            self.roi,
        )

    def _numbered(self) -> Iterator[tuple[int, int, Ring]]:
        for number, polygon in enumerate(self.polygons):
            for ring, points in enumerate(polygon):
                yield number, ring, points

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Shape):
            return NotImplemented
        return self is other or self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @cached_property
    def _key(self) -> tuple[object, ...]:
        return self.roi, tuple(tuple(map(bytes, polygon)) for polygon in self.polygons)


def shape_of(polygons: Iterable[Iterable[npt.ArrayLike]], roi: Roi = "Polygon") -> Shape:
    """Make a shape of rings that are known to be valid; their direction does not matter."""
    return Shape(
        tuple(
            tuple(_directed(ring, outline=number == 0) for number, ring in enumerate(polygon))
            for polygon in polygons
        ),
        roi,
    )


def rectangle(left: float, top: float, right: float, bottom: float) -> Shape:
    """Make a rectangle of its edges."""
    return shape_of([[[(left, top), (right, top), (right, bottom), (left, bottom)]]], "Rectangle")


@dataclass(frozen=True)
class Region:
    """A named area of a slide.

    Attributes
    ----------
    classification : str
        Name of its class, or nothing.
    color : (r, g, b) or None
        None: the usual colour of its class.
    id : str
        UUID, kept through all edits, files and programs.
    is_locked : bool
        It can be hidden, shown and unlocked, nothing else.
    is_hidden : bool
        It is not painted; statistics know it nevertheless.
    verdict : {"", "IDC", "DCIS", "benign", "artefact", "unsure"}
        What a pathologist judged it to be.
    note : str
        What the pathologist wrote about it.
    is_focus : bool
        It is a focus of the map, kept as it was when it was judged: nobody drew it.
    """

    name: str
    shape: Shape
    classification: str = ""
    color: Rgb | None = None
    id: str = field(default_factory=new_id)
    is_locked: bool = False
    is_hidden: bool = False
    verdict: Verdict = ""
    note: str = ""
    is_focus: bool = False

    @property
    def rgb(self) -> Rgb:
        """The colour to paint it with: once it is judged, that of the verdict."""
        return class_rgb(self.verdict) if self.verdict else self.drawn_rgb

    @property
    def drawn_rgb(self) -> Rgb:
        """Its colour before any verdict: its own, or its class's."""
        return self.color or class_rgb(self.classification)

    @property
    def changes_mask(self) -> bool:
        """Whether it is there to change the tissue mask: then it has no figures and no verdict."""
        return self.classification in (MASK_ADDED, MASK_REMOVED)

    @property
    def known_as(self) -> tuple[str, Rgb]:
        """The class, and its colour, that other programs know it by: without one, its verdict."""
        if self.classification or not self.verdict:
            return self.classification, self.drawn_rgb
        return self.verdict, self.rgb

    def agrees_with(self, other: Region) -> bool:
        """Whether a file that has one of them says nothing new of the other."""
        mine, others = (
            (it.id, it.name, it.known_as, it.is_locked, it.verdict, it.note) for it in (self, other)
        )
        return mine == others and self.shape.is_close(other.shape)


def class_rgb(classification: str) -> Rgb:
    """Return the usual colour of a class: always the same for the same name."""
    name = classification.casefold()
    if name in _CLASS_RGB:
        return _CLASS_RGB[name]
    hue = zlib.crc32(name.encode("utf-8", "replace")) % 360 / 360
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)


def length_of(points: Sequence[Point], scale: Point) -> float:
    """Return the length of a line through points; `scale` is the size of a pixel (x, y)."""
    steps = np.diff(np.asarray(points, float), axis=0) * scale
    return math.fsum(np.hypot(*steps.T))


def _directed(ring: npt.ArrayLike, *, outline: bool) -> Ring:
    points = np.array(ring, np.float64)
    x, y = (points - points[0]).T  # so the edge that closes the ring adds nothing
    runs_forward = float(x[:-1] @ y[1:] - y[:-1] @ x[1:]) > 0
    if runs_forward != outline:
        points = np.ascontiguousarray(points[::-1])
    points.flags.writeable = False
    return points


def _following(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the corner after each corner; five times as fast as `numpy.roll` for few."""
    return np.concatenate([points[1:], points[:1]])


def _nearest(distances: npt.NDArray[np.float64]) -> tuple[int, float]:
    index = int(distances.argmin())
    return index, float(distances[index])
