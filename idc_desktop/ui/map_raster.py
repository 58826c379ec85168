"""The map on the view: one small raster, drawn over any rectangle of cells at any zoom."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPen, QTransform

from idc_desktop.colormap import colorize, outline
from idc_desktop.grid import PatchGrid, ProbabilityMap

_CELL_RECTS_ABOVE_PX = 24.0  # device px per cell from which cells are drawn one by one


class MapRaster:
    """A picture of a probability map.

    Parameters
    ----------
    probability_map : ProbabilityMap
    threshold : float
        The outline encloses cells whose probability is at least this.
    """

    def __init__(self, probability_map: ProbabilityMap, threshold: float) -> None:
        self._grid: PatchGrid = probability_map.grid
        rgba = colorize(probability_map, 1.0)
        height, width = rgba.shape[:2]
        self._image = QImage(
            rgba.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888
        ).convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)
        self._upper, self._left = outline(probability_map, threshold)

    def paint(
        self,
        painter: QPainter,
        to_device: QTransform,
        visible_l0: QRectF,
        opacity: float,
        smooth: bool,
    ) -> None:
        """Draw the visible part.

        Parameters
        ----------
        to_device : QTransform
            From level-0 pixels to device pixels.
        visible_l0 : QRectF
            What can be seen, level-0 pixels.
        smooth : bool
            Interpolate between patches instead of showing each as a square.
        """
        grid = self._grid
        cells = QTransform(grid.step_x_l0, 0, 0, grid.step_y_l0, grid.origin_x_l0, grid.origin_y_l0)
        back, _ = cells.inverted()
        seen = back.mapRect(visible_l0)
        first_col, first_row = max(0, int(seen.left())), max(0, int(seen.top()))
        last_col = min(grid.cols, int(seen.right()) + 1)
        last_row = min(grid.rows, int(seen.bottom()) + 1)
        if first_col >= last_col or first_row >= last_row:
            return
        painter.save()
        painter.setTransform(cells * to_device)
        painter.setOpacity(opacity)
        extent = (grid.width_l0 / grid.step_x_l0, grid.height_l0 / grid.step_y_l0)
        painter.setClipRect(QRectF(0, 0, *extent))
        cell_px = cells.m11() * (to_device.m11() ** 2 + to_device.m12() ** 2) ** 0.5
        if cell_px > _CELL_RECTS_ABOVE_PX and not smooth:
            # Scaling a picture this much is exact to a fraction of one of its pixels only.
            painter.setPen(Qt.PenStyle.NoPen)
            for row in range(first_row, last_row):
                for col in range(first_col, last_col):
                    colour = self._image.pixelColor(col, row)
                    if colour.alpha():
                        painter.fillRect(QRectF(col, row, 1, 1), colour)
        else:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
            part = QRectF(first_col, first_row, last_col - first_col, last_row - first_row)
            painter.drawImage(part, self._image, part)
        painter.restore()

    def paint_outline(self, painter: QPainter, to_device: QTransform, visible_l0: QRectF) -> None:
        """Draw the border of the area at or above the threshold."""
        grid = self._grid
        cells = QTransform(grid.step_x_l0, 0, 0, grid.step_y_l0, grid.origin_x_l0, grid.origin_y_l0)
        back, _ = cells.inverted()
        seen = back.mapRect(visible_l0)
        painter.save()
        painter.setTransform(cells * to_device)
        pen = QPen(QColor(20, 20, 20), 2)
        pen.setCosmetic(True)
        painter.setPen(pen)
        for borders, (width, height) in ((self._upper, (1, 0)), (self._left, (0, 1))):
            rows, cols = borders[:, 0], borders[:, 1]
            inside = (rows >= seen.top() - 1) & (rows <= seen.bottom() + 1)
            inside &= (cols >= seen.left() - 1) & (cols <= seen.right() + 1)
            for row, col in borders[inside].tolist():
                painter.drawLine(QPointF(col, row), QPointF(col + width, row + height))
        painter.restore()
