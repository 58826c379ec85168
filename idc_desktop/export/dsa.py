"""An annotation for HistomicsUI and the Digital Slide Archive: the map, and the regions on it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.export.content import Content
from idc_desktop.maps.colormap import lookup_table
from idc_desktop.regions.geojson import compact
from idc_desktop.regions.shape import Region, Rgb, Ring

_COLORS = 9


def annotation(content: Content) -> str:
    """Return the annotation as JSON; coordinates are level-0 pixels with z = 0."""
    analysis = content.analysis
    document = {
        "name": "IDC Desktop",
        "description": f"{analysis.layer.kind.unit} per patch. {RESEARCH_USE_NOTICE}",
        "attributes": {
            "slide_identity": analysis.slide.identity,
            "model": analysis.model.card.name,
            "model_version": analysis.model.card.version,
            "model_sha256": analysis.model.sha256,
            "mpp_x": analysis.mpp[0],
            "mpp_y": analysis.mpp[1],
            "mpp_source": analysis.slide.mpp_source,
            "threshold": analysis.threshold,
            "provider": analysis.provider.used,
            "map": analysis.map_kind,
            "notice": RESEARCH_USE_NOTICE,
        },
        "elements": [
            _heatmap(content),
            *(element for region in content.regions for element in _outlines(region)),
        ],
    }
    return compact(document) + "\n"


def _heatmap(content: Content) -> dict[str, Any]:
    """Return the analyzed patches as points; a grid could not leave the others out."""
    layer = content.analysis.layer
    grid = layer.grid
    points = []
    for row, col in np.argwhere(layer.analyzed).tolist():
        points.append([*grid.cell_centre_l0(row, col), 0, layer.value_at(row, col)])
    steps = [number / (_COLORS - 1) for number in range(_COLORS)]
    return {
        "type": "heatmap",
        "points": points,
        "radius": math.hypot(grid.step_x_l0, grid.step_y_l0) / 2,
        "colorRange": [_css(tuple(lookup_table()[round(255 * it)].tolist())) for it in steps],
        "rangeValues": [layer.kind.at(it) for it in steps],
        "normalizeRange": False,
        "scaleWithZoom": True,
    }


def _outlines(region: Region) -> list[dict[str, Any]]:
    """Return a closed line with its holes for each polygon."""
    return [
        {
            "type": "polyline",
            "label": {"value": region.name},
            "group": region.known_as[0] or "Region",
            "lineColor": _css(region.rgb),
            "fillColor": "rgba(0,0,0,0)",
            "closed": True,
            "points": _points(polygon[0]),
            "holes": [_points(hole) for hole in polygon[1:]],
        }
        for polygon in region.shape.polygons
    ]


def _points(ring: Ring) -> list[list[float]]:
    return [[x, y, 0] for x, y in ring.tolist()]


def _css(color: Rgb) -> str:
    red, green, blue = color
    return f"rgb({red},{green},{blue})"
