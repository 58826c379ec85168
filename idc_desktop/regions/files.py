"""Regions from files: GeoJSON of QuPath, WSInfer and ourselves, and ASAP's XML, plain or gzipped.

A file is taken whole or not at all; what is wrong is told with its line.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

from idc_desktop.errors import RegionsError
from idc_desktop.regions import asap, geojson
from idc_desktop.regions.editing import is_rectangle, repaired
from idc_desktop.regions.found import Found, FoundFile
from idc_desktop.regions.shape import Point, Region, Shape

_MAX_BYTES = 256 << 20
_NAMESPACE = uuid.UUID("6f0d5c1e-6f7b-4f0e-9b61-1d0c5a7e8e03")
_BAD_COORDINATES = (KeyError, IndexError, TypeError, ValueError, OverflowError)


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
        What was repaired or taken otherwise than it stands in the file.

    Raises
    ------
    RegionsError
        The file is unreadable, in none of the formats, holds no region, or any entry is not an
        area. It is never read by half.
    """
    data = _unpacked(path)
    is_xml = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    try:
        file = asap.parse(data) if is_xml else geojson.parse(data)
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}: {error.msg}"
        raise RegionsError(f"{path.name}: This is not GeoJSON ({reason}).") from error
    except RegionsError as error:
        raise RegionsError(f"{path.name}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise RegionsError(f"{path.name}: This is not GeoJSON ({error}).") from error
    if not file.entries:
        raise RegionsError(f"{path.name}: The file holds no regions.")
    ids = _ids(file, hashlib.sha256(data).hexdigest())
    origin = file.origin_l0 or origin_l0
    regions, notes = [], [f"{path.name}: {note}" for note in file.notes]
    for found, identifier in zip(file.entries, ids, strict=True):
        shape, repair = _shape(found, path.name)
        if repair:
            notes.append(f"{path.name}: Line {found.line()}: {found.what} {repair}.")
        if any(origin):
            shape = shape.moved(*origin)
        regions.append(
            Region(
                found.name,
                shape,
                found.classification,
                found.color,
                identifier,
                is_locked=found.is_locked,
            )
        )
    return regions, notes


def _unpacked(path: Path) -> bytes:
    try:
        if not path.is_file() and path.exists():
            raise RegionsError(f"{path.name}: This is not a file. Give a GeoJSON or XML file.")
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise RegionsError(f"{path.name}: This is not GeoJSON ({error}).") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise RegionsError(f"{path.name}: The regions cannot be read ({reason}).") from error
    if len(data) > _MAX_BYTES:
        raise RegionsError(f"{path.name}: The regions file is larger than 256 MiB.")
    return data


def _shape(found: Found, file: str) -> tuple[Shape, str]:
    where = f"{file}: Line {found.line()}: {found.what}"
    try:
        shape, repair = repaired(found.polygons(), found.roi)
    except RegionsError as error:
        raise RegionsError(f"{where} {error}. Remove it.") from error
    except _BAD_COORDINATES as error:
        raise RegionsError(f"{where} has no valid coordinates ({error}).") from error
    if shape.roi == "Polygon" and is_rectangle(shape):
        shape = Shape(shape.polygons, "Rectangle")
    return shape, repair


def _ids(file: FoundFile, digest: str) -> Iterator[str]:
    """Yield the file's own UUIDs, each once, and for all others one that is always the same."""
    given = set()
    for number, found in enumerate(file.entries, 1):
        identifier = found.id
        if identifier is None or identifier in given:
            identifier = str(uuid.uuid5(_NAMESPACE, f"{digest}/{number}"))
        given.add(identifier)
        yield identifier
