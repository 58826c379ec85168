"""Which tiles show a part of a slide."""

from __future__ import annotations

import math
from typing import NamedTuple

from PySide6.QtCore import QRectF

from idc_desktop.processes.decoder_messages import TILE_PX
from idc_desktop.slides.description import SlideDescription


class Tile(NamedTuple):
    """A tile's address: at `zoom` z one of its pixels covers 2^z level-0 pixels."""

    zoom: int
    col: int
    row: int

    @property
    def area_l0(self) -> QRectF:
        """The square that it covers, level-0 pixels."""
        side = TILE_PX * 2.0**self.zoom
        return QRectF(self.col * side, self.row * side, side, side)

    def parent(self) -> Tile:
        """Return the tile of the next coarser zoom that covers this one."""
        return Tile(self.zoom + 1, self.col // 2, self.row // 2)


class TilePyramid:
    """The tiles of one slide.

    Parameters
    ----------
    slide : SlideDescription

    Attributes
    ----------
    extent_l0 : QRectF
        What was scanned: the slide's bounds where it has them, else all of level 0.
    area_l0 : QRectF
        All of level 0.
    top_zoom : int
        The zoom at which the whole slide is a tile or two wide.
    """

    def __init__(self, slide: SlideDescription) -> None:
        width, height = slide.width_l0, slide.height_l0
        self.area_l0 = QRectF(0, 0, width, height)
        self.extent_l0 = QRectF(*slide.bounds) if slide.bounds else self.area_l0
        self.top_zoom = max(0, math.ceil(math.log2(max(width, height) / (2 * TILE_PX))))

    def zoom_for(self, scale: float) -> int:
        """Return the zoom whose tiles are sharp at a scale (device pixels per level-0 pixel)."""
        # Tiles are shown at no less than their own resolution, but for the last tenth of a step.
        return min(max(0, math.floor(math.log2(1 / scale) + 0.1)), self.top_zoom)

    def tiles(self, zoom: int, part_l0: QRectF) -> list[Tile]:
        """Return the tiles of a part of the slide, those nearest to its middle first."""
        part = part_l0.intersected(self.area_l0)
        if part.isEmpty():
            return []
        side, centre = TILE_PX * 2**zoom, part.center()
        tiles = [
            Tile(zoom, col, row)
            for row in range(int(part.top() // side), math.ceil(part.bottom() / side))
            for col in range(int(part.left() // side), math.ceil(part.right() / side))
        ]
        return sorted(
            tiles,
            key=lambda it: (
                ((it.col + 0.5) * side - centre.x()) ** 2
                + ((it.row + 0.5) * side - centre.y()) ** 2
            ),
        )

    def top_tiles(self) -> list[Tile]:
        """Return the tiles of the coarsest zoom: a picture of the whole slide."""
        return self.tiles(self.top_zoom, self.area_l0)
