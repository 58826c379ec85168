"""A window on the tiny slide, without a display."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from idc_desktop.ui.main_window import MainWindow
from tests.support.models import TinyModel
from tests.support.scenes import Scene
from tests.ui.support import analyze, window_with

OpenWindow = Callable[[Path], MainWindow]


@pytest.fixture
def window(
    qtbot: QtBot, tmp_path: Path, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MainWindow]:
    """An empty window of 900 x 600 with the tiny model and a data folder of its own."""
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "data"))
    with window_with(tiny_model.path) as shown:
        shown.resize(900, 600)
        shown.show()
        yield shown


@pytest.fixture
def open_window(qtbot: QtBot, window: MainWindow) -> OpenWindow:
    """Open a slide in the window and wait until it is sharp."""

    def show(slide: Path) -> MainWindow:
        window.open(slide)
        qtbot.waitUntil(lambda: window.view.is_sharp, timeout=20_000)
        return window

    return show


@pytest.fixture
def analyzed(open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene) -> MainWindow:
    """The window on the tiny slide with its map."""
    window = open_window(tiny_slide.path)
    window.resize(1200, 900)
    window.view.camera.fit()
    analyze(window, qtbot)
    return window
