"""Accepted tumour equals a slow computation, and a verdict stays what it was given for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely

from idc_desktop.maps.probability_map import PatchState, ProbabilityMap
from idc_desktop.regions.editing import from_shapely, to_shapely, unite
from idc_desktop.regions.foci import find_foci, wand
from idc_desktop.regions.shape import VERDICTS, Region, Shape, rectangle
from idc_desktop.regions.statistics import RegionMeter, whole_slide
from idc_desktop.regions.verdicts import Accepted, judge_focus, verdicts_of
from tests.regions.brute_force import MPP, ORIGINS, painted_map, random_region


def accepted_slowly(
    probability_map: ProbabilityMap, regions: list[Region], row: Region, threshold: float
) -> tuple[float, float]:
    """Return area and longest line of what is accepted of a row, with one polygon per patch."""
    grid, layer = probability_map.grid, probability_map.layer()
    x, y = grid.column_edges_l0(), grid.row_edges_l0()
    x[-1], y[-1] = min(x[-1], grid.right_l0), min(y[-1], grid.bottom_l0)
    positive = [
        shapely.box(x[col], y[row], x[col + 1], y[row + 1])
        for row, col in zip(*np.nonzero(layer.positive(threshold)), strict=True)
    ]
    judged = [to_shapely(it.shape) for it in regions if it.verdict == "IDC"]
    common = shapely.union_all(positive) & shapely.union_all(judged) & to_shapely(row.shape)
    points = shapely.get_coordinates(common) * MPP
    longest = max((float(np.hypot(*(points - it).T).max()) for it in points), default=0.0)
    return common.area * MPP[0] * MPP[1], longest


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("threshold", [0.25, 0.7])
def test_accepted_area_and_diameter_equal_brute_force(
    origin: tuple[int, int], threshold: float
) -> None:
    probability_map = painted_map(origin)
    rng = np.random.default_rng(8)
    for seed in range(6):
        regions = [
            Region(
                str(number),
                from_shapely(random_region(10 * seed + number, origin)),
                verdict=rng.choice(["", *VERDICTS, "IDC"]),
            )
            for number in range(5)
        ]
        regions.append(Region("judged", rectangle(*np.add((500, 500, 900, 800), [*origin] * 2))))
        regions[-1] = replace(regions[-1], verdict="DCIS")
        whole = whole_slide(probability_map.grid)
        rows = [*regions, whole]
        accepted = Accepted(regions)
        found = accepted.areas_um2(rows, RegionMeter(probability_map.layer(), MPP), threshold)

        for row, area in zip(rows, found, strict=True):
            expected, _ = accepted_slowly(probability_map, regions, row, threshold)
            assert area == pytest.approx(expected, rel=1e-9, abs=1e-6), row.name
        longest = accepted.diameter(probability_map.layer(), MPP, threshold)
        _, expected = accepted_slowly(probability_map, regions, whole, threshold)
        assert (longest.length if longest else 0.0) == pytest.approx(expected, rel=1e-9)


def test_nothing_is_known_before_the_first_verdict_and_only_idc_is_accepted() -> None:
    probability_map = painted_map((0, 0))
    meter = RegionMeter(probability_map.layer(), MPP)
    rows = [whole_slide(probability_map.grid)]
    region = Region("one", rectangle(0, 0, 3_000, 3_000))

    assert Accepted([region]).areas_um2(rows, meter, 0.5) == [None]
    for verdict in VERDICTS:
        (area,) = Accepted([replace(region, verdict=verdict)]).areas_um2(rows, meter, 0.5)
        assert area is not None
        assert (area > 0) == (verdict == "IDC")


def test_failed_and_excluded_patches_are_never_accepted() -> None:
    probability_map = painted_map((0, 0))
    probability_map.layer().stored[:] = 900_000
    probability_map.states[:] = PatchState.FAILED
    probability_map.states[2, 3] = PatchState.EXCLUDED
    whole = replace(whole_slide(probability_map.grid), verdict="IDC")
    accepted = Accepted([whole])

    assert accepted.areas_um2([whole], RegionMeter(probability_map.layer(), MPP), 0.5) == [0.0]
    assert accepted.diameter(probability_map.layer(), MPP, 0.5) is None


def hilly_map() -> ProbabilityMap:
    """Return a map of one hill with two summits."""
    probability_map = painted_map((0, 0))
    rows, cols = probability_map.states.shape
    values = np.full((rows, cols), 100_000)
    values[2:6, 2:12] = 600_000
    values[3:5, 3:5] = values[3:5, 8:11] = 900_000
    probability_map.states[:] = PatchState.OK
    probability_map.layer().stored[:] = values
    return probability_map


def foci(probability_map: ProbabilityMap, threshold: float) -> list[Shape]:
    return [it.shape for it in find_foci(probability_map.layer(), MPP, threshold)]


def judge(regions: list[Region], shape: Shape, verdict: str) -> list[Region]:
    assert verdict in ("IDC", "DCIS", "benign")
    _, put, remove = judge_focus(regions, "Focus 1", shape, verdict)
    kept = {it.id: it for it in regions if it.id not in remove} | {it.id: it for it in put}
    return [*kept.values()]


def test_verdict_holds_at_other_thresholds_and_the_last_one_wins() -> None:
    probability_map = hilly_map()
    grid = probability_map.grid
    (hill,), summits = foci(probability_map, 0.5), foci(probability_map, 0.8)
    regions = judge([], hill, "IDC")
    assert verdicts_of([hill], regions, grid) == ["IDC"]
    assert verdicts_of(summits, regions, grid) == ["IDC", "IDC"]
    assert verdicts_of(foci(probability_map, 0.05), regions, grid) == [""]  # far larger

    regions = judge(regions, summits[0], "DCIS")

    assert verdicts_of(summits, regions, grid) == ["DCIS", "IDC"]
    assert verdicts_of([hill], regions, grid) == ["IDC"]  # most of it still is
    assert unite([it.shape for it in regions]).area_px == pytest.approx(hill.area_px)
    assert sum(it.shape.area_px for it in regions) == pytest.approx(hill.area_px)

    regions = judge([replace(it, note="n") for it in regions], hill, "benign")
    assert [(it.verdict, it.shape == hill) for it in regions] == [("benign", True)]
    assert regions[0].note == "n"


def test_same_focus_keeps_its_region_and_drawn_regions_keep_their_shape() -> None:
    probability_map = hilly_map()
    (hill,) = foci(probability_map, 0.5)
    drawn = Region("Region 1", rectangle(0, 0, 9_000, 5_000), "IDC")
    made = Region("Region 2", hill, "IDC")

    regions = judge([drawn, made], hill, "DCIS")

    assert regions == [drawn, replace(made, verdict="DCIS")]
    assert judge(regions, hill, "benign")[1].id == made.id


def test_names_of_judged_foci_are_told_apart() -> None:
    probability_map = hilly_map()
    one, two = foci(probability_map, 0.8)

    regions = judge(judge([], one, "IDC"), two, "IDC")

    assert [it.name for it in regions] == ["Focus 1", "Focus 1 (2)"]
    assert all(it.is_focus for it in regions)


def test_verdict_of_a_drawn_region_counts_for_the_foci_it_covers() -> None:
    probability_map = hilly_map()
    grid = probability_map.grid
    one = wand(probability_map.layer(), (4, 4), 0.8)
    two = wand(probability_map.layer(), (4, 9), 0.8)
    assert one is not None
    assert two is not None
    left, top, right, bottom = one.bounds
    half = Region("", rectangle(left - 50, top - 50, (left + right) / 2, bottom + 9))
    less = rectangle(left - 50, top - 50, (left + right) / 2 - 5, bottom + 9)

    assert verdicts_of([one, two], [replace(half, verdict="unsure")], grid) == ["unsure", ""]
    assert verdicts_of([one, two], [replace(half, shape=less, verdict="unsure")], grid) == ["", ""]


def test_area_judged_otherwise_within_idc_counts_and_is_told() -> None:
    probability_map = painted_map((0, 0))
    meter = RegionMeter(probability_map.layer(), MPP)
    whole = [whole_slide(probability_map.grid)]
    outer = Region("outer", rectangle(0, 0, 3_000, 3_000), verdict="IDC")
    inner = Region("inner", rectangle(500, 500, 1_500, 1_500), verdict="benign")
    beside = Region("beside", rectangle(3_000, 0, 4_000, 3_000), verdict="DCIS")  # only touches
    accepted = Accepted([outer, inner, beside])

    assert accepted.areas_um2(whole, meter, 0.1) == Accepted([outer]).areas_um2(whole, meter, 0.1)
    assert accepted.conflicts.keys() == {inner.id}
    assert accepted.disputed_um2(whole[0], meter, 0.1) == pytest.approx(
        meter.measure([inner.shape], 0.1)[0].idc_area_um2
    )
    # A smaller IDC within what is benign is what the figures say, too.
    others = [replace(outer, verdict="benign"), replace(inner, verdict="IDC")]
    assert not Accepted(others).conflicts
    assert Accepted(others).disputed_um2(whole[0], meter, 0.1) == 0
