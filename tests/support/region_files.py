"""Files of regions, read in this process: what the tests know to be harmless needs no child."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from idc_desktop.regions.files import RegionsFile
from idc_desktop.regions.shape import Region


def read_regions(path: Path) -> tuple[list[Region], list[str]]:
    """Return the regions of a file, and what should be known of it."""
    file = RegionsFile(path)
    return list(file.regions()), file.notes()


def read_document(
    folder: Path, document: Any, *, packed: bool = False
) -> tuple[list[Region], list[str]]:
    """Write a document as GeoJSON (bytes as they are) and read it."""
    path = folder / "r.geojson"
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    return read_regions(path)
