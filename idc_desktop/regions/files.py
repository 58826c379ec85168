"""Regions from files: GeoJSON of QuPath, WSInfer and ourselves, XML of ASAP and ImageScope.

All may be gzipped. Areas are taken; what is none is left out and told in one note. A file with a
coordinate that is none is damaged, and refused whole.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

from idc_desktop.errors import RegionsError
from idc_desktop.regions import geojson, xml_files
from idc_desktop.regions.editing import CoordinateError, repaired
from idc_desktop.regions.found import Found, FoundFile, Tally
from idc_desktop.regions.shape import Point, Region, Shape

_MAX_BYTES = 128 << 20
_MAX_POINTS = 3_000_000
_MAX_OBJECTS = 2_000_000
_MAX_NAME_CHARS = 300
_NAMESPACE = uuid.UUID("6f0d5c1e-6f7b-4f0e-9b61-1d0c5a7e8e03")
_BAD_COORDINATES = (KeyError, IndexError, TypeError, ValueError, OverflowError, RecursionError)


def read_regions(path: Path, origin_l0: Point = (0.0, 0.0)) -> tuple[list[Region], list[str]]:
    """Read regions from a file.

    Parameters
    ----------
    origin_l0 : (x, y)
        Where the file's (0, 0) lies on the slide, level-0 pixels: for a file of QuPath, which
        crops a slide to its bounds, the corner of the bounds. A file that says its own is right.

    Returns
    -------
    regions : list of Region
    notes : list of str
        What was left out, repaired or taken otherwise than it stands in the file: a sentence for
        each kind of thing.

    Raises
    ------
    RegionsError
        The file is unreadable or too large, in none of the formats, or holds no area; or a
        coordinate of an area is none.
    """
    data = _unpacked(path)
    try:
        file = _parsed(data)
    except RegionsError as error:
        raise RegionsError(f"{path.name}: {error}") from error
    left_out, repairs, long_names = file.left_out, Tally(), Tally()
    regions: list[Region] = []
    origin = file.origin_l0 or origin_l0
    for found, identifier in zip(file.entries, _ids(file, data), strict=True):
        try:
            shape, repair = repaired(found.polygons(), found.roi)
        except CoordinateError as error:
            raise RegionsError(
                f"{path.name}: {found.what} {error}. The file is damaged: save it again."
            ) from error
        except RegionsError as error:
            left_out.add(f"{found.what} {error}")
            continue
        except _BAD_COORDINATES as error:
            raise RegionsError(
                f"{path.name}: {found.what} has no valid coordinates ({error}). The file is "
                "damaged: save it again."
            ) from error
        if repair:
            repairs.add(f"{found.what} {repair}")
        if max(len(found.name), len(found.classification)) > _MAX_NAME_CHARS:
            long_names.add(found.what)
        if any(origin):
            shape = shape.moved(*origin)
        regions.append(_region(found, shape, identifier))
    if not regions:
        why = f" ({left_out.first})" if left_out.count else ""
        raise RegionsError(f"{path.name}: The file holds no areas{why}.")
    notes = [*file.notes]
    if left_out.count:
        notes.append(left_out.sentence("entry", "was left out/were left out"))
    if repairs.count == 1:
        notes.append(f"{repairs.first}.")
    elif repairs.count:
        notes.append(repairs.sentence("area", "was repaired/were repaired"))
    if long_names.count:
        notes.append(long_names.sentence("long name", "was cut/were cut"))
    return regions, [f"{path.name}: {note}" for note in notes]


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
        raise RegionsError(f"This is not GeoJSON (line {error.lineno}: {error.msg}).") from error
    except UnicodeDecodeError as error:
        raise RegionsError("Its text is not UTF-8. Save it as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise RegionsError(f"This is not GeoJSON ({error}).") from error


def _region(found: Found, shape: Shape, identifier: str) -> Region:
    if shape.roi == "Polygon" and _fills_its_bounds(shape):
        shape = Shape(shape.polygons, "Rectangle")
    return Region(
        _short(found.name),
        shape,
        _short(found.classification),
        found.color,
        identifier,
        is_locked=found.is_locked,
    )


def _fills_its_bounds(shape: Shape) -> bool:
    left, top, right, bottom = shape.bounds
    if len(shape.polygons) > 1 or len(shape.polygons[0]) > 1:
        return False
    corners = shape.polygons[0][0].tolist()
    if len(corners) == 4:  # by far the most, and there may be 100,000
        return all(x in (left, right) and y in (top, bottom) for x, y in corners)
    return math.isclose(shape.area_px, (right - left) * (bottom - top), rel_tol=1e-12)


def _short(text: str) -> str:
    """Return a name that every program can show: without lone surrogates, and not endless."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text if len(text) <= _MAX_NAME_CHARS else f"{text[: _MAX_NAME_CHARS - 1]}…"


def _ids(file: FoundFile, data: bytes) -> Iterator[str]:
    """Yield the file's own UUIDs, each once, and for all others one that is always the same."""
    digest = hashlib.sha256(data).hexdigest()
    given = set()
    for number, found in enumerate(file.entries, 1):
        identifier = found.id
        if identifier is None or identifier in given:
            identifier = str(uuid.uuid5(_NAMESPACE, f"{digest}/{number}"))
        given.add(identifier)
        yield identifier
