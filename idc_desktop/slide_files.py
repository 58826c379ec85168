"""The files that make up a slide: which they are, whether they changed, their identity."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from idc_desktop import preflight
from idc_desktop.errors import SlideChangedError, SlideError

Stamp = tuple[int, int, int, int]

_SAMPLE_BYTES = 64 << 10
_SAMPLES = 64
_END_BYTES = 1 << 20


def stamp(path: Path) -> Stamp:
    """Return what changes with a file; `SlideError` if it cannot be read."""
    with preflight.reading(path.name):
        return _stamp(path)


class SlideFiles:
    """The files of one slide, as they were when it was opened.

    Parameters
    ----------
    path : Path
        The file that was opened.
    vendor : str
        What OpenSlide calls the format.
    series_uid : str
        Of a DICOM slide.
    opened : Stamp
        Of `path`, from before it was opened.

    Raises
    ------
    SlideError
        One of the files cannot be read.
    """

    def __init__(self, path: Path, vendor: str, series_uid: str, opened: Stamp) -> None:
        self._path = path
        with preflight.reading(path.name):
            self._files = _companions(path, vendor, series_uid.encode())
            self._stamps = [opened if it == path else _stamp(it) for _, it in self._files]

    def refuse_other_series(self) -> None:
        """Raise `SlideError` if another DICOM slide lies in the same folder."""
        folder = self._path.parent
        own = {path for _, path in self._files}
        with preflight.reading(self._path.name):
            members = preflight.regular_files(folder)
        for path in members:
            if preflight.is_dicom_level(path) and path not in own:
                raise SlideError(
                    f"{folder.name}: This folder holds several slides. Give a file of the one to "
                    f"read, such as {self._path.name} or {path.name}."
                )

    def check_unchanged(self) -> None:
        """Raise `SlideChangedError` unless the files are those that were opened."""
        name = self._path.name
        try:
            same = [_stamp(path) for _, path in self._files] == self._stamps
        except OSError as error:
            raise SlideChangedError(
                f"{name}: The slide is no longer there ({error.strerror}). What was analyzed "
                "is kept: run the same command again when it is back."
            ) from error
        if not same:
            raise SlideChangedError(
                f"{name}: The slide changed on disk while it was being read. Run the same "
                "command again."
            )

    def identity(self) -> str:
        """Return the SHA-256 of the size, both ends and 64 samples of each file.

        Raises
        ------
        SlideError
            One of the files cannot be read.
        """
        digest = hashlib.sha256()
        for name, path in self._files:
            if len(self._files) > 1:
                digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
            with preflight.reading(name):
                _update_with_samples(digest, path)
        return digest.hexdigest()


def _companions(path: Path, vendor: str, series_uid: bytes) -> list[tuple[str, Path]]:
    """Return every file that belongs to the slide as (relative name, path), sorted."""
    folder = path.parent
    members = {path}
    if vendor == "dicom":
        members |= {it for it in preflight.regular_files(folder) if _mentions(it, series_uid)}
    elif vendor == "mirax":
        members |= {it for it in (folder / path.stem).rglob("*") if it.is_file()}
    elif vendor.startswith("hamamatsu") and path.suffix.lower() in (".vms", ".vmu"):
        text = path.read_bytes()
        members |= {it for it in preflight.regular_files(folder) if os.fsencode(it.name) in text}
    return sorted((it.relative_to(folder).as_posix(), it) for it in members)


def _stamp(path: Path) -> Stamp:
    it = path.stat()
    return it.st_dev, it.st_ino, it.st_size, it.st_mtime_ns


def _mentions(path: Path, uid: bytes) -> bool:
    if not uid or not preflight.is_dicom(path):
        return False
    with path.open("rb") as file:
        # Not where it is but the beginning of another.
        return re.search(re.escape(uid) + rb"(?![0-9.])", file.read(_END_BYTES)) is not None


def _update_with_samples(digest: hashlib._Hash, path: Path) -> None:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest.update(size.to_bytes(8, "little"))
        last = max(0, size - _END_BYTES)
        ends = [(0, _END_BYTES), (last, _END_BYTES)]
        step = size / _SAMPLES
        for offset, length in ends + [(int(k * step), _SAMPLE_BYTES) for k in range(_SAMPLES)]:
            file.seek(offset)
            digest.update(file.read(length))
