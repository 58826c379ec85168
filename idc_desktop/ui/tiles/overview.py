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


def paint_overview(
    pyramid: TilePyramid, tiles: TileLoader, size: QSize, to_picture: QTransform | None = None
) -> QImage:
    """Return a picture of the whole slide; hatched where tiles are missing.

    Parameters
    ----------
    size : QSize
        Of the picture.
    to_picture : QTransform, optional
        From level-0 pixels to those of the picture, which is transparent beside the slide. Without
        it the slide fills the picture, upright.
    """
    picture = QImage(size, QImage.Format.Format_ARGB32_Premultiplied)
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    area = pyramid.area_l0
    if to_picture is None:
        across, down = size.width() / area.width(), size.height() / area.height()
        to_picture = QTransform.fromScale(across, down)
    painter.setTransform(to_picture)
    painter.setClipRect(area)  # the last tiles reach beyond it
    for tile in pyramid.top_tiles():
        image = tiles.get(tile)
        if image is not None:
            painter.drawImage(tile.area_l0, image)
        else:
            painter.resetTransform()
            place = to_picture.map(QPolygonF(tile.area_l0))
            paint_missing(painter, place, is_broken=tiles.is_broken(tile))
            painter.setTransform(to_picture)
    painter.end()
    return picture
