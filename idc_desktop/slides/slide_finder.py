"""Which slides lie in a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from idc_desktop.slides.dicom_header import read_header

_SUFFIXES = frozenset(
    (".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".bif", ".svslide", ".czi")
)
_DICOM_SUFFIXES = frozenset(("", ".dcm", ".dicom"))
_WINDOWS_HIDDEN = 0x2


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes
    ----------
    slides : tuple of Path
        In the order of their names.
    notes : tuple of str
        What a user should know of the search, such as a folder that cannot be read.
    """

    slides: tuple[Path, ...]
    notes: tuple[str, ...]


def slides_in(path: Path, most: int) -> Found:
    """Return the slides that a path stands for: itself, or those in the folder.

    A series of DICOM files is one slide: the folder, if it holds nothing else to read, otherwise
    one of its files. The folders in the folder are looked through for such series, too, since
    scanners write one per slide. Hidden files are none; macOS leaves one beside each slide.

    Parameters
    ----------
    path : Path
    most : int
        So many are returned; a note says if there are more.

    Raises
    ------
    OSError
        The folder cannot be read.
    """
    if not path.is_dir():
        return Found((path,), ())
    files, folders = _entries(path)
    slides, notes = _slides_among(path, files), []
    for folder in folders:
        try:
            inner = _slides_among(folder, [it for it in _entries(folder)[0] if _may_be_dicom(it)])
        except OSError as error:
            notes.append(f"{folder.name}: The folder cannot be read ({error.strerror}).")
        else:
            slides += inner
    if len(slides) > most:
        notes.append(
            f"{path.name}: Of {len(slides):,} slides in this folder the first {most:,} are listed."
        )
    if not slides:
        notes.append(f"{path.name}: There is no slide in this folder.")
    return Found(tuple(slides[:most]), tuple(notes))


def slides_below(folder: Path, is_left_out: Callable[[Path], bool]) -> Found:
    """Return the slides in a folder and in all folders below it, as `slides_in` takes them.

    Parameters
    ----------
    folder : Path
    is_left_out : callable
        Whether a folder is not looked into.

    Raises
    ------
    OSError
        The folder itself cannot be read.
    """
    slides, notes = list[Path](), list[str]()
    seen: set[tuple[int, int]] = set()  # a link may lead back up
    waiting = [folder]
    for place in waiting:  # which grows meanwhile
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in seen or (place != folder and is_left_out(place)):
                continue
            seen.add((status.st_dev, status.st_ino))
            files, folders = _entries(place)
        except OSError as error:
            if place == folder:
                raise
            notes.append(f"{place.name}: The folder cannot be read ({error.strerror}).")
            continue
        slides += _slides_among(place, files)
        waiting += folders
    return Found(tuple(sorted(slides)), tuple(notes))


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files and the folders in a folder, by name, without those that are hidden."""
    files, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat()
            except OSError:  # a link that leads nowhere
                continue
            hidden = getattr(status, "st_file_attributes", 0) & _WINDOWS_HIDDEN
            if entry.name.startswith(".") or hidden:
                continue
            if stat.S_ISREG(status.st_mode):
                files.append(folder / entry.name)
            elif stat.S_ISDIR(status.st_mode):
                folders.append(folder / entry.name)
    return sorted(files), sorted(folders)


def _may_be_dicom(path: Path) -> bool:
    # A UID is often the name of the file, so that its last number looks like a suffix.
    suffix = path.suffix.lower()
    return suffix in _DICOM_SUFFIXES or suffix[1:].isdecimal()


def _slides_among(folder: Path, files: list[Path]) -> list[Path]:
    """Return the slides that files of one folder are; of a DICOM series its first file, by name."""
    slides = [it for it in files if it.suffix.lower() in _SUFFIXES]
    series: dict[str, Path] = {}
    for file in filter(_may_be_dicom, files):
        header = read_header(file)
        if header is not None and header.is_level:
            series.setdefault(header.series_uid or file.name, file)
    if len(series) == 1 and not slides:
        return [folder]
    return sorted([*slides, *series.values()])
