"""Regions from the map: every positive cell once, connected as stated, in order of size."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.layers import NO_VALUE
from idc_desktop.maps.probability_map import PatchState, ProbabilityMap
from idc_desktop.regions.editing import to_shapely
from idc_desktop.regions.foci import FocusRules, Neighbours, find_foci, wand

MPP = (2.0, 2.0)
CELL_UM2 = 160_000.0


def drawn_map(*rows: str) -> ProbabilityMap:
    """Return a map of 200 px cells: digits are tenths of the probability, '.' was not analyzed."""
    grid = PatchGrid.over((0, 0, 200 * len(rows[0]), 200 * len(rows)), MPP, 400.0)
    probability_map = ProbabilityMap(grid)
    for row, text in enumerate(rows):
        for col, sign in enumerate(text):
            ok = sign != "."
            probability_map.states[row, col] = PatchState.OK if ok else PatchState.BACKGROUND
            value = int(sign) * 100_000 if ok else NO_VALUE
            probability_map.layer().stored[row, col] = value
    return probability_map


def test_foci_are_ranked_by_area_then_probability() -> None:
    found = find_foci(drawn_map("80010", "00999", "70000").layer(), MPP, 0.7)

    assert [focus.area_um2 / CELL_UM2 for focus in found] == [3, 1, 1]
    assert [focus.max_probability for focus in found] == [0.9, 0.8, 0.7]
    assert found[0].shape.bounds == (400, 200, 1000, 400)
    assert found[0].mean_probability == pytest.approx(0.9)


@pytest.mark.parametrize(("neighbours", "expected"), [(4, [1, 1]), (8, [2])])
def test_corner_connects_with_eight_neighbours_only(
    neighbours: Neighbours, expected: list[int]
) -> None:
    found = find_foci(drawn_map("90", "09").layer(), MPP, 0.5, FocusRules(neighbours))

    assert [focus.area_um2 / CELL_UM2 for focus in found] == expected
    assert all(to_shapely(focus.shape).is_valid for focus in found)


def test_small_areas_are_left_out() -> None:
    rules = FocusRules(min_area_um2=2 * CELL_UM2)

    found = find_foci(drawn_map("9099", "0000").layer(), MPP, 0.5, rules)

    assert [focus.area_um2 / CELL_UM2 for focus in found] == [2]


@pytest.mark.parametrize("edge_um", [100.0, 384.0, 400.0, 1000.0])
def test_single_whole_patch_is_a_focus_whatever_its_size_and_a_cut_one_is_none(
    edge_um: float,
) -> None:
    grid = PatchGrid.over(
        (0, 0, round(2.5 * edge_um / 0.3), round(edge_um / 0.7) + 1), (0.3, 0.7), edge_um
    )
    probability_map = ProbabilityMap(grid)
    probability_map.states[0] = PatchState.OK
    probability_map.layer().stored[0] = [900_000, 0, 900_000]

    (found,) = find_foci(probability_map.layer(), (0.3, 0.7), 0.5)

    assert found.area_um2 == pytest.approx(edge_um**2)


RING = ("99999", "9..09", "90909", "90009", "99999")


def test_holes_stay_unless_they_are_small_enough_to_be_filled() -> None:
    probability_map = drawn_map(*RING)

    kept = find_foci(probability_map.layer(), MPP, 0.5)
    filled = find_foci(probability_map.layer(), MPP, 0.5, FocusRules(max_hole_um2=8 * CELL_UM2))
    too_large = find_foci(probability_map.layer(), MPP, 0.5, FocusRules(max_hole_um2=7 * CELL_UM2))

    assert [focus.area_um2 / CELL_UM2 for focus in kept] == [16, 1]
    assert len(kept[0].shape.polygons[0]) == 2
    # The island in the hole belongs to the focus then.
    assert [focus.area_um2 / CELL_UM2 for focus in filled] == [25]
    assert filled[0].shape.moments(MPP).area == pytest.approx(25 * CELL_UM2)
    assert filled[0].mean_probability == pytest.approx(0.9)  # of positive cells
    assert len(too_large) == 2


def test_filled_gaps_count_for_rank_and_least_size() -> None:
    probability_map = drawn_map("9999099990", "9..9099990", "9999099900")

    kept, grown = (
        find_foci(probability_map.layer(), MPP, 0.5, FocusRules(8, 11 * CELL_UM2, gap * CELL_UM2))
        for gap in (0, 2)
    )

    assert [focus.area_um2 / CELL_UM2 for focus in kept] == [11]
    assert [focus.area_um2 / CELL_UM2 for focus in grown] == [12, 11]


def test_bay_is_no_hole() -> None:
    found = find_foci(
        drawn_map("999", "909", "9.0").layer(), MPP, 0.5, FocusRules(max_hole_um2=1e9)
    )

    assert found[0].shape.moments(MPP).area == pytest.approx(6 * CELL_UM2)


def test_wand_grows_from_the_cell_at_the_threshold() -> None:
    probability_map = drawn_map("5509", "0509", ".999")

    grown = wand(probability_map.layer(), (0, 0), 0.5)
    strict = wand(probability_map.layer(), (2, 1), 0.6)

    assert grown is not None
    assert strict is not None
    assert grown.moments(MPP).area == pytest.approx(8 * CELL_UM2)
    assert strict.moments(MPP).area == pytest.approx(5 * CELL_UM2)
    assert wand(probability_map.layer(), (0, 0), 0.51) is None
    assert wand(probability_map.layer(), (2, 0), 0.0) is None


@pytest.mark.parametrize("neighbours", [4, 8])
def test_random_maps_are_covered_exactly_by_valid_shapes(neighbours: Neighbours) -> None:
    rng = np.random.default_rng(neighbours)
    for _ in range(60):
        rows, cols = rng.integers(1, 13, 2)
        size = int(200 * cols - rng.integers(0, 190)), int(200 * rows - rng.integers(0, 190))
        probability_map = ProbabilityMap(PatchGrid.over((10, 20, *size), MPP, 400.0))
        shape = probability_map.states.shape
        probability_map.states[:] = rng.choice([1, 1, 1, 2, 3], shape)
        probability_map.layer().stored[:] = rng.integers(0, 1_000_001, shape)
        threshold = rng.choice([0.3, 0.5])
        grid = probability_map.grid
        x = np.minimum(grid.column_edges_l0(), grid.right_l0)
        y = np.minimum(grid.row_edges_l0(), grid.bottom_l0)
        positive = probability_map.analyzed & (probability_map.layer().stored / 1e6 >= threshold)
        expected = shapely.union_all(
            [shapely.box(x[c], y[r], x[c + 1], y[r + 1]) for r, c in np.argwhere(positive)]
        )

        found = find_foci(
            probability_map.layer(), MPP, threshold, FocusRules(neighbours, min_area_um2=0)
        )
        filled = find_foci(
            probability_map.layer(), MPP, threshold, FocusRules(neighbours, 0, 2 * CELL_UM2)
        )

        parts = [to_shapely(focus.shape) for focus in found]
        assert all(part.is_valid for part in parts)
        assert all(to_shapely(focus.shape).is_valid for focus in filled)
        for focus in filled:
            assert focus.area_um2 == pytest.approx(focus.shape.moments(MPP).area)
        assert sum(part.area for part in parts) == pytest.approx(expected.area)
        assert shapely.union_all(parts).symmetric_difference(expected).area < 1e-6
        touching = expected if neighbours == 4 else expected.buffer(0.01)
        assert len(found) == sum(part.area > 0 for part in shapely.get_parts([touching]))
        for focus, part in zip(found, parts, strict=True):
            assert focus.area_um2 == pytest.approx(part.area * MPP[0] * MPP[1])
