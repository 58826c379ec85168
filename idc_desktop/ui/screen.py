"""The screen that a window is on."""

from __future__ import annotations

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QStyle, QWidget


def resize_within_screen(window: QWidget, width: int, height: int) -> None:
    """Give a window a size, or what its screen has room for: its buttons must be reached."""
    style, metric = window.style(), QStyle.PixelMetric
    frame = style.pixelMetric(metric.PM_MdiSubWindowFrameWidth)
    title = style.pixelMetric(metric.PM_TitleBarHeight)
    taken = QSize(2 * frame, title + frame)  # about: a window that is not shown yet has no frame
    room = window.screen().availableGeometry().size() - taken
    window.resize(QSize(width, height).boundedTo(room))
