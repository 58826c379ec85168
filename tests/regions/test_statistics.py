"""The figures of regions equal a slow computation, and cost little when asked again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely

from idc_desktop.maps.grid import Block, PatchGrid
from idc_desktop.maps.layers import PATCH
from idc_desktop.maps.probability_map import BlockResult, PatchState, ProbabilityMap
from idc_desktop.regions.editing import draw_ellipse, draw_polygon, from_shapely, to_shapely
from idc_desktop.regions.overlap import Overlap, overlaps
from idc_desktop.regions.shape import Region, Shape, rectangle
from idc_desktop.regions.statistics import (
    RegionMeter,
    measure,
    overlaps_slide,
    whole_slide,
)
from tests.regions.brute_force import MPP, ORIGINS, SIZE, figures, painted_map, random_region


def compare(probability_map: ProbabilityMap, origin: tuple[int, int], seeds: range) -> None:
    meter = RegionMeter(probability_map.layer(), MPP)
    geometries = {seed: random_region(seed, origin) for seed in seeds}
    shapes = {seed: from_shapely(geometry) for seed, geometry in geometries.items()}
    for threshold in (0.25, 0.5, 0.9):
        found = meter.measure(shapes.values(), threshold)
        for seed, one in zip(seeds, found, strict=True):
            if (0.25, 0.5, 0.9)[seed % 3] != threshold:
                continue
            for name, value in figures(geometries[seed], probability_map, threshold).items():
                if value is None or isinstance(value, int):
                    assert vars(one)[name] == value, (seed, name)
                else:
                    about = pytest.approx(value, rel=1e-9, abs=1e-9)
                    assert vars(one)[name] == about, (seed, name)


@pytest.mark.parametrize("origin", ORIGINS)
def test_figures_of_random_regions_equal_brute_force(origin: tuple[int, int]) -> None:
    compare(painted_map(origin), origin, range(60))


def test_coverage_of_what_is_analyzed_wholly_is_exactly_100_percent() -> None:
    grid = PatchGrid.over((0, 0, 4_000, 3_000), MPP, 400.0)
    probability_map = ProbabilityMap(grid)
    probability_map.states[:] = PatchState.OK
    probability_map.layer().stored[:] = 500_000
    rng = np.random.default_rng(4)
    shapes = [
        draw_ellipse(tuple(at), tuple(at + rng.uniform(10, 2_000, 2)))
        for at in rng.uniform(0, 900, (200, 2))
    ]

    found = RegionMeter(probability_map.layer(), MPP).measure(shapes, 0.5)

    assert {figures.coverage_percent for figures in found} == {100.0}


def test_figures_of_500_random_regions_equal_brute_force() -> None:
    compare(painted_map(ORIGINS[1]), ORIGINS[1], range(500))


def test_parts_of_cells_add_up_to_the_area_on_the_slide() -> None:
    """No cell is lost, whatever the edges do to the grid's lines."""
    grid = PatchGrid.over((100, 50, 4_000, 3_001), (1.0, 1.0), 400.0)
    rng = np.random.default_rng(2)
    extent = shapely.box(100, 50, 4_100, 3_051)
    for number in range(300):
        # Corners on a raster that shares many points with the grid's lines.
        points = rng.integers(-3, 14, (rng.integers(3, 9), 2)) * (200 if number % 2 else 100)
        geometry = shapely.Polygon(np.add(points, (100, 50))).buffer(0)
        if geometry.area == 0:
            continue

        overlap = Overlap.of(from_shapely(geometry), grid)

        expected = geometry.intersection(extent).area
        assert math.fsum(overlap.areas_px) == pytest.approx(expected, rel=1e-12, abs=1e-6)
        assert overlap.areas_px.max(initial=0) <= 400 * 400


def test_overlap_of_a_shape_does_not_depend_on_those_that_are_computed_with_it() -> None:
    grid = painted_map(ORIGINS[1]).grid
    shapes = [from_shapely(random_region(seed, ORIGINS[1])) for seed in range(120)]
    shapes += [shape.resized(0.05, 0.02) for shape in shapes] + [whole_slide(grid).shape]

    for shape, found in zip(shapes, overlaps(shapes, grid), strict=True):
        alone = Overlap.of(shape, grid)
        assert found.cells.tolist() == alone.cells.tolist()
        assert found.areas_px.tobytes() == alone.areas_px.tobytes()
        assert found.centred.tolist() == alone.centred.tolist()


