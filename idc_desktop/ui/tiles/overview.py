"""A picture of a whole slide, from the tiles of its coarsest zoom."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtGui import QColor, QImage, QPainter

from idc_desktop.ui.tiles.loader import TileLoader
from idc_desktop.ui.tiles.pyramid import TilePyramid

_WAITING = QColor(250, 250, 250)


def loaded_top_tiles(pyramid: TilePyramid, tiles: TileLoader) -> int:
    """Return how many tiles of the coarsest zoom are here, or can never be."""
    return sum(tiles.get(it) is not None or tiles.is_broken(it) for it in pyramid.top_tiles())


def paint_overview(pyramid: TilePyramid, tiles: TileLoader, size: QSize) -> QImage:
    """Return a picture of the whole slide of a size; grey where tiles are still missing."""
    picture = QImage(size, QImage.Format.Format_RGB32)
    picture.fill(_WAITING)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    area = pyramid.area_l0
    painter.scale(size.width() / area.width(), size.height() / area.height())
    for tile in pyramid.top_tiles():
        image = tiles.get(tile)
        if image is not None:
            painter.drawImage(tile.area_l0, image)
    painter.end()
    return picture
