"""The head of a DICOM file: which object of which series it is, and how large it claims to be.

In plain Python, since it is read of files that no decoder has seen yet, and of every file that lies
in the folder of a slide. Reading stops before the pixels and whatever grows with their number.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_PREAMBLE_BYTES = 128
_WHOLE_SLIDE_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"
_IMPLICIT_LITTLE = "1.2.840.10008.1.2"
_OTHER_THAN_LITTLE = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2")  # deflated, big endian

_TRANSFER_SYNTAX = 0x0002_0010
_IMAGE_TYPE, _SOP_CLASS, _INSTANCE_UID = 0x0008_0008, 0x0008_0016, 0x0008_0018
_SERIES_UID, _CONCATENATION, _ORGANIZATION = 0x0020_000E, 0x0020_9161, 0x0020_9311
_FRAMES, _FRAME_ROWS, _FRAME_COLUMNS = 0x0028_0008, 0x0028_0010, 0x0028_0011
_MATRIX_COLUMNS, _MATRIX_ROWS = 0x0048_0006, 0x0048_0007
_FRAME_BY_FRAME = 0x5200_0000  # from here on come what describes each frame, and the pixels
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFE_E000, 0xFFFE_E00D, 0xFFFE_E0DD

_TEXTS = {_TRANSFER_SYNTAX, _IMAGE_TYPE, _SOP_CLASS, _INSTANCE_UID, _SERIES_UID, _CONCATENATION}
_TEXTS |= {_ORGANIZATION, _FRAMES}
_NUMBERS = {_FRAME_ROWS, _FRAME_COLUMNS, _MATRIX_COLUMNS, _MATRIX_ROWS}
_LONG_FORMS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT"}
_LONG_FORMS |= {b"UV"}
_UNDEFINED = 0xFFFF_FFFF

_MAX_ELEMENTS = 20_000  # real heads have a few hundred
_MAX_TEXT_BYTES = 1024
_MAX_HEAD_BYTES = 256 << 20  # a colour profile has a few MB at most
_FRAME_BYTES = 8  # what one frame takes in the file at least


@dataclass(frozen=True)
class DicomHeader:
    """What the head of a DICOM file says; empty or 0 where it does not.

    Attributes
    ----------
    instance_uid, series_uid : str
    is_level : bool
        Whether it is a level of a whole slide: no label, no other object.
    frames : int
        How many tiles it says to hold.
    missing_frames : int
        How many more a picture of its size would take, where none may be left out.
    head_bytes : int
        How far the head reaches, as it says.
    """

    instance_uid: str
    series_uid: str
    is_level: bool
    frames: int
    missing_frames: int
    head_bytes: int

    def problem(self, size_bytes: int) -> str | None:
        """Say what a file of this size cannot be, if anything.

        A few tiles may be missing, and are failed patches then; a picture of which most is
        missing is none.
        """
        if self.head_bytes > _MAX_HEAD_BYTES:
            return f"Its DICOM header claims {self.head_bytes >> 20:,} MiB"
        if self.frames * _FRAME_BYTES > size_bytes:
            return f"It claims {self.frames:,} tiles in {size_bytes:,} bytes"
        if self.missing_frames > self.frames:
            total = self.frames + self.missing_frames
            return f"It claims a size of {total:,} tiles and holds {self.frames:,}"
        return None


def is_dicom(path: Path) -> bool:
    """Whether the file starts as a DICOM file does; `path` must be a regular file."""
    try:
        with path.open("rb") as file:
            return _is_dicom(file)
    except OSError:
        return False


def read_header(path: Path) -> DicomHeader | None:
    """Read the head of a DICOM file; None of any other, and where it cannot be read.

    Parameters
    ----------
    path : Path
        Of a regular file.
    """
    try:
        with path.open("rb") as file:
            return _read(file) if _is_dicom(file) else None
    except (OSError, struct.error):
        return None


def _is_dicom(file: BinaryIO) -> bool:
    return file.read(_PREAMBLE_BYTES + 4)[_PREAMBLE_BYTES:] == b"DICM"


def _read(file: BinaryIO) -> DicomHeader:
    texts: dict[int, str] = {}
    numbers: dict[int, int] = {}
    for tag, length in _elements(file, texts):
        if tag in _TEXTS:
            data = file.read(min(length, _MAX_TEXT_BYTES))
            texts[tag] = data.decode("ascii", "replace").strip("\0 ")
        elif tag in _NUMBERS and length in (2, 4):
            numbers[tag] = int.from_bytes(file.read(length), "little")
    frames = int(texts[_FRAMES]) if texts.get(_FRAMES, "").isdecimal() else 1
    missing = 0
    # A sparse picture may leave tiles out, and so may one that is split over several files.
    if texts.get(_ORGANIZATION) != "TILED_SPARSE" and _CONCATENATION not in texts:
        across, down = (
            math.ceil(numbers.get(whole, 0) / max(1, numbers.get(part, 0)))
            for whole, part in ((_MATRIX_COLUMNS, _FRAME_COLUMNS), (_MATRIX_ROWS, _FRAME_ROWS))
        )
        missing = max(0, across * down - frames)
    return DicomHeader(
        instance_uid=texts.get(_INSTANCE_UID, ""),
        series_uid=texts.get(_SERIES_UID, ""),
        is_level=texts.get(_SOP_CLASS) == _WHOLE_SLIDE_CLASS
        and texts.get(_IMAGE_TYPE, "").split("\\")[1:3] == ["PRIMARY", "VOLUME"],
        frames=frames,
        missing_frames=missing,
        head_bytes=file.tell(),
    )


def _elements(file: BinaryIO, texts: dict[int, str]) -> Iterator[tuple[int, int]]:
    """Yield tag and length of the elements that belong to no sequence; `file` is at their values.

    Ends at the end of the head, or where it cannot be followed. Afterwards `file` is there.
    """
    depth = 0
    for _ in range(_MAX_ELEMENTS):
        here = file.tell()
        start = file.read(8)
        if len(start) < 8:
            return
        group, element, length = struct.unpack("<HHI", start)
        tag = group << 16 | element
        syntax = texts.get(_TRANSFER_SYNTAX, "") if group != 2 else ""
        if (depth == 0 and tag >= _FRAME_BY_FRAME) or syntax in _OTHER_THAN_LITTLE:
            file.seek(here)
            return
        if tag in (_ITEM_END, _SEQUENCE_END):
            depth -= 1
            if depth < 0:
                return
            continue
        # What is of unknown form (UN) may hold implicit parts in an explicit file.
        if tag != _ITEM and syntax != _IMPLICIT_LITTLE and start[4:6].isupper():
            if start[4:6] in _LONG_FORMS:
                (length,) = struct.unpack("<I", file.read(4))
            else:
                (length,) = struct.unpack("<H", start[6:8])
        if length == _UNDEFINED:
            depth += 1
            continue
        value = file.tell()
        if depth == 0:
            yield tag, length
        file.seek(value + length)
