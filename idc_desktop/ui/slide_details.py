"""What the table of slides says of a finished run, beside its share of IDC."""

from __future__ import annotations

import contextlib
import sqlite3

from idc_desktop.errors import IdcError
from idc_desktop.export.content import Analysis
from idc_desktop.regions.kept import Kept, read_kept
from idc_desktop.regions.statistics import RegionMeter, whole_slide
from idc_desktop.storage.user_data import data_folder, slide_folder
from idc_desktop.ui.outcome import Details


def details_of(analysis: Analysis, kept: Kept | None) -> Details:
    """Measure it; for any thread, since that takes longer than a frame.

    Parameters
    ----------
    analysis : Analysis
        Of a map that nobody changes.
    kept : Kept or None
        What is drawn and written on the slide; None if that is to be read from its file.
    """
    from idc_desktop.cohorts.figures import figures_of
    from idc_desktop.regions.foci import find_foci
    from idc_desktop.regions.verdicts import Accepted, verdicts_of

    if kept is None:
        kept = _stored(analysis.slide.identity)
    layer, mpp, threshold = analysis.layer, analysis.mpp, analysis.threshold
    foci = find_foci(layer, mpp, threshold)
    (accepted_um2,) = Accepted(kept.regions).areas_um2(
        [whole_slide(layer.grid)], RegionMeter(layer, mpp), threshold
    )
    return Details(
        figures=figures_of(analysis, foci),
        notes=" ".join(analysis.notes),
        accepted_um2=accepted_um2,
        judged_foci=sum(
            map(bool, verdicts_of([it.shape for it in foci], kept.regions, layer.grid))
        ),
        note=kept.sheet.comment,
    )


def _stored(identity: str) -> Kept:
    """Return what is stored of a slide that is not open; nothing if it cannot be read."""
    with contextlib.suppress(IdcError, OSError, sqlite3.Error):
        return read_kept(slide_folder(data_folder(), identity))
    return Kept()
