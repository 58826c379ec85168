"""What tools and the crosshair know of the view that they work on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PySide6.QtCore import QPointF, QRect, Qt
    from PySide6.QtGui import QKeyEvent, QMouseEvent

    from idc_desktop.ui.camera import Camera
    from idc_desktop.ui.document import SlideDocument
    from idc_desktop.ui.scene import SlideScene


class MouseTool(Protocol):
    """What the view gives the mouse and the keys to."""

    def press(self, event: QMouseEvent) -> None:
        """Take the press of a button."""

    def move(self, event: QMouseEvent) -> None:
        """Take a move, with or without a button held."""

    def release(self, event: QMouseEvent) -> None:
        """Take the release of a button."""

    def key(self, event: QKeyEvent) -> bool:
        """Take a key; return whether it meant anything to the tool."""


class Canvas(Protocol):
    """A widget that shows a slide; names and meanings as in `SlideView` and Qt."""

    scene: SlideScene
    camera: Camera

    @property
    def document(self) -> SlideDocument:
        """The scene as what tools change."""

    @property
    def pan_tool(self) -> MouseTool:
        """The tool that moves the slide."""

    @property
    def tool(self) -> MouseTool:
        """What the left mouse button does."""

    @property
    def is_pressed(self) -> bool:
        """Whether a tool has been given the mouse and it was not released yet."""

    def select_patch(self, point_l0: QPointF) -> None:
        """Select the patch that holds a level-0 point."""

    def let_go(self) -> None:
        """Forget what a tool had begun, and take the mouse from it."""

    def update(self) -> None:
        """Paint again."""

    def setCursor(self, cursor: Qt.CursorShape, /) -> None:
        """Show another mouse cursor."""

    def width(self) -> int:
        """Return the pixels across."""

    def height(self) -> int:
        """Return the pixels down."""

    def rect(self) -> QRect:
        """Return the inside."""

    def mapToGlobal(self, position: QPointF, /) -> QPointF:
        """Return where a position is on the screen."""

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take the press of a button."""

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Take a move."""

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Take the release of a button."""

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Take a double click."""
