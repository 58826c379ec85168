"""What the mouse does on the view: one tool at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QMouseEvent, QPainter, QTransform

if TYPE_CHECKING:
    from idc_desktop.ui.view.slide_view import SlideView

_DRAG_STARTS_PX = 3


class Tool:
    """Gets the mouse events of a view and may paint on it.

    Attributes
    ----------
    cursor : Qt.CursorShape
        The mouse cursor over the view.
    """

    cursor = Qt.CursorShape.CrossCursor

    def __init__(self, view: SlideView) -> None:
        self.view = view

    def press(self, event: QMouseEvent) -> None:
        """Take the press of a button."""

    def move(self, event: QMouseEvent) -> None:
        """Take a move, with or without a button held."""

    def release(self, event: QMouseEvent) -> None:
        """Take the release of a button."""

    def paint(self, painter: QPainter, to_device: QTransform) -> None:
        """Paint over the slide; `to_device` maps level-0 pixels to the painter's."""


class PanTool(Tool):
    """Drag to move the slide; click to select a patch of the map."""

    cursor = Qt.CursorShape.ArrowCursor

    def __init__(self, view: SlideView) -> None:
        super().__init__(view)
        self._grabbed_at: QPointF | None = None
        self._is_drag = False

    def press(self, event: QMouseEvent) -> None:
        """Take hold of the slide."""
        self._grabbed_at, self._is_drag = event.position(), False

    def move(self, event: QMouseEvent) -> None:
        """Move the slide with the mouse."""
        if self._grabbed_at is None:
            return
        moved = event.position() - self._grabbed_at
        if self._is_drag or moved.manhattanLength() > _DRAG_STARTS_PX:
            self._is_drag = True
            view = self.view
            step = view.to_l0(self._grabbed_at) - view.to_l0(event.position())
            self._grabbed_at = event.position()
            view.setCursor(Qt.CursorShape.ClosedHandCursor)
            view.centre_on(view.centre + step)

    def release(self, event: QMouseEvent) -> None:
        """Let go; without a drag it was a click."""
        if self._grabbed_at is not None and not self._is_drag:
            self.view.select_patch(self.view.to_l0(event.position()))
        self._grabbed_at = None