@pytest.mark.parametrize("origin", ORIGINS)
def test_whole_slide_is_the_extent_of_the_grid(origin: tuple[int, int]) -> None:
    probability_map = painted_map(origin)
    region = whole_slide(probability_map.grid)

    found = measure(region, probability_map.layer(), MPP, 0.5)

    assert (region.name, region.shape.roi) == ("Whole slide", "Rectangle")
    assert found.area_um2 == pytest.approx(SIZE[0] * SIZE[1] * MPP[0] * MPP[1])
    expected = figures(to_shapely(region.shape), probability_map, 0.5)
    assert found.mean_probability == pytest.approx(expected["mean_probability"], rel=1e-9)
    assert found.median_probability == expected["median_probability"]


def line_of_cells(*stored: int) -> ProbabilityMap:
    """Return a map of one row of cells of 200 px."""
    count = len(stored)
    probability_map = ProbabilityMap(PatchGrid.over((0, 0, 200 * count, 200), (2.0, 2.0), 400.0))
    probability_map.states[:] = PatchState.OK
    probability_map.layer().stored[:] = [stored]
    return probability_map


def test_median_is_the_lower_of_two_halves_of_equal_weight() -> None:
    probability_map = line_of_cells(900_000, 100_000, 300_000, 700_000)

    found = measure(whole_slide(probability_map.grid), probability_map.layer(), (2.0, 2.0), 0.5)

    assert found.median_probability == 0.3
    assert found.mean_probability == pytest.approx(0.5)


@pytest.mark.parametrize("stored", [0, 1, 300_000, 299_999, 700_001, 999_999, 1_000_000])
def test_threshold_that_is_met_exactly_counts(stored: int) -> None:
    probability_map = line_of_cells(stored, max(0, stored - 1))
    region = whole_slide(probability_map.grid)
    threshold = stored / 1_000_000

    exact, above = (
        measure(region, probability_map.layer(), (2.0, 2.0), it)
        for it in (threshold, math.nextafter(threshold, 2))
    )

    assert exact.idc_patches == (2 if stored == 0 else 1)
    assert above.idc_patches == 0
    assert above.idc_area_um2 == 0.0


def test_probability_of_zero_has_a_mean_of_exactly_zero() -> None:
    probability_map = line_of_cells(0, 0, 0)

    found = measure(whole_slide(probability_map.grid), probability_map.layer(), (2.0, 2.0), 0.5)

    assert (found.mean_probability, found.max_probability) == (0.0, 0.0)


def test_all_above_the_threshold_is_a_fraction_of_exactly_one() -> None:
    probability_map = painted_map((0, 0))
    shape = from_shapely(random_region(4, (0, 0)))

    found = measure(Region("r", shape), probability_map.layer(), MPP, 0.0)

    assert found.idc_fraction == 1.0


def test_meter_follows_a_map_that_grows() -> None:
    probability_map = ProbabilityMap(PatchGrid.over((0, 0, 800, 400), (1.0, 1.0), 400.0))
    meter = RegionMeter(probability_map.layer(), (1.0, 1.0))
    shape = rectangle(0, 0, 800, 400)
    (empty,) = meter.measure([shape], 0.5)
    block = Block(0, 0, 1, 1, 1)
    stored = {PATCH: np.array([[600_000]], np.int32)}
    result = BlockResult(block, np.array([[1]], np.uint8), stored)

    probability_map.add(result)
    (grown,) = meter.measure([shape], 0.5)

    assert (empty.patches_analyzed, empty.idc_fraction) == (0, None)
    assert (grown.patches_analyzed, grown.idc_area_um2) == (1, 160_000.0)


def test_equal_shapes_are_measured_once_and_answered_twice() -> None:
    meter = RegionMeter(painted_map((0, 0)).layer(), MPP)
    shapes = [rectangle(0, 0, 900, 900), rectangle(10, 0, 900, 900), rectangle(0, 0, 900, 900)]

    found = meter.measure(shapes, 0.5)

    assert found[0] == found[2] != found[1]


