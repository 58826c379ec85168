"""Tools that measure and mark: what they leave stays, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtGui import QMouseEvent, QPainter, QTransform
from PySide6.QtWidgets import QInputDialog, QWidget

from idc_desktop.regions.marks import POINTS, Mark, MarkKind
from idc_desktop.regions.shape import Point
from idc_desktop.ui.view.drawing_tools import DrawingTool
from idc_desktop.ui.view.mark_layer import paint_measurement

if TYPE_CHECKING:
    from idc_desktop.ui.view.canvas import Canvas

HINTS: dict[MarkKind, str] = {
    "line": "Drag from end to end.",
    "angle": "Click an end, the corner, the other end.",
    "point": "Click.",
    "arrow": "Drag from its tail to what it points at.",
    "text": "Click, then write.",
}


class MarkTool(DrawingTool):
    """Sets a mark: two points by a drag, all others by clicks."""

    def __init__(self, view: Canvas, kind: MarkKind) -> None:
        super().__init__(view)
        self.kind: MarkKind = kind
        self.hint = HINTS[kind]
        self._is_dragged = POINTS[kind] == 2

    def press(self, event: QMouseEvent) -> None:
        """Set a point."""
        self.at = self.point(event)
        if not self._is_dragged and self.points and self.points[-1] == self.at:
            return  # a leg of no length
        self.points.append(self.at)
        if len(self.points) == POINTS[self.kind]:
            self._set([*self.points])
        self.view.update()

    def release(self, event: QMouseEvent) -> None:
        """Set the end of a drag."""
        if not self._is_dragged:
            return
        self.move(event)
        points, is_drag = [*self.points, self.point(event)], self.is_drag
        self.abandon()
        if is_drag:
            self._set(points)

    def paint(self, painter: QPainter, to_device: QTransform) -> None:
        """Show it as it would be."""
        if not self.points or self.at is None:
            return
        missing = POINTS[self.kind] - len(self.points)
        kind: MarkKind = self.kind if missing == 1 else "line"  # the first leg of an angle
        points = (*self.points, self.at)
        if len(points) == POINTS[kind]:
            mark = Mark(kind, points, "")
            mpp = self.view.document.mpp_xy
            paint_measurement(painter, to_device, mark, mpp, is_chosen=True)

    def _set(self, points: list[Point]) -> None:
        self.abandon()
        if self.kind != "text":
            self.view.document.regions.add_mark(self.kind, tuple(points))
            return
        document, view = self.view.document, self.view
        dialog = QInputDialog(view if isinstance(view, QWidget) else None)
        dialog.setWindowTitle("Text")
        dialog.setLabelText("Text at this place:")
        dialog.finished.connect(dialog.deleteLater)
        dialog.textValueSelected.connect(
            lambda text: document.regions.add_mark("text", tuple(points), text.strip())
        )
        document.slide_changed.connect(dialog.reject)
        dialog.open()
