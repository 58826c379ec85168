"""ASAP's XML: annotations of polygons, with groups that we take for classes."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

from idc_desktop.errors import RegionsError
from idc_desktop.regions.found import Found, FoundFile, Tally, quoted
from idc_desktop.regions.shape import Rgb, Ring

_AREAS = ("Polygon", "Rectangle", "Spline")
_NO_GROUP = ("", "None")


@dataclass
class _Annotation:
    """An ``Annotation`` element as far as it was read."""

    what: str
    number: int
    name: str
    kind: str
    group: str
    points: array[float] = field(default_factory=lambda: array("d"))
    """Order, x and y of each."""


class AsapReader:
    """Collects annotations and the colours of groups."""

    def __init__(self) -> None:
        self._annotations: list[_Annotation] = []
        self._colors: dict[str, Rgb] = {}

    def start(self, tag: str, attributes: dict[str, str], line: int) -> None:
        """Take an element that begins; `RegionsError` where a coordinate is none."""
        if tag == "Annotation":
            number, name = len(self._annotations) + 1, attributes.get("Name", "")
            what = f"Annotation {number}" + (f" {quoted(name)}" if name else "") + f", line {line},"
            kind, group = attributes.get("Type", ""), attributes.get("PartOfGroup", "")
            self._annotations.append(_Annotation(what, number, name, kind, group))
        elif tag == "Coordinate":
            self._add_point(attributes, line)
        elif tag == "Group":
            color = _color(attributes.get("Color", ""))
            if color is not None:
                self._colors[attributes.get("Name", "")] = color

    def end(self, tag: str, text: str) -> None:
        """Take an element that ends; none of them has a text."""

    def file(self) -> FoundFile:
        """Return what was found, once the whole file was read."""
        left_out, splines, entries = Tally(), Tally(), []
        for it in self._annotations:
            if it.kind in _AREAS:
                entries.append(self._found(it))
            else:
                kind = f"a {quoted(it.kind)[1:-1]}" if it.kind else "without Type"
                left_out.add(f"{it.what} is {kind}")
            if it.kind == "Spline":
                splines.add(it.what.removesuffix(","))
        notes = (splines.sentence("spline", "was taken as a polygon/were taken as polygons"),)
        return FoundFile(entries, left_out=left_out, notes=notes if splines.count else ())

    def _found(self, annotation: _Annotation) -> Found:
        group = "" if annotation.group in _NO_GROUP else annotation.group
        return Found(
            annotation.what,
            polygons=lambda: [[_in_order(annotation.points)]],
            name=annotation.name or f"Region {annotation.number}",
            classification=group,
            color=self._colors.get(group),
        )

    def _add_point(self, attributes: dict[str, str], line: int) -> None:
        if not self._annotations:
            raise RegionsError(f"This is not an ASAP file (line {line}: a point of no annotation).")
        try:
            # Some versions write the decimal sign of the user's language.
            x, y = (float(attributes[it].replace(",", ".")) for it in "XY")
            # Without an order it is that of the file.
            order = float(attributes.get("Order", len(self._annotations[-1].points)))
        except (KeyError, ValueError) as error:
            what = self._annotations[-1].what
            raise RegionsError(
                f"{what} has no valid coordinates (line {line}: {error})."
            ) from error
        self._annotations[-1].points.extend((order, x, y))


def _in_order(points: array[float]) -> Ring:
    rows = np.array(points).reshape(-1, 3)
    return rows[np.argsort(rows[:, 0], kind="stable"), 1:]


def _color(text: str) -> Rgb | None:
    try:
        red, green, blue = bytes.fromhex(text.removeprefix("#"))
    except ValueError:
        return None
    return red, green, blue
