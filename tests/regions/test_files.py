"""Files of regions are read whole or refused with line and reason, and written as they are."""

from __future__ import annotations

import gzip
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idc_desktop.errors import RegionsError
from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.probability_map import ProbabilityMap
from idc_desktop.regions.editing import to_shapely
from idc_desktop.regions.statistics import measure
from tests.support.region_files import read_document, read_regions

MPP = (0.7, 0.9)
SQUARE = [[10, 20], [110, 20], [110, 120], [10, 120], [10, 20]]


def polygon(*rings: Any, properties: Any = None, **more: Any) -> dict[str, Any]:
    geometry = {"type": "Polygon", "coordinates": list(rings), **more}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


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

    (region,), notes = read_document(tmp_path, document, packed=packed)

    assert (region.name, region.classification, region.shape.roi) == (
        "Tumour ½",
        "Tumor",
        "Rectangle",
    )
    assert to_shapely(region.shape).equals(shapely.box(10, 20, 110, 120))
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
    (region,), _ = read_document(
        tmp_path, polygon(SQUARE, properties={"classification": classification})
    )

    assert region.classification == text


def test_region_without_a_name_has_its_number(tmp_path: Path) -> None:
    regions, _ = read_document(
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

    regions, _ = read_document(tmp_path, documents)

    kinds = [region.shape.roi for region in regions]
    assert kinds == ["Rectangle", "Polygon", "Polygon", "Ellipse", "Rectangle"]
    assert to_shapely(regions[2].shape).area == 10_000 - 50


def test_multipolygon_keeps_its_parts(tmp_path: Path) -> None:
    other = (np.array(SQUARE) + 500).tolist()
    geometry = {"type": "MultiPolygon", "coordinates": [[SQUARE], [other]]}

    (region,), _ = read_document(tmp_path, {"type": "Feature", "geometry": geometry})

    assert to_shapely(region.shape).geom_type == "MultiPolygon"
    assert to_shapely(region.shape).area == 20_000


def test_crossing_outline_is_repaired_and_said(tmp_path: Path) -> None:
    bow_tie = [[0, 0], [100, 100], [100, 0], [0, 100], [0, 0]]

    (region,), notes = read_document(tmp_path, polygon(bow_tie))

    assert to_shapely(region.shape).is_valid
    assert to_shapely(region.shape).area == pytest.approx(5_000)
    assert len(notes) == 1
    assert notes[0].startswith("r.geojson: Feature 1 was repaired (Self-intersection")


REFUSED: dict[str, tuple[Any, str]] = {
    "no JSON": (b"polygon 1 2 3", "not GeoJSON (line 1"),
    "empty": (b"", "not GeoJSON"),
    "cut": (b'{"type": "FeatureCollection", "features": [', "not GeoJSON"),
    "no UTF-8": (b'{"type": "\xff\xfe"}', "Save it as UTF-8"),
    "GBK": ('{"type": "腫瘍"}'.encode("gbk"), "Save it as UTF-8"),
    "nested too deep": (b"[" * 100_000, "it is nested too deeply). Export"),
    "a number too long": (b"[" + b"1" * 5000 + b"]", "5000 digits). Export"),
    "nothing in it": ({"type": "FeatureCollection", "features": []}, "holds no areas"),
    "other JSON": ({"a": 1}, "not GeoJSON (its members: 'a')"),
    "a number": (7, "a single JSON value"),
    "Darwin": ({"version": "2.0", "item": {}, "annotations": []}, "Darwin"),
    "COCO": ({"images": [], "annotations": [], "categories": []}, "COCO"),
    "Labelme": ({"shapes": [], "imagePath": "a.png"}, "Labelme"),
    "DSA": ({"name": "a", "elements": []}, "Digital Slide Archive"),
    "TopoJSON": ({"type": "Topology", "objects": {}, "arcs": []}, "TopoJSON"),
    "no list of features": ({"type": "FeatureCollection"}, "not GeoJSON"),
    "a point": (
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}},
        "holds no areas (Feature 1 is a Point)",
    ),
    "no geometry": ({"type": "Feature", "geometry": None}, "Feature 1 has no geometry"),
    "evil geometry": (
        {"type": "Feature", "geometry": {"type": "a\nb" * 90, "coordinates": []}},
        "Feature 1 is a a\\nba\\nb",
    ),
    "no rings": (polygon(), "Feature 1 has no rings"),
    "two points": (polygon([[0, 0], [1, 1]]), "Feature 1 has a ring of 2 points"),
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
def test_file_that_cannot_be_used_is_refused_with_reason(tmp_path: Path, kind: str) -> None:
    document, words = REFUSED[kind]

    with pytest.raises(RegionsError) as caught:
        read_document(tmp_path, document)

    assert str(caught.value).startswith("r.geojson: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e200, 10**400, "x"])
def test_one_coordinate_that_is_none_refuses_the_whole_file(tmp_path: Path, bad: Any) -> None:
    """Such a file is damaged; what else is wrong with it cannot be seen."""
    damaged = polygon([[0, 0], [bad, 1], [5, 5]], properties={"name": "second"})

    with pytest.raises(RegionsError, match=r"Feature 2 \('second'\) has "):
        read_document(tmp_path, [polygon(SQUARE), damaged])


def geometry(kind: str, coordinates: Any, **properties: Any) -> dict[str, Any]:
    shape = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": shape, "properties": properties}


def test_what_is_no_area_is_left_out_with_one_note(tmp_path: Path) -> None:
    features = [
        geometry("LineString", [[0, 0], [5, 5]], objectType="annotation", name="ruler"),
        polygon(SQUARE),
        geometry("Point", [1, 2]),
        geometry("MultiPoint", [[1, 2]]),
        5,
        {"type": "Feature", "geometry": None},
        polygon(),
        polygon([[3, 3], [3, 3], [3, 3], [3, 3]]),
        polygon((np.array(SQUARE) + 500).tolist(), properties={"name": "last"}),
    ]

    regions, notes = read_document(tmp_path, {"type": "FeatureCollection", "features": features})

    assert [it.name for it in regions] == ["Region 2", "last"]
    assert notes == [
        "r.geojson: 7 entries were left out, the first: Feature 1 (annotation 'ruler') is a "
        "LineString."
    ]


@pytest.mark.parametrize(
    "document",
    [
        {"type": "Polygon", "coordinates": [SQUARE]},
        {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
        [{"type": "Polygon", "coordinates": [SQUARE]}],
        [{"type": "FeatureCollection", "features": [polygon(SQUARE)]}],
        {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "Point", "coordinates": [1, 2]},
                {"type": "Polygon", "coordinates": [SQUARE]},
            ],
        },
    ],
)
def test_geometry_without_a_feature_and_lists_of_collections_are_read(
    tmp_path: Path, document: Any
) -> None:
    (region,), _ = read_document(tmp_path, document)

    assert region.shape.bounds == (10, 20, 110, 120)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_unicode_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    document = json.dumps(polygon(SQUARE, properties={"name": "腫瘍"}), ensure_ascii=False)

    (region,), _ = read_document(tmp_path, document.encode(encoding))

    assert region.name == "腫瘍"


