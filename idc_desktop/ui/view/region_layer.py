"""The regions on the view."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen, QPolygonF, QTransform

from idc_desktop.regions.shape import Region, Shape
from idc_desktop.ui.region_model import RegionModel
from idc_desktop.ui.view.guides import screen_line

_HALO = QColor(255, 255, 255, 200)
_INK = QColor(20, 20, 24)
_FILL_ALPHA = 45
_MARK = QColor(255, 214, 64)
_MARK_RIM = QColor(30, 30, 34, 200)
_HANDLE_PX = 7.0
_HANDLES_APART_PX = 24.0
_MOST_SMOOTHED = 150  # more regions are painted without what makes a few look good


class RegionLayer:
    """Paints regions; their paths are kept as long as their shapes."""

    def __init__(self, model: RegionModel) -> None:
        self._model = model
        self._paths: dict[Shape, QPainterPath] = {}

    def paint(
        self, painter: QPainter, to_device: QTransform, visible_l0: QRectF, *, handles: bool
    ) -> None:
        """Paint what is visible, the chosen ones with a halo, a fill and perhaps handles."""
        regions = [region for region in self._model.all if not region.is_hidden]
        chosen = {region.id for region in self._model.chosen}
        self._paths = {it.shape: self._path(it.shape) for it in regions}
        painter.save()
        painter.setTransform(to_device)
        few = len(regions) <= _MOST_SMOOTHED
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, few)
        for region in regions:
            left, top, right, bottom = region.shape.bounds
            if visible_l0.intersects(QRectF(left, top, right - left, bottom - top)):
                self._paint(painter, region, is_chosen=region.id in chosen, few=few)
        painter.restore()
        if few:
            judged = [it for it in regions if it.verdict]
            conflicts = self._model.accepted.conflicts if judged else {}
            for region in judged:
                _paint_verdict(painter, to_device, region, is_disputed=region.id in conflicts)
        if handles:
            for region in self._model.chosen:
                if not (region.is_hidden or region.is_locked):
                    _paint_handles(painter, to_device, region.shape)

    def _path(self, shape: Shape) -> QPainterPath:
        return self._paths.get(shape) or path_of(shape)

    def _paint(self, painter: QPainter, region: Region, *, is_chosen: bool, few: bool) -> None:
        path, colour = self._paths[region.shape], QColor(*region.rgb)
        if is_chosen:
            fill = QColor(colour)
            fill.setAlpha(_FILL_ALPHA)
            painter.fillPath(path, fill)
            if few:
                painter.strokePath(path, screen_line(painter, _HALO, 6))
        # A line of one pixel is painted several times as fast as any other.
        line = screen_line(painter, colour, 3 if is_chosen else 2 if few else 1)
        if region.is_locked:
            line.setStyle(Qt.PenStyle.DashLine)
        painter.strokePath(path, line)


def paint_mark(painter: QPainter, to_device: QTransform, shape: Shape) -> None:
    """Point a shape out by a broad light line around it."""
    painter.save()
    painter.setTransform(to_device)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    path = path_of(shape)
    for colour, width in ((_MARK_RIM, 9), (_MARK, 5)):
        painter.strokePath(path, screen_line(painter, colour, width))
    painter.restore()


def path_of(shape: Shape) -> QPainterPath:
    """Return the outlines and holes of a shape as one path, level-0 pixels."""
    path = QPainterPath()
    for ring in shape.rings:
        path.addPolygon(QPolygonF([QPointF(x, y) for x, y in ring.tolist()]))
        path.closeSubpath()
    return path


def _paint_verdict(
    painter: QPainter, to_device: QTransform, region: Region, *, is_disputed: bool
) -> None:
    """Write a verdict at its region: not all tell colours apart.

    One in conflict stands whatever the size of its region on the screen.
    """
    text = f"{region.verdict}, within IDC" if is_disputed else region.verdict
    left, top, right, bottom = region.shape.bounds
    seen = to_device.mapRect(QRectF(left, top, right - left, bottom - top))
    metrics = painter.fontMetrics()
    at = _uppermost(to_device, region.shape)
    box = QRectF(at.x(), at.y() - metrics.height() - 3, 0, metrics.height() + 2)
    box.setWidth(metrics.horizontalAdvance(text) + 8)
    if (is_disputed or box.width() < seen.width()) and QRectF(painter.window()).intersects(box):
        painter.fillRect(box, _HALO)
        painter.setPen(QPen(QColor(*region.rgb), 2))
        painter.drawRect(box)
        painter.setPen(_INK)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)


def _uppermost(to_device: QTransform, shape: Shape) -> QPointF:
    """Return the uppermost point of a shape on the screen, of several the leftmost.

    What is written there is at the shape's own outline: a corner of its bounds may be a neighbour.
    """
    points = np.concatenate([polygon[0] for polygon in shape.polygons])
    x = to_device.m11() * points[:, 0] + to_device.m21() * points[:, 1] + to_device.dx()
    y = to_device.m12() * points[:, 0] + to_device.m22() * points[:, 1] + to_device.dy()
    first = np.lexsort((x.round(3), y.round(3)))[0]
    return QPointF(float(x[first]), float(y[first]))


def _paint_handles(painter: QPainter, to_device: QTransform, shape: Shape) -> None:
    painter.setPen(QPen(QColor(30, 30, 34), 1))
    painter.setBrush(QColor(255, 255, 255))
    last = QPointF(-1e9, 0)
    for x, y in (point for ring in shape.rings for point in ring.tolist()):
        at = to_device.map(QPointF(x, y))
        if (at - last).manhattanLength() < _HANDLES_APART_PX:
            continue  # the next ones show when the view is enlarged
        last = at
        painter.drawRect(
            QRectF(at.x() - _HANDLE_PX / 2, at.y() - _HANDLE_PX / 2, _HANDLE_PX, _HANDLE_PX)
        )
    painter.setBrush(Qt.BrushStyle.NoBrush)
