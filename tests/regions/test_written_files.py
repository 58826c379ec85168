"""Regions are written as QuPath writes them, and read back as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from idc_desktop.regions import geojson
from idc_desktop.regions.editing import draw_ellipse
from idc_desktop.regions.shape import Region, rectangle, shape_of
from tests.support.region_files import read_document

MPP = (0.7, 0.9)
WRITTEN = [
    Region("Größe, µm", rectangle(10.5, 20, 30, 40.25), "Tumor", is_locked=True),
    Region("", draw_ellipse((0, 0), (300, 200)), "", (1, 2, 3)),
    Region(
        "hole and parts",
        shape_of(
            [
                [[(0, 0), (9, 0), (9, 9)], [(5, 2), (7, 2), (7, 4)]],
                [[(20, 20), (30, 20), (30, 31)]],
            ]
        ),
        "A: B",
        (9, 8, 7),
    ),
]


def written(regions: list[Region], **more: Any) -> str:
    pieces: list[str] = []
    geojson.write(pieces.append, regions, **more)
    return "".join(pieces)


@pytest.mark.parametrize("origin", [(0.0, 0.0), (123.0, 45.5)])
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_written_is_read_back_the_same(
    tmp_path: Path, origin: tuple[float, float], packed: bool
) -> None:
    text = written(WRITTEN, origin_l0=origin)

    regions, notes = read_document(tmp_path, text.encode(), packed=packed)

    assert notes == []
    for found, region in zip(regions, WRITTEN, strict=True):
        assert (found.name, found.classification, found.rgb) == (
            region.name, region.classification, region.rgb,
        )  # fmt: skip
        assert (found.id, found.is_locked) == (region.id, region.is_locked)
        assert found.shape == region.shape


def test_file_keeps_the_rules_of_qupath(tmp_path: Path) -> None:
    """Closed rings, UUIDs, object types, colours inside the class, isEllipse."""
    figures = [{"IDC fraction": 0.5}, {}, {"Area µm^2": 7.0}]
    document = json.loads(written(WRITTEN, origin_l0=(5, 5), figures=figures))

    assert document["type"] == "FeatureCollection"
    assert document["idcDesktop"]["origin_l0"] == [5, 5]
    for feature, region in zip(document["features"], WRITTEN, strict=True):
        assert feature["type"] == "Feature"
        assert feature["id"] == region.id
        properties, geometry = feature["properties"], feature["geometry"]
        assert properties["objectType"] == "annotation"
        parts = geometry["coordinates"]
        assert geometry["type"] == (
            "Polygon" if len(region.shape.polygons) == 1 else "MultiPolygon"
        )
        for ring in parts if geometry["type"] == "Polygon" else [r for p in parts for r in p]:
            assert ring[0] == ring[-1]
            assert len(ring) >= 4
        if region.classification:
            assert properties["classification"]["name"] == region.classification
            assert properties["classification"]["color"] == list(region.rgb)
            assert "color" not in properties
    assert document["features"][1]["geometry"]["isEllipse"] is True
    assert document["features"][0]["properties"]["measurements"] == {"IDC fraction": 0.5}
    assert "measurements" not in document["features"][1]["properties"]


# --- ASAP ----------------------------------------------------------------------------------------
