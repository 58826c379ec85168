"""Files of regions, read in this process: what the tests know to be harmless needs no child."""

from __future__ import annotations

from pathlib import Path

from idc_desktop.regions.files import RegionsFile
from idc_desktop.regions.shape import Region


def read_regions(path: Path) -> tuple[list[Region], list[str]]:
    """Return the regions of a file, and what should be known of it."""
    file = RegionsFile(path)
    return list(file.regions()), file.notes()
