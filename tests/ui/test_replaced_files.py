"""Files that others replace while the window shows them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.run import RunState
from tests.support.models import write_tiny_model
from tests.support.scenes import Scene, write_tissue_slide
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, analyze


def test_model_file_that_was_replaced_computes_nothing_under_the_old_name(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, tmp_path: Path
) -> None:
    path = tmp_path / "own.onnx"
    write_tiny_model(path, bias=0.5)
    document = open_window(tiny_slide.path).document
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    with qtbot.waitSignal(document.model_changed, timeout=WAIT_MS):
        document.choose_model(str(path))
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    write_tiny_model(path, slope=0.5)
    document.analyze()
    qtbot.waitUntil(lambda: document.state is RunState.FAILED, timeout=WAIT_MS)

    assert "own.onnx: The model file was replaced" in document.message
    assert document.map is None
    with qtbot.waitSignal(document.model_changed, timeout=WAIT_MS):
        document.choose_model(str(path))
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    document.analyze()
    qtbot.waitUntil(lambda: document.state is RunState.DONE, timeout=WAIT_MS)


@pytest.fixture
def replaced(open_window: OpenWindow, qtbot: QtBot, tmp_path: Path, tiny_slide: Scene) -> Path:
    """A slide that another one was put in the place of while the window shows it."""
    slide, other = tmp_path / "shown.tiff", tmp_path / "other.tiff"
    shutil.copy(tiny_slide.path, slide)
    write_tissue_slide(other, (1500, 1500), 4.0)
    document = open_window(slide).document
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    other.replace(slide)
    return slide


def test_map_of_another_slide_is_never_laid_over_the_one_that_is_shown(
    window: MainWindow, qtbot: QtBot, replaced: Path
) -> None:
    document = window.document
    assert document.slide is not None
    shown = document.slide.identity
    document.analyze()
    qtbot.waitUntil(lambda: document.state in (RunState.FAILED, RunState.DONE), timeout=WAIT_MS)
    assert document.state is RunState.FAILED
    assert document.message == "shown.tiff: The file changed on disk, or is gone. Open it again."
    assert document.map is None

    window.slides.choose(window.slides.paths()[0])  # as the message asks for
    qtbot.waitUntil(lambda: document.slide.identity != shown, timeout=WAIT_MS)
    analyze(window, qtbot)


def test_view_says_that_the_file_is_another_one_by_now(
    window: MainWindow, qtbot: QtBot, replaced: Path
) -> None:
    tiles = window.document.tiles
    assert tiles is not None
    before = tiles.loaded_tiles
    with qtbot.waitSignal(window.document.refused, timeout=WAIT_MS) as refused:
        window.view.camera.set_scale(4.0)
    assert "shown.tiff: The file changed on disk, or is gone" in refused.args[0]
    assert tiles.loaded_tiles == before
