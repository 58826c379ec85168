"""What the tests of the window share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from idc_desktop.ui.main_window import MainWindow

WAIT_MS = 20_000


def pixels_of(widget: QWidget) -> npt.NDArray[np.uint8]:
    """Return what a widget shows, shape (height, width, 3)."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    stride = image.bytesPerLine()
    data = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), stride)
    return data[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def analyze(window: MainWindow, qtbot: QtBot) -> None:
    """Analyze the open slide and wait for the end."""
    qtbot.waitUntil(lambda: window.document.state == "ready", timeout=WAIT_MS)
    window.document.analyze()
    qtbot.waitUntil(lambda: window.document.state == "done", timeout=WAIT_MS)