@pytest.mark.parametrize("parts", [False, True])
def test_slivers_of_a_brush_are_left_out_of_their_region(tmp_path: Path, parts: bool) -> None:
    sliver = [[30, 30], [40, 30], [30, 30]]
    document = geometry("MultiPolygon", [[SQUARE], [sliver]]) if parts else polygon(SQUARE, sliver)

    (region,), notes = read_document(tmp_path, document)

    assert to_shapely(region.shape).equals(shapely.box(10, 20, 110, 120))
    assert notes == ["r.geojson: Feature 1 was repaired (1 ring of under three points left out)."]


def test_many_repairs_are_one_note(tmp_path: Path) -> None:
    bow_tie = [[0, 0], [100, 100], [100, 0], [0, 100], [0, 0]]

    regions, notes = read_document(tmp_path, [polygon(bow_tie) for _ in range(300)])

    assert len(regions) == 300
    assert len(notes) == 1
    assert notes[0].startswith("r.geojson: 300 areas were repaired, the first: Feature 1 was ")


def test_names_are_cut_and_can_be_shown(tmp_path: Path) -> None:
    properties = {"name": "\ud800" + "x" * 1_000_000, "classification": {"name": "y" * 400}}

    (region,), notes = read_document(tmp_path, polygon(SQUARE, properties=properties))

    assert region.name == "\ufffd" + "x" * 298 + "…"
    assert region.classification == "y" * 299 + "…"
    assert len(notes) == 1
    assert len(notes[0]) < 200


