"""A picture of a whole slide, from the tiles of its coarsest zoom."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QBrush, QColor, QImage, QPainter, QPolygonF, QTransform

from idc_desktop.ui.tiles.loader import TileLoader
from idc_desktop.ui.tiles.pyramid import TilePyramid

_WAITING = (QColor(206, 210, 216), QColor(182, 187, 195), Qt.BrushStyle.BDiagPattern)
_BROKEN = (QColor(160, 160, 160), QColor(70, 70, 70), Qt.BrushStyle.DiagCrossPattern)


def loaded_top_tiles(pyramid: TilePyramid, tiles: TileLoader) -> int:
    """Return how many tiles of the coarsest zoom are here, or can never be."""
    return sum(tiles.get(it) is not None or tiles.is_broken(it) for it in pyramid.top_tiles())


def paint_missing(
    painter: QPainter, place: QPolygonF, *, is_broken: bool, is_bare: bool = True
) -> None:
    """Hatch the place of a tile that is not here: nobody must take it for empty glass.

    Parameters
    ----------
    painter : QPainter
    place : QPolygonF
        In the painter's own pixels.
    is_broken : bool
        Whether the tile cannot be read; else it is on its way.
    is_bare : bool
        Whether there is nothing beneath that a hatch should leave to be seen.
    """
    ground, lines, pattern = _BROKEN if is_broken else _WAITING
    painter.setPen(Qt.PenStyle.NoPen)
    for brush in (*([QBrush(ground)] if is_bare else []), QBrush(lines, pattern)):
        painter.setBrush(brush)
        painter.drawPolygon(place)
    painter.setBrush(Qt.BrushStyle.NoBrush)


def paint_overview(pyramid: TilePyramid, tiles: TileLoader, size: QSize) -> QImage:
    """Return a picture of the whole slide of a size; hatched where tiles are missing."""
    picture = QImage(size, QImage.Format.Format_RGB32)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    area = pyramid.area_l0
    to_picture = QTransform.fromScale(size.width() / area.width(), size.height() / area.height())
    for tile in pyramid.top_tiles():
        place, image = to_picture.mapRect(tile.area_l0), tiles.get(tile)
        if image is not None:
            painter.drawImage(place, image)
        else:
            paint_missing(painter, QPolygonF(place), is_broken=tiles.is_broken(tile))
    painter.end()
    return picture
