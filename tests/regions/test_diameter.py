"""The longest line in a shape equals that of all pairs of its corners."""

from __future__ import annotations

import time

import numpy as np
import pytest

from idc_desktop.regions import diameter
from idc_desktop.regions.diameter import diameter_of
from idc_desktop.regions.editing import brush, draw_ellipse, draw_polygon
from idc_desktop.regions.foci import wand
from idc_desktop.regions.shape import Shape, rectangle, shape_of
from tests.regions.brute_force import painted_map

SCALE = (0.7, 0.9)


def slowly(shapes: list[Shape], scale: tuple[float, float]) -> float:
    points = np.concatenate([ring for shape in shapes for ring in shape.rings]) * scale
    return max(float(np.hypot(*(points - point).T).max()) for point in points)


def shapes_of_all_kinds() -> list[Shape]:
    rng = np.random.default_rng(3)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 300))
    stars = [
        draw_polygon(np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] + 1e5).shape
        for radii in rng.uniform(100, 5_000, (20, len(angles)))
    ]
    ways = [brush(None, rng.uniform(0, 9_000, (12, 2)), 150.0) for _ in range(10)]
    grown = [
        wand(painted_map((0, 0)).layer(), (row, col), 0.05)
        for row in range(0, 10, 3)
        for col in range(0, 15, 3)
    ]
    regular = [rectangle(10, 20, 5_010, 3_020), draw_ellipse((0, 0), (7_000, 4_000))]
    many = np.linspace(0, 2 * np.pi, 999, endpoint=False)
    round_ = shape_of([[np.stack([np.cos(many), np.sin(many)], 1) * 800]])
    return [*stars, *ways, *(it for it in grown if it is not None), *regular, round_]


@pytest.mark.parametrize("scale", [(1.0, 1.0), SCALE, (0.25, 0.5)])
def test_longest_line_equals_brute_force(scale: tuple[float, float]) -> None:
    for shape in shapes_of_all_kinds():
        found = diameter_of([shape], scale)
        assert found.length == pytest.approx(slowly([shape], scale), rel=1e-12)
        (x1, y1), (x2, y2) = found.ends
        assert np.hypot((x2 - x1) * scale[0], (y2 - y1) * scale[1]) == found.length


def test_few_corners_one_by_one_are_those_that_arrays_find(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the last digit, also where several lines are equally long, as in a rectangle."""
    rng = np.random.default_rng(8)
    sets = [rng.integers(0, 4, (rng.integers(1, 13), 2)).astype(float) for _ in range(300)]
    sets += [rng.uniform(0, 1e5, (rng.integers(1, 13), 2)) for _ in range(300)]
    sets += [rectangle(*sorted(rng.uniform(0, 9e4, 4))).polygons[0][0] for _ in range(300)]
    one_by_one = [diameter.farthest(it, SCALE) for it in sets]
    monkeypatch.setattr(diameter, "_FEWEST", 0)

    assert one_by_one == [diameter.farthest(it, SCALE) for it in sets]


def test_longest_line_of_several_shapes_joins_the_farthest_of_them() -> None:
    apart = [rectangle(0, 0, 10, 10), rectangle(300, 400, 310, 410), rectangle(50, 50, 60, 60)]

    found = diameter_of(apart)

    assert found.ends == ((0, 0), (310, 410))
    assert found.length == pytest.approx(slowly(apart, (1, 1)), rel=1e-15)


def test_longest_line_of_parallel_sides_is_the_diagonal() -> None:
    """The corner opposite to a side is one of two that are equally far from it."""
    side = np.linspace(0, 1, 60, endpoint=False)[:, None]
    corners = np.array([(0.1, 0.2), (9.1, 3.2), (8.1, 6.2), (-0.9, 3.2)])
    ring = np.concatenate(
        [a + side * (b - a) for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)]
    )

    assert diameter_of([shape_of([[ring]])]).length == np.hypot(10, 0)  # (-0.9, 3.2) to (9.1, 3.2)


def test_an_outline_of_100_000_corners_is_measured_in_seconds() -> None:
    angles = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    radii = 20_000 + 50 * np.sin(angles * 4_000)
    shape = shape_of([[np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]]])
    began = time.process_time()

    assert diameter_of([shape]).length == pytest.approx(40_100, rel=1e-4)
    assert time.process_time() - began < 10  # all pairs of corners would take minutes
