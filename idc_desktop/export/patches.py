"""The patches of a map as they leave the application, and patches.geojson."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.export.analysis import Analysis
from idc_desktop.probability_map import MILLIONTHS, PatchState, ProbabilityMap
from idc_desktop.regions.geojson import compact

_IDC_RGB = (200, 0, 0)
_OTHER_RGB = (120, 160, 120)
_HIDDEN_STATES = (PatchState.PENDING, PatchState.BACKGROUND)


def shown_patches(
    probability_map: ProbabilityMap,
) -> Iterator[tuple[int, int, tuple[int, int, int, int], PatchState, int]]:
    """Yield (row, col, (x, y, width, height), state, millionths) of all but background.

    Boxes are whole level-0 pixels.
    """
    grid = probability_map.grid
    x, y = grid.column_edges_px().tolist(), grid.row_edges_px().tolist()
    for row, states in enumerate(probability_map.states):
        for col in np.flatnonzero(~np.isin(states, _HIDDEN_STATES)).tolist():
            box = (x[col], y[row], x[col + 1] - x[col], y[row + 1] - y[row])
            millionths = int(probability_map.millionths[row, col])
            yield row, col, box, PatchState(states[col]), millionths


def write_patches_geojson(
    put: Callable[[str], object], analysis: Analysis, origin_l0: tuple[float, float] = (0, 0)
) -> None:
    """Write the analyzed patches as tiles, one after the other.

    Parameters
    ----------
    put : callable
        Takes each piece of text.
    origin_l0 : (x, y)
        Where the file's (0, 0) lies, level-0 pixels.
    """
    grid = analysis.map.grid
    box = (grid.origin_x_l0, grid.origin_y_l0, grid.width_l0, grid.height_l0)
    of_image = "level 0, top left of the whole image (not of its bounds)"
    metadata = {
        "origin": "top left of the slide's bounds" if any(origin_l0) else of_image,
        "slide_identity": analysis.slide.identity,
        "model": analysis.model.card.name,
        "model_sha256": analysis.model.sha256,
        "mpp_x": repr(analysis.mpp[0]),
        "mpp_y": repr(analysis.mpp[1]),
        "mpp_source": analysis.slide.mpp_source,
        "threshold": repr(analysis.threshold),
        "provider": analysis.provider.used,
        "map": analysis.map_kind,
        "notice": RESEARCH_USE_NOTICE,
    }
    properties = {"objectType": "annotation", "name": "IDC Desktop", "isLocked": True}
    enclosing = _feature(
        analysis.identifier("extent"), box, origin_l0, {**properties, "metadata": metadata}
    )
    put('{"type":"FeatureCollection","features":[\n' + compact(enclosing))
    positive = analysis.map.positive(analysis.threshold)
    for row, col, patch, state, millionths in shown_patches(analysis.map):
        if state is not PatchState.OK:
            continue
        is_idc = positive[row, col]
        tile = {
            "objectType": "tile",
            "isLocked": True,
            "classification": {
                "name": "IDC" if is_idc else "Other",
                "color": list(_IDC_RGB if is_idc else _OTHER_RGB),
            },
            "measurements": {
                "prob_Other": (MILLIONTHS - millionths) / MILLIONTHS,
                "prob_IDC": millionths / MILLIONTHS,
            },
        }
        identifier = analysis.identifier(f"{row}/{col}")
        put(",\n" + compact(_feature(identifier, patch, origin_l0, tile)))
    put("\n]}\n")


def _feature(
    identifier: str,
    box: tuple[int, int, int, int],
    origin_l0: tuple[float, float],
    properties: dict[str, Any],
) -> dict[str, Any]:
    x, y = box[0] - origin_l0[0], box[1] - origin_l0[1]
    right, bottom = x + box[2], y + box[3]
    ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "id": identifier, "geometry": geometry, "properties": properties}