def test_shapes_of_a_drag_are_not_kept() -> None:
    meter = RegionMeter(painted_map((0, 0)).layer(), MPP)
    drawn = [rectangle(0, 0, 900, 900), rectangle(10, 0, 900, 900)]
    meter.measure(drawn, 0.5)
    kept = [meter._overlaps[it] for it in drawn]

    for right in range(100, 400):
        assert meter.measure([rectangle(0, 0, right, 900)], 0.5)
        meter.measure(drawn[:1], 0.5)  # the chosen region's own figures, in between

    assert len(meter._overlaps) == len(meter._profiles) <= len(drawn) + 8
    assert all(meter._overlaps[it] is one for it, one in zip(drawn, kept, strict=True))
    meter.measure([rectangle(0, 0, 399, 900), *drawn[:1]], 0.5)
    assert len(meter._overlaps) == 2


def test_histogram_adds_up_to_the_analyzed_area() -> None:
    probability_map = painted_map((0, 0))
    meter = RegionMeter(probability_map.layer(), MPP)
    shape = from_shapely(random_region(6, (0, 0)))

    counts = meter.histogram(shape, 10)
    (figures_of_it,) = meter.measure([shape], 0.5)

    assert figures_of_it.coverage_percent is not None
    expected = figures_of_it.coverage_percent / 100 * figures_of_it.area_um2
    assert counts.sum() == pytest.approx(expected)
    assert counts[5:].sum() == pytest.approx(figures_of_it.idc_area_um2)


@pytest.mark.parametrize(
    "shape",
    [
        rectangle(10.5, 20.25, 700.125, 99.0),
        draw_ellipse((0, 0), (500, 300)),
        draw_polygon([(1e5, 2e5), (1e5 + 7, 2e5), (1e5 + 3, 2e5 + 9)]).shape,
        from_shapely(random_region(2, (0, 0))),
        from_shapely(random_region(3, (0, 0))),
    ],
    ids=["rectangle", "ellipse", "small and far", "hole", "two parts"],
)
def test_moments_equal_shapely(shape: Shape) -> None:
    geometry = to_shapely(shape)

    found = shape.moments()

    assert found.area == pytest.approx(geometry.area, rel=1e-11)
    assert found.perimeter == pytest.approx(geometry.length, rel=1e-12)
    assert found.centroid == pytest.approx((geometry.centroid.x, geometry.centroid.y), rel=1e-12)


GRID = PatchGrid.over((10, 20, 700, 500), (2.0, 2.5), 400.0)  # cells of 200 x 160 px


@pytest.mark.parametrize(
    ("corners", "cells"),
    [
        ([(215, 185), (225, 185), (225, 195)], [5]),  # in one cell
        ([(210, 180), (410, 180), (410, 340), (210, 340)], [5]),  # all of it
        ([(205, 185), (225, 185), (225, 195)], [4, 5]),
        ([(705, 22), (709, 22), (709, 26)], [3]),  # at the slide's edge
        ([(705, 22), (719, 22), (719, 26)], [3]),  # and over it
    ],
)
def test_small_areas_lie_in_their_cells(
    corners: list[tuple[float, float]], cells: list[int]
) -> None:
    region = Region("r", draw_polygon(corners).shape)
    on_slide = shapely.box(10, 20, 710, 520)

    found = Overlap.of(region.shape, GRID)

    assert found.cells.tolist() == cells
    area = to_shapely(region.shape).intersection(on_slide).area
    assert found.areas_px.sum() == pytest.approx(area, rel=1e-9)
    assert overlaps_slide(region, GRID)


@pytest.mark.parametrize(
    "corners",
    [
        [(-50, 30), (-40, 30), (-40, 40)],
        [(720, 30), (730, 30), (730, 40)],
        [(700, 540), (730, 510), (730, 540)],  # only the corner of its bounds is on the slide
    ],
)
def test_area_off_the_slide_lies_in_no_cell(corners: list[tuple[float, float]]) -> None:
    region = Region("r", draw_polygon(corners).shape)

    assert len(Overlap.of(region.shape, GRID).cells) == 0
    assert not overlaps_slide(region, GRID)
