"""Regions: statistics against brute force; GeoJSON is read whole or refused with reason."""

from __future__ import annotations

import gzip
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry.base import BaseGeometry

from idc_desktop.errors import RegionsError
from idc_desktop.grid import NO_PROBABILITY, PatchGrid, PatchState, ProbabilityMap
from idc_desktop.regions import Region, measure, read_regions, whole_slide

MPP = (0.7, 0.9)
SIZE = (9_300, 5_100)
ORIGINS = [(0, 0), (1_234, 567)]


def painted_map(origin: tuple[int, int]) -> ProbabilityMap:
    """Return a map with all states and many equal probabilities."""
    rng = np.random.default_rng(11)
    probability_map = ProbabilityMap(PatchGrid.over((*origin, *SIZE), MPP, 400.0))
    shape = probability_map.states.shape
    probability_map.states[:] = rng.choice([1, 1, 1, 1, 2, 3, 4], shape)
    values = rng.integers(0, 21, shape) * 50_000
    probability_map.millionths[:] = np.where(
        probability_map.states == PatchState.OK, values, NO_PROBABILITY
    )
    return probability_map


def brute_force(geometry: BaseGeometry, probability_map: ProbabilityMap, threshold: float) -> dict:
    """Compute a region's figures with one shapely intersection per cell."""
    grid = probability_map.grid
    extent = shapely.box(grid.origin_x_l0, grid.origin_y_l0, grid.right_l0, grid.bottom_l0)
    inside = geometry.intersection(extent)
    x, y = grid.column_edges_l0(), grid.row_edges_l0()
    px_um2 = MPP[0] * MPP[1]
    weights: list[tuple[float, float]] = []
    counts = {"patches": 0, "analyzed": 0, "failed": 0, "idc": 0}
    for row, col in np.ndindex(grid.rows, grid.cols):
        state = probability_map.states[row, col]
        p = probability_map.millionths[row, col] / 1e6
        cell = shapely.box(x[col], y[row], x[col + 1], y[row + 1])
        if state == PatchState.OK:
            weights.append((p, cell.intersection(inside).area * px_um2))
        if inside.contains(shapely.Point((x[col] + x[col + 1]) / 2, (y[row] + y[row + 1]) / 2)):
            counts["patches"] += 1
            counts["analyzed"] += state == PatchState.OK
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


@pytest.mark.parametrize("origin", ORIGINS)
def test_figures_of_random_regions_equal_brute_force(origin: tuple[int, int]) -> None:
    probability_map = painted_map(origin)
    for seed in range(50):
        geometry = random_region(seed, origin)
        threshold = (0.25, 0.5, 0.9)[seed % 3]
        expected = brute_force(geometry, probability_map, threshold)

        region = Region("r", "", "Polygon", geometry)
        found = vars(measure(region, probability_map, MPP, threshold))

        for name, value in expected.items():
            if value is None or isinstance(value, int):
                assert found[name] == value, (seed, name)
            else:
                assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-6), (seed, name)


@pytest.mark.parametrize("origin", ORIGINS)
def test_whole_slide_is_the_extent_of_the_grid(origin: tuple[int, int]) -> None:
    probability_map = painted_map(origin)
    region = whole_slide(probability_map.grid)

    found = measure(region, probability_map, MPP, 0.5)

    assert (region.name, region.roi) == ("Whole slide", "Rectangle")
    assert found.area_um2 == pytest.approx(SIZE[0] * SIZE[1] * MPP[0] * MPP[1])
    expected = brute_force(region.geometry, probability_map, 0.5)
    assert found.mean_probability == pytest.approx(expected["mean_probability"], rel=1e-9)
    assert found.median_probability == expected["median_probability"]


def test_median_is_the_lower_of_two_halves_of_equal_weight() -> None:
    probability_map = ProbabilityMap(PatchGrid.over((0, 0, 800, 200), (2.0, 2.0), 400.0))
    probability_map.states[:] = PatchState.OK
    probability_map.millionths[:] = [[900_000, 100_000, 300_000, 700_000]]

    found = measure(whole_slide(probability_map.grid), probability_map, (2.0, 2.0), 0.5)

    assert found.median_probability == 0.3
    assert found.mean_probability == pytest.approx(0.5)


