"""NDPA, the XML of Hamamatsu's viewer: nanometres from the middle of the glass.

Its annotations have no classes: a title says what they are.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field

import numpy as np

from idc_desktop.errors import RegionsError
from idc_desktop.regions.editing import draw_ellipse
from idc_desktop.regions.found import Found, FoundFile, Tally, quoted
from idc_desktop.regions.shape import Rgb, Ring, Roi

_FREEHAND, _CIRCLE = "freehand", "circle"
_NUMBERS = ("x", "y", "radius")
_UNIT = "nanometers"


@dataclass
class _View:
    """A ``ndpviewstate`` element as far as it was read."""

    what: str
    number: int
    title: str = ""
    kind: str = ""
    color: Rgb | None = None
    is_closed: bool = True
    unit: str = _UNIT
    points: array[float] = field(default_factory=lambda: array("d"))
    """x and y of each, and the radius of a circle."""


class HamamatsuReader:
    """Collects annotations."""

    def __init__(self) -> None:
        self._views: list[_View] = []
        self._is_annotation = False
        self._line = 0

    def start(self, tag: str, attributes: dict[str, str], line: int) -> None:
        """Take an element that begins."""
        self._line = line
        if tag == "ndpviewstate":
            number = len(self._views) + 1
            self._views.append(_View(f"Annotation {number}, line {line},", number))
            self._is_annotation = False
        elif tag == "annotation" and self._views:
            self._is_annotation = True
            view = self._views[-1]
            view.kind = attributes.get("type", "")
            view.color = _color(attributes.get("color", ""))

    def end(self, tag: str, text: str) -> None:
        """Take an element that ends; `RegionsError` where a coordinate is none."""
        if not self._views:
            return
        view = self._views[-1]
        if tag == "title" and not view.title:
            view.title = text
        elif tag == "coordformat":
            view.unit = text
        elif tag == "closed":
            view.is_closed = text != "0"
        elif tag == "annotation":
            self._is_annotation = False
        elif self._is_annotation and tag in _NUMBERS:
            try:
                value = float(text.replace(",", "."))
            except ValueError as error:
                raise RegionsError(
                    f"{view.what} has no valid coordinates (line {self._line}: {error})."
                ) from error
            view.points.append(value)

    def file(self) -> FoundFile:
        """Return what was found, once the whole file was read."""
        left_out, entries = Tally(), []
        for view in self._views:
            if view.unit != _UNIT:
                left_out.add(f"{view.what} is in {quoted(view.unit)}, not in {_UNIT}")
            elif view.kind == _CIRCLE or (view.kind == _FREEHAND and view.is_closed):
                entries.append(_found(view))
            else:
                kind = "an open line" if view.kind == _FREEHAND else f"of type {quoted(view.kind)}"
                left_out.add(f"{view.what} is {kind}")
        return FoundFile(entries, left_out=left_out, in_nm_of_glass=True)


def _found(view: _View) -> Found:
    roi: Roi = "Ellipse" if view.kind == _CIRCLE else "Polygon"
    return Found(
        view.what,
        polygons=lambda: [[_outline(view)]],
        name=view.title or f"Region {view.number}",
        color=view.color,
        roi=roi,
    )


def _outline(view: _View) -> Ring:
    if view.kind != _CIRCLE:
        return np.array(view.points).reshape(-1, 2)
    x, y, radius = view.points
    if not (math.isfinite(radius) and radius > 0):
        raise ValueError(f"a radius of {radius:g}")
    return draw_ellipse((x - radius, y - radius), (x + radius, y + radius)).polygons[0][0]


def _color(text: str) -> Rgb | None:
    try:
        red, green, blue = bytes.fromhex(text.removeprefix("#"))
    except ValueError:
        return None
    return red, green, blue
