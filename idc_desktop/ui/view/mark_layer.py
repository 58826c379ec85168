"""The measurements and marks on the view."""

from __future__ import annotations

import math
from collections.abc import Callable

from PySide6.QtCore import QLineF, QPointF, QRectF
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen, QTransform

from idc_desktop.regions.marks import Mark
from idc_desktop.regions.measures import length_text
from idc_desktop.regions.shape import Point
from idc_desktop.ui.view.guides import paint_label

_LINE, _CHOSEN = QColor(20, 20, 24), QColor(0, 120, 215)
_HALO = QColor(255, 255, 255, 220)
_TICK_PX, _ARC_PX, _HEAD_PX, _POINT_PX = 7.0, 22.0, 12.0, 5.0


def figure_text(mark: Mark, mpp: Point | None) -> str:
    """Return the length or the angle of a mark; empty for one that measures nothing."""
    scale = mpp or (1.0, 1.0)
    length, angle = mark.length(scale), mark.angle_deg(scale)
    if length is not None:
        return f"{length:,.0f} px" if mpp is None else length_text(length)
    return "" if angle is None else f"{angle:.1f}°"


def paint_measurement(
    painter: QPainter, to_device: QTransform, mark: Mark, mpp: Point | None, *, is_chosen: bool
) -> None:
    """Paint a mark with its name, and with what it measures."""
    points = [to_device.map(QPointF(*point)) for point in mark.points]
    path = QPainterPath()
    _PATHS[mark.kind](path, points)
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for colour, width in ((_HALO, 6), (_CHOSEN if is_chosen else _LINE, 3 if is_chosen else 2)):
        painter.strokePath(path, QPen(colour, width))
    figure = figure_text(mark, mpp)
    text = f"{mark.name}: {figure}" if figure and mark.name else figure or mark.name
    # An arrow's name is where it comes from; its tip is at what is meant.
    at = points[0] if mark.kind == "arrow" else points[1] if len(points) > 2 else points[-1]
    if text and QRectF(painter.window()).contains(at):
        paint_label(painter, at, text)
    painter.restore()


def _line(path: QPainterPath, points: list[QPointF]) -> None:
    path.moveTo(points[0])
    path.lineTo(points[1])
    across = QLineF(points[0], points[1]).normalVector()
    if across.length() > 0:
        across.setLength(_TICK_PX)
        step = QPointF(across.dx(), across.dy())
        for end in points:
            path.moveTo(end - step)
            path.lineTo(end + step)


def _angle(path: QPainterPath, points: list[QPointF]) -> None:
    one, corner, two = points
    path.moveTo(one)
    path.lineTo(corner)
    path.lineTo(two)
    start = QLineF(corner, one).angle()
    turned = (QLineF(corner, two).angle() - start + 180) % 360 - 180
    box = QRectF(corner.x() - _ARC_PX, corner.y() - _ARC_PX, 2 * _ARC_PX, 2 * _ARC_PX)
    path.arcMoveTo(box, start)
    path.arcTo(box, start, turned)


def _point(path: QPainterPath, points: list[QPointF]) -> None:
    path.addEllipse(points[0], _POINT_PX, _POINT_PX)


def _arrow(path: QPainterPath, points: list[QPointF]) -> None:
    tail, tip = points
    path.moveTo(tail)
    path.lineTo(tip)
    back = math.radians(QLineF(tip, tail).angle())
    for side in (-0.45, 0.45):
        path.moveTo(tip)
        step = QPointF(math.cos(back + side), -math.sin(back + side)) * _HEAD_PX
        path.lineTo(tip + step)


_PATHS: dict[str, Callable[[QPainterPath, list[QPointF]], None]] = {
    "line": _line,
    "angle": _angle,
    "point": _point,
    "arrow": _arrow,
    "text": _point,
}
