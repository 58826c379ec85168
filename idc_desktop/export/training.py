"""Reviewed regions as outlines that ``idc-trainer patches`` takes: corrections become training."""

from __future__ import annotations

import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from idc_desktop.errors import IdcError, OutputError, not_written
from idc_desktop.export.folder import write_regions
from idc_desktop.export.results import results_name
from idc_desktop.regions.kept import read_kept
from idc_desktop.regions.mask import drawn
from idc_desktop.regions.shape import Region
from idc_desktop.slides.slide_files import SlideFiles
from idc_desktop.storage.user_data import data_folder, slide_folder

POSITIVE, NEGATIVE = "IDC", "not IDC"
"""Classes of the outlines that are written."""


@dataclass(frozen=True)
class TrainingOutlines:
    """What was written.

    Attributes
    ----------
    folder : Path
    slides : tuple of Path
        Those with reviewed regions.
    positive, negative : int
        Regions of each kind.
    notes : tuple of str
        Slides whose regions cannot be read, and why.
    """

    folder: Path
    slides: tuple[Path, ...]
    positive: int
    negative: int
    notes: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command line that cuts their patches."""
        words = [
            *("idc-trainer", "patches", *map(str, self.slides)),
            *("--annotations", str(self.folder), "--positive", POSITIVE, "--negative", NEGATIVE),
            *("--out", str(self.folder / "patches")),
        ]
        return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def reviewed(regions: Iterable[Region]) -> list[Region]:
    """Return what somebody has judged, or given a class, as areas of one of the two classes.

    A verdict counts more than a class. What is unsure, or neither judged nor of a class, says
    nothing.
    """
    found = []
    for region in drawn(regions):
        said = region.verdict or region.classification.strip()
        if said and said != "unsure":
            label = POSITIVE if said.casefold() == POSITIVE.casefold() else NEGATIVE
            found.append(replace(region, classification=label, color=None, verdict="", note=""))
    return found


def write_training_outlines(
    slides: Sequence[Path], known: Mapping[Path, Sequence[Region]], folder: Path
) -> TrainingOutlines:
    """Write the reviewed regions of slides, a file for each slide that has any.

    Parameters
    ----------
    known : mapping
        Regions of the slides that are open; those of the others are read from where they are kept.
    folder : Path
        Gets ``<slide>.geojson``.

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(f"{folder.name}: The folder cannot be made", error) from error
    written: list[Path] = []
    notes: list[str] = []
    counts = {POSITIVE: 0, NEGATIVE: 0}
    for slide in slides:
        try:
            regions = reviewed(known[slide] if slide in known else _stored(slide))
        except (IdcError, OSError, sqlite3.Error) as error:
            notes.append(f"{slide.name}: Its regions cannot be read ({error}).")
            continue
        if not regions:
            continue
        path = folder / f"{results_name(slide)}.geojson"
        if path in {folder / f"{results_name(it)}.geojson" for it in written}:
            raise OutputError(
                f"{slide.name}: Two slides of this name are in the list. Take one of them off it."
            )
        write_regions(path, regions)
        written.append(slide)
        for region in regions:
            counts[region.classification] += 1
    return TrainingOutlines(
        folder, tuple(written), counts[POSITIVE], counts[NEGATIVE], tuple(notes)
    )


def _stored(slide: Path) -> tuple[Region, ...]:
    """Return the regions that are kept of a slide; it is not decoded for that."""
    return read_kept(slide_folder(data_folder(), SlideFiles(slide).identity)).regions
