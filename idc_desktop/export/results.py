"""Where a slide's results go: a folder that every system takes, and never one of the scan's own."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from idc_desktop.errors import ExportError
from idc_desktop.slides.description import SlideDescription
from idc_desktop.slides.dicom_header import is_dicom, read_header

_UNSAFE = re.compile(
    r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\ud800-\udfff'
    r"\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]"  # not seen, or turn what is seen around
)
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)", re.IGNORECASE)

_LONGEST_BYTES = 240
"""A name may have 255 bytes, and files are named after the folder, with a suffix."""


def results_name(slide: Path, has_suffix: bool = False) -> str:
    """Return what a slide's results go by: its file's name without the suffix, or its folder's.

    `has_suffix` keeps the suffix, to tell slides apart that differ in nothing else.

    A name that some system refuses, hides or takes for another folder (``..``, ``CON``, ``a:b``,
    a trailing dot) is made safe and ends with a part of its hash, so that no two become one.
    """
    return _safe(slide.name if has_suffix or _is_folder(slide) else slide.stem)


def results_folder(
    out: Path, slide: Path, description: SlideDescription, *, anonymous: bool
) -> Path:
    """Return the folder within `out` that the results of a slide go to.

    Parameters
    ----------
    anonymous : bool
        It is not named after the slide, but has a part of its identity as its name.
    """
    return out / (_safe(description.pseudonym) if anonymous else results_name(slide))


def as_one_folder(name: str) -> str:
    """Return what is equal for names that are one folder on some system: Ä and ä, é and é."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def refuse_scan_folder(place: Path, slides: Iterable[Path], *, gets_files: bool = True) -> None:
    """Refuse to put results among the files of a scan.

    Only slides of several files have a folder of their own: that of a DICOM series, the data folder
    of MIRAX. Where results lie beside a slide that is one file, nobody takes them for a part of it.

    Parameters
    ----------
    place : Path
        Where they would go; need not exist.
    slides : iterable of Path
        The slides that they are of.
    gets_files : bool
        Not only folders: then it must not hold another DICOM slide either.

    Raises
    ------
    ExportError
        It is, or lies in, the folder of one of the slides or of any MIRAX slide.
    """
    folder = _scan_folder(place, slides)
    if folder is None and gets_files and any(map(_is_level, _files_in(place))):
        folder = place
    if folder is not None:
        raise ExportError(
            f"{folder.name}: The results would lie in this folder of a scan's own files. Choose "
            f"another folder with --out, such as a new one beside {folder.name}."
        )


def _scan_folder(place: Path, slides: Iterable[Path]) -> Path | None:
    """Return the folder of a scan's own files that `place` is, or lies in; None outside of any."""
    real = Path(os.path.realpath(place))
    own = [_own_folder(it) for slide in slides for it in (slide, Path(os.path.realpath(slide)))]
    taken = {_inode(it) for it in own if it is not None and _is_folder(it)}
    for folder in (real, *real.parents):
        if _inode(folder) in taken or _status(folder / "Slidedat.ini"):
            return folder
    return None


def _own_folder(slide: Path) -> Path | None:
    """Return the folder that belongs to a slide of several files; None of any other."""
    suffix = slide.suffix.lower()
    if suffix == ".mrxs":
        return slide.with_suffix("")
    if _is_folder(slide):
        return slide if any(map(is_dicom, _files_in(slide))) else None
    status = _status(slide)
    is_one_of_several = suffix in (".vms", ".vmu")
    if status is not None and stat.S_ISREG(status.st_mode) and is_dicom(slide):
        is_one_of_several = any(is_dicom(it) for it in _files_in(slide.parent) if it != slide)
    return slide.parent if is_one_of_several else None


def _is_level(path: Path) -> bool:
    header = read_header(path)
    return header is not None and header.is_level


def _files_in(folder: Path) -> list[Path]:
    try:
        return [it for it in folder.iterdir() if it.is_file()]
    except OSError:  # there is none, or it is told by whoever has to read it
        return []


def _is_folder(path: Path) -> bool:
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _inode(path: Path) -> tuple[int, int] | None:
    status = _status(path)
    return None if status is None else (status.st_dev, status.st_ino)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):  # also of a name that is too long, or holds a NUL
        return None


def _safe(name: str) -> str:
    safe = _UNSAFE.sub("_", name).rstrip(". ")
    if not safe or safe.startswith(".") or _DEVICE.match(safe):
        safe = f"_{safe}"
    if safe == name and len(name.encode()) <= _LONGEST_BYTES:
        return name
    mark = f"-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    return safe.encode()[: _LONGEST_BYTES - len(mark)].decode("utf-8", "ignore") + mark
