"""Checks of a slide's file before any decoder sees it, with one distinct message per cause.

OpenSlide reports every failure to open as the same error, hangs for ever on a FIFO and aborts the
process on some lying headers; so what can be known from the file system and from a TIFF's
directories is found here, in plain Python.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from idc_desktop.errors import SlideError
from idc_desktop.slides.dicom_header import is_dicom, read_header

_MAX_TILE_BYTES = 256 << 20
_MIN_TILE_PX = 16  # of a side, says TIFF; with smaller ones tables take longer than pixels
_MAX_DIRECTORIES = 4096
_MAX_TAGS = 50_000  # of all directories together
_MAX_OFFSETS = 16_000_000  # of one level: twice the tiles of the largest glass slide at 40x
_MIN_TABLES_BYTES = 16 << 20  # so much may be read of tables, whatever the size of the file
_MAX_TAG_BYTES = 64 << 20  # of any other tag: colour profiles and descriptions have a few MiB
_MAX_TAGS_BYTES = 256 << 20  # of all these together, in whatever directories
_MAX_SAMPLE_BITS = 16  # no decoder here takes more
_TIMES_THE_FILE = 8  # so much may its tiles be together: some writers store a blank one once
_MIN_TILES_BYTES = 64 << 20  # so much is decoded in a second or two, whatever the size of the file

_TILE_WIDTH, _TILE_LENGTH, _SAMPLES, _SAMPLE_BITS = 322, 323, 277, 258
_STRIP_OFFSETS, _STRIP_COUNTS, _TILE_OFFSETS, _TILE_COUNTS = 273, 279, 324, 325
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_SIZES |= {16: 8, 17: 8, 18: 8}
_INTEGER_FORMATS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_TABLES = {_STRIP_OFFSETS, _STRIP_COUNTS, _TILE_OFFSETS, _TILE_COUNTS}
_LOOKED_AT = _TABLES | {_TILE_WIDTH, _TILE_LENGTH, _SAMPLES, _SAMPLE_BITS}

_FAR = np.uint64(1 << 62)

_Values = npt.NDArray[Any]

_OS_REASONS = {
    errno.ENOENT: "There is no such file. Check the path.",
    errno.ENOTDIR: "There is no such file: a part of the path is not a folder.",
    errno.EACCES: "No permission to read it. Ask its owner, or copy it where you may read.",
    errno.EPERM: "No permission to read it. Ask its owner, or copy it where you may read.",
    errno.ELOOP: "It is a symbolic link that leads back to itself. Mend the link.",
    errno.ENAMETOOLONG: "The path is too long for this system.",
}


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Say of what fails to be read in here which file it is, and why.

    Parameters
    ----------
    name : str
        The file's name, for the message.

    Raises
    ------
    SlideError
        In place of an `OSError`: no permission, a disk that fails, a share that is gone.
    """
    try:
        yield
    except OSError as error:
        reason = _OS_REASONS.get(
            error.errno or 0,
            f"It cannot be read ({error.strerror}). Check its disk or network drive, then run the "
            "same command again.",
        )
        raise SlideError(f"{name}: {reason}") from error


def resolve(path: Path) -> Path:
    """Check that `path` is a readable, non-empty file and return the file to open.

    Parameters
    ----------
    path : Path
        A slide file, or a folder that holds the files of one DICOM series.

    Raises
    ------
    SlideError
        With its own message for: missing, broken link, link loop, no permission, empty, FIFO,
        device or socket, folder without DICOM, and a file-sharing pointer instead of the slide.
    """
    try:
        with reading(path.name):
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                return _dicom_member(path)
            _require_regular(path, status, "Give a slide file.")
            if status.st_size == 0:
                raise SlideError(f"{path.name}: The file is empty (0 bytes). Copy it again.")
            with path.open("rb") as file:
                head = file.read(64)
    except SlideError as error:
        if isinstance(error.__cause__, FileNotFoundError) and path.is_symlink():
            raise SlideError(
                f"{path.name}: It is a symbolic link to a file that does not exist. Mend the link."
            ) from error
        raise
    except ValueError as error:  # a NUL in the path
        raise SlideError(f"{path.name!r}: This is not a valid path ({error}).") from error
    if head.startswith(b"version https://git-lfs"):
        raise SlideError(
            f"{path.name}: This is a Git LFS pointer, not the slide itself. Fetch it with git lfs."
        )
    return path


@dataclass
class TiffReport:
    """What a TIFF's directories say about the file.

    Attributes
    ----------
    needed_bytes : int
        Where the last directory, tile or strip ends; more than the file has if it is truncated.
    """

    size_bytes: int
    needed_bytes: int = 0
    directories: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def truncation(self) -> str | None:
        """Say how much is missing, or None."""
        if self.needed_bytes <= self.size_bytes:
            return None
        return (
            f"The file ends at byte {self.size_bytes:,} but its contents reach to byte "
            f"{self.needed_bytes:,}: it is truncated (an incomplete copy?). Copy it again."
        )


