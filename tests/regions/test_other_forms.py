"""Forms of region files that other programs write, and packed ones: taken, or named."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path
from typing import Any

import pytest

from idc_desktop.errors import RegionsError
from tests.regions.test_files import SQUARE, polygon
from tests.regions.test_xml_files import HAMAMATSU, read_xml
from tests.support.region_files import read_document

FEATURE = polygon(SQUARE, properties={"name": "kept"})
COLLECTION = {"type": "FeatureCollection", "features": [FEATURE]}
LINE = json.dumps(FEATURE).encode()


@pytest.mark.parametrize(
    ("document", "count"),
    [
        ([[FEATURE], [FEATURE]], 2),
        ({**COLLECTION, "features": [COLLECTION]}, 1),
        (LINE + b"\n" + LINE + b"\r\n\n", 2),
        (b"\x1e" + LINE + b"\n\x1e" + LINE + b"\n", 2),
    ],
    ids=["lists in a list", "collection in a collection", "a feature a line", "text sequence"],
)
def test_features_are_found_wherever_they_stand(tmp_path: Path, document: Any, count: int) -> None:
    regions, notes = read_document(tmp_path, document)

    assert [it.name for it in regions] == ["kept"] * count
    assert all(it.shape.bounds == (10, 20, 110, 120) for it in regions)
    assert notes == []


@pytest.mark.parametrize(
    ("geometry", "words"),
    [
        ({"type": "Polygon", "coordinates": [[]]}, "has a ring of 0 points"),
        ({"type": "MultiPolygon", "coordinates": [[], [[]]]}, "has a ring of 0 points"),
        ({"type": "GeometryCollection", "geometries": None}, "has no rings"),
        ({"type": "GeometryCollection"}, "has no rings"),
    ],
)
def test_empty_geometry_costs_no_other_region(
    tmp_path: Path, geometry: dict[str, Any], words: str
) -> None:
    empty = {"type": "Feature", "geometry": geometry, "properties": {}}

    regions, notes = read_document(tmp_path, [empty, FEATURE])

    assert [it.name for it in regions] == ["kept"]
    assert notes == [f"r.geojson: 1 entry was left out: Feature 1 {words}."]


def test_empty_ring_beside_a_sound_one_is_a_sliver(tmp_path: Path) -> None:
    (region,), (note,) = read_document(tmp_path, polygon(SQUARE, []))

    assert region.shape.bounds == (10, 20, 110, 120)
    assert "1 ring of under three points left out" in note


def test_height_may_stand_beside_some_points(tmp_path: Path) -> None:
    ring = [[*point, 7.5] if number % 2 else point for number, point in enumerate(SQUARE)]

    (region,), notes = read_document(tmp_path, polygon(ring))

    assert (region.shape.bounds, notes) == ((10, 20, 110, 120), [])


def packed_as_zip(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("r.geojson", data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (packed_as_zip(LINE), "packed as zip"),
        (bz2.compress(LINE), "packed as bzip2"),
        (lzma.compress(LINE), "packed as xz"),
        (gzip.compress(gzip.compress(LINE, mtime=0), mtime=0), "packed as gzip, twice"),
        (b"", "the file is empty"),
        (gzip.compress(b" \n", mtime=0), "the file is empty"),
    ],
)
def test_packed_and_empty_files_are_named(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(RegionsError, match=words):
        read_document(tmp_path, data)


def test_points_without_an_order_are_taken_as_they_stand(tmp_path: Path) -> None:
    points = "".join(f'<Coordinate X="{x}" Y="{y}"/>' for x, y in SQUARE)
    annotation = (
        f'<Annotation Name="a" Type="Polygon"><Coordinates>{points}</Coordinates></Annotation>'
    )

    (region,), _ = read_xml(
        tmp_path, f"<ASAP_Annotations><Annotations>{annotation}</Annotations></ASAP_Annotations>"
    )

    assert region.shape.bounds == (10, 20, 110, 120)


def test_views_in_another_unit_than_nanometers_are_left_out(tmp_path: Path) -> None:
    in_pixels = "<title/>\n  <coordformat>pixels</coordformat>"

    (tumor,), (note,) = read_xml(tmp_path, HAMAMATSU.replace("<title/>", in_pixels))

    assert tumor.name == "Tumor"
    assert "Annotation 2, line 7, is in 'pixels', not in nanometers" in note