@pytest.mark.parametrize("sign", ["[", "{"])
def test_file_that_unfolds_in_memory_is_refused_before(tmp_path: Path, sign: str) -> None:
    with pytest.raises(RegionsError, match="holds more than"):
        read_document(tmp_path, sign.encode() * 3_100_000)


def test_reading_takes_time_in_proportion_to_the_regions(tmp_path: Path) -> None:
    """Counted, not timed: no text is gone through again for each feature."""
    many = [polygon((np.array(SQUARE) + k).tolist()) for k in range(2_000)]
    text = ",\n".join(json.dumps(it) for it in many)
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    counts = []
    for part in (text[: len(text) // 2 + 1].rpartition(",\n")[0], text):
        (tmp_path / "r.geojson").write_text(f"[{part}]", encoding="utf-8")
        calls = 0
        sys.setprofile(count)
        try:
            read_regions(tmp_path / "r.geojson")
        finally:
            sys.setprofile(None)
        counts.append(calls)
    assert counts[1] < 2.2 * counts[0]


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
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_json_is_read_or_refused_and_nothing_else(tmp_path: Path, document: Any) -> None:
    try:
        regions, _ = read_document(tmp_path, document)
    except RegionsError as error:
        message = str(error)
    else:
        message = "r.geojson: "
        assert regions
        for region in regions:
            assert to_shapely(region.shape).is_valid
            assert 0 < to_shapely(region.shape).area < math.inf
            assert math.isfinite(measure(region, SMALL_MAP.layer(), MPP, 0.5).perimeter_um)
    assert message.startswith("r.geojson: ")


SMALL_MAP = ProbabilityMap(PatchGrid.over((0, 0, 2_000, 2_000), MPP, 400.0))


@given(data=st.binary(max_size=200))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_random_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    for head in (b"", b"\x1f\x8b\x08\0"):
        with pytest.raises(RegionsError):
            read_document(tmp_path, head + data)


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "FeatureCollection",\n "features": [\n{"type": 1}\n{"type": 2}]}',
        '[\n\n{"type": "Feature"]',
        '{"type": "FeatureCollection", "features": []\n} x',
        '{"type": "FeatureCollection", \n 7: []}',
        '{"type" "FeatureCollection"}',
        '{"type": "FeatureCollection",}',
        "[1,]",
    ],
)
def test_broken_json_is_refused_as_json_says(tmp_path: Path, text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as expected:
        json.loads(text)

    with pytest.raises(RegionsError, match=rf"not GeoJSON \(line {expected.value.lineno}: "):
        read_document(tmp_path, text.encode())


# --- what QuPath and WSInfer write ---------------------------------------------------------------


def test_ids_are_kept_and_missing_ones_are_always_the_same(tmp_path: Path) -> None:
    given_id = "0B6D0A3E-3C9C-4F0B-8C57-6A1A1A3A1A11"
    documents = [{**polygon(SQUARE), "id": given_id} for _ in range(2)] + [polygon(SQUARE)]

    first, again = (read_document(tmp_path, documents)[0] for _ in range(2))

    assert first[0].id == given_id.lower()
    assert len({region.id for region in first}) == 3
    assert [region.id for region in first] == [region.id for region in again]


def test_colours_and_lock_are_read(tmp_path: Path) -> None:
    properties: list[dict[str, Any]] = [
        {"classification": {"name": "A", "color": [1, 2, 3]}, "isLocked": True},
        {"classification": {"name": "A", "colorRGB": -3670016}},
        {"color": [7, 8, 9]},
        {"classification": {"name": "Tumor", "color": ["x", 1, 2]}},
    ]

    regions, _ = read_document(tmp_path, [polygon(SQUARE, properties=it) for it in properties])

    assert [region.rgb for region in regions] == [(1, 2, 3), (200, 0, 0), (7, 8, 9), (200, 0, 0)]
    assert [region.is_locked for region in regions] == [True, False, False, False]


def test_tile_of_wsinfer_has_its_most_probable_class(tmp_path: Path) -> None:
    properties = {
        "objectType": "tile",
        "isLocked": True,
        "measurements": {"prob_Other": 0.25, "prob_Tumor": 0.75, "area": 9.0},
    }

    (region,), _ = read_document(tmp_path, polygon(SQUARE, properties=properties))

    assert region.classification == "Tumor"


# --- writing -------------------------------------------------------------------------------------
