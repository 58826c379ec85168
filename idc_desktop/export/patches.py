"""The patches of a map as they leave the application, and patches.geojson."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.export.content import Analysis
from idc_desktop.maps.layers import KINDS, NO_VALUE, PATCH
from idc_desktop.maps.probability_map import PatchState, ProbabilityMap
from idc_desktop.regions.geojson import compact

_IDC_RGB = (200, 0, 0)
_OTHER_RGB = (120, 160, 120)
_PROB_IDC = KINDS[PATCH].column
_HIDDEN_STATES = (PatchState.PENDING, PatchState.BACKGROUND)


class Patch(NamedTuple):
    """A patch as it is exported.

    Attributes
    ----------
    row, col : int
    box : (x, y, width, height)
        Whole level-0 pixels.
    state : PatchState
    values : dict
        Its value in each layer where it has one, by the layer's column.
    excluded_reason : str
        Why it is left out of all figures; empty where it is not.
    """

    row: int
    col: int
    box: tuple[int, int, int, int]
    state: PatchState
    values: dict[str, float]
    excluded_reason: str

    @property
    def measurements(self) -> dict[str, float]:
        """Its values, that of the model's other class first."""
        p = self.values.get(_PROB_IDC)
        return self.values if p is None else {"prob_Other": round(1 - p, 6), **self.values}


def shown_patches(probability_map: ProbabilityMap) -> Iterator[Patch]:
    """Yield all patches but background."""
    grid = probability_map.grid
    layers = [(it.kind, it.stored) for it in probability_map.layers]
    x, y = grid.column_edges_px().tolist(), grid.row_edges_px().tolist()
    for row, states in enumerate(probability_map.states):
        for col in np.flatnonzero(~np.isin(states, _HIDDEN_STATES)).tolist():
            box = (x[col], y[row], x[col + 1] - x[col], y[row + 1] - y[row])
            values = {
                kind.column: kind.value(int(stored[row, col]))
                for kind, stored in layers
                if stored[row, col] != NO_VALUE
            }
            state = probability_map.state_at(row, col)
            is_out = state is PatchState.EXCLUDED
            why = probability_map.found_at(row, col) if is_out else ""
            yield Patch(row, col, box, state, values, why)


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
    positive = analysis.layer.positive(analysis.threshold)
    for patch in shown_patches(analysis.map):
        if patch.state is not PatchState.OK:
            continue
        is_idc = positive[patch.row, patch.col]
        tile = {
            "objectType": "tile",
            "isLocked": True,
            "classification": {
                "name": "IDC" if is_idc else "Other",
                "color": list(_IDC_RGB if is_idc else _OTHER_RGB),
            },
            "measurements": patch.measurements,
        }
        identifier = analysis.identifier(f"{patch.row}/{patch.col}")
        put(",\n" + compact(_feature(identifier, patch.box, origin_l0, tile)))
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