def is_tiff(path: Path) -> bool:
    """Whether the file starts as a TIFF does; `SlideError` if it cannot be read."""
    with reading(path.name), path.open("rb") as file:
        return _TiffReader.of(file) is not None


def is_dicom_slide(path: Path) -> bool:
    """Whether OpenSlide takes the file for DICOM: of one that is a TIFF as well, its name decides.

    Raises
    ------
    SlideError
        It cannot be read.
    """
    return is_dicom(path) and not (path.suffix in (".tif", ".tiff") and is_tiff(path))


def inspect_tiff(path: Path) -> TiffReport | None:
    """Walk the directories of a TIFF; None for any other kind of file.

    Raises
    ------
    SlideError
        A directory loop, tiles so large or so many for the size of the file that decoding them
        would exhaust memory or patience, samples of a kind that nothing decodes, or the file cannot
        be read.
    """
    if is_dicom_slide(path):  # its free preamble may look like a TIFF header
        return None
    with reading(path.name), path.open("rb") as file:
        reader = _TiffReader.of(file)
        return None if reader is None else reader.report(path.name)


class _TiffReader:
    def __init__(self, file: BinaryIO, order: str, big: bool) -> None:
        self._file = file
        self._order = order
        self._big = big
        self._size = file.seek(0, os.SEEK_END)
        self._tags = self._tags_bytes = self._table_bytes = self._tiles_bytes = 0

    @classmethod
    def of(cls, file: BinaryIO) -> _TiffReader | None:
        head = file.read(8)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 8:
            return None
        (version,) = struct.unpack(order + "H", head[2:4])
        return cls(file, order, version == 43) if version in (42, 43) else None

    def report(self, name: str) -> TiffReport:
        report = TiffReport(self._size)
        seen: set[int] = set()
        # OpenSlide reads classic offsets of NDPI files above 4 GiB modulo 2^32; so must we.
        wraps = not self._big and self._size >= 1 << 32
        offset = self._unsigned(8, 8) if self._big else self._unsigned(4, 4)
        while offset and not wraps:
            if offset in seen or len(seen) > _MAX_DIRECTORIES:
                raise SlideError(f"{name}: The TIFF directories form a loop; the file is damaged.")
            seen.add(offset)
            next_offset = self._directory(name, offset, report)
            if next_offset is None:
                break
            report.directories += 1
            offset = next_offset
        return report

    def _directory(self, name: str, offset: int, report: TiffReport) -> int | None:
        count_size, entry_size, link_size = (8, 20, 8) if self._big else (2, 12, 4)
        entries = self._unsigned(offset, count_size)
        end = offset + count_size + (entries or 0) * entry_size + link_size
        if entries is None or end > self._size:
            report.needed_bytes = max(report.needed_bytes, end)
            return None
        self._tags += entries
        if self._tags > _MAX_TAGS:
            report.problems.append(f"Its TIFF directories claim more than {_MAX_TAGS:,} tags.")
            return None
        tags: dict[int, _Values] = {}
        for index in range(entries):
            tag, values = self._entry(name, offset + count_size + index * entry_size, report)
            if len(values):
                tags[tag] = values
        self._check_tile(name, tags)
        for offsets, counts in ((_TILE_OFFSETS, _TILE_COUNTS), (_STRIP_OFFSETS, _STRIP_COUNTS)):
            if offsets in tags and counts in tags:
                ends, sizes = _ends(tags[offsets], tags[counts])
                report.needed_bytes = max(report.needed_bytes, int(ends.max(initial=0)))
                self._tiles_bytes += int(sizes[ends <= self._size].sum())
        self._check_tiles_bytes(name)
        return self._unsigned(end - link_size, link_size)

    def _entry(self, name: str, at: int, report: TiffReport) -> tuple[int, _Values]:
        """Return a tag and its values, none of one that is not looked at.

        A decoder takes all tags of a directory into memory, some of them three times.
        """
        tag, kind = self._unsigned(at, 2) or 0, self._unsigned(at + 2, 2) or 0
        none = np.empty(0, np.uint8)
        field_size = 8 if self._big else 4
        count = self._unsigned(at + 4, field_size) or 0
        size = count * _TYPE_SIZES.get(kind, 1)
        where = at + 4 + field_size
        if size > field_size:
            where = self._unsigned(where, field_size) or 0
            report.needed_bytes = max(report.needed_bytes, where + size)
        if where + size > self._size:
            return tag, none
        if tag not in _TABLES:
            self._check_tag(name, tag, size)
        if kind not in _INTEGER_FORMATS or tag not in _LOOKED_AT:
            return tag, none
        if tag in _TABLES:
            self._table_bytes += size
            # Each directory has tables of its own, so together they are no larger than the file.
            if count > _MAX_OFFSETS or self._table_bytes > max(self._size, _MIN_TABLES_BYTES):
                raise SlideError(
                    f"{name}: Its TIFF directories claim more tiles than the file can hold; it is "
                    "damaged."
                )
        self._file.seek(where)
        return tag, np.frombuffer(self._file.read(size), self._order + _INTEGER_FORMATS[kind])

    def _check_tag(self, name: str, tag: int, size: int) -> None:
        """Refuse what a decoder would read for minutes, or has no memory for."""
        self._tags_bytes += size
        if size > _MAX_TAG_BYTES:
            raise SlideError(
                f"{name}: One of its TIFF tags ({tag}) claims {size >> 20:,} MiB; the file is "
                "damaged."
            )
        if self._tags_bytes > _MAX_TAGS_BYTES:
            raise SlideError(
                f"{name}: Its TIFF tags claim more than {_MAX_TAGS_BYTES >> 20} MiB together; the "
                "file is damaged."
            )

    def _check_tile(self, name: str, tags: dict[int, _Values]) -> None:
        width, height, samples = (
            int(tags[tag][0]) if tag in tags else default
            for tag, default in ((_TILE_WIDTH, 0), (_TILE_LENGTH, 0), (_SAMPLES, 4))
        )
        size = width * height * samples
        if size > _MAX_TILE_BYTES:
            raise SlideError(
                f"{name}: One of its tiles claims {width:,} x {height:,} px ({size >> 20:,} MiB); "
                "the file is damaged."
            )
        if 0 < width < _MIN_TILE_PX or 0 < height < _MIN_TILE_PX:
            raise SlideError(
                f"{name}: It has tiles of {width:,} x {height:,} px; a TIFF's have "
                f"{_MIN_TILE_PX} px a side at least. Convert it to a pyramidal TIFF with tiles of "
                "256 px."
            )
        bits = int(tags[_SAMPLE_BITS].max()) if _SAMPLE_BITS in tags else 8
        if width and bits > _MAX_SAMPLE_BITS:
            raise SlideError(
                f"{name}: Its samples have {bits} bits; slides have 8. Convert it to a tiled "
                "pyramidal TIFF of 8 bits."
            )

    def _check_tiles_bytes(self, name: str) -> None:
        """Refuse a file that has the same tile in so many places that it takes minutes to read."""
        if self._tiles_bytes > max(_TIMES_THE_FILE * self._size, _MIN_TILES_BYTES):
            raise SlideError(
                f"{name}: Its tiles claim {self._tiles_bytes >> 20:,} MiB together, but the file "
                f"has {self._size / (1 << 20):,.1f}: most of them are one and the same. The file "
                "is damaged."
            )

    def _unsigned(self, at: int, size: int) -> int | None:
        if at > self._size:
            return None
        self._file.seek(at)
        data = self._file.read(size)
        if len(data) < size:
            return None
        return int.from_bytes(data, "little" if self._order == "<" else "big")


