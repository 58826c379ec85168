"""probability.ome.tiff: the map as numbers."""

from __future__ import annotations

import re
from typing import BinaryIO

import numpy as np
import tifffile

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.export.content import Analysis
from idc_desktop.regions.geojson import compact

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_ome_tiff(file: BinaryIO, analysis: Analysis) -> None:
    """Write the layers as float32, one pixel per patch, NaN where nothing was analyzed.

    The first channel is always the patch map.
    """
    grid, size_um = analysis.map.grid, analysis.model.card.patch_size_um
    patch, *others = analysis.map.layers
    provenance = analysis.provenance()
    del provenance["model"]["card"], provenance["analyzed"]  # the same bytes of every such run
    metadata = {
        # tifffile's own UUID would hold the time and this machine's network address.
        "UUID": analysis.identifier("probability.ome.tiff"),
        "axes": "CYX" if others else "YX",
        "Name": _NOT_XML.sub("?", analysis.image),
        "Description": f"P(IDC), one pixel per patch, NaN = not analyzed. {RESEARCH_USE_NOTICE}",
        "PhysicalSizeX": size_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": size_um,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": ["IDC", *(it.kind.column for it in others)]},
        "MapAnnotation": {
            "Namespace": "idc-desktop/provenance",
            "origin_x_l0": str(grid.origin_x_l0),
            "origin_y_l0": str(grid.origin_y_l0),
            "provenance": compact(provenance),
        },
    }
    image = np.stack([it.values for it in (patch, *others)]).astype(np.float32)
    if not others:
        image = image[0]
    tifffile.imwrite(file, image, ome=True, metadata=metadata, photometric="minisblack")