def test_threshold_that_is_met_exactly_counts() -> None:
    probability_map = ProbabilityMap(PatchGrid.over((0, 0, 400, 200), (2.0, 2.0), 400.0))
    probability_map.states[:] = PatchState.OK
    probability_map.millionths[:] = [[300_000, 299_999]]

    found = measure(whole_slide(probability_map.grid), probability_map, (2.0, 2.0), 0.3)

    assert (found.idc_patches, found.idc_fraction) == (1, 0.5)


SQUARE = [[10, 20], [110, 20], [110, 120], [10, 120], [10, 20]]


def polygon(*rings: Any, properties: Any = None, **more: Any) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": list(rings), **more}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def read(folder: Path, document: Any, *, packed: bool = False) -> tuple[list[Region], list[str]]:
    path = folder / "r.geojson"
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    return read_regions(path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", ["collection", "list", "single"])
def test_every_form_that_qupath_writes_is_read(tmp_path: Path, form: str, packed: bool) -> None:
    properties = {
        "objectType": "annotation",
        "name": "Tumour ½",
        "classification": {"name": "Tumor", "color": [200, 0, 0]},
        "isLocked": False,
        "measurements": [],
    }
    feature = {"id": "PathAnnotationObject", **polygon(SQUARE, properties=properties)}
    document = {
        "collection": {"type": "FeatureCollection", "features": [feature]},
        "list": [feature],
        "single": feature,
    }[form]

    (region,), notes = read(tmp_path, document, packed=packed)

    assert (region.name, region.classification, region.roi) == ("Tumour ½", "Tumor", "Rectangle")
    assert region.geometry.equals(shapely.box(10, 20, 110, 120))
    assert notes == []


@pytest.mark.parametrize(
    ("classification", "text"),
    [
        (None, ""),
        ("Stroma", "Stroma"),
        ({"name": "Tumor", "colorRGB": -3670016}, "Tumor"),
        ({"names": ["Tumor", "Positive"]}, "Tumor: Positive"),
        ({"color": [1, 2, 3]}, ""),
        (7, ""),
    ],
)
def test_classification_is_read_in_all_its_forms(
    tmp_path: Path, classification: Any, text: str
) -> None:
    (region,), _ = read(tmp_path, polygon(SQUARE, properties={"classification": classification}))

    assert region.classification == text


def test_region_without_a_name_has_its_number(tmp_path: Path) -> None:
    regions, _ = read(
        tmp_path, [polygon(SQUARE), polygon(SQUARE, properties={"name": 5}), polygon(SQUARE)]
    )

    assert [region.name for region in regions] == ["Region 1", "Region 2", "Region 3"]


def test_roi_is_told_from_the_shape(tmp_path: Path) -> None:
    triangle = [[0, 0], [10, 0], [0, 10], [0, 0]]
    hole = [[20, 30], [20, 40], [30, 40], [20, 30]]
    documents = [
        polygon(SQUARE), polygon(triangle), polygon(SQUARE, hole),
        polygon(SQUARE, isEllipse=True), polygon(SQUARE[:-1]),
    ]  # fmt: skip

    regions, _ = read(tmp_path, documents)

    kinds = [region.roi for region in regions]
    assert kinds == ["Rectangle", "Polygon", "Polygon", "Ellipse", "Rectangle"]
    assert regions[2].geometry.area == 10_000 - 50


def test_multipolygon_keeps_its_parts(tmp_path: Path) -> None:
    other = (np.array(SQUARE) + 500).tolist()
    geometry = {"type": "MultiPolygon", "coordinates": [[SQUARE], [other]]}

    (region,), _ = read(tmp_path, {"type": "Feature", "geometry": geometry})

    assert region.geometry.geom_type == "MultiPolygon"
    assert region.geometry.area == 20_000


def test_crossing_outline_is_repaired_and_said(tmp_path: Path) -> None:
    bow_tie = [[0, 0], [100, 100], [100, 0], [0, 100], [0, 0]]

    (region,), notes = read(tmp_path, polygon(bow_tie))

    assert region.geometry.is_valid
    assert region.geometry.area == pytest.approx(5_000)
    assert len(notes) == 1
    assert "r.geojson: Feature 1 was repaired" in notes[0]


REFUSED: dict[str, tuple[Any, str]] = {
    "no JSON": (b"polygon 1 2 3", "not GeoJSON (line 1"),
    "empty": (b"", "not GeoJSON"),
    "cut": (b'{"type": "FeatureCollection", "features": [', "not GeoJSON"),
    "no UTF-8": (b'{"type": "\xff\xfe"}', "not GeoJSON"),
    "nested too deep": (b"[" * 100_000, "not GeoJSON"),
    "a number too long": (b"[" + b"1" * 5000 + b"]", "not GeoJSON"),
    "nothing in it": ({"type": "FeatureCollection", "features": []}, "holds no regions"),
    "other JSON": ({"a": 1}, "holds no regions"),
    "a number": (7, "holds no regions"),
    "a point": (
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}},
        "Feature 1 is not a Polygon",
    ),
    "no geometry": ({"type": "Feature", "geometry": None}, "Feature 1 is not a Polygon"),
    "feature is a number": ([polygon(SQUARE), 5], "Feature 2 is not a Polygon"),
    "no rings": (polygon(), "Feature 1"),
    "two points": (polygon([[0, 0], [1, 1]]), "Feature 1"),
    "a line": (polygon([[0, 0], [5, 5], [10, 10], [0, 0]]), "Feature 1 has no area"),
    "not finite": (polygon([[0, 0], [1, math.nan], [5, 5]]), "Feature 1"),
    "infinite": (polygon([[0, 0], [1, math.inf], [5, 5]]), "Feature 1"),
    "huge integer": (polygon([[0, 0], [10**400, 1], [5, 5]]), "Feature 1"),
    "huge bow tie": (
        polygon([[-1e308, -1e308], [1e308, 1e308], [1e308, -1e308], [-1e308, 1e308]]),
        "Feature 1",
    ),
    "astronomic": (polygon([[0, 0], [1e200, 0], [1e200, 1e200]]), "Feature 1"),
    "text": (polygon([["a", "b"], [1, 2], [3, 4]]), "Feature 1"),
    "flat list": (polygon([1, 2, 3, 4]), "Feature 1"),
    "dictionary": (polygon({"x": 1}), "Feature 1"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_file_that_cannot_be_used_whole_is_refused_with_reason(tmp_path: Path, kind: str) -> None:
    document, words = REFUSED[kind]

    with pytest.raises(RegionsError) as caught:
        read(tmp_path, document)

    assert str(caught.value).startswith("r.geojson: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_gzip_is_refused(tmp_path: Path, damage: str) -> None:
    data = bytearray(gzip.compress(json.dumps(polygon(SQUARE)).encode()))
    if damage == "cut":
        del data[-20:]
    else:
        data[len(data) // 2] ^= 0xFF
    path = tmp_path / "r.geojson.gz"
    path.write_bytes(data)

    with pytest.raises(RegionsError, match=r"r\.geojson\.gz: "):
        read_regions(path)


def test_gzip_that_unfolds_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.geojson.gz"
    chunk = gzip.compress(bytes(64 << 20), 1)
    path.write_bytes(chunk * 17)

    with pytest.raises(RegionsError, match="larger than"):
        read_regions(path)


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    ("kind", "words"),
    [("missing", "cannot be read"), ("folder", "not a file"), ("pipe", "not a file")],
)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str, words: str) -> None:
    path = tmp_path / "r.geojson"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)

    with pytest.raises(RegionsError, match=rf"r\.geojson: .*{words}"):
        read_regions(path)


