"""The mouse of those who draw by keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPen

if TYPE_CHECKING:
    from idc_desktop.ui.view.canvas import Canvas

KEYS_HINT = "Keys: arrows aim, Space drags, Enter clicks."

_STEP_PX = 8.0
_FINE_STEP_PX = 1.0
_MARGIN_PX = 24.0  # nearer to the edge of the view, the slide moves and not the crosshair
_ARM_PX, _GAP_PX = 14.0, 4.0
_DIRECTIONS = {
    Qt.Key.Key_Left: QPointF(-1, 0),
    Qt.Key.Key_Right: QPointF(1, 0),
    Qt.Key.Key_Up: QPointF(0, -1),
    Qt.Key.Key_Down: QPointF(0, 1),
}
_STROKES = ((QColor(255, 255, 255, 220), 4), (QColor(30, 30, 34), 2))


class Crosshair:
    """Turns keys into the mouse events of a view, so that every tool can be used by keyboard.

    Arrows move it, with Ctrl finely; the space bar presses the button and lets it go; Enter clicks,
    and double-clicks where it just did. The other modifiers mean what they mean with the mouse.
    It appears with the first arrow, and makes way for the mouse.

    Attributes
    ----------
    at : QPointF or None
        Where it is on the view; None while it is away.
    """

    def __init__(self, view: Canvas) -> None:
        self._view = view
        self.at: QPointF | None = None
        self._clicked_at: QPointF | None = None

    @property
    def holds(self) -> bool:
        """Whether it holds the mouse button down."""
        return self.at is not None and self._view.is_pressed

    def gives_way(self) -> bool:
        """Go, for the mouse is used; return False while the button is held by key."""
        if self.holds:
            return False
        self.hide()
        return True

    def hide(self) -> None:
        """Go."""
        if self.at is not None:
            self.at = None
            self._view.update()

    def act(self, event: QKeyEvent) -> bool:
        """Press, let go or click where it is; return whether the key was one for that."""
        if self.at is None:
            return False
        key = event.key()
        if key == Qt.Key.Key_Escape:
            self._escape(event)
        elif key not in (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            return False
        elif not event.isAutoRepeat():
            keys = event.modifiers()
            if self.holds:
                self._release(keys)
            elif key == Qt.Key.Key_Space:
                self._press(keys)
            else:
                self._click(keys)
        return True

    def step(self, event: QKeyEvent) -> bool:
        """Move by an arrow key, or appear; return whether the key was one."""
        direction = _DIRECTIONS.get(Qt.Key(event.key()))
        if direction is None or (self.at is None and self._view.is_pressed):
            return False  # what the mouse holds, the mouse moves
        view, keys = self._view, event.modifiers()
        is_fine = bool(keys & Qt.KeyboardModifier.ControlModifier)
        step = direction * (_FINE_STEP_PX if is_fine else _STEP_PX)
        if self.at is None:
            self.at = QPointF(view.width() // 2, view.height() // 2)
        inner = view.rect().toRectF().adjusted(_MARGIN_PX, _MARGIN_PX, -_MARGIN_PX, -_MARGIN_PX)
        aimed = self.at + step
        inside = QPointF(
            min(max(aimed.x(), inner.left()), inner.right()),
            min(max(aimed.y(), inner.top()), inner.bottom()),
        )
        if aimed != inside:
            view.camera.centre_on(
                view.camera.centre + view.camera.to_l0(aimed) - view.camera.to_l0(inside)
            )
        self.at, self._clicked_at = inside, None
        view.mouseMoveEvent(self._event(QEvent.Type.MouseMove, keys, is_down=view.is_pressed))
        view.update()
        return True

    def paint(self, painter: QPainter) -> None:
        """Show it; with a ring while the button is held."""
        if self.at is None:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for colour, width in _STROKES:
            painter.setPen(QPen(colour, width))
            for direction in _DIRECTIONS.values():
                painter.drawLine(self.at + direction * _GAP_PX, self.at + direction * _ARM_PX)
            if self.holds:
                painter.drawEllipse(self.at, _GAP_PX, _GAP_PX)

    def _press(self, keys: Qt.KeyboardModifier) -> None:
        self._clicked_at = None
        self._view.mousePressEvent(self._event(QEvent.Type.MouseButtonPress, keys, is_down=True))
        self._view.update()

    def _release(self, keys: Qt.KeyboardModifier) -> None:
        event = self._event(QEvent.Type.MouseButtonRelease, keys, is_down=False)
        self._view.mouseReleaseEvent(event)
        self._view.update()

    def _click(self, keys: Qt.KeyboardModifier) -> None:
        if self._clicked_at == self.at:
            self._clicked_at = None
            event = self._event(QEvent.Type.MouseButtonDblClick, keys, is_down=True)
            self._view.mouseDoubleClickEvent(event)
        else:
            self._press(keys)
            self._clicked_at = self.at
        self._release(keys)

    def _escape(self, event: QKeyEvent) -> None:
        """Abandon what was begun; if nothing was, go."""
        if self.holds:
            self._view.let_go()
        elif not self._view.tool.key(event):
            self.hide()

    def _event(self, kind: QEvent.Type, keys: Qt.KeyboardModifier, *, is_down: bool) -> QMouseEvent:
        assert self.at is not None
        left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
        which = none if kind == QEvent.Type.MouseMove else left
        on_screen = QPointF(self._view.mapToGlobal(self.at))
        return QMouseEvent(kind, self.at, on_screen, which, left if is_down else none, keys)
