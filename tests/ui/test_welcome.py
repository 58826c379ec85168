"""The window before any slide is open."""

from __future__ import annotations

import functools
import time
from pathlib import Path

import pytest
from PySide6.QtCore import QPointF, QThreadPool
from PySide6.QtWidgets import QFileDialog, QMessageBox, QProgressBar
from pytestqt.qtbot import QtBot

from idc_desktop.phantom import making
from idc_desktop.ui.main_window import MainWindow
from tests.support.scenes import Scene
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, and a phantom of two square millimetres."""
    monkeypatch.setenv("IDC_DESKTOP_CACHE_DIR", str(tmp_path / "cache"))
    small = functools.partial(making.make_phantom, blocks=(3, 3))
    monkeypatch.setattr(making, "make_phantom", small)
    return tmp_path / "cache"


def test_phantom_is_made_and_opened(window: MainWindow, qtbot: QtBot, cache: Path) -> None:
    welcome = window.welcome
    assert welcome.isVisible()
    told: list[int] = []
    progress = welcome.findChild(QProgressBar)
    progress.valueChanged.connect(told.append)
    welcome.phantom_button.click()
    assert progress.isVisible()
    assert not welcome.phantom_button.isEnabled()
    qtbot.waitUntil(lambda: window.document.slide is not None, timeout=WAIT_MS)
    assert window.document.path is not None
    assert window.document.path.parent == cache
    assert window.document.mpp_xy == (0.5, 0.5)
    assert told == sorted(told)
    assert told[-1] == 100
    assert not welcome.isVisible()
    window.verbs.action("Close slide").trigger()
    assert welcome.isVisible()


def test_what_needs_a_slide_waits_for_one(
    window: MainWindow, open_window: OpenWindow, tiny_slide: Scene
) -> None:
    waiting = [
        window.verbs.action(words)
        for words in ("Fit slide", "1:1", "Rotate left", "Upright", "Copy the picture of the view")
    ]
    assert not any(it.isEnabled() for it in waiting)
    assert not window.magnification.isEnabled()
    open_window(tiny_slide.path)
    assert all(it.isEnabled() for it in waiting)
    assert window.magnification.isEnabled()


def test_nothing_is_said_of_a_slide_that_was_closed(
    open_window: OpenWindow, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    window.verbs.action("Measure a distance").trigger()
    window.document.pointed.emit(QPointF(100, 100))
    assert window.status_line.position.text()
    assert window._hint.text()
    window.verbs.action("Close slide").trigger()
    assert window.status_line.position.text() == ""
    assert window._hint.text() == ""
    open_window(tiny_slide.path)
    assert window._hint.text()


def test_who_opened_a_slide_meanwhile_stays_there(
    open_window: OpenWindow, qtbot: QtBot, cache: Path, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    with qtbot.waitSignal(window.welcome.phantom_made, timeout=WAIT_MS) as made:
        window.welcome.phantom_button.click()
    assert window.document.path == tiny_slide.path
    assert made.args[0] in window.slides.paths()


def test_closing_the_window_ends_the_painting(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_CACHE_DIR", str(tmp_path / "cache"))  # a whole phantom: 20 s
    window.welcome.phantom_button.click()
    progress = window.welcome.findChild(QProgressBar)
    qtbot.waitUntil(lambda: progress.value() > 0, timeout=WAIT_MS)
    start = time.monotonic()
    window.close()
    assert QThreadPool.globalInstance().activeThreadCount() == 0
    assert time.monotonic() - start < 5
    assert [it.suffix for it in (tmp_path / "cache").iterdir()] == [".geojson"]


def test_folder_that_cannot_be_written_is_named(
    window: MainWindow, qtbot: QtBot, cache: Path
) -> None:
    cache.write_text("a file where the folder would be", encoding="utf-8")
    with qtbot.waitSignal(window.welcome.refused, timeout=WAIT_MS):
        window.welcome.phantom_button.click()
    box = window.findChild(QMessageBox)
    assert box is not None
    assert "cannot be written there" in box.text()
    assert window.welcome.phantom_button.isEnabled()
    box.close()


def test_slides_of_the_list_are_offered(window: MainWindow, tiny_slide: Scene) -> None:
    said = window.welcome.message.text
    assert said().startswith("Open a slide")
    window.slides.add([tiny_slide.path])
    assert said().startswith("Choose a slide on the left")
    window.slides.remove([tiny_slide.path])
    assert said().startswith("Open a slide")


def test_open_button_asks_for_a_slide(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tiny_slide: Scene
) -> None:
    chosen = [str(tiny_slide.path)]
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_args: (chosen, ""))
    window.welcome.open_button.click()
    qtbot.waitUntil(lambda: window.document.path == tiny_slide.path, timeout=WAIT_MS)
