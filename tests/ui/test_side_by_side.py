"""Two views side by side: another model of the slide, or another slide."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from pytestqt.qtbot import QtBot

from idc_desktop.maps.layers import CONTEXT, PATCH
from idc_desktop.regions.book import RegionBook
from idc_desktop.regions.shape import rectangle
from idc_desktop.slides.reader import Slide
from idc_desktop.storage.user_data import data_folder, slide_folder
from idc_desktop.ui.dialogs.model_table import ModelTable
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.run import RunState
from tests.support.models import CONTEXT as CONTEXT_BLOCK
from tests.support.models import TinyModel, write_tiny_model
from tests.support.scenes import Scene
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, analyze, pixels_of, take


@pytest.fixture
def stricter(tmp_path: Path) -> TinyModel:
    """Another model than that of the window."""
    return write_tiny_model(tmp_path / "stricter.onnx", name="stricter", bias=-1.5)


@pytest.fixture
def by_two(analyzed: MainWindow, qtbot: QtBot, stricter: TinyModel) -> MainWindow:
    """The window with its slide analyzed by two models, the second one chosen."""
    with qtbot.waitSignal(analyzed.document.model_changed, timeout=WAIT_MS):
        analyzed.document.choose_model(str(stricter.path))
    analyze(analyzed, qtbot)
    return analyzed


def until_shown(window: MainWindow, model: TinyModel, qtbot: QtBot) -> None:
    """Wait until the map of a model is beside the slide."""
    beside = window.pair.beside
    assert beside is not None
    qtbot.waitUntil(lambda: beside.model.sha256 == model.sha256, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: beside.state is RunState.DONE, timeout=WAIT_MS)


def test_one_slide_by_two_models(by_two: MainWindow, qtbot: QtBot, tiny_model: TinyModel) -> None:
    window, document = by_two, by_two.document
    assert window.beside_bar.isHidden()
    take(window, "Side by side")
    pair, other = window.pair, window.views.other
    assert other is not None
    assert pair.beside is not None
    assert pair.beside.run is document.run
    assert window.beside_bar.isVisible()

    pair.beside.choose_model(str(tiny_model.path))
    until_shown(window, tiny_model, qtbot)
    qtbot.waitUntil(lambda: other.is_sharp, timeout=WAIT_MS)
    mine, shown = document.layer, pair.beside.layer
    assert mine is not None
    assert shown is not None
    assert not np.array_equal(mine.stored, shown.stored)
    assert (shown.values[shown.analyzed] >= mine.values[mine.analyzed]).all()
    assert "tiny" in window.beside_bar.right.text()
    assert "stricter" in window.beside_bar.left.text()
    assert document.tiles is pair.beside.tiles

    window.view.camera.set_scale(1.3)
    window.view.camera.centre_on(QPointF(500, 400))
    other.camera.rotate(30)
    assert window.view.camera.viewport == other.camera.viewport
    document.select((2, 2))
    assert pair.beside.selected == (2, 2)
    pair.beside.select((1, 1))
    assert document.selected == (1, 1)

    before = pixels_of(other)
    document.regions.add("Draw", [rectangle(300, 300, 900, 600)], "IDC")
    document.show(colormap="magma")
    assert not np.array_equal(pixels_of(other), before)
    take(window, "Side by side")
    assert window.views.other is None
    assert window.beside_bar.isHidden()


def test_model_that_becomes_the_documents_is_shown_as_it_runs(
    by_two: MainWindow, qtbot: QtBot, tiny_model: TinyModel
) -> None:
    document, pair = by_two.document, by_two.pair
    pair.show_model(str(tiny_model.path))
    assert pair.beside is not None
    until_shown(by_two, tiny_model, qtbot)
    own = pair.beside.run
    assert own is not document.run
    with qtbot.waitSignal(document.model_changed, timeout=WAIT_MS):
        document.choose_model(str(tiny_model.path))
    assert pair.beside.run is document.run


def test_layers_of_one_map_are_shown_side_by_side(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    model = write_tiny_model(tmp_path / "context.onnx", name="context", context=CONTEXT_BLOCK)
    document = analyzed.document
    with qtbot.waitSignal(document.model_changed, timeout=WAIT_MS):
        document.choose_model(str(model.path))
    analyze(analyzed, qtbot)
    document.show(layer=PATCH)
    take(analyzed, "Side by side")
    beside, layers = analyzed.pair.beside, analyzed.beside_bar.layers
    assert beside is not None
    assert beside.layer is not None
    assert document.layer is not None
    assert (document.layer.name, beside.layer.name) == (PATCH, CONTEXT)
    assert beside.threshold == model.context["threshold"]
    assert layers.isVisible()
    at = layers.findData(PATCH)
    layers.setCurrentIndex(at)
    layers.activated.emit(at)
    assert beside.layer.name == PATCH
    document.show(layer=CONTEXT)
    assert beside.layer.name == PATCH  # its own choice


def test_another_slide_is_seen_and_left_as_it_is(
    analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene, tmp_path: Path
) -> None:
    """Its regions and threshold are those that were kept; nothing of it can be changed."""
    window, document = analyzed, analyzed.document
    document.regions.add("Draw", [rectangle(300, 300, 900, 600)], "IDC")
    document.show(threshold=0.42)
    document.regions.add_mark("line", ((300, 300), (600, 300)), "Across")
    kept, marks = document.regions.all, document.regions.marks
    second = tmp_path / "second.tiff"
    shutil.copy(tiny_slide.path, second)
    with second.open("ab") as file:
        file.write(b"another slide")
    window.open(second)
    qtbot.waitUntil(lambda: document.path == second, timeout=WAIT_MS)
    assert document.regions.all == ()

    window.beside_bar.slides.setCurrentText(tiny_slide.path.name)
    window.pair.show(tiny_slide.path.absolute())
    beside = window.pair.beside
    assert beside is not None
    qtbot.waitUntil(lambda: beside.state is RunState.DONE, timeout=WAIT_MS)
    assert beside.tiles is not document.tiles
    assert beside.regions.all == kept
    assert beside.regions.marks == marks
    assert not beside.regions.can_edit
    assert beside.threshold == 0.42
    assert document.threshold != 0.42

    assert not beside.link.is_joined
    take(window, "Move both together")
    assert beside.link.is_joined
    document.camera.centre_on(QPointF(100, 100))
    moved = beside.camera.centre
    document.camera.centre_on(QPointF(160, 100))
    assert beside.camera.centre.x() == pytest.approx(moved.x() + 60)

    window.open(tiny_slide.path)  # the same slide in both: it is one document
    qtbot.waitUntil(lambda: document.path == tiny_slide.path, timeout=WAIT_MS)
    assert window.pair.beside is not None
    assert not window.pair.beside.is_other_slide
    assert document.regions.all == kept
    assert document.regions.can_edit
    document.close()
    assert window.pair.beside is None


def test_regions_of_another_slide_that_cannot_be_had_are_told(
    analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene, tmp_path: Path
) -> None:
    """Another window has that slide."""
    second = tmp_path / "second.tiff"
    shutil.copy(tiny_slide.path, second)
    with second.open("ab") as file:
        file.write(b"another slide")
    with Slide(second) as slide:
        identity = slide.identity()
    with closing(RegionBook(slide_folder(data_folder(), identity))):
        analyzed.pair.show(second)
        beside = analyzed.pair.beside
        assert beside is not None
        with qtbot.waitSignal(beside.noted, timeout=WAIT_MS) as noted:
            pass
    assert "Another window" in noted.args[0]
    assert beside.slide is not None
    assert beside.regions.all == ()


def test_slide_that_cannot_be_read_says_so(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.tiff"
    broken.write_bytes(b"II*\0nothing")
    analyzed.pair.show(broken)
    beside = analyzed.pair.beside
    assert beside is not None
    qtbot.waitUntil(lambda: bool(beside.refusal), timeout=WAIT_MS)
    assert "broken.tiff" in analyzed.beside_bar.right.text()
    assert analyzed.document.state is RunState.DONE


def test_keys_move_the_view_that_is_in_use(analyzed: MainWindow, qtbot: QtBot) -> None:
    take(analyzed, "Side by side")
    take(analyzed, "Move both together")
    other = analyzed.views.other
    assert other is not None
    first, second = analyzed.view.camera, other.camera
    other.setFocus()
    take(analyzed, "Rotate right")
    assert (first.viewport.angle_deg, second.viewport.angle_deg) == (0, 90)
    analyzed.view.setFocus()
    take(analyzed, "Rotate left")
    assert (first.viewport.angle_deg, second.viewport.angle_deg) == (270, 90)
    qtbot.keyPress(other, Qt.Key.Key_H)
    assert analyzed.document.is_bare
    qtbot.keyRelease(other, Qt.Key.Key_H)
    assert not analyzed.document.is_bare


def test_mouse_is_shown_in_the_other_view_and_told_below(analyzed: MainWindow) -> None:
    take(analyzed, "Side by side")
    other, line = analyzed.views.other, analyzed.status_line
    assert other is not None
    document, beside = analyzed.document, analyzed.pair.beside
    assert beside is not None
    without = pixels_of(analyzed.view)
    point = other.camera.centre
    beside.pointed.emit(point)
    assert not np.array_equal(pixels_of(analyzed.view), without)
    assert line.position.text().startswith(f"x {point.x() * 2:,.0f}, y {point.y() * 2:,.0f} µm")
    document.pointed.emit(QPointF(10, 10))
    beside.pointed.emit(None)
    assert line.position.text().startswith("x 20, y 20 µm")
    document.pointed.emit(None)
    assert line.position.text() == ""
    assert np.array_equal(pixels_of(analyzed.view), without)


def test_table_says_what_each_model_says(
    by_two: MainWindow, qtbot: QtBot, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = {"tiny": tiny_model.path}
    monkeypatch.setattr("idc_desktop.ui.dialogs.model_table.bundled_models", lambda: bundled)
    take(by_two, "Models on this slide …")
    dialog = by_two.findChild(ModelTable)
    assert dialog is not None

    def cells(row: int) -> list[str]:
        items = [dialog.table.item(row, column) for column in range(dialog.table.columnCount())]
        return [item.text() if item is not None else "" for item in items]

    qtbot.waitUntil(lambda: dialog.table.rowCount() == 2 and bool(cells(1)[2]), timeout=WAIT_MS)
    chosen, other = cells(0), cells(1)
    assert (chosen[0], other[0]) == ("stricter", "tiny")
    assert float(chosen[2]) < float(other[2])  # % IDC
    assert chosen[-1] == "100.0"
    meter = by_two.document.meter
    assert meter is not None
    assert by_two.document.subject is not None
    (found,) = meter.measure([by_two.document.subject.shape], by_two.document.threshold)
    assert found.idc_fraction is not None
    assert chosen[2] == f"{100 * found.idc_fraction:.1f}"

    dialog.table.selectRow(1)
    dialog.beside.click()
    until_shown(by_two, tiny_model, qtbot)


def test_beside_goes_with_the_window(open_window: OpenWindow, tiny_slide: Scene) -> None:
    window = open_window(tiny_slide.path)
    take(window, "Side by side")
    assert window.pair.beside is not None
    window.close()
    assert window.pair.beside is None
