"""The map on the view: one small raster, drawn over any rectangle of cells at any zoom."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QLineF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QTransform

from idc_desktop.maps.colormap import colorize, outline
from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.probability_map import MapLayer
from idc_desktop.ui.display import Display
from idc_desktop.ui.view.borders import Borders
from idc_desktop.ui.view.guides import screen_line

_CELL_RECTS_ABOVE_PX = 24.0  # device px per cell from which cells are drawn one by one
_OUTLINE = QColor(20, 20, 20)
_HALO = QColor(255, 255, 255, 170)  # keeps the outline readable on dark tissue
_CROSS = QColor(20, 20, 20, 150)
_CROSSED_ABOVE_PX = 5.0  # device px per cell
_SELECTED = ((QColor(255, 255, 255), 5), (QColor(200, 30, 30), 2))


class MapRaster:
    """A picture of a layer of a map.

    Parameters
    ----------
    layer : MapLayer
    measured : MapLayer
        The outline encloses cells whose value in this layer is at least the threshold.
    threshold : float
    colormap : str
    extent : str
        One of `display.EXTENTS`. What failed is painted in each: it is not known to be negative.

    Attributes
    ----------
    kind : LayerKind
    has_failed : bool
        Whether patches are shown that were tried in vain.
    """

    def __init__(
        self,
        layer: MapLayer,
        measured: MapLayer,
        threshold: float,
        colormap: str,
        extent: str = "all",
    ) -> None:
        self._grid, self.kind = layer.grid, layer.kind
        self.has_failed = layer.map.failed_patches > 0
        rgba = colorize(layer, 1.0, colormap)
        if extent != "all":
            kept = measured.positive(threshold) if extent == "positive" else False
            rgba[layer.analyzed & ~np.asarray(kept), 3] = 0
        height, width = rgba.shape[:2]
        self._is_shown = rgba[..., 3] > 0
        self._is_excluded = layer.map.excluded
        self._image = QImage(
            rgba.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888
        ).convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)
        self._borders = Borders(*outline(measured, threshold))

    def paint(
        self,
        painter: QPainter,
        to_device: QTransform,
        visible_l0: QRectF,
        display: Display,
        opacity: float,
        is_moving: bool = False,
    ) -> None:
        """Draw the visible part.

        Parameters
        ----------
        to_device : QTransform
            From level-0 pixels to device pixels.
        visible_l0 : QRectF
            What can be seen, level-0 pixels.
        display : Display
            Smoothness and outline.
        opacity : float
            Of the highest values, as `Display.opacity_at` says.
        is_moving : bool
            Whether speed matters more than smoothness.
        """
        grid = self._grid
        cells = QTransform(grid.step_x_l0, 0, 0, grid.step_y_l0, grid.origin_x_l0, grid.origin_y_l0)
        back, _ = cells.inverted()
        seen = back.mapRect(visible_l0)
        painter.save()
        painter.setTransform(cells * to_device)
        if opacity:
            painter.setOpacity(opacity)
            self._paint_cells(painter, seen, display.smooth and not is_moving)
            painter.setOpacity(1)
            self._cross_out(painter, seen)
        if display.has_outline:
            self._paint_outline(painter, seen)
        painter.restore()

    def _paint_cells(self, painter: QPainter, seen: QRectF, smooth: bool) -> None:
        grid = self._grid
        first_col, first_row = max(0, int(seen.left())), max(0, int(seen.top()))
        last_col = min(grid.cols, int(seen.right()) + 1)
        last_row = min(grid.rows, int(seen.bottom()) + 1)
        if first_col >= last_col or first_row >= last_row:
            return
        painter.save()
        extent = (grid.width_l0 / grid.step_x_l0, grid.height_l0 / grid.step_y_l0)
        painter.setClipRect(QRectF(0, 0, *extent))
        transform = painter.transform()
        cell_px = (transform.m11() ** 2 + transform.m12() ** 2) ** 0.5
        if cell_px > _CELL_RECTS_ABOVE_PX and not smooth:
            # Scaling a picture this much is exact to a fraction of one of its pixels only.
            painter.setPen(Qt.PenStyle.NoPen)
            shown = np.argwhere(self._is_shown[first_row:last_row, first_col:last_col])
            for row, col in np.add(shown, (first_row, first_col)).tolist():
                colour = self._image.pixelColor(col, row)
                painter.fillRect(QRectF(col, row, 1, 1), colour)
        else:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
            part = QRectF(first_col, first_row, last_col - first_col, last_row - first_row)
            painter.drawImage(part, self._image, part)
        painter.restore()

    def _cross_out(self, painter: QPainter, seen: QRectF) -> None:
        """Cross out what the shield leaves out; none so small that crosses would be a fill."""
        transform = painter.transform()
        if (transform.m11() ** 2 + transform.m12() ** 2) ** 0.5 < _CROSSED_ABOVE_PX:
            return
        top, left = max(0, int(seen.top())), max(0, int(seen.left()))
        part = self._is_excluded[top : int(seen.bottom()) + 1, left : int(seen.right()) + 1]
        lines = []
        for row, col in np.add(np.argwhere(part), (top, left)).tolist():
            lines += [
                QLineF(col, row, col + 1, row + 1),
                QLineF(col, row + 1, col + 1, row),
            ]
        painter.setPen(screen_line(painter, _CROSS, 1))
        painter.drawLines(lines)

    def _paint_outline(self, painter: QPainter, seen: QRectF) -> None:
        """Draw the border of the area at or above the threshold."""
        lines = self._borders.within(seen)
        for colour, width in ((_HALO, 4), (_OUTLINE, 2)):
            painter.setPen(screen_line(painter, colour, width))
            painter.drawLines(lines)


def paint_cell(
    painter: QPainter, to_device: QTransform, grid: PatchGrid, cell: tuple[int, int]
) -> None:
    """Draw a frame around one cell (row, col)."""
    left = grid.origin_x_l0 + cell[1] * grid.step_x_l0
    top = grid.origin_y_l0 + cell[0] * grid.step_y_l0
    painter.setTransform(to_device)
    for colour, width in _SELECTED:
        painter.setPen(screen_line(painter, colour, width))
        painter.drawRect(QRectF(left, top, grid.step_x_l0, grid.step_y_l0))
    painter.resetTransform()
