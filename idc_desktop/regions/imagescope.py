"""ImageScope's XML: layers of regions in level-0 pixels; a layer's name is taken for the class."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

from idc_desktop.errors import RegionsError
from idc_desktop.regions.editing import draw_ellipse
from idc_desktop.regions.found import Found, FoundFile, Tally, quoted
from idc_desktop.regions.shape import Rgb, Ring, Roi

_AREAS = ("0", "1", "2")  # free hand or polygon, rectangle, ellipse
_NO_AREAS = {"3": "an arrow", "4": "a ruler"}


@dataclass
class _Region:
    """A ``Region`` element as far as it was read."""

    what: str
    number: int
    name: str
    kind: str
    layer: int
    is_hole: bool
    points: array[float] = field(default_factory=lambda: array("d"))
    """x and y of each."""


class ImageScopeReader:
    """Collects layers and their regions."""

    def __init__(self) -> None:
        self._layers: list[tuple[str, Rgb | None]] = []
        self._regions: list[_Region] = []

    def start(self, tag: str, attributes: dict[str, str], line: int) -> None:
        """Take an element that begins; `RegionsError` where a coordinate is none."""
        if tag == "Annotation":
            self._layers.append((attributes.get("Name", ""), _color(attributes.get("LineColor"))))
        elif tag == "Region":
            self._begin(attributes, line)
        elif tag in ("Vertex", "V"):
            self._add_point(attributes, line)

    def end(self, tag: str, text: str) -> None:
        """Take an element that ends; none of them has a text."""

    def file(self) -> FoundFile:
        """Return what was found, once the whole file was read."""
        left_out, entries = Tally(), []
        holes = [it for it in self._regions if it.is_hole and it.kind in _AREAS]
        areas = [it for it in self._regions if not it.is_hole and it.kind in _AREAS]
        for it in self._regions:
            if it.kind not in _AREAS:
                left_out.add(f"{it.what} is {_NO_AREAS.get(it.kind, f'of type {quoted(it.kind)}')}")
        used: set[int] = set()
        for it in areas:
            cut = [hole for hole in holes if hole.layer == it.layer and _meets(hole, it)]
            used.update(hole.number for hole in cut)
            entries.append(self._found(it, cut))
        for hole in holes:
            if hole.number not in used:
                left_out.add(f"{hole.what} is to be cut out of nothing")
        return FoundFile(entries, left_out=left_out)

    def _begin(self, attributes: dict[str, str], line: int) -> None:
        number = len(self._regions) + 1
        name = attributes.get("Text", "").strip()
        what = f"Region {number}" + (f" {quoted(name)}" if name else "") + f", line {line},"
        kind = attributes.get("Type", "0")
        is_hole = attributes.get("NegativeROA", "0") == "1"
        self._regions.append(_Region(what, number, name, kind, len(self._layers) - 1, is_hole))

    def _found(self, region: _Region, holes: list[_Region]) -> Found:
        name, color = self._layers[region.layer] if region.layer >= 0 else ("", None)
        roi: Roi = "Ellipse" if region.kind == "2" and not holes else "Polygon"
        return Found(
            region.what,
            polygons=lambda: [[_outline(region), *map(_outline, holes)]],
            name=region.name or f"Region {region.number}",
            classification=name.strip(),
            color=color,
            roi=roi,
        )

    def _add_point(self, attributes: dict[str, str], line: int) -> None:
        if not self._regions:
            raise RegionsError(
                f"This is not an ImageScope file (line {line}: a point of no region)."
            )
        try:
            x, y = (float(attributes[it].replace(",", ".")) for it in "XY")
        except (KeyError, ValueError) as error:
            what = self._regions[-1].what
            raise RegionsError(
                f"{what} has no valid coordinates (line {line}: {error})."
            ) from error
        self._regions[-1].points.extend((x, y))


def _outline(region: _Region) -> Ring:
    """Return the corners of a region; of an ellipse the file has those of its box."""
    corners = np.array(region.points).reshape(-1, 2)
    if region.kind != "2" or len(corners) not in (2, 4):
        return corners
    left, top, right, bottom = _box(region)
    return draw_ellipse((left, top), (right, bottom)).polygons[0][0]


def _meets(hole: _Region, area: _Region) -> bool:
    """Whether a region that is to be cut out reaches into another one."""
    if not hole.points or not area.points:
        return False
    left, top, right, bottom = _box(area)
    hole_left, hole_top, hole_right, hole_bottom = _box(hole)
    return hole_left < right and left < hole_right and hole_top < bottom and top < hole_bottom


def _box(region: _Region) -> tuple[float, float, float, float]:
    x, y = region.points[::2], region.points[1::2]
    return min(x), min(y), max(x), max(y)


def _color(text: str | None) -> Rgb | None:
    """Read a colour: one number, blue in its highest byte."""
    try:
        packed = int(text or "")
    except ValueError:
        return None
    return (packed & 255, packed >> 8 & 255, packed >> 16 & 255) if 0 <= packed < 1 << 24 else None
