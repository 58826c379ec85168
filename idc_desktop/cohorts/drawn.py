"""What of a slide's regions and marks goes into its files: those of the window, and of a file."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace

from idc_desktop.errors import OutputError, cause_of
from idc_desktop.processes.region_reading import ReadRegions
from idc_desktop.regions.kept import FILE, Kept, changes, read_kept
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.mask import drawn
from idc_desktop.regions.shape import Point, Region
from idc_desktop.slides.description import SlideDescription
from idc_desktop.storage.database import as_os_error, is_held
from idc_desktop.storage.user_data import data_folder, slide_folder


def stored(name: str, slide: SlideDescription, note: Callable[[str], object]) -> Kept:
    """Return what was judged, measured and written of a slide in the window; nothing is changed.

    Parameters
    ----------
    name : str
        Of the slide's file.
    note : callable
        Told why nothing can be had.
    """
    try:
        return read_kept(slide_folder(data_folder(), slide.identity))
    except OutputError as error:
        why = str(error)
    except (OSError, sqlite3.Error) as error:
        why = (
            "A window has this slide open. Close it and export again, or export there."
            if is_held(error)
            else f"They cannot be read ({cause_of(as_os_error(error))})."
        )
    note(
        f"{name}: What was judged and measured in the window, and changed of the tissue mask, is "
        f"left out: {why}"
    )
    return Kept()


def digest(kept: Kept) -> str:
    """Return what stands for all of a window that goes into files; empty where that is nothing."""
    used = tuple(it for it in kept.regions if it.verdict or it.changes_mask)
    parts = changes(Kept(), replace(kept, regions=used), {}, {})
    rows = [row for part in parts for row in part.rows]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32] if rows else ""


def stored_digest(identity: str) -> str | None:
    """Return the `digest` of what is kept of a slide here; None if that is not known.

    So it is on a machine that has no regions of the slide, and while a window has it open.
    """
    folder = slide_folder(data_folder(), identity)
    if not (folder / FILE).exists():
        return None
    try:
        return digest(read_kept(folder))
    except (OutputError, OSError, sqlite3.Error):
        return None


def regions_of(
    kept: Kept, read: ReadRegions, slide: SlideDescription, origin_l0: Point
) -> list[Region]:
    """Return the regions that get rows: those that were judged, and those of the file.

    Parameters
    ----------
    origin_l0 : (x, y)
        Where (0, 0) of the file lies, if it does not say so itself.
    """
    judged = [it for it in drawn(kept.regions) if it.verdict]
    known = {it.id for it in kept.regions if it.verdict or it.changes_mask}
    return [*judged, *(it for it in read.placed(slide, origin_l0) if it.id not in known)]


def marks_of(kept: Kept, read: ReadRegions, origin_l0: Point) -> tuple[Mark, ...]:
    """Return the marks that are written; parameters as of `regions_of`."""
    known = {it.id for it in kept.marks}
    placed = read.placed_marks(origin_l0)
    return (*kept.marks, *(it for it in placed if it.id not in known))
