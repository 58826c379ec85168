"""What the user changed of the tissue mask, told to the parent on the grid of its map."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from idc_desktop.children.serving import Outbox
from idc_desktop.errors import OutputError
from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.mask import MaskEdits, spans_of
from idc_desktop.processes.engine_messages import MaskEdited
from idc_desktop.regions.kept import read_kept
from idc_desktop.regions.mask import MaskArea, edits_of, mask_areas
from idc_desktop.storage.user_data import slide_folder


def tell_mask(
    outbox: Outbox, grid: PatchGrid, folder: Path, identity: str, areas: Iterable[MaskArea] | None
) -> MaskEdits | None:
    """Tell what the user changed, if anything, and return it.

    Parameters
    ----------
    folder : Path
        The data folder.
    identity : str
        Of the slide.
    areas : iterable of MaskArea, or None
        None: as a copy of the slide's regions file has it. Where that cannot be read nothing is
        changed; who reads there what was judged tells why.
    """
    if areas is None:
        areas = ()
        with contextlib.suppress(OutputError, OSError, sqlite3.Error):
            areas = mask_areas(read_kept(slide_folder(folder, identity)).regions)
    edits = edits_of(areas, grid)
    if edits is not None:
        outbox.send(MaskEdited(spans_of(edits.added), spans_of(edits.removed), edits.areas))
    return edits