def _ends(starts: _Values, sizes: _Values) -> tuple[_Values, _Values]:
    """Return where some parts of a file end, and their sizes."""
    parts = min(len(starts), len(sizes))
    # A lie of 2^64 bytes must not come out as a small sum.
    first, size = (np.minimum(it[:parts].astype(np.uint64), _FAR) for it in (starts, sizes))
    return first + size, size


def why_unsupported(path: Path, report: TiffReport | None) -> str:
    """Say why no decoder knows a file."""
    if report is not None and report.truncation:
        return report.truncation
    if is_dicom_slide(path):
        return "This DICOM file is not a whole-slide image that OpenSlide reads."
    data = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and not (data / "Slidedat.ini").is_file():
        return (
            f"Its data folder {data.name} is {'incomplete' if data.is_dir() else 'missing'}. "
            "Copy the .mrxs file together with that whole folder, side by side."
        )
    return "This is not a slide format that OpenSlide reads. Convert it to a tiled pyramidal TIFF."


def regular_status(path: Path) -> os.stat_result | None:
    """Return the status of a file that belongs to a slide; None if there is nothing.

    Raises
    ------
    SlideError
        There is something else than a file, for which a reader might wait for ever.
    OSError
        What is there cannot be seen.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    _require_regular(path, status, "Take it out of the slide's folder.")
    return status


def regular_files(folder: Path) -> list[Path]:
    """Return the regular files directly in `folder`, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.is_file())


def _dicom_member(folder: Path) -> Path:
    members = [path for path in regular_files(folder) if is_dicom(path)]
    if not members:
        raise SlideError(
            f"{folder.name}: This folder holds no DICOM files. Give a slide file, or the folder of "
            "one DICOM series."
        )
    headers = ((path, read_header(path)) for path in members)
    return next((path for path, it in headers if it is not None and it.is_level), members[0])


def _require_regular(path: Path, status: os.stat_result, remedy: str) -> None:
    mode = status.st_mode
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFIFO: "named pipe (FIFO)", stat.S_IFSOCK: "socket", stat.S_IFDIR: "folder"}
    kind = kinds.get(stat.S_IFMT(mode), "device")
    raise SlideError(f"{path.name}: It is a {kind}, not a file. {remedy}")
