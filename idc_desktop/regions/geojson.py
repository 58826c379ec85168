"""GeoJSON as QuPath reads and writes it.

Coordinates are pixels of the full resolution, from the top left of the image as QuPath shows it:
that is level 0, or the slide's bounds where QuPath crops to them. Our own files say which.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from idc_desktop.errors import RegionsError
from idc_desktop.regions.found import Found, FoundFile
from idc_desktop.regions.shape import Point, Region, Rgb, Ring

ORIGIN_KEY = "idcDesktop"
"""Member of a file of ours that says where its (0, 0) lies; GeoJSON allows it, QuPath skips it."""

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def parse(data: bytes) -> FoundFile:
    """Take a GeoJSON file apart.

    Raises
    ------
    RegionsError
        A feature is no polygon.
    ValueError, RecursionError
        It is no JSON; a `JSONDecodeError` where the place is known.
    """
    text = data.decode(json.detect_encoding(data), "surrogatepass")
    members, features = _Outline(text).document()
    entries = [_found(text, *feature, n) for n, feature in enumerate(features, 1)]
    return FoundFile(entries, _origin(members.get(ORIGIN_KEY)))


def write(
    put: Callable[[str], object],
    regions: Iterable[Region],
    origin_l0: Point = (0.0, 0.0),
    figures: Iterable[Mapping[str, float]] | None = None,
) -> None:
    """Write regions as annotations, one after the other.

    Parameters
    ----------
    put : callable
        Takes each piece of text.
    origin_l0 : (x, y)
        What becomes the file's (0, 0): see the module.
    figures : iterable of mappings, optional
        Measurements for each region.
    """
    head = {"origin_l0": list(origin_l0)}
    put(f'{{"type":"FeatureCollection","{ORIGIN_KEY}":{compact(head)},"features":[')
    measured = iter(figures) if figures is not None else None
    for number, region in enumerate(regions):
        measurements = next(measured) if measured is not None else {}
        put(("," if number else "") + "\n" + compact(_feature(region, origin_l0, measurements)))
    put("\n]}\n")


def compact(value: object) -> str:
    """Write one JSON value in a single line."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _feature(region: Region, origin_l0: Point, measurements: Mapping[str, float]) -> dict[str, Any]:
    polygons = [[_closed(ring, origin_l0) for ring in part] for part in region.shape.polygons]
    geometry: dict[str, Any] = {"type": "MultiPolygon", "coordinates": polygons}
    if len(polygons) == 1:
        geometry = {"type": "Polygon", "coordinates": polygons[0]}
    if region.shape.roi == "Ellipse":
        geometry["isEllipse"] = True
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": region.name,
        "isLocked": region.is_locked,
    }
    if region.classification:
        properties["classification"] = {"name": region.classification, "color": list(region.rgb)}
    else:
        properties["color"] = list(region.rgb)
    if measurements:
        properties["measurements"] = dict(measurements)
    return {"type": "Feature", "id": region.id, "geometry": geometry, "properties": properties}


def _closed(ring: Ring, origin_l0: Point) -> list[list[float]]:
    points: list[list[float]] = (ring - origin_l0).tolist()
    return [*points, points[0]]


