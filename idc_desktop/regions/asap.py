"""ASAP's XML: annotations of polygons, with groups that we take for classes."""

from __future__ import annotations

import xml.parsers.expat
from dataclasses import dataclass, field
from typing import NoReturn

from idc_desktop.errors import RegionsError
from idc_desktop.regions.found import Found, FoundFile
from idc_desktop.regions.shape import Rgb

_AREAS = ("Polygon", "Rectangle", "Spline")
_NO_GROUP = ("", "None")


@dataclass
class _Annotation:
    """An ``Annotation`` element as far as it was read."""

    line: int
    number: int
    name: str
    kind: str
    group: str
    points: list[tuple[float, float, float]] = field(default_factory=list)


def parse(data: bytes) -> FoundFile:
    """Take an ASAP file apart.

    Raises
    ------
    RegionsError
        It is no XML or not of ASAP, an annotation is no area, or a coordinate is no number.
    """
    reader = _Reader()
    try:
        reader.read(data)
    except xml.parsers.expat.ExpatError as error:
        reason = f"line {error.lineno}: {xml.parsers.expat.ErrorString(error.code)}"
        raise RegionsError(f"This is not XML ({reason}).") from error
    splines = [it.name for it in reader.annotations if it.kind == "Spline"]
    notes = (
        (f"{len(splines)} spline(s), the first {splines[0]!r}, were taken as polygons.",)
        if splines
        else ()
    )
    return FoundFile([_found(it, reader.colors) for it in reader.annotations], None, notes)


def _found(annotation: _Annotation, colors: dict[str, Rgb]) -> Found:
    group = "" if annotation.group in _NO_GROUP else annotation.group
    points = [point[1:] for point in sorted(annotation.points, key=lambda point: point[0])]
    return Found(
        what=f"Annotation {annotation.number}",
        line=lambda: annotation.line,
        polygons=lambda: [[points]] if points else [[]],
        name=annotation.name or f"Region {annotation.number}",
        classification=group,
        color=colors.get(group),
    )


class _Reader:
    """Collects annotations and the colours of groups."""

    def __init__(self) -> None:
        self.annotations: list[_Annotation] = []
        self.colors: dict[str, Rgb] = {}
        self._is_asap = False
        self._parser = xml.parsers.expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        # An entity can unfold without end, or name another file.
        self._parser.StartDoctypeDeclHandler = lambda *_: self._fail("a document type")

    def read(self, data: bytes) -> None:
        self._parser.Parse(data, True)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._is_asap and tag != "ASAP_Annotations":
            self._fail(f"<{tag}> where <ASAP_Annotations> should be")
        self._is_asap = True
        line = self._parser.CurrentLineNumber
        if tag == "Annotation":
            kind = attributes.get("Type", "")
            number = len(self.annotations) + 1
            if kind not in _AREAS:
                raise RegionsError(
                    f"Line {line}: Annotation {number} is a {kind or 'thing without Type'}, not "
                    "an area. Remove it."
                )
            name, group = attributes.get("Name", ""), attributes.get("PartOfGroup", "")
            self.annotations.append(_Annotation(line, number, name, kind, group))
        elif tag == "Coordinate":
            self._add_point(attributes)
        elif tag == "Group":
            color = _color(attributes.get("Color", ""))
            if color is not None:
                self.colors[attributes.get("Name", "")] = color

    def _add_point(self, attributes: dict[str, str]) -> None:
        if not self.annotations:
            self._fail("a coordinate outside of annotations")
        try:
            # Some versions write the decimal sign of the user's language.
            order, x, y = (float(attributes[it].replace(",", ".")) for it in ("Order", "X", "Y"))
        except (KeyError, ValueError) as error:
            raise RegionsError(
                f"Line {self._parser.CurrentLineNumber}: Annotation {len(self.annotations)} has "
                f"no valid coordinates ({error})."
            ) from error
        self.annotations[-1].points.append((order, x, y))

    def _fail(self, what: str) -> NoReturn:
        line = self._parser.CurrentLineNumber
        raise RegionsError(f"This is not an ASAP file (line {line}: {what}).")


def _color(text: str) -> Rgb | None:
    try:
        red, green, blue = bytes.fromhex(text.removeprefix("#"))
    except ValueError:
        return None
    return red, green, blue
