"""What the mouse does on the view: one tool at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QTransform

from idc_desktop.regions.shape import Point, Region

if TYPE_CHECKING:
    from idc_desktop.ui.view.canvas import Canvas

DRAG_STARTS_PX = 3


class Tool:
    """Gets the mouse and the keys of a view and may paint on it.

    Attributes
    ----------
    cursor : Qt.CursorShape
        The mouse cursor over the view.
    shows_handles : bool
        Whether the corners of the chosen regions are shown.
    hint : str
        How it is used, in a sentence.
    """

    cursor = Qt.CursorShape.CrossCursor
    shows_handles = False
    hint = ""

    def __init__(self, view: Canvas) -> None:
        self.view = view

    def press(self, event: QMouseEvent) -> None:
        """Take the press of a button."""

    def move(self, event: QMouseEvent) -> None:
        """Take a move, with or without a button held."""

    def release(self, event: QMouseEvent) -> None:
        """Take the release of a button."""

    def double_click(self, event: QMouseEvent) -> bool:
        """Take a double click; return whether it means more than a second press.

        Its first press and release came before.
        """
        return False

    def key(self, event: QKeyEvent) -> bool:
        """Take a key; return whether it meant anything to the tool."""
        return False

    def abandon(self) -> None:
        """Forget what was begun."""

    def paint(self, painter: QPainter, to_device: QTransform) -> None:
        """Paint over the slide; `to_device` maps level-0 pixels to the painter's."""

    def point(self, event: QMouseEvent) -> Point:
        """Return where the mouse is, level-0 pixels."""
        at = self.view.camera.to_l0(event.position())
        return at.x(), at.y()

    def choose_at(self, event: QMouseEvent) -> Region | None:
        """Choose the region under the mouse; with Shift, add it to the chosen or take it out."""
        regions = self.view.scene.regions
        region = regions.at(self.point(event))
        chosen = [it.id for it in regions.chosen]
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            if region is not None:
                rest = [it for it in chosen if it != region.id]
                regions.choose(rest if region.id in chosen else [*chosen, region.id])
        elif region is None:
            regions.choose([])
        elif region.id not in chosen:
            regions.choose([region.id])
        return region


class PanTool(Tool):
    """Drag to move the slide; click to select a patch of the map and the region there."""

    cursor = Qt.CursorShape.ArrowCursor

    def __init__(self, view: Canvas) -> None:
        super().__init__(view)
        self._grabbed_at: QPointF | None = None
        self._is_drag = False

    def abandon(self) -> None:
        """Let go."""
        self._grabbed_at = None

    def press(self, event: QMouseEvent) -> None:
        """Take hold of the slide."""
        self._grabbed_at, self._is_drag = event.position(), False

    def move(self, event: QMouseEvent) -> None:
        """Move the slide with the mouse."""
        if self._grabbed_at is None:
            return
        moved = event.position() - self._grabbed_at
        if self._is_drag or moved.manhattanLength() > DRAG_STARTS_PX:
            self._is_drag = True
            view = self.view
            step = view.camera.to_l0(self._grabbed_at) - view.camera.to_l0(event.position())
            self._grabbed_at = event.position()
            view.setCursor(Qt.CursorShape.ClosedHandCursor)
            view.camera.centre_on(view.camera.centre + step)

    def release(self, event: QMouseEvent) -> None:
        """Let go; without a drag it was a click."""
        is_click = self._grabbed_at is not None and not self._is_drag
        self._grabbed_at = None
        if is_click and event.button() == Qt.MouseButton.LeftButton:
            self.view.select_patch(self.view.camera.to_l0(event.position()))
            self.choose_at(event)
