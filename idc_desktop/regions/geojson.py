"""GeoJSON as QuPath reads and writes it.

Coordinates are pixels of the full resolution, from the top left of the image as QuPath shows it:
that is level 0, or the slide's bounds where QuPath crops to them. Our own files say which.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from idc_desktop.errors import RegionsError
from idc_desktop.regions.found import Found, FoundFile, FoundMark, quoted
from idc_desktop.regions.marks import POINTS, Mark
from idc_desktop.regions.shape import VERDICTS, Point, Region, Rgb, Ring, Verdict

ORIGIN_KEY = "idcDesktop"
"""Member of a file of ours that says where its (0, 0) lies; GeoJSON allows it, QuPath skips it."""

_AREAS = ("Polygon", "MultiPolygon", "GeometryCollection")
_GEOMETRIES = (*_AREAS, "Point", "MultiPoint", "LineString", "MultiLineString")
_RECORD = b"\x1e"  # begins each line of a text sequence (RFC 8142)
_OTHER_KINDS = {
    "TopoJSON": ("objects", "arcs"),
    "Darwin's format (V7)": ("annotations", "item"),
    "COCO's format": ("annotations", "images"),
    "Labelme's format": ("shapes", "imagePath"),
    "an annotation of the Digital Slide Archive": ("elements",),
    "an annotation document of the Digital Slide Archive": ("annotation",),
    "Label Studio's format": ("annotations", "data"),
}
"""Formats that users take for GeoJSON, by members that tell them."""


def parse(data: bytes) -> FoundFile:
    """Take a GeoJSON file apart: collections, lists of them, single features, bare geometries.

    Raises
    ------
    RegionsError
        It is JSON of another kind.
    ValueError, RecursionError
        It is no JSON; a `JSONDecodeError` where the place is known.
    """
    document = _document(data)
    file = FoundFile([], origin_l0=_origin(document))
    for number, feature in enumerate(_features(document), 1):
        _take(feature, number, file)
    return file


def write(
    put: Callable[[str], object],
    regions: Iterable[Region],
    origin_l0: Point = (0.0, 0.0),
    figures: Iterable[Mapping[str, float]] | None = None,
    marks: Iterable[Mark] = (),
    mpp: Point | None = None,
) -> None:
    """Write regions as annotations, one after the other, and marks as points and lines.

    Parameters
    ----------
    put : callable
        Takes each piece of text.
    origin_l0 : (x, y)
        What becomes the file's (0, 0): see the module.
    figures : iterable of mappings, optional
        Measurements for each region.
    mpp : (x, y), optional
        Level-0 resolution, µm per pixel; without it, marks have no figures.
    """
    head = {"origin_l0": list(origin_l0)}
    put(f'{{"type":"FeatureCollection","{ORIGIN_KEY}":{compact(head)},"features":[')
    measured = iter(figures) if figures is not None else None

    def features() -> Iterator[dict[str, Any]]:
        for region in regions:
            yield _feature(region, origin_l0, next(measured) if measured is not None else {})
        for mark in marks:
            yield _mark_feature(mark, origin_l0, mpp)

    for number, feature in enumerate(features()):
        put(("," if number else "") + "\n" + compact(feature))
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
    name, rgb = region.known_as
    if name:
        properties["classification"] = {"name": name, "color": list(rgb)}
    else:
        properties["color"] = list(rgb)
    said = {"Verdict": region.verdict, "Note": region.note}
    if any(said.values()):
        properties["metadata"] = {name: text for name, text in said.items() if text}
    if measurements:
        properties["measurements"] = dict(measurements)
    return {"type": "Feature", "id": region.id, "geometry": geometry, "properties": properties}


def _mark_feature(mark: Mark, origin_l0: Point, mpp: Point | None) -> dict[str, Any]:
    points = [[x - origin_l0[0], y - origin_l0[1]] for x, y in mark.points]
    geometry = (
        {"type": "Point", "coordinates": points[0]}
        if len(points) == 1
        else {"type": "LineString", "coordinates": points}
    )
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": mark.name,
        "metadata": {"Kind": mark.kind},
    }
    figures = {} if mpp is None else {"Length µm": mark.length(mpp), "Angle °": mark.angle_deg(mpp)}
    if known := {name: it for name, it in figures.items() if it is not None}:
        properties["measurements"] = known
    return {"type": "Feature", "id": mark.id, "geometry": geometry, "properties": properties}


def _closed(ring: Ring, origin_l0: Point) -> list[list[float]]:
    points: list[list[float]] = (ring - origin_l0).tolist()
    return [*points, points[0]]


def _document(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Read JSON, or a list of what stands in lines of its own, as in GeoJSON text sequences."""
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" or data.startswith(_RECORD):
            with contextlib.suppress(ValueError):
                return [json.loads(it) for it in data.replace(_RECORD, b"").splitlines() if it]
        raise


