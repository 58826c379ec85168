"""The window as its user has it: real slides, real child processes, rendered pixels."""

from __future__ import annotations

import gc
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QPainter
from PySide6.QtWidgets import (
    QApplication,
    QColorDialog,
    QDialog,
    QFileDialog,
    QLabel,
)
from pytestqt.qtbot import QtBot

from idc_desktop.export.verify import verify_folder
from idc_desktop.processes.message import Started
from idc_desktop.processes.supervisor import Job
from idc_desktop.regions.shape import rectangle
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.run import RunState
from tests.support.command import run_cli
from tests.support.models import TinyModel
from tests.support.scenes import Scene, write_tiny_slide, write_tissue_slide
from tests.support.slides import write_tiff
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, analyze, pixels_of


def test_empty_window_says_what_to_do(window: MainWindow) -> None:
    assert "Open a slide" in window.document.message
    words = [label.text() for label in window.statusBar().findChildren(QLabel)]
    assert any("For Research Use Only" in text for text in words)


def test_at_1_to_1_the_view_equals_the_slide(
    open_window: OpenWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    write_tiff(tmp_path / "noise.tiff", [image], mpp=0.5)
    window = open_window(tmp_path / "noise.tiff")
    view = window.view
    view.camera.set_scale(1.0)
    view.camera.centre_on(QPointF(600, 450) if view.width() % 2 == 0 else QPointF(600.5, 450))
    qtbot.waitUntil(lambda: view.is_sharp, timeout=WAIT_MS)

    shown = pixels_of(view)
    corner = view.camera.to_l0(QPointF(0, 0))
    x, y = math.floor(corner.x() + 0.499999), math.floor(corner.y() + 0.499999)
    middle = np.s_[200:450, 20:550]  # clear of the minimap and the scale bar
    below = image[y : y + shown.shape[0], x : x + shown.shape[1]]
    assert np.array_equal(shown[middle], below[middle])


@pytest.mark.parametrize("scale", [0.07, 0.3, 1.0])
def test_nothing_is_painted_beyond_the_slide(
    open_window: OpenWindow, qtbot: QtBot, tmp_path: Path, scale: float
) -> None:
    """Tiles reach beyond the right and lower edge of a slide of 700 x 430 pixels."""
    blue = np.array((40, 60, 220), np.uint8)
    write_tiff(tmp_path / "blue.tiff", [np.full((430, 700, 3), blue)], mpp=8.0)
    view = open_window(tmp_path / "blue.tiff").view
    view.camera.set_scale(scale)
    ground = np.array(view.palette().mid().color().getRgb()[:3])
    for angle, mirrored in [(0, False), (33, False), (90, True), (270, False), (303, True)]:
        view.camera.set_upright()
        view.camera.rotate(angle)
        if mirrored:
            view.camera.flip_across()
        view.camera.centre_on(QPointF(700, 430))
        qtbot.waitUntil(lambda: view.is_sharp, timeout=WAIT_MS)
        shown = pixels_of(view)
        height, width = shown.shape[:2]
        seen = set()
        for down, across in np.ndindex(height - 60, width):
            if down % 5 or across % 5 or (down < 220 and across > width - 220):
                continue  # every fifth pixel, but for the minimap and the scale bar
            at = view.camera.to_l0(QPointF(across + 0.5, down + 0.5))
            beyond_px = scale * max(-at.x(), at.x() - 700, -at.y(), at.y() - 430)
            if abs(beyond_px) > 1:
                expected = ground if beyond_px > 0 else blue.astype(int)
                assert np.abs(shown[down, across] - expected).max() < 4, (angle, down, across)
                seen.add(beyond_px > 0)
        assert seen == {True, False}


@pytest.mark.parametrize("angle", [0, 33, 90, 270])
@pytest.mark.parametrize("scale", [0.3, 1.0, 2.3])
def test_cells_of_the_map_lie_where_they_belong(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, angle: int, scale: float
) -> None:
    """Each analyzed cell changes the view within one device pixel of its 400 µm, and only there."""
    window = open_window(tiny_slide.path)
    analyze(window, qtbot)
    view, document = window.view, window.document
    document.show(opacity=1.0, outlined=False, legend=False)
    view.camera.rotate(angle)
    view.camera.set_scale(scale)
    grid, current = document.grid, document.map
    assert grid is not None
    assert current is not None
    row, col = map(int, np.argwhere(current.analyzed)[4])
    x = (col + 0.5) * grid.step_x_l0
    y = (row + 0.5) * grid.step_y_l0
    view.camera.centre_on(QPointF(x, y))
    qtbot.waitUntil(lambda: view.is_sharp, timeout=WAIT_MS)
    with_map = pixels_of(view)
    document.show(visible=False)
    changed = (with_map != pixels_of(view)).any(axis=2)

    height, width = changed.shape
    for down, across in np.ndindex(height, width):
        if down % 7 or across % 7 or (down < 220 and across > width - 220) or down > height - 60:
            continue  # every seventh pixel, but for the minimap, the scale bar and the legend
        cells = {
            grid.cell_at(point.x(), point.y())
            for point in (
                view.camera.to_l0(QPointF(across + 0.5 + dx, down + 0.5 + dy))
                for dx in (-1, 0, 1)
                for dy in (-1, 0, 1)
            )
        }
        states = {it is not None and bool(current.analyzed[it]) for it in cells}
        if len(states) == 1:
            assert changed[down, across] == states.pop(), (down, across)


def test_analysis_threshold_and_export(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path
) -> None:
    window = open_window(tiny_slide.path)
    analyze(window, qtbot)
    document = window.document
    document.show(threshold=0.75)
    label = window.inspector.statistics.figures["IDC area"]
    before = label.text()
    document.show(threshold=0.01)
    qtbot.waitUntil(lambda: label.text() != before, timeout=WAIT_MS)
    document.show(threshold=0.75)
    with qtbot.waitSignal(window.export_task.succeeded, timeout=WAIT_MS):
        window.export(tmp_path / "out")
        assert "Exporting" in window.statusBar().currentMessage()
    assert window.statusBar().currentMessage() == ""

    folder = tmp_path / "out" / tiny_slide.path.stem
    assert verify_folder(folder)["threshold"] == 0.75
    run_cli(
        "analyze", tiny_slide.path, "--out", tmp_path / "cli", "--model", tiny_model.path,
        "--threshold", "0.75", data_dir=tmp_path / "other",
    )  # fmt: skip
    for name in ("patches.csv", "regions.csv"):
        assert (folder / name).read_bytes() == (
            tmp_path / "cli" / tiny_slide.path.stem / name
        ).read_bytes()


def test_pause_keeps_what_was_done_and_resume_completes_it(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    document = open_window(tiny_slide.path).document
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    document.analyze()
    document.pause()
    qtbot.waitUntil(lambda: document.state in (RunState.PAUSED, RunState.DONE), timeout=WAIT_MS)
    analyze_again = document.state is RunState.PAUSED
    if analyze_again:
        document.analyze()
        qtbot.waitUntil(lambda: document.state is RunState.DONE, timeout=WAIT_MS)

    assert document.map is not None
    assert (document.map.states != 0).all()


def test_hostile_file_leaves_the_window_alive(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, tiny_slide: Scene
) -> None:
    (tmp_path / "bad.svs").write_bytes(b"no slide at all" * 100)
    window.open(tmp_path / "bad.svs")
    qtbot.waitUntil(lambda: bool(window.document.refusal), timeout=WAIT_MS)
    assert "bad.svs" in window.document.message
    assert window.document.state is RunState.NONE

    window.open(tiny_slide.path)
    qtbot.waitUntil(lambda: window.view.is_sharp, timeout=WAIT_MS)
    with qtbot.waitSignal(window.document.refused, timeout=WAIT_MS) as refused:
        window.open(tmp_path / "bad.svs")
    assert "bad.svs" in refused.args[0]
    assert window.document.path == tiny_slide.path  # what was open stays
    assert window.view.is_sharp


def test_killed_decoder_is_replaced(
    open_window: OpenWindow, qtbot: QtBot, tmp_path: Path, tiny_model: TinyModel
) -> None:
    scene = write_tiny_slide(tmp_path / "tiny.tiff", tiny_model)
    window = open_window(scene.path)
    tiles = window.document.tiles
    assert tiles is not None
    os.kill(tiles._child.pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: tiles._life == 2, timeout=WAIT_MS)
    window.view.camera.set_scale(4.0)
    qtbot.waitUntil(lambda: window.view.is_sharp, timeout=WAIT_MS)


def test_click_shows_what_the_model_saw(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    analyze(window, qtbot)
    # The words of the patch are seen without scrolling, its picture is not.
    window.resize(1360, 880)
    QApplication.processEvents()
    grid, current = window.document.grid, window.document.map
    assert grid is not None
    assert current is not None
    row, col = map(int, np.argwhere(current.analyzed)[0])
    point = QPointF((col + 0.5) * grid.step_x_l0, (row + 0.5) * grid.step_y_l0)
    at = window.view.camera.to_device().map(point)
    tiles = window.document.tiles
    assert tiles is not None
    with qtbot.waitSignal(tiles.patch_loaded, timeout=WAIT_MS) as arrived:
        qtbot.mouseClick(
            window.view, Qt.MouseButton.LeftButton, pos=QPoint(round(at.x()), round(at.y()))
        )

    assert arrived.args[0].width() == 150
    text = window.inspector.patch.text.text()
    assert f"Row {row}, column {col}" in text
    assert f"{current.layer().values[row, col]:.6f}" in text
    picture = window.inspector.patch.picture
    qtbot.waitUntil(lambda: picture.visibleRegion().boundingRect() == picture.rect())


def test_painting_leaks_no_reference_to_none(qtbot: QtBot) -> None:
    """PySide6 6.12.0 lost a reference to None with every void call."""
    image = QImage(8, 8, QImage.Format.Format_RGB32)
    painter = QPainter(image)
    gc.collect()
    before = sys.getrefcount(None)
    for _ in range(20_000):
        painter.fillRect(0, 0, 1, 1, QColor(1, 2, 3))
    painter.end()
    assert abs(sys.getrefcount(None) - before) < 1_000


def test_window_process_loads_neither_decoder_nor_runtime(
    tmp_path: Path, tiny_slide: Scene, tiny_model: TinyModel
) -> None:
    script = (
        "import sys\n"
        "from idc_desktop.commands.cli import main\n"
        f"code = main(['open', {str(tiny_slide.path)!r}, '--model', {str(tiny_model.path)!r}, "
        f"'--screenshot', {str(tmp_path / 'shot.png')!r}])\n"
        "bad = {'openslide', 'onnxruntime', 'tensorflow'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {bad}' if bad else code)\n"
    )
    environment = {**os.environ, "IDC_DESKTOP_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    picture = QImage(str(tmp_path / "shot.png"))
    assert (picture.width(), picture.height()) == (1600, 1000)


def test_what_is_in_view_is_analyzed_first(
    open_window: OpenWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    """Of a slide of four blocks, when the view shows the last only."""
    scene = write_tissue_slide(tmp_path / "wide.tiff", (1500, 1500), 4.0)
    window = open_window(scene.path)
    window.view.camera.set_scale(2.0)
    window.view.camera.centre_on(QPointF(1300, 1300))
    document = window.document
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    document.analyze()
    assert document.run is not None
    assert document.run._engine is not None
    job = replace(document.run._engine.follower._what, restart=True)
    qtbot.waitUntil(lambda: document.state is RunState.DONE, timeout=WAIT_MS)
    order = [
        event.number
        for event in Job(job, "wide.tiff").events()
        if isinstance(event, Started) and event.number >= 0  # looks at the whole slide come first
    ]

    assert order[0] == 3
    assert sorted(order) == [0, 1, 2, 3]


def test_finished_run_appears_when_the_slide_is_opened_again(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    document = window.document
    analyze(window, qtbot)
    assert document.map is not None
    before = document.map.layer().stored.copy()
    document.close()
    assert document.map is None

    window.open(tiny_slide.path)
    qtbot.waitUntil(lambda: document.state is RunState.DONE, timeout=WAIT_MS)
    assert document.map is not None
    assert np.array_equal(document.map.layer().stored, before)


def test_analysis_asked_for_at_once_starts_when_it_can(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, tiny_model: TinyModel
) -> None:
    scene = write_tiny_slide(tmp_path / "fresh.tiff", tiny_model)
    window.open(scene.path)
    qtbot.waitUntil(lambda: window.document.state is RunState.RECALLING, timeout=WAIT_MS)
    window.document.analyze()
    qtbot.waitUntil(lambda: window.document.state is RunState.DONE, timeout=WAIT_MS)


def test_every_verb_can_be_used(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a slide that is analyzed and two regions; whoever is asked for a file gives none."""
    nothing = staticmethod(lambda *_, **__: ("", ""))
    for name in ("getOpenFileName", "getOpenFileNames", "getSaveFileName"):
        monkeypatch.setattr(QFileDialog, name, nothing)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", staticmethod(lambda *_, **__: ""))
    monkeypatch.setattr(QColorDialog, "getColor", staticmethod(lambda *_, **__: QColor()))
    window = open_window(tiny_slide.path)
    analyze(window, qtbot)
    regions = window.document.regions
    regions.add("Draw", [rectangle(0, 0, 300, 300), rectangle(200, 200, 900, 600)])
    last = ("Analyze", "Cancel the analysis", "Close slide")
    words = [it for it in window.verbs.words() if it not in (*last, "Quit")]
    for each in (*words, *last):
        window.verbs.action(each).trigger()
        for dialog in window.findChildren(QDialog):
            dialog.close()
        QApplication.processEvents()
    qtbot.waitUntil(lambda: window.document.slide is None, timeout=WAIT_MS)
    assert len(words) > 50
