"""Tools that draw regions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from PySide6.QtCore import QLineF, QPointF, Qt
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPainterPath, QPen, QTransform

from idc_desktop.errors import RegionsError
from idc_desktop.regions import editing
from idc_desktop.regions.foci import wand
from idc_desktop.regions.shape import Point, Shape
from idc_desktop.ui.view.guides import paint_label
from idc_desktop.ui.view.region_layer import path_of
from idc_desktop.ui.view.tools import DRAG_STARTS_PX, Tool

if TYPE_CHECKING:
    from idc_desktop.ui.view.canvas import Canvas

_Result = TypeVar("_Result")

_LINE = QColor(30, 90, 220)
_HALO = QColor(255, 255, 255, 200)
_BRUSH = QColor(30, 90, 220, 90)
_ERASER = QColor(255, 255, 255, 150)
_CLOSES_WITHIN_PX = 9
_LEAST_STEP_PX = 2.0
_RADII_PX = (3.0, 200.0)
_RADIUS_STEP = 1.25


class DrawingTool(Tool):
    """What all tools that draw have in common: points so far, where the mouse is, a preview."""

    label = "Draw region"

    def __init__(self, view: Canvas) -> None:
        super().__init__(view)
        self.points: list[Point] = []
        self.at: Point | None = None

    def abandon(self) -> None:
        """Forget what was begun."""
        self.points = []
        self.view.update()

    def key(self, event: QKeyEvent) -> bool:
        """Let Escape abandon what was begun."""
        if event.key() == Qt.Key.Key_Escape and self.points:
            self.abandon()
            return True
        return False

    def press(self, event: QMouseEvent) -> None:
        """Begin."""
        self.at = self.point(event)
        self.points = [self.at]

    def move(self, event: QMouseEvent) -> None:
        """Follow the mouse."""
        self.at = self.point(event)
        if self.points:
            self.view.update()

    def shape(self) -> Shape | None:
        """Return what would be drawn if the tool were let go now."""
        return None

    def paint(self, painter: QPainter, to_device: QTransform) -> None:
        """Show the shape so far with its size and what the map says of it."""
        if not self.points or self.at is None:
            return
        shape = self.shape()
        if shape is not None:
            _stroke(painter, to_device, path_of(shape))
            mouse = to_device.map(QPointF(*self.at))
            paint_label(painter, mouse, self.view.document.figures_text(shape))

    def finish(self, shape: Shape | None, repair: str = "") -> None:
        """Make a region of the shape."""
        self.abandon()
        if shape is not None:
            self.view.document.regions.add(self.label, [shape])
            if repair:
                self.view.document.noted.emit(f"The region {repair}.")

    @property
    def is_drag(self) -> bool:
        """Whether the mouse has left the place where it was pressed."""
        if not self.points or self.at is None:
            return False
        way = max(abs(self.at[axis] - self.points[0][axis]) for axis in (0, 1))
        return way * self.view.camera.scale > DRAG_STARTS_PX


class BoxTool(DrawingTool):
    """Draws a rectangle or an ellipse between two corners; with Shift, a square or a circle."""

    hint = "Drag from corner to corner; Shift: square or circle."

    def __init__(self, view: Canvas, label: str, draw: Callable[[Point, Point], Shape]) -> None:
        super().__init__(view)
        self.label = label
        self._draw = draw
        self._is_square = False

    def move(self, event: QMouseEvent) -> None:
        """Take the other corner along."""
        self._is_square = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        super().move(event)

    def release(self, event: QMouseEvent) -> None:
        """Set the other corner."""
        self.move(event)
        self.finish(self.shape())

    def shape(self) -> Shape | None:
        """Return the rectangle or ellipse between the corners."""
        if not self.is_drag or self.at is None:
            return None
        (x, y), (to_x, to_y) = self.points[0], self.at
        if self._is_square:
            side = max(abs(to_x - x), abs(to_y - y))
            to_x, to_y = x + (side if to_x > x else -side), y + (side if to_y > y else -side)
        return _or_none(lambda: self._draw((x, y), (to_x, to_y)))


class PolygonTool(DrawingTool):
    """Each click sets a corner; a double click, Enter or the first corner again closes it."""

    label = "Draw polygon"
    hint = "Click corners; a double click closes."

    def press(self, event: QMouseEvent) -> None:
        """Set a corner, or close the polygon at the first one."""
        self.at = self.point(event)
        if len(self.points) > 2 and self._is_near_first(event.position()):
            self._close()
        elif not self.points or self.points[-1] != self.at:
            self.points.append(self.at)
            self.view.update()

    def double_click(self, event: QMouseEvent) -> bool:
        """Close the polygon."""
        self._close()
        return True

    def key(self, event: QKeyEvent) -> bool:
        """Close by Enter, take back the last corner by Backspace."""
        if self.points and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._close()
        elif self.points and event.key() == Qt.Key.Key_Backspace:
            self.points.pop()
            self.view.update()
        else:
            return super().key(event)
        return True

    def shape(self) -> Shape | None:
        """Return the polygon through the corners and the mouse."""
        if self.at is None:
            return None
        points = [*self.points, self.at]
        return _or_none(lambda: editing.draw_polygon(points).shape) if len(points) > 2 else None

    def paint(self, painter: QPainter, to_device: QTransform) -> None:
        """Show the corners, too."""
        super().paint(painter, to_device)
        if len(self.points) == 1 and self.at is not None:
            _stroke(painter, to_device, _line_through([*self.points, self.at]))
        painter.setPen(QPen(_LINE, 2))
        painter.setBrush(QColor(255, 255, 255))
        for point in self.points:
            painter.drawEllipse(to_device.map(QPointF(*point)), 3, 3)
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def _is_near_first(self, position: QPointF) -> bool:
        first = self.view.camera.to_device().map(QPointF(*self.points[0]))
        return QLineF(first, position).length() < _CLOSES_WITHIN_PX

    def _close(self) -> None:
        points = self.points
        drawn = _or_none(lambda: editing.draw_polygon(points)) if len(points) > 2 else None
        if drawn is not None:
            self.finish(drawn.shape, drawn.repair)


class FreehandTool(DrawingTool):
    """Draws along the way of the mouse and closes where it is let go."""

    label = "Draw freehand"
    hint = "Drag along the outline."

    def move(self, event: QMouseEvent) -> None:
        """Go on."""
        self.at = self.point(event)
        if self.points:
            _append(self.points, self.at, self.view.camera.scale)
            self.view.update()

    def release(self, event: QMouseEvent) -> None:
        """Close."""
        drawn = None
        if len(self.points) > 2:
            tolerance = 1 / self.view.camera.scale
            points = self.points
            drawn = _or_none(lambda: editing.draw_polygon(points, tolerance))
        self.finish(*(drawn or (None, "")))

    def paint(self, painter: QPainter, to_device: QTransform) -> None:
        """Show the way so far."""
        if self.points:
            _stroke(painter, to_device, _line_through(self.points))


class BrushTool(DrawingTool):
    """Paints: onto the chosen region if the stroke begins in it, else a new region.

    Attributes
    ----------
    radius_px : float
        Radius on the screen, device-independent pixels; keys ``,`` and ``.`` change it.
    """

    label = "Paint region"
    hint = "Drag to paint; , and . change the size."
    _colour = _BRUSH

    def __init__(self, view: Canvas) -> None:
        super().__init__(view)
        self.radius_px = 24.0

    @property
    def radius_l0(self) -> float:
        """Radius on the slide, level-0 pixels."""
        return self.radius_px / self.view.camera.scale

    def press(self, event: QMouseEvent) -> None:
        """Begin a stroke."""
        super().press(event)
        self.view.update()

    def move(self, event: QMouseEvent) -> None:
        """Go on, or show where the brush is."""
        self.at = self.point(event)
        if self.points:
            _append(self.points, self.at, self.view.camera.scale)
        self.view.update()

    def release(self, event: QMouseEvent) -> None:
        """End the stroke."""
        points, radius = self.points, self.radius_l0
        self.abandon()
        if points:
            self._apply(points, radius)

    def key(self, event: QKeyEvent) -> bool:
        """Change the size of the brush."""
        factors = {Qt.Key.Key_Comma: 1 / _RADIUS_STEP, Qt.Key.Key_Period: _RADIUS_STEP}
        factor = factors.get(Qt.Key(event.key()))
        if factor is None:
            return super().key(event)
        low, high = _RADII_PX
        self.radius_px = min(max(self.radius_px * factor, low), high)
        self.view.update()
        return True

    def paint(self, painter: QPainter, to_device: QTransform) -> None:
        """Show the stroke and the brush."""
        if self.points:
            way = to_device.map(_line_through(self.points))
            pen = QPen(self._colour, 2 * self.radius_px)
            pen.setCapStyle(Qt.PenCapStyle.RoundCap)
            pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
            painter.strokePath(way, pen)
        if self.at is not None:
            middle = to_device.map(QPointF(*self.at))
            for colour, width in ((_HALO, 3), (QColor(30, 30, 34), 1)):
                painter.setPen(QPen(colour, width))
                painter.drawEllipse(middle, self.radius_px, self.radius_px)

    def _apply(self, points: list[Point], radius: float) -> None:
        regions = self.view.document.regions
        onto = [
            region
            for region in regions.chosen
            if not region.is_locked and region.shape.contains(points[0])
        ]
        shape = editing.brush(onto[0].shape if onto else None, points, radius)
        if onto:
            regions.reshape(self.label, {onto[0]: shape})
        else:
            regions.add(self.label, [shape])


class EraserTool(BrushTool):
    """Erases from the chosen regions; if it reaches none of them, from the one it began in."""

    label = "Erase"
    hint = "Drag to erase; , and . change the size."
    _colour = _ERASER

    def _apply(self, points: list[Point], radius: float) -> None:
        regions = self.view.document.regions
        under = regions.at(points[0])
        for reached in (regions.chosen, () if under is None else (under,)):
            left = {it: editing.erase(it.shape, points, radius) for it in reached}
            erased = {it: shape for it, shape in left.items() if shape is not it.shape}
            if erased:
                regions.reshape(self.label, erased)
                return
        self.view.document.noted.emit("No region is erased: begin in one, or choose it first.")


class WandTool(Tool):
    """A click makes a region of the connected patches at or above the threshold.

    With Shift it joins the chosen region.
    """

    hint = "Click into the map; Shift: join the chosen region."

    def press(self, event: QMouseEvent) -> None:
        """Grow from the patch under the mouse."""
        document, point = self.view.document, self.point(event)
        cell = None if document.grid is None else document.grid.cell_at(*point)
        shape = None
        if document.measured is not None and cell is not None:
            shape = wand(document.measured, cell, document.threshold)
        if shape is None:
            document.noted.emit("There is no patch at or above the threshold here.")
            return
        chosen = document.regions.chosen
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier and len(chosen) == 1:
            united = editing.unite([chosen[0].shape, shape])
            document.regions.reshape("Wand", {chosen[0]: united})
        else:
            document.regions.add("Wand", [shape], document.regions.new_class or "IDC")


class SplitTool(DrawingTool):
    """A line across the chosen regions cuts them."""

    label = "Split region"
    hint = "Drag across the chosen regions."

    def release(self, event: QMouseEvent) -> None:
        """Cut."""
        self.move(event)
        line, is_drag = [*self.points, self.point(event)], self.is_drag
        self.abandon()
        regions = self.view.document.regions
        if not is_drag:
            self.choose_at(event)
            return
        parts = {region: editing.split(region.shape, line) for region in regions.chosen}
        cut = {it: found for it, found in parts.items() if len(found) > 1}
        if cut:
            regions.split(self.label, cut)
        else:
            self.view.document.noted.emit(
                "Choose the region first: click into it. Then cut across."
            )

    def paint(self, painter: QPainter, to_device: QTransform) -> None:
        """Show the line."""
        if self.points and self.at is not None:
            _stroke(painter, to_device, _line_through([*self.points, self.at]))


def _append(points: list[Point], point: Point, scale: float) -> None:
    """Add a point unless it is too near to the last one to be seen."""
    last = points[-1]
    if max(abs(point[0] - last[0]), abs(point[1] - last[1])) * scale >= _LEAST_STEP_PX:
        points.append(point)


def _or_none(draw: Callable[[], _Result]) -> _Result | None:
    try:
        return draw()
    except RegionsError:  # it has no area yet
        return None


def _line_through(points: list[Point]) -> QPainterPath:
    path = QPainterPath(QPointF(*points[0]))
    for point in points[1:] or points:
        path.lineTo(QPointF(*point))
    return path


def _stroke(painter: QPainter, to_device: QTransform, path: QPainterPath) -> None:
    mapped = to_device.map(path)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    for colour, width in ((_HALO, 5), (_LINE, 2)):
        painter.strokePath(mapped, QPen(colour, width))
