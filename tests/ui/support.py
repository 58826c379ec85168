"""What the tests of the window share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import shiboken6
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QImage, QMouseEvent
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QWidget
from pytestqt.qtbot import QtBot

from idc_desktop.storage.project_files import own_list, read_project
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.run import RunState
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.slide_model import WORDS_ROLE

WAIT_MS = 20_000

W = TypeVar("W", bound=QWidget)


@contextmanager
def window_with(model: Path) -> Iterator[MainWindow]:
    """Make a window with a model; it is closed and gone afterwards.

    Its parts know each other, so that nothing else would ever delete it: the windows of all tests
    would stay, and each would make whatever concerns all widgets slower.
    """
    window = MainWindow(Settings(), SlideDocument(str(model)))
    try:
        yield window
        window.close()
    finally:
        shiboken6.delete(window)


def pixels_of(widget: QWidget) -> npt.NDArray[np.uint8]:
    """Return what a widget shows, shape (height, width, 3)."""
    return as_pixels(widget.grab().toImage())


def as_pixels(picture: QImage) -> npt.NDArray[np.uint8]:
    """Return the pixels of a picture, shape (height, width, 3)."""
    image = picture.convertToFormat(QImage.Format.Format_RGB888)
    stride = image.bytesPerLine()
    data = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), stride)
    return data[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def analyze(window: MainWindow, qtbot: QtBot) -> None:
    """Analyze the open slide and wait for the end."""
    qtbot.waitUntil(lambda: window.document.state is RunState.READY, timeout=WAIT_MS)
    window.document.analyze()
    qtbot.waitUntil(lambda: window.document.state is RunState.DONE, timeout=WAIT_MS)


def mouse(
    widget: QWidget,
    kind: QEvent.Type,
    at: QPointF,
    button: Qt.MouseButton = Qt.MouseButton.LeftButton,
    keys: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
) -> None:
    """Send a mouse event as a real mouse does: a move says which button is held."""
    none = Qt.MouseButton.NoButton
    held = none if kind == QEvent.Type.MouseButtonRelease else button
    which = none if kind == QEvent.Type.MouseMove else button
    QApplication.sendEvent(widget, QMouseEvent(kind, at, at, which, held, keys))


def drag(
    widget: QWidget,
    way: list[QPointF],
    button: Qt.MouseButton = Qt.MouseButton.LeftButton,
    keys: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
) -> None:
    """Press at the first point, move through the others, release at the last."""
    mouse(widget, QEvent.Type.MouseButtonPress, way[0], button, keys)
    for at in way[1:]:
        mouse(widget, QEvent.Type.MouseMove, at, button, keys)
    mouse(widget, QEvent.Type.MouseButtonRelease, way[-1], button, keys)


def words_of(window: MainWindow) -> dict[str, str]:
    """Return what the list says of each slide, by its name, from the top."""
    rows = window.slide_panel.rows
    cells = (rows.index(row, 0) for row in range(rows.rowCount()))
    return {str(it.data()): str(it.data(WORDS_ROLE)) for it in cells}


def tips_of(window: MainWindow) -> list[str]:
    """Return the tips of the list, from the top."""
    rows = window.slide_panel.rows
    return [
        str(rows.index(row, 0).data(Qt.ItemDataRole.ToolTipRole)) for row in range(rows.rowCount())
    ]


def take(window: MainWindow, words: str) -> None:
    """Take up a tool, or do what else a verb does."""
    window.verbs.action(words).trigger()


def on_screen(window: MainWindow, *points: tuple[float, float]) -> list[QPointF]:
    """Return level-0 points as points of the view."""
    return [window.view.camera.to_device().map(QPointF(*point)) for point in points]


def kept_slides() -> list[str]:
    """Return the list that is in no project, as it is on the disk by now."""
    return [str(it) for it in read_project(own_list())]


def part(widget: QWidget, kind: type[W], words: str) -> W:
    """Return the one control that its user knows by these words.

    They stand on it, on its label, or are what a screen reader says.
    """

    def is_known(control: W) -> bool:
        labels = [it for it in widget.findChildren(QLabel) if it.buddy() is control]
        texts = [it.text() for it in labels] + [control.accessibleName()]
        if isinstance(control, QAbstractButton):
            texts.append(control.text())
        return words in [it.replace("&", "") for it in texts]

    (found,) = [it for it in widget.findChildren(kind) if is_known(it)]
    return found


def says(widget: QWidget) -> str:
    """Return what the labels of a part of the window say, a line each."""
    return "\n".join(it.text() for it in widget.findChildren(QLabel) if not it.isHidden())
