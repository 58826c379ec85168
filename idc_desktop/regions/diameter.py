"""The longest straight line between two points of a shape: what tumours are staged by."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from idc_desktop.regions.shape import Point, Shape

_FEW = 64  # of so few points, all pairs are looked at
_FEWEST = 12  # of so few, one by one: arrays would take longer to make

Points = npt.NDArray[np.float64]


class Diameter(NamedTuple):
    """The two points that lie farthest apart.

    Attributes
    ----------
    length : float
        In the unit of the scale that it was asked with.
    ends : (Point, Point)
        Level-0 pixels; the left one first, of two above each other the upper.
    """

    length: float
    ends: tuple[Point, Point]


def diameter_of(shapes: Iterable[Shape], scale: Point = (1.0, 1.0)) -> Diameter:
    """Return the largest distance of two points of one shape or of several together, exactly.

    Parameters
    ----------
    shapes : iterable of Shape
        At least one.
    scale : (x, y)
        Size of a pixel, for instance in µm.
    """
    outlines = [polygon[0] for shape in shapes for polygon in shape.polygons]
    return farthest(np.concatenate(outlines), scale)  # holes lie inside


def farthest(points_l0: Points, scale: Point = (1.0, 1.0)) -> Diameter:
    """Return the two of some points, shape (n, 2) with n >= 1, that lie farthest apart."""
    if len(points_l0) <= _FEWEST:
        return _farthest_of_few(sorted(map(tuple, points_l0.tolist())), scale)
    corners = points_l0[np.lexsort((points_l0[:, 1], points_l0[:, 0]))]
    # Near the origin the products below lose no digits.
    points = (corners - corners.mean(axis=0)) * scale
    one, two = _all_pairs(points) if len(points) <= _FEW else _antipodes(points)
    start, end = min(one, two), max(one, two)  # they are sorted
    (x1, y1), (x2, y2) = corners[[start, end]].tolist()
    length = math.hypot((x2 - x1) * scale[0], (y2 - y1) * scale[1])
    return Diameter(length, ((x1, y1), (x2, y2)))


def _farthest_of_few(corners: list[Point], scale: Point) -> Diameter:
    """Return what `farthest` finds of sorted points, to the last digit."""
    count = len(corners)
    middle_x, middle_y = (sum(it) / count for it in zip(*corners, strict=True))
    points = [((x - middle_x) * scale[0], (y - middle_y) * scale[1]) for x, y in corners]
    most, start, end = 0.0, 0, 0
    for one, (x1, y1) in enumerate(points):
        for two in range(one + 1, count):
            across, down = points[two][0] - x1, points[two][1] - y1
            apart = across * across + down * down
            if apart > most:
                most, start, end = apart, one, two
    (x1, y1), (x2, y2) = corners[start], corners[end]
    length = math.hypot((x2 - x1) * scale[0], (y2 - y1) * scale[1])
    return Diameter(length, ((x1, y1), (x2, y2)))


def _all_pairs(points: Points) -> tuple[int, int]:
    apart = points[:, None] - points
    one, two = np.unravel_index(np.argmax((apart**2).sum(axis=2)), (len(points), len(points)))
    return int(one), int(two)


def _antipodes(points: Points) -> tuple[int, int]:
    """Look at the pairs of corners of the hull that two parallel lines can hold between them.

    The corner that is farthest from an edge is where the edges have turned by half a circle.
    """
    hull = _hull(points)
    corners = points[hull]
    along = np.roll(corners, -1, axis=0) - corners
    turned = np.unwrap(np.arctan2(along[:, 1], along[:, 0]))
    opposite = np.searchsorted(np.concatenate([turned, turned + 2 * np.pi]), turned + np.pi)
    # Parallel edges have two such corners each, and rounding may take the one for the other.
    one = np.repeat(np.arange(len(hull)), 6)
    two = (opposite[:, None] + (-1, 0, 1) * 2).ravel()
    one = (one + np.tile((0, 0, 0, 1, 1, 1), len(hull))) % len(hull)
    two %= len(hull)
    best = int(((corners[one] - corners[two]) ** 2).sum(axis=1).argmax())
    return int(hull[one[best]]), int(hull[two[best]])


def _hull(points: Points) -> npt.NDArray[np.intp]:
    """Return the corners of the convex hull of sorted points, in the order of their angles."""
    places = points.tolist()

    def chain(numbers: Iterable[int]) -> list[int]:
        found: list[int] = []
        for number in numbers:
            x, y = places[number]
            while len(found) > 1:
                (x1, y1), (x2, y2) = places[found[-2]], places[found[-1]]
                if (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) > 0:
                    break
                found.pop()
            found.append(number)
        return found[:-1]

    return np.array([*chain(range(len(places))), *chain(reversed(range(len(places))))])