NUMBERS = st.one_of(st.floats(), st.integers(-(2**70), 2**70), st.floats(-1e4, 1e4))
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(["type", "geometry", "coordinates", "features", "properties", "name"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
RINGS = st.lists(st.lists(st.tuples(NUMBERS, NUMBERS) | JSON, max_size=6), max_size=3)
FEATURES = st.builds(lambda rings, more: polygon(*rings, properties=more), RINGS, JSON)


@given(document=JSON | FEATURES | st.lists(FEATURES, max_size=3))
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_json_is_read_or_refused_and_nothing_else(tmp_path: Path, document: Any) -> None:
    try:
        regions, _ = read(tmp_path, document)
    except RegionsError as error:
        message = str(error)
    else:
        message = "r.geojson: "
        assert regions
        for region in regions:
            assert region.geometry.is_valid
            assert 0 < region.geometry.area < math.inf
            assert math.isfinite(measure(region, SMALL_MAP, MPP, 0.5).perimeter_um)
    assert message.startswith("r.geojson: ")


SMALL_MAP = ProbabilityMap(PatchGrid.over((0, 0, 2_000, 2_000), MPP, 400.0))


@given(data=st.binary(max_size=200))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_random_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    for head in (b"", b"\x1f\x8b\x08\0"):
        with pytest.raises(RegionsError):
            read(tmp_path, head + data)
