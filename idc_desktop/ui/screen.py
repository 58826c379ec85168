"""The screen that a window is on."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QByteArray, QSize
from PySide6.QtWidgets import QDockWidget, QMainWindow, QStyle, QWidget


def resize_within_screen(window: QWidget, width: int, height: int) -> None:
    """Give a window a size, or what its screen has room for: its buttons must be reached."""
    style, metric = window.style(), QStyle.PixelMetric
    frame = style.pixelMetric(metric.PM_MdiSubWindowFrameWidth)
    title = style.pixelMetric(metric.PM_TitleBarHeight)
    taken = QSize(2 * frame, title + frame)  # about: a window that is not shown yet has no frame
    room = window.screen().availableGeometry().size() - taken
    window.resize(QSize(width, height).boundedTo(room))


class FullScreen:
    """Gives the slide the whole screen: the docks go, and are back afterwards.

    Parameters
    ----------
    window : QMainWindow
    docks : iterable of QDockWidget
    """

    def __init__(self, window: QMainWindow, docks: Iterable[QDockWidget]) -> None:
        self._window = window
        self._docks = list(docks)
        self._layout: QByteArray | None = None
        self._was_maximized = False

    @property
    def is_on(self) -> bool:
        """Whether the window fills the screen."""
        return self._layout is not None

    def toggle(self) -> None:
        """Fill the screen, or be a window again."""
        if self.is_on:
            self.leave()
            return
        window = self._window
        self._layout, self._was_maximized = window.saveState(), window.isMaximized()
        for dock in self._docks:
            dock.hide()
        window.showFullScreen()

    def leave(self) -> None:
        """Be a window again, with the docks that it had."""
        layout, self._layout = self._layout, None
        if layout is not None:
            (self._window.showMaximized if self._was_maximized else self._window.showNormal)()
            self._window.restoreState(layout)