def _features(value: Any) -> Iterator[Any]:  # noqa: ANN401 - any JSON value
    """Yield the features of a document; a bare geometry counts as one."""
    if isinstance(value, list):
        for entry in value:
            is_several = isinstance(entry, list) or _kind(entry) == "FeatureCollection"
            yield from _features(entry) if is_several else [entry]
        return
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "FeatureCollection" and isinstance(value.get("features"), list):
        yield from _features(value["features"])
    elif kind == "Feature" or kind in _GEOMETRIES:
        yield value
    else:
        raise RegionsError(_other_kind(value))


def _other_kind(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Say what JSON that is not GeoJSON is, and what to do."""
    remedy = "Save the annotations as GeoJSON, for instance with QuPath."
    if not isinstance(value, dict):
        return f"This is not GeoJSON but a single JSON value. {remedy}"
    for name, members in _OTHER_KINDS.items():
        if all(member in value for member in members):
            return f"This is not GeoJSON but {name}. {remedy}"
    there = ", ".join(quoted(it) for it in list(value)[:4]) or "none"
    return f"This is JSON but not GeoJSON (its members: {there}). {remedy}"


def _take(feature: Any, number: int, file: FoundFile) -> None:  # noqa: ANN401
    """Take one feature; it is counted if it is neither an area nor a mark of ours."""
    properties = _member(feature, "properties")
    properties = properties if isinstance(properties, dict) else {}
    name, kind = properties.get("name"), properties.get("objectType")
    name = name if isinstance(name, str) else None
    classified = properties.get("classification")
    words = [quoted(kind)[1:-1]] if isinstance(kind, str) else []
    words += [quoted(name)] if name else []
    what = f"Feature {number}" + (f" ({' '.join(words)})" if words else "")
    geometry = feature if _kind(feature) in _GEOMETRIES else _member(feature, "geometry")
    mark = _mark(feature, geometry, what, name or "")
    if mark is not None:
        file.marks.append(mark)
        return
    if _kind(geometry) not in _AREAS:
        file.left_out.add(f"{what} {_no_area(feature, geometry)}")
        return
    file.entries.append(
        Found(
            what,
            lambda: _polygons(geometry),
            f"Region {number}" if name is None else name,
            _classification(classified) or _most_probable(properties.get("measurements")),
            _color(classified) or _color(properties),
            _uuid(feature.get("id")),
            "Ellipse" if geometry.get("isEllipse") is True else "Polygon",
            properties.get("isLocked") is True,
            *_judgement(properties.get("metadata")),
        )
    )


def _mark(feature: Any, geometry: Any, what: str, name: str) -> FoundMark | None:  # noqa: ANN401
    """Return a point or line that we wrote of a mark, also where QuPath kept it since."""
    said = _member(_member(_member(feature, "properties"), "metadata"), "Kind")
    kind = next((it for it in POINTS if it == said), None)
    points = _member(geometry, "coordinates")
    if kind is None or not isinstance(points, list):
        return None
    if _kind(geometry) == "Point":
        points = [points]
    elif _kind(geometry) != "LineString":
        return None
    if len(points) != POINTS[kind]:
        return None
    return FoundMark(what, kind, points, name, _uuid(feature.get("id")))


def _polygons(geometry: Any) -> list[Any]:  # noqa: ANN401
    """Take the polygons out of a geometry; points and lines of a collection are left out.

    Raises
    ------
    LookupError, TypeError, ValueError, RecursionError
        It is not built as GeoJSON demands.
    """
    kind = _kind(geometry)
    if kind == "GeometryCollection":
        members = geometry.get("geometries")
        members = [it for it in members or () if _kind(it) in _AREAS]
        return [polygon for member in members for polygon in _polygons(member)]
    if kind == "Polygon":
        return [geometry.pop("coordinates")]
    return list(geometry.pop("coordinates"))


def _no_area(feature: Any, geometry: Any) -> str:  # noqa: ANN401
    if not isinstance(feature, dict):
        return "is no feature"
    kind = _kind(geometry)
    return "has no geometry" if kind is None else f"is a {quoted(kind)[1:-1]}"


def _kind(value: Any) -> str | None:  # noqa: ANN401
    kind = _member(value, "type")
    return kind if isinstance(kind, str) else None


def _member(value: Any, name: str) -> Any:  # noqa: ANN401
    return value.get(name) if isinstance(value, dict) else None


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


def _judgement(metadata: Any) -> tuple[Verdict, str]:  # noqa: ANN401
    """Return verdict and note of a region that we wrote; empty where there is none."""
    said, note = _member(metadata, "Verdict"), _member(metadata, "Note")
    verdict: Verdict = next((it for it in VERDICTS if it == said), "")
    return verdict, note if isinstance(note, str) else ""


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


def _origin(document: Any) -> Point | None:  # noqa: ANN401
    try:
        x, y = (float(value) for value in document[ORIGIN_KEY]["origin_l0"])
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
    return (x, y) if abs(x) < 1e9 and abs(y) < 1e9 else None
