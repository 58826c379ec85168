"""A results folder in WSInfer's layout.

Its ``patches/*.h5`` is left out: it only passes coordinates from one of WSInfer's own steps to the
next, and the same coordinates stand in the CSV file.
"""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from idc_desktop import RESEARCH_USE_NOTICE, __version__
from idc_desktop.export.content import Content
from idc_desktop.export.patches import shown_patches
from idc_desktop.export.tables import wsinfer_csv
from idc_desktop.export.writers import Put, Writer, text_writer
from idc_desktop.maps.layers import PATCH
from idc_desktop.maps.probability_map import PatchState
from idc_desktop.regions.geojson import compact

_CONFIG = (
    "spec_version", "architecture", "num_classes", "class_names", "patch_size_pixels",
    "spacing_um_px", "transform",
)  # fmt: skip
_PROBABILITIES = ("prob_Other", "prob_IDC")


def results_folder(content: Content) -> dict[str, Writer]:
    """Return the writers of a results folder of one slide."""
    stem = content.stem
    return {
        f"wsinfer/model-outputs-csv/{stem}.csv": text_writer(lambda put: put(wsinfer_csv(content))),
        f"wsinfer/model-outputs-geojson/{stem}.geojson": text_writer(
            lambda put: _write_tiles(put, content)
        ),
        f"wsinfer/masks/{stem}.jpg": lambda file: _write_mask(file, content),
        "wsinfer/run_metadata.json": text_writer(
            lambda put: put(json.dumps(_run_metadata(content), indent=2) + "\n")
        ),
    }


def _write_tiles(put: Put, content: Content) -> None:
    put('{"type":"FeatureCollection","features":[')
    separator = "\n"
    for patch in shown_patches(content.analysis.map):
        if patch.state is not PatchState.OK:
            continue
        x, y, width, height = patch.box
        right, bottom = x + width, y + height
        ring = [[right, y], [right, bottom], [x, bottom], [x, y], [right, y]]
        tile = {
            "type": "Feature",
            "id": content.analysis.identifier(f"{patch.row}/{patch.col}"),
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {
                "isLocked": True,
                "measurements": {name: patch.measurements[name] for name in _PROBABILITIES},
                "objectType": "tile",
            },
        }
        put(separator + compact(tile))
        separator = ",\n"
    put("\n]}\n")


def _write_mask(file: BinaryIO, content: Content) -> None:
    """Write where there was tissue, one square per patch."""
    states = content.analysis.map.states
    tissue = ~np.isin(states, (PatchState.PENDING, PatchState.BACKGROUND))
    side = max(1, 1024 // max(states.shape))
    picture = np.kron(tissue, np.ones((side, side), bool)).astype(np.uint8) * 255
    Image.fromarray(picture).save(file, "JPEG", quality=95)


def _run_metadata(content: Content) -> dict[str, Any]:
    """Return WSInfer's keys; what would tell of this machine, user or hour is empty.

    The probabilities are those of the patch map, whichever map the other files are of.
    """
    analysis = content.analysis
    card = analysis.model.card.without_golden()
    return {
        "model": {
            "config": {key: card[key] for key in _CONFIG if key in card},
            "huggingface_location": None,
            "path": None,
            "sha256": analysis.model.sha256,
        },
        "runtime": {
            "version": f"idc-desktop {__version__}",
            "working_dir": None,
            "args": None,
            "python_executable": None,
            "python_version": analysis.versions.get("python"),
            "in_container": None,
            "pytorch_version": None,
            "cuda_version": None,
            "git": None,
            "wsinfer_zoo_version": None,
        },
        "timestamp": None,
        "map": PATCH,
        "notice": RESEARCH_USE_NOTICE,
    }
