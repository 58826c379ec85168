"""The slide on the view: tiles coarse to fine, and what stands where there are none."""

from __future__ import annotations

import math
from collections import OrderedDict
from enum import Enum

from PySide6.QtCore import QRect, QRectF
from PySide6.QtGui import QImage, QPainter, QPolygonF, QRegion, QTransform

from idc_desktop.processes.decoder_messages import TILE_PX
from idc_desktop.ui.tiles.loader import TileLoader
from idc_desktop.ui.tiles.overview import paint_missing
from idc_desktop.ui.tiles.pyramid import Tile, TilePyramid
from idc_desktop.ui.tone import Tone

_ROUND = 0.500001
_MOST_TONED = 256  # of 256 KiB: 64 MiB


class Completeness(Enum):
    """How much of what is seen is shown; the value says it in words, empty where all is."""

    WHOLE = ""
    LOADING = "Reading the slide …"
    BROKEN = "Hatched parts of this slide are damaged and cannot be read."
    LOST = "This slide cannot be read any more. Open it again."


class TileLayer:
    """Paints the tiles of one slide.

    Parameters
    ----------
    pyramid : TilePyramid
    tiles : TileLoader

    Attributes
    ----------
    preview : QImage or None
        A small picture of the whole slide, painted where not even a coarse tile is here.
    """

    def __init__(self, pyramid: TilePyramid, tiles: TileLoader) -> None:
        self._pyramid = pyramid
        self._tiles = tiles
        self.preview: QImage | None = None
        self._tone = Tone()
        self._toned: OrderedDict[int, QImage] = OrderedDict()

    def completeness(self, zoom: int, seen_l0: QRectF) -> Completeness:
        """Return how much of a part of the slide is here at a zoom."""
        seen = self._pyramid.tiles(zoom, seen_l0)
        broken = {it for it in seen if self._tiles.is_broken(it)}
        if any(self._tiles.get(it) is None for it in seen if it not in broken):
            return Completeness.LOADING
        return Completeness.BROKEN if broken else Completeness.WHOLE

    def paint(
        self,
        painter: QPainter,
        to_device: QTransform,
        zoom: int,
        seen_l0: QRectF,
        part: QRegion,
        *,
        smooth: bool,
        tone: Tone | None = None,
    ) -> None:
        """Paint what is here of a part of the slide; never a hole, and never empty glass.

        Parameters
        ----------
        to_device : QTransform
            From level-0 pixels to those of the painter.
        zoom : int
            Of the tiles that are best.
        seen_l0 : QRectF
        part : QRegion
            Of the painter's device; what lies beside it may be left as it is.
        smooth : bool
            Whether pixels are interpolated.
        tone : Tone or None
            Brightness and the like; None leaves them as they are.
        """
        if tone != self._tone:
            self._tone = tone or Tone()
            self._toned.clear()
        area_l0 = self._pyramid.area_l0
        is_upright = to_device.m12() == 0 and to_device.m11() > 0 and to_device.m22() > 0
        ratio = painter.device().devicePixelRatio()

        def target(part_l0: QRectF) -> QRectF:
            return _on_whole_pixels(to_device.mapRect(part_l0), ratio) if is_upright else part_l0

        painter.save()
        if not is_upright:
            painter.setTransform(to_device)
        if not area_l0.contains(seen_l0):
            painter.setClipRect(target(area_l0))  # the last tiles reach beyond it
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
        shown = [
            it
            for it in self._pyramid.tiles(zoom, seen_l0)
            if part.intersects(place_of(it, to_device))
        ]
        found = [self._best(tile) for tile in shown]
        if self.preview is not None and None in found:
            painter.drawImage(target(area_l0), self._in_tone(self.preview))
        for tile, best in zip(shown, found, strict=True):
            if best is not None:
                image, source = best
                painter.drawImage(target(tile.area_l0), self._in_tone(image), source)
        painter.resetTransform()
        for tile, best in zip(shown, found, strict=True):
            is_broken = self._tiles.is_broken(tile)
            is_bare = best is None and self.preview is None
            if is_broken or is_bare:
                place = to_device.map(QPolygonF(tile.area_l0))
                paint_missing(painter, place, is_broken=is_broken, is_bare=is_bare)
        painter.restore()

    def _in_tone(self, picture: QImage) -> QImage:
        """Return a picture as it is to be shown; those that were made last are kept."""
        if self._tone.is_plain:
            return picture
        key = picture.cacheKey()
        toned = self._toned.get(key)
        if toned is None:
            toned = self._tone.of(picture.convertToFormat(QImage.Format.Format_RGB32))
            self._toned[key] = toned
            if len(self._toned) > _MOST_TONED:
                self._toned.popitem(last=False)
        else:
            self._toned.move_to_end(key)
        return toned

    def _best(self, tile: Tile) -> tuple[QImage, QRectF] | None:
        """Return the finest picture of a tile's place that is here, and the part that shows it."""
        image, source = self._tiles.get(tile), QRectF(0, 0, TILE_PX, TILE_PX)
        while image is None and tile.zoom < self._pyramid.top_zoom:
            half = TILE_PX / 2
            source = QRectF(
                source.left() / 2 + (tile.col % 2) * half,
                source.top() / 2 + (tile.row % 2) * half,
                source.width() / 2,
                source.height() / 2,
            )
            tile = tile.parent()
            image = self._tiles.get(tile)
        return None if image is None else (image, source)


def place_of(tile: Tile, to_device: QTransform) -> QRect:
    """Return a rectangle around all pixels that a tile is painted on, a hair larger than they."""
    return to_device.mapRect(tile.area_l0).adjusted(-1, -1, 1, 1).toAlignedRect()


def _on_whole_pixels(area: QRectF, ratio: float) -> QRectF:
    """Move edges to whole pixels of the screen: neighbours share them, and no seam shows."""
    # The hair more than a half keeps what Qt computes as 99.4999 and 100.5 in step.
    left, top, right, bottom = (
        math.floor(edge * ratio + _ROUND) / ratio
        for edge in (area.left(), area.top(), area.right(), area.bottom())
    )
    return QRectF(left, top, right - left, bottom - top)