class _Outline:
    """Reads the outer layers of JSON text, so that the place of each feature is known."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._skip()

    def document(self) -> tuple[dict[str, Any], list[tuple[int, Any]]]:
        """Return the members of the file, and its features with their places in the text."""
        begin, members, features = self._at, {}, []
        if self._next() == "[":  # QuPath may write a bare list of features
            features = list(self._entries())
        elif self._next() == "{":
            for key in self._keys():
                if key == "features" and self._next() == "[":
                    features = list(self._entries())
                else:
                    members[key] = self._value()
            kind = members.get("type")
            if kind == "Feature":
                features = [(begin, members)]
            elif kind != "FeatureCollection":
                features = []
        else:
            self._value()
        if self._at < len(self._text):
            self._fail("Extra data")
        return members, features

    def _entries(self) -> Iterator[tuple[int, Any]]:
        self._take("[")
        if self._next() != "]":
            yield self._at, self._value()
            while self._next() == ",":
                self._take(",")
                yield self._at, self._value()
        self._take("]")

    def _keys(self) -> Iterator[str]:
        """Yield each key of an object, standing on its value."""
        self._take("{")
        if self._next() != "}":
            yield self._key()
            while self._next() == ",":
                self._take(",")
                yield self._key()
        self._take("}")

    def _key(self) -> str:
        if self._next() != '"':
            self._fail("Expecting property name enclosed in double quotes")
        key = str(self._value())
        self._take(":")
        return key

    def _value(self) -> Any:  # noqa: ANN401 - any JSON value
        value, self._at = _DECODER.raw_decode(self._text, self._at)
        self._skip()
        return value

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, sign: str) -> None:
        if self._next() != sign:
            self._fail(f"Expecting {sign!r}")
        self._at += 1
        self._skip()

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        assert found is not None  # it may be empty
        self._at = found.end()

    def _fail(self, message: str) -> NoReturn:
        raise json.JSONDecodeError(message, self._text, self._at)


def _found(text: str, place: int, feature: Any, number: int) -> Found:  # noqa: ANN401
    what = f"Feature {number}"

    def line() -> int:
        return text.count("\n", 0, place) + 1

    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if not isinstance(geometry, dict) or kind not in ("Polygon", "MultiPolygon"):
        raise RegionsError(
            f"Line {line()}: {what} is not a Polygon or MultiPolygon but {kind}. Remove it."
        )

    def polygons() -> Sequence[Sequence[Any]]:
        parts: Any = geometry["coordinates"]
        found: Sequence[Sequence[Any]] = [parts] if kind == "Polygon" else parts
        if not found or not all(found):
            raise ValueError("there are no rings")
        return found

    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    name, classified = properties.get("name"), properties.get("classification")
    return Found(
        what,
        line,
        polygons,
        name if isinstance(name, str) else f"Region {number}",
        _classification(classified) or _most_probable(properties.get("measurements")),
        _color(classified) or _color(properties),
        _uuid(feature.get("id")),
        "Ellipse" if geometry.get("isEllipse") is True else "Polygon",
        properties.get("isLocked") is True,
    )


def _classification(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, dict):
        names = value.get("names")
        value = ": ".join(map(str, names)) if isinstance(names, list) else value.get("name")
    return value if isinstance(value, str) else ""


def _most_probable(measurements: Any) -> str:  # noqa: ANN401
    """Return the class of a WSInfer tile: the one with the highest ``prob_``."""
    if not isinstance(measurements, dict):
        return ""
    found = {
        name.removeprefix("prob_"): value
        for name, value in measurements.items()
        if name.startswith("prob_") and isinstance(value, int | float)
    }
    return max(found, key=lambda name: found[name], default="")


def _color(value: Any) -> Rgb | None:  # noqa: ANN401
    if not isinstance(value, dict):
        return None
    parts = value.get("color")
    packed = value.get("colorRGB")
    if isinstance(packed, int):  # as QuPath wrote it before 0.4: signed ARGB
        parts = [packed >> 16 & 255, packed >> 8 & 255, packed & 255]
    if not isinstance(parts, list) or len(parts) != 3:
        return None
    if not all(type(part) is int and 0 <= part <= 255 for part in parts):
        return None
    return parts[0], parts[1], parts[2]


def _uuid(value: Any) -> str | None:  # noqa: ANN401
    try:
        return str(uuid.UUID(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def _origin(head: Any) -> Point | None:  # noqa: ANN401
    try:
        x, y = (float(value) for value in head["origin_l0"])
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
    return (x, y) if abs(x) < 1e9 and abs(y) < 1e9 else None
