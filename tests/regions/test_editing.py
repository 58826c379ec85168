"""Drawing and editing: always a valid shape, or the reason why there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from idc_desktop.errors import RegionsError
from idc_desktop.regions.editing import (
    brush,
    delete_vertex,
    draw_ellipse,
    draw_polygon,
    draw_rectangle,
    erase,
    insert_vertex,
    move_vertex,
    split,
    subtract,
    to_shapely,
    unite,
)
from idc_desktop.regions.shape import (
    Region,
    Shape,
    Vertex,
    class_rgb,
    length_of,
    rectangle,
    shape_of,
)

BOX = rectangle(0, 0, 100, 60)


def area(shape: Shape | None) -> float:
    return 0.0 if shape is None else shape.moments().area


def test_rectangle_and_ellipse_do_not_mind_where_the_drag_began() -> None:
    for one, other in [((0, 0), (40, 30)), ((40, 30), (0, 0)), ((0, 30), (40, 0))]:
        assert draw_rectangle(one, other) == rectangle(0, 0, 40, 30)
        ellipse = draw_ellipse(one, other)
        assert ellipse.roi == "Ellipse"
        assert ellipse.bounds == pytest.approx((0, 0, 40, 30))
        assert area(ellipse) == pytest.approx(np.pi * 20 * 15, rel=3e-4)


@pytest.mark.parametrize("draw", [draw_rectangle, draw_ellipse])
def test_click_without_a_drag_has_no_area(draw: object) -> None:
    assert callable(draw)
    with pytest.raises(RegionsError, match="has no area"):
        draw((5, 5), (5, 9))


def test_polygon_that_crosses_itself_is_repaired_and_said() -> None:
    shape, repair = draw_polygon([(0, 0), (100, 100), (100, 0), (0, 100)])

    assert area(shape) == pytest.approx(5_000)
    assert repair.startswith("was repaired (Self-intersection")
    assert len(shape.polygons) == 2


def test_parts_that_share_an_edge_become_one() -> None:
    """GEOS repairs this line to two polygons side by side, which are not valid together."""
    shape, repair = draw_polygon([(0, 2), (2, 1), (5, 0), (0, 0), (2, 1), (5, 0)])

    assert "was repaired" in repair
    assert to_shapely(shape).is_valid
    assert len(shape.polygons) == 1


def test_freehand_line_keeps_its_area_with_fewer_corners() -> None:
    angles = np.linspace(0, 2 * np.pi, 2_000, endpoint=False)
    line = np.stack([500 * np.cos(angles), 500 * np.sin(angles)], axis=1)

    shape, repair = draw_polygon(line, tolerance=1.0)

    assert repair == ""
    assert len(shape.edges) < 100
    assert area(shape) == pytest.approx(np.pi * 500**2, rel=0.01)


def test_brush_paints_and_eraser_takes_away() -> None:
    dot = brush(None, [(0, 0)], 10)
    longer = brush(dot, [(0, 0), (100, 0)], 10)
    ring = erase(longer, [(50, 0)], 5)

    assert area(dot) == pytest.approx(np.pi * 100, rel=0.02)
    assert area(longer) == pytest.approx(np.pi * 100 + 2_000, rel=0.02)
    assert ring is not None
    assert len(ring.polygons[0]) == 2  # a hole
    assert erase(longer, [(0, 0), (100, 0)], 11) is None


def test_long_stroke_stays_small() -> None:
    shape = None
    for number in range(400):
        shape = brush(shape, [(number, 20 * np.sin(number / 9))], 30)

    assert shape is not None
    assert len(shape.edges) < 400


def test_union_and_difference() -> None:
    other = rectangle(50, 30, 150, 90)

    assert area(unite([BOX, other])) == 6_000 + 6_000 - 1_500
    assert area(subtract(BOX, [other])) == 6_000 - 1_500
    assert subtract(BOX, [rectangle(-1, -1, 101, 61)]) is None
    assert len(unite([BOX, rectangle(200, 0, 210, 10)]).polygons) == 2


def test_line_splits_a_shape_and_nothing_is_lost() -> None:
    hollow = subtract(BOX, [rectangle(40, 20, 60, 40)])
    assert hollow is not None

    parts = split(hollow, [(50, -10), (50, 70)])

    assert [area(part) for part in parts] == pytest.approx([2_800, 2_800])
    assert split(BOX, [(10, 10), (50, 30)]) == [BOX]
    three = split(BOX, [(-5, 10), (90, 10), (90, 20), (-5, 20)])
    assert sum(area(part) for part in three) == pytest.approx(6_000)
    assert [area(part) for part in three] == pytest.approx([5_100, 900])


def test_line_splits_only_the_part_that_it_crosses() -> None:
    two = unite([BOX, rectangle(200, 0, 210, 10)])

    parts = split(two, [(50, -10), (50, 70)])

    assert [area(part) for part in parts] == [3_100, 3_000]  # what it does not reach stays


def test_one_cut_makes_two_regions_of_many_parts() -> None:
    """A slanted one: points of the cut lie on it but for rounding."""
    comb = unite([rectangle(x, 0, x + 7, 60 + x / 3) for x in range(0, 90, 10)])
    whole = area(comb)
    for line in ([(-10, 17.3), (110, 41.9)], [(110, 41.9), (-10, 17.3)]):
        below, above = split(comb, line)
        assert area(below) + area(above) == pytest.approx(whole)
        assert len(below.polygons) == len(above.polygons) == 9
        for part, sign in ((below, 1), (above, -1)):
            for (outline,) in part.polygons:
                middle = outline.mean(axis=0)
                assert sign * (middle[1] - (17.3 + 24.6 / 120 * (middle[0] + 10))) > 0


def test_cut_across_a_bay_divides_by_its_sides() -> None:
    """The line meets the body twice: what lies above it is one part, both legs are the other."""
    table = subtract(BOX, [rectangle(30, -1, 70, 40)])
    assert table is not None
    top, legs = split(table, [(-10, 20), (110, 20)])
    assert area(top) == pytest.approx(100 * 20 + 2 * 30 * 20)
    assert len(top.polygons) == 1
    assert len(legs.polygons) == 2


def test_line_that_ends_in_the_shape_cuts_off_what_it_can() -> None:
    """It goes through the wall of a ring, turns within it, and leaves the ring again."""
    ring = subtract(BOX, [rectangle(20, 20, 80, 40)])
    assert ring is not None
    assert split(ring, [(50, -10), (50, 30)]) == [ring]
    parts = split(ring, [(30, -10), (30, 30), (70, 30), (70, -10)])
    assert sum(area(part) for part in parts) == pytest.approx(area(ring))
    assert [area(part) for part in parts][1] == pytest.approx(40 * 20)


def test_vertices_are_moved_inserted_and_deleted() -> None:
    vertex, distance = BOX.nearest_vertex((98, 61))
    assert BOX.polygons[vertex.polygon][vertex.ring][vertex.point].tolist() == [100, 60]
    assert distance == pytest.approx(np.hypot(2, 1))

    moved, _ = move_vertex(BOX, vertex, (150, 60))
    edge, away = BOX.nearest_edge((50, -3))
    pointed, _ = insert_vertex(BOX, edge, (50, -30))
    cut, _ = delete_vertex(BOX, vertex)

    assert away == 3
    assert (area(moved), moved.roi) == (6_000 + 1_500, "Polygon")
    assert area(pointed) == 6_000 + 1_500
    assert area(cut) == 3_000


def test_vertex_across_an_edge_is_repaired_and_said() -> None:
    vertex, _ = BOX.nearest_vertex((100, 60))

    shape, repair = move_vertex(BOX, vertex, (50, -40))

    assert "was repaired" in repair
    assert to_shapely(shape).is_valid


def test_last_corners_of_a_hole_fill_it_and_of_an_outline_end_it() -> None:
    holed = shape_of([[[(0, 0), (90, 0), (90, 90)], [(50, 20), (70, 20), (70, 40)]]])
    filled, _ = delete_vertex(holed, Vertex(0, 1, 0))

    assert area(filled) == 90 * 90 / 2
    with pytest.raises(RegionsError, match="has no area"):
        delete_vertex(filled, Vertex(0, 0, 0))


def test_inside_is_told_from_outside_and_holes() -> None:
    holed = subtract(BOX, [rectangle(40, 20, 60, 40)])
    assert holed is not None

    assert holed.contains((10, 10))
    assert not holed.contains((50, 30))
    assert not holed.contains((101, 30))
    assert BOX.contains((0, 0))
    assert not BOX.contains((100, 60))


def test_moving_keeps_kind_and_order_of_corners() -> None:
    ellipse = draw_ellipse((0, 0), (10, 10))

    moved = ellipse.moved(5, -5)

    assert moved.roi == "Ellipse"
    (ring,), (there,) = ellipse.rings, moved.rings
    np.testing.assert_array_equal(there, np.add(ring, (5, -5)))


def test_rings_can_be_painted_but_not_changed() -> None:
    (ring,) = BOX.rings

    assert ring.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        ring[0] = 7


def test_shapes_and_regions_are_values() -> None:
    region = Region("a", BOX)

    assert rectangle(0, 0, 100, 60) == BOX != rectangle(0, 0, 100, 61)
    assert replace(region, name="a") == region != replace(region, is_hidden=True)
    assert len({BOX, rectangle(0, 0, 100, 60)}) == 1


def test_class_has_one_colour() -> None:
    assert class_rgb("Tumor") == class_rgb("tumor") == (200, 0, 0)
    assert class_rgb("Benign duct") == class_rgb("Benign duct") != class_rgb("Cyst")
    assert Region("a", BOX, "Cyst").rgb == class_rgb("Cyst")
    assert Region("a", BOX, "Cyst", (1, 2, 3)).rgb == (1, 2, 3)


def test_distance_is_measured_per_axis() -> None:
    assert length_of([(0, 0), (3, 0), (3, 4)], (0.5, 0.25)) == pytest.approx(2.5)


POINT = st.tuples(st.integers(0, 20), st.integers(0, 20))


@given(
    points=st.lists(POINT, min_size=1, max_size=9),
    strokes=st.lists(st.tuples(st.booleans(), st.lists(POINT, min_size=1, max_size=4)), max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_whatever_is_drawn_is_valid(
    points: list[tuple[int, int]], strokes: list[tuple[bool, list[tuple[int, int]]]]
) -> None:
    try:
        shape: Shape | None = draw_polygon(points).shape
    except RegionsError as error:
        assert str(error).startswith("has ")  # noqa: PT017 - both outcomes are fine
        shape = None
    for paints, stroke in strokes:
        shape = brush(shape, stroke, 2.5) if paints else shape and erase(shape, stroke, 2.5)
    if shape is not None:
        geometry = to_shapely(shape)
        assert geometry.is_valid, shapely.is_valid_reason(geometry)
        assert geometry.area > 0
        assert shape.moments().area == pytest.approx(geometry.area)
        for ring in shape.rings:
            assert len(ring) >= 3
