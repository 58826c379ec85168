"""The tissue mask on the view: what counts as tissue, and what is left out as background."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QLineF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QImage, QPainter, QTransform

from idc_desktop.maps.colormap import border
from idc_desktop.maps.probability_map import PatchState, ProbabilityMap
from idc_desktop.ui.view.borders import Borders
from idc_desktop.ui.view.guides import Key, screen_line

_EDGE = QColor(0, 90, 220)
_HALO = QColor(255, 255, 255, 210)
_VEIL = QColor(70, 85, 120, 105)


class MaskLayer:
    """A picture of the tissue mask of a map, as far as it is known.

    Background is veiled; a dashed line, unlike that of the map or of any region, goes around
    tissue.

    Parameters
    ----------
    probability_map : ProbabilityMap
    """

    def __init__(self, probability_map: ProbabilityMap) -> None:
        self._grid = probability_map.grid
        states = probability_map.states
        is_background = np.equal(states, PatchState.BACKGROUND)
        mask = probability_map.mask
        # What was added counts as tissue before it is computed, too.
        is_tissue = ~np.isin(states, (PatchState.PENDING, PatchState.BACKGROUND))
        if mask is not None:
            is_tissue |= mask.added & ~is_background
        rgba = np.zeros((*states.shape, 4), np.uint8)
        rgba[is_background] = (_VEIL.red(), _VEIL.green(), _VEIL.blue(), _VEIL.alpha())
        height, width = states.shape
        self._image = QImage(
            rgba.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888
        ).convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)
        self._borders = Borders(*border(is_tissue))

    def paint(self, painter: QPainter, to_device: QTransform, visible_l0: QRectF) -> None:
        """Draw the visible part; parameters as of `MapRaster.paint`."""
        grid = self._grid
        cells = QTransform(grid.step_x_l0, 0, 0, grid.step_y_l0, grid.origin_x_l0, grid.origin_y_l0)
        back, _ = cells.inverted()
        seen = back.mapRect(visible_l0)
        painter.save()
        painter.setTransform(cells * to_device)
        extent = (grid.width_l0 / grid.step_x_l0, grid.height_l0 / grid.step_y_l0)
        painter.setClipRect(QRectF(0, 0, *extent))
        whole = QRectF(0, 0, grid.cols, grid.rows)
        painter.drawImage(whole, self._image, whole)
        _draw(painter, self._borders.within(seen))
        painter.restore()


def mask_keys() -> list[Key]:
    """Return what the legend says of the mask."""
    return [("Tissue mask", _draw_edge), ("Background, left out", _draw_veil)]


def _draw_edge(painter: QPainter, box: QRectF) -> None:
    y = box.center().y()
    _draw(painter, [QLineF(box.left() - 2, y, box.right() + 2, y)])


def _draw(painter: QPainter, lines: list[QLineF]) -> None:
    for colour, width, style in (
        (_HALO, 4, Qt.PenStyle.SolidLine),
        (_EDGE, 2, Qt.PenStyle.DashLine),
    ):
        pen = screen_line(painter, colour, width)
        pen.setStyle(style)
        painter.setPen(pen)
        painter.drawLines(lines)


def _draw_veil(painter: QPainter, box: QRectF) -> None:
    painter.fillRect(box, QColor(250, 250, 250))
    painter.fillRect(box, QBrush(_VEIL))
