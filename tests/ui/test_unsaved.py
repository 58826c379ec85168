"""Regions that their file has no room for are not lost without a question."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QFileDialog, QMessageBox
from pytestqt.qtbot import QtBot

from idc_desktop.regions.book import RegionBook
from idc_desktop.regions.shape import shape_of
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.run import RunState
from tests.support.region_files import read_regions
from tests.support.scenes import Scene
from tests.support.slides import write_tiff
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, take

resource = pytest.importorskip("resource")


@pytest.fixture
def file(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, tmp_path: Path
) -> Iterator[Path]:
    """The file of regions, too small for the one that was drawn, until there is `room`."""
    document = open_window(tiny_slide.path).document
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    (path,) = (tmp_path / "data").glob("slides/*/regions.sqlite")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, limit[1]))
    teeth = [(300.0 + 0.25 * x, 400.0 + 50 * (x % 2)) for x in range(3000)]
    document.regions.add("Draw", [shape_of([[[*teeth, (1100.0, 900.0), (300.0, 900.0)]]])])
    yield path
    room()


def room() -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another slide."""
    return write_tiff(tmp_path / "other.tiff", [np.full((600, 900, 3), 190, np.uint8)], mpp=8.0)


def asked(window: MainWindow) -> QMessageBox:
    (box,) = (it for it in window.findChildren(QMessageBox) if it.isVisible())
    return box


def answer(window: MainWindow, words: str) -> None:
    buttons = {it.text().replace("&", ""): it for it in asked(window).buttons()}
    buttons[words].click()


def test_window_stays_until_they_are_saved(window: MainWindow, other: Path, file: Path) -> None:
    assert not window.close()
    assert "The regions cannot be saved" in asked(window).text()
    answer(window, "Cancel")
    assert window.isVisible()
    drawn = window.document.regions.all
    assert len(drawn) == 1
    window.close()
    answer(window, "Try again")
    assert "The regions cannot be saved" in asked(window).text()
    room()
    answer(window, "Try again")
    assert not window.isVisible()
    with RegionBook(file.parent) as book:
        assert book.regions == drawn


def test_another_slide_waits_for_the_answer(
    window: MainWindow, qtbot: QtBot, other: Path, file: Path
) -> None:
    document = window.document
    shown, drawn = document.path, document.regions.all
    for words in ("Cancel", "Discard"):
        with qtbot.waitSignal(document.unsaved, timeout=WAIT_MS):
            window.open(other)
        assert document.path == shown
        assert document.regions.all == drawn
        answer(window, words)
    assert document.path == other
    room()
    with RegionBook(file.parent) as book:
        assert book.regions == ()


def test_copy_is_saved_elsewhere(
    window: MainWindow,
    other: Path,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ["", str(tmp_path / "none" / "copy.geojson"), str(tmp_path / "copy.geojson.gz")]
    monkeypatch.setattr(QFileDialog, "getSaveFileName", staticmethod(lambda *_: (names.pop(0), "")))
    drawn = window.document.regions.all
    take(window, "Close slide")
    for reason in ("The regions cannot be saved", "The regions cannot be saved", "copy.geojson: "):
        assert reason in asked(window).text()
        answer(window, "Save a copy …")
    assert window.document.slide is None
    regions, _ = read_regions(tmp_path / "copy.geojson.gz")
    assert [it.shape for it in regions] == [it.shape for it in drawn]


def test_how_the_slide_is_looked_at_is_no_loss(
    window: MainWindow, qtbot: QtBot, other: Path, file: Path
) -> None:
    take(window, "Undo")
    window.view.camera.rotate(90)
    assert window.close()
