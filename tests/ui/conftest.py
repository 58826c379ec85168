"""A window on the tiny slide, without a display."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.run import RunState
from tests.support.command import run_cli
from tests.support.models import TinyModel
from tests.support.scenes import Scene
from tests.ui.support import WAIT_MS, window_with

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


@pytest.fixture(scope="session")
def finished_run(
    tiny_slide: Scene, tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A data folder with the analysis of the tiny slide."""
    base = tmp_path_factory.mktemp("finished")
    outcome = run_cli(
        "analyze", tiny_slide.path, "--model", tiny_model.path, "--out", base / "out",
        data_dir=base / "data",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    return base / "data"


@pytest.fixture
def analyzed(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, tmp_path: Path, finished_run: Path
) -> MainWindow:
    """The window on the tiny slide with its map, which is read back."""
    shutil.copytree(finished_run, tmp_path / "data", dirs_exist_ok=True)
    window = open_window(tiny_slide.path)
    window.resize(1200, 900)
    window.view.camera.fit()
    qtbot.waitUntil(lambda: window.document.state is RunState.DONE, timeout=WAIT_MS)
    return window
