"""The regions that the contract tests draw, in level-0 pixels of the tiny slide (1320 x 900)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely import affinity
from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True)
class Region:
    """A region in the file, and how its text must come out."""

    name: str
    geometry: BaseGeometry
    roi: str = "Polygon"
    classification: Any = None
    exported_name: str | None = None
    exported_class: str = ""
    is_ellipse: bool = False

    @property
    def name_cell(self) -> str:
        return self.name if self.exported_name is None else self.exported_name


def _ellipse(x: float, y: float, width: float, height: float) -> BaseGeometry:
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    points = np.stack([x + width / 2 * np.cos(angles), y + height / 2 * np.sin(angles)], axis=1)
    return shapely.Polygon(points)


_RED = [200, 0, 0]

REGIONS = [
    Region(
        "tilted",
        affinity.rotate(shapely.box(230.5, 250.25, 760.125, 810.75), 17.3),
        classification={"name": "Tumor", "color": _RED},
        exported_class="Tumor",
    ),
    Region(
        "with a hole",
        shapely.Polygon(
            [(210, 190), (815, 215), (790, 830), (190, 805)],
            [[(420, 420), (430, 590), (585, 610), (590, 410)]],
        ),
        classification="Stroma",
        exported_class="Stroma",
    ),
    # Edges run through the centres of cells: columns and rows 1 and 2 are in, 3 is not.
    Region("half-open", shapely.box(300, 300, 700, 700), roi="Rectangle"),
    Region("round", _ellipse(520, 560, 610, 400), roi="Ellipse", is_ellipse=True),
    Region("over the edge", shapely.box(1105, 640, 1530, 1100), roi="Rectangle"),
    Region("over the corner", shapely.box(-350, -270, 450, 470), roi="Rectangle"),
    Region("off the slide", shapely.box(2000, 100, 2300, 500), roi="Rectangle"),
    Region("touching the edge", shapely.box(1320, 100, 1500, 300), roi="Rectangle"),
    Region("glass", shapely.box(20, 20, 180, 180), roi="Rectangle"),
    Region("inside one cell", shapely.Polygon([(410, 410), (470, 415), (440, 480)])),
    Region(
        "two parts",
        shapely.MultiPolygon([shapely.box(250, 250, 530, 380), shapely.box(430, 610, 850, 770)]),
    ),
    Region(
        "=SUM(A1:A9)",
        shapely.box(205, 405, 395, 595),
        roi="Rectangle",
        exported_name="'=SUM(A1:A9)",
        classification={"name": "@risk"},
        exported_class="'@risk",
    ),
    Region(
        "-1 + 1",
        shapely.Polygon([(205, 405), (395, 405), (395, 590)]),
        exported_name="'-1 + 1",
        classification={"names": ["+Tumor"]},
        exported_class="'+Tumor",
    ),
    Region(
        "\tindented",
        shapely.Polygon([(205, 405), (395, 405), (380, 590)]),
        exported_name="'\tindented",
    ),
    Region(
        'Größe "A", µm\n2nd line',
        shapely.Polygon([(205, 405), (395, 405), (370, 590)]),
        classification={"name": "Immune, cells"},
        exported_class="Immune, cells",
    ),
]


def feature_collection() -> dict[str, Any]:
    """Return the regions as QuPath would export them."""
    return {"type": "FeatureCollection", "features": [_feature(region) for region in REGIONS]}


def _feature(region: Region) -> dict[str, Any]:
    geometry = dict(shapely.geometry.mapping(region.geometry))
    if region.is_ellipse:
        geometry["isEllipse"] = True
    properties: dict[str, Any] = {"objectType": "annotation", "name": region.name}
    if region.classification is not None:
        properties["classification"] = region.classification
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, region.name)),
        "geometry": geometry,
        "properties": properties,
    }
