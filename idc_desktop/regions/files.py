"""Regions from files: GeoJSON of QuPath, WSInfer and us, XML of ASAP, ImageScope and Hamamatsu.

All may be gzipped. Areas are taken, and of our own files the marks; what is neither is left out
and told in one note. A file with a coordinate that is none is damaged, and refused whole.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import uuid
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from idc_desktop.errors import RegionsError
from idc_desktop.regions import geojson, xml_files
from idc_desktop.regions.editing import CoordinateError, repaired_rings, rings_of
from idc_desktop.regions.found import Found, FoundFile, FoundMark, Tally
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import (
    MAX_COORDINATE,
    MAX_NAME_CHARS,
    MAX_NOTE_CHARS,
    Point,
    Region,
    Shape,
)

_MAX_BYTES = 128 << 20
_MAX_POINTS = 3_000_000
_MAX_OBJECTS = 2_000_000
_PACKED = {
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"7z\xbc\xaf": "7z",
    b"\x1f\x8b": "gzip, twice",
}
_NAMESPACE = uuid.UUID("6f0d5c1e-6f7b-4f0e-9b61-1d0c5a7e8e03")
_AGAIN = "Export the regions again as GeoJSON or XML."
_BAD_COORDINATES = (KeyError, IndexError, TypeError, ValueError, OverflowError, RecursionError)


class RegionsFile:
    """A file of regions, whose areas are checked and repaired one after the other.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    name : str
        Of the file.
    states_origin : bool
        The file says where its (0, 0) lies on the slide: its regions are in level-0 pixels.
    in_nm_of_glass : bool
        Coordinates are nanometres from the middle of the glass: only a slide that says where that
        is can have them.
    at : str
        The entry that is being checked, such as ``Feature 3 (annotation 'Tumor')``.

    Raises
    ------
    RegionsError
        The file is unreadable or too large, or in none of the formats.
    """

    def __init__(self, path: Path) -> None:
        self.at = ""
        self.name = path.name
        data = _unpacked(path)
        self._digest = hashlib.sha256(data).hexdigest()
        try:
            file = _parsed(data)
        except RegionsError as error:
            raise RegionsError(f"{path.name}: {error}") from error
        self.states_origin = file.origin_l0 is not None
        self.in_nm_of_glass = file.in_nm_of_glass
        self._origin = file.origin_l0 or (0.0, 0.0)
        self._entries, self._marks = deque(file.entries), file.marks
        self._notes = file.notes
        self._left_out, self._repairs, self._long_names = file.left_out, Tally(), Tally()

    def regions(self) -> Iterator[Region]:
        """Yield the regions, which can be taken once; where nothing is stated, as they stand.

        Raises
        ------
        RegionsError
            A coordinate of an area is none, or the file holds neither areas nor marks.
        """
        given: set[str] = set()
        number = taken = 0
        while self._entries:  # taken out, so that what was checked needs no memory
            found = self._entries.popleft()
            number += 1
            self.at = found.what
            shape = self._shape(found)
            identifier = found.id
            if identifier is None or identifier in given:
                identifier = _uuid5(f"{self._digest}/{number}")
            given.add(identifier)
            if shape is not None:
                taken += 1
                yield self._region(found, shape, identifier)
        if not taken and not self._marks:
            why = f" ({self._left_out.first})" if self._left_out.count else ""
            raise RegionsError(f"{self.name}: The file holds no areas{why}.")

    def marks(self) -> Iterator[Mark]:
        """Yield the measurements and marks that we wrote; in no other file there are any.

        Raises
        ------
        RegionsError
            A coordinate is none.
        """
        given: set[str] = set()
        for number, found in enumerate(self._marks, 1):
            self.at = found.what
            identifier = found.id
            if identifier is None or identifier in given:
                identifier = _uuid5(f"{self._digest}/mark/{number}")
            given.add(identifier)
            name = found.name
            if len(name) > MAX_NAME_CHARS:
                self._long_names.add(found.what.rstrip(","))
            mark = Mark(found.kind, self._points(found), _short(name), identifier)
            yield mark.moved(*self._origin) if any(self._origin) else mark

    def _points(self, found: FoundMark) -> tuple[Point, ...]:
        try:
            points = tuple((float(x), float(y)) for x, y, *_ in found.points)
        except _BAD_COORDINATES as error:
            raise self._damaged(found.what, str(error)) from error
        if not all(abs(it) <= MAX_COORDINATE for point in points for it in point):
            raise self._damaged(found.what, "not finite, or far beyond any slide")
        return points

    def _damaged(self, what: str, why: str) -> RegionsError:
        return RegionsError(
            f"{self.name}: {what} has no valid coordinates ({why}). The file is damaged: save it "
            "again."
        )

    def notes(self) -> list[str]:
        """Return what was left out, repaired or taken otherwise than it stands in the file.

        Complete once all regions were taken; a sentence for each kind of thing.
        """
        notes = [*self._notes]
        if self._left_out.count:
            notes.append(self._left_out.sentence("entry", "was left out/were left out"))
        if self._repairs.count == 1:
            notes.append(f"{self._repairs.first}.")
        elif self._repairs.count:
            notes.append(self._repairs.sentence("area", "was repaired/were repaired"))
        if self._long_names.count:
            notes.append(self._long_names.sentence("long name", "was cut/were cut"))
        return [f"{self.name}: {note}" for note in notes]

    def _shape(self, found: Found) -> Shape | None:
        """Return the shape of an entry; None, and counted, if it has no area."""
        try:
            # What was read is let go of before GEOS takes its share of the memory.
            shape, repair = repaired_rings(rings_of(found.polygons()), found.roi)
        except CoordinateError as error:
            raise RegionsError(
                f"{self.name}: {found.what} {error}. The file is damaged: save it again."
            ) from error
        except RegionsError as error:
            self._left_out.add(f"{found.what} {error}")
            return None
        except _BAD_COORDINATES as error:
            raise self._damaged(found.what, str(error)) from error
        if repair:
            self._repairs.add(f"{found.what} {repair}")
        return shape.moved(*self._origin) if any(self._origin) else shape

    def _region(self, found: Found, shape: Shape, identifier: str) -> Region:
        names = len(found.name), len(found.classification)
        if max(names) > MAX_NAME_CHARS or len(found.note) > MAX_NOTE_CHARS:
            self._long_names.add(found.what.rstrip(","))
        if shape.roi == "Polygon" and _fills_its_bounds(shape):
            shape = Shape(shape.polygons, "Rectangle")
        return Region(
            _short(found.name),
            shape,
            _short(found.classification),
            found.color,
            identifier,
            is_locked=found.is_locked,
            verdict=found.verdict,
            note=_short(found.note, MAX_NOTE_CHARS),
        )


def _unpacked(path: Path) -> bytes:
    try:
        if not path.is_file() and path.exists():
            raise RegionsError(f"{path.name}: This is not a file. Give a GeoJSON or XML file.")
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RegionsError(f"{path.name}: The file is damaged ({error}). Save it again.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise RegionsError(f"{path.name}: The regions cannot be read ({reason}).") from error
    if not data.strip():
        raise RegionsError(f"{path.name}: This is not GeoJSON: the file is empty. {_AGAIN}")
    for sign, kind in _PACKED.items():
        if data.startswith(sign):
            raise RegionsError(
                f"{path.name}: It is packed as {kind}. Unpack it, and give the file that is in it."
            )
    if len(data) > _MAX_BYTES:
        raise RegionsError(
            f"{path.name}: The regions file is larger than {_MAX_BYTES >> 20} MiB. Export "
            "annotations only, no cells."
        )
    return data


def _parsed(data: bytes) -> FoundFile:
    # What a file unfolds to in memory is bounded before it is unfolded.
    for sign, most, things in ((b"[", _MAX_POINTS, "points"), (b"{", _MAX_OBJECTS, "objects")):
        if data.count(sign) > most:
            raise RegionsError(
                f"It holds more than {most:,} {things}. Export annotations only, no cells, or "
                "simplify them."
            )
    try:
        return xml_files.parse(data) if xml_files.is_xml(data) else geojson.parse(data)
    except json.JSONDecodeError as error:
        raise RegionsError(
            f"This is not GeoJSON (line {error.lineno}: {error.msg}). {_AGAIN}"
        ) from error
    except UnicodeDecodeError as error:
        raise RegionsError(
            "Its text is not UTF-8. Is it GeoJSON or XML? Save it as UTF-8."
        ) from error
    except RecursionError as error:
        raise RegionsError(f"This is not GeoJSON (it is nested too deeply). {_AGAIN}") from error
    except ValueError as error:
        reason = str(error).partition(";")[0]  # what follows is advice to programmers
        raise RegionsError(f"This is not GeoJSON ({reason}). {_AGAIN}") from error


def _fills_its_bounds(shape: Shape) -> bool:
    if len(shape.polygons) > 1 or len(shape.polygons[0]) > 1:
        return False
    if len(shape.polygons[0][0]) == 4:  # by far the most, and there may be 100,000
        (x1, y1), (x2, y2), (x3, y3), (x4, y4) = shape.polygons[0][0].tolist()
        return ((x1, x3, y1, y3) == (x2, x4, y4, y2)) or ((x1, x3, y1, y3) == (x4, x2, y2, y4))
    left, top, right, bottom = shape.bounds
    return math.isclose(shape.area_px, (right - left) * (bottom - top), rel_tol=1e-12)


def _uuid5(name: str) -> str:
    """Return what `uuid.uuid5` does, in a fifth of its time."""
    data = bytearray(hashlib.sha1(_NAMESPACE.bytes + name.encode()).digest()[:16])
    data[6], data[8] = data[6] & 0x0F | 0x50, data[8] & 0x3F | 0x80
    text = data.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _short(text: str, most: int = MAX_NAME_CHARS) -> str:
    """Return a text that every program can show: without lone surrogates, and not endless."""
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
