"""The map on the view: one small raster, drawn over any rectangle of cells at any zoom."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QLineF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPen, QTransform

from idc_desktop.colormap import colorize, outline
from idc_desktop.grid import PatchGrid, ProbabilityMap
from idc_desktop.ui.display import Display

_CELL_RECTS_ABOVE_PX = 24.0  # device px per cell from which cells are drawn one by one
_OUTLINE = QColor(20, 20, 20)
_HALO = QColor(255, 255, 255, 170)  # keeps the outline readable on dark tissue


class MapRaster:
    """A picture of a probability map.

    Parameters
    ----------
    probability_map : ProbabilityMap
    threshold : float
        The outline encloses cells whose probability is at least this.
    colormap : str
    """

    def __init__(self, probability_map: ProbabilityMap, threshold: float, colormap: str) -> None:
        self._grid: PatchGrid = probability_map.grid
        rgba = colorize(probability_map, 1.0, colormap)
        height, width = rgba.shape[:2]
        self._image = QImage(
            rgba.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888
        ).convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)
        upper, left = outline(probability_map, threshold)
        self._rows = _runs(upper)
        self._cols = _runs(left[:, ::-1])

    def paint(
        self,
        painter: QPainter,
        to_device: QTransform,
        visible_l0: QRectF,
        display: Display,
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
            Opacity, smoothness and outline.
        is_moving : bool
            Whether speed matters more than smoothness.
        """
        grid = self._grid
        cells = QTransform(grid.step_x_l0, 0, 0, grid.step_y_l0, grid.origin_x_l0, grid.origin_y_l0)
        back, _ = cells.inverted()
        seen = back.mapRect(visible_l0)
        painter.save()
        painter.setTransform(cells * to_device)
        self._paint_cells(painter, seen, display, display.smooth and not is_moving)
        if display.outlined:
            self._paint_outline(painter, seen)
        painter.restore()

    def _paint_cells(self, painter: QPainter, seen: QRectF, display: Display, smooth: bool) -> None:
        grid = self._grid
        first_col, first_row = max(0, int(seen.left())), max(0, int(seen.top()))
        last_col = min(grid.cols, int(seen.right()) + 1)
        last_row = min(grid.rows, int(seen.bottom()) + 1)
        if first_col >= last_col or first_row >= last_row:
            return
        painter.save()
        painter.setOpacity(display.opacity)
        extent = (grid.width_l0 / grid.step_x_l0, grid.height_l0 / grid.step_y_l0)
        painter.setClipRect(QRectF(0, 0, *extent))
        transform = painter.transform()
        cell_px = (transform.m11() ** 2 + transform.m12() ** 2) ** 0.5
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

    def _paint_outline(self, painter: QPainter, seen: QRectF) -> None:
        """Draw the border of the area at or above the threshold."""
        lines = [
            QLineF(start, at, end, at)
            for at, start, end in _within(self._rows, seen.top(), seen.bottom())
        ]
        lines += [
            QLineF(at, start, at, end)
            for at, start, end in _within(self._cols, seen.left(), seen.right())
        ]
        for colour, width in ((_HALO, 4), (_OUTLINE, 2)):
            pen = QPen(colour, width)
            pen.setCosmetic(True)
            painter.setPen(pen)
            painter.drawLines(lines)


def _runs(borders: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Join borders of cells (line, place) that follow each other to (line, first, beyond last)."""
    if not len(borders):
        return np.empty((0, 3), np.intp)
    ordered = borders[np.lexsort((borders[:, 1], borders[:, 0]))]
    breaks = np.any(np.diff(ordered, axis=0) != (0, 1), axis=1)
    starts = ordered[np.concatenate([[True], breaks])]
    ends = ordered[np.concatenate([breaks, [True]])]
    return np.column_stack([starts, ends[:, 1] + 1])


def _within(runs: npt.NDArray[np.intp], low: float, high: float) -> list[list[int]]:
    lines = runs[:, 0]
    found: list[list[int]] = runs[(lines >= low - 1) & (lines <= high + 1)].tolist()
    return found
