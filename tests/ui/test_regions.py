"""Regions in the window: the table, foci, files, undo, and what is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QLabel, QPushButton
from pytestqt.qtbot import QtBot

from idc_desktop.regions.shape import rectangle
from idc_desktop.regions.statistics import measure
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.panels.region_table import RegionTable
from idc_desktop.ui.run import RunState
from idc_desktop.ui.task import Task
from tests.support.scenes import Scene
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, pixels_of, says, take

SHIFT, ALT = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier


def test_regions_are_combined_by_keys(analyzed: MainWindow, qtbot: QtBot) -> None:
    regions = analyzed.document.regions
    regions.add("Draw", [rectangle(300, 300, 700, 600), rectangle(600, 300, 900, 600)])
    qtbot.keyClick(analyzed.view, Qt.Key.Key_U)
    (region,) = regions.all
    assert region.shape.moments().area == pytest.approx(600 * 300)
    regions.add("Draw", [rectangle(400, 200, 500, 900)])
    hole = regions.all[1]
    regions.choose([region.id, hole.id])
    qtbot.keyClick(analyzed.view, Qt.Key.Key_U, SHIFT)
    assert regions.all[0].shape.moments().area == pytest.approx(500 * 300)
    regions.choose([hole.id])
    qtbot.keyClick(analyzed.view, Qt.Key.Key_D, Qt.KeyboardModifier.ControlModifier)
    assert len(regions.all) == 3
    qtbot.keyClick(analyzed.view, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(analyzed.view, Qt.Key.Key_Delete)
    assert regions.all == ()


def test_table_shows_the_figures_and_edits_the_regions(analyzed: MainWindow, qtbot: QtBot) -> None:
    document, panel = analyzed.document, analyzed.regions
    regions = document.regions
    take(analyzed, "Edit regions")
    regions.add("Draw", [rectangle(0, 0, 700, 600), rectangle(300, 300, 1200, 900)])
    assert document.map is not None
    found = measure(regions.all[1], document.map.layer(), document.mpp_xy, document.threshold)
    assert found.idc_fraction is not None
    table = panel.table
    text = f"{100 * found.idc_fraction:.1f}"
    qtbot.waitUntil(lambda: table.index(1, 10).data() == text, timeout=WAIT_MS)
    document.show(threshold=0.999)
    qtbot.waitUntil(lambda: table.index(1, 10).data() != text, timeout=WAIT_MS)

    assert table.setData(table.index(0, 0), "Tumour A")
    assert table.setData(table.index(0, 1), "IDC")
    assert (regions.all[0].name, regions.all[0].classification) == ("Tumour A", "IDC")
    assert "IDC: 1" in says(panel)

    check = Qt.ItemDataRole.CheckStateRole
    assert table.setData(table.index(0, 5), Qt.CheckState.Checked.value, check)
    regions.choose([regions.all[0].id])
    take(analyzed, "Delete")
    assert len(regions.all) == 2  # it is locked
    said = analyzed.statusBar().currentMessage()
    assert said == "Nothing was changed: 'Tumour A' is locked. Unlock it first."

    panel.list.sortByColumn(6, Qt.SortOrder.DescendingOrder)
    assert panel.list.model().index(0, 0).data() == regions.all[1].name
    panel.list.selectRow(0)
    assert regions.chosen == (regions.all[1],)
    take(analyzed, "Zoom to")
    assert (analyzed.view.camera.centre - QPointF(750, 600)).manhattanLength() < 1


def test_region_in_which_nothing_is_analyzed_has_an_idc_area_of_zero_as_in_the_exports(
    analyzed: MainWindow, qtbot: QtBot
) -> None:
    document, panel = analyzed.document, analyzed.regions
    document.regions.add("Draw", [rectangle(-900, 0, -300, 600)])  # beside the slide
    qtbot.waitUntil(lambda: panel.table.index(0, 8).data() != "", timeout=WAIT_MS)
    assert [panel.table.index(0, it).data() for it in (8, 10, 11, 12, 13)] == [
        "0.000", "–", "–", "–", "0",
    ]  # fmt: skip
    figures = analyzed.inspector.statistics.figures
    qtbot.waitUntil(lambda: figures["Of"].text() == "Region 1", timeout=WAIT_MS)
    assert figures["IDC area"].text() == "0.000 mm²"
    assert figures["IDC, of analyzed area"].text() == "–"


def test_hidden_regions_are_not_painted(analyzed: MainWindow) -> None:
    regions = analyzed.document.regions
    without = pixels_of(analyzed.view)
    regions.add("Draw", [rectangle(300, 300, 900, 600)])
    assert (pixels_of(analyzed.view) != without).any()
    check = Qt.ItemDataRole.CheckStateRole
    table = analyzed.regions.table
    table.setData(table.index(0, 4), Qt.CheckState.Unchecked.value, check)
    assert (pixels_of(analyzed.view) == without).all()


def test_outline_lies_where_the_region_is(analyzed: MainWindow) -> None:
    """Within one pixel, turned as well."""
    view = analyzed.view
    view.camera.rotate(33)
    without = pixels_of(view)
    analyzed.document.regions.add("Draw", [rectangle(300, 300, 900, 600)])
    analyzed.document.regions.choose([])
    changed = (pixels_of(view) != without).any(axis=2)
    edges = [view.camera.to_device().map(QPointF(x, 300)) for x in range(300, 901, 5)]
    for at in edges:
        x, y = int(at.x()), int(at.y())
        assert changed[y - 1 : y + 2, x - 1 : x + 2].any()
    inside = view.camera.to_device().map(QPointF(600, 450))
    assert not changed[int(inside.y()), int(inside.x())]


def test_regions_and_looks_are_there_when_the_slide_is_opened_again(
    analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    document = analyzed.document
    document.regions.add("Draw", [rectangle(300, 300, 900, 600)], "IDC")
    document.show(threshold=0.42, colormap="magma")
    analyzed.view.camera.rotate(90)
    analyzed.view.camera.set_scale(0.7)
    kept, viewport = document.regions.all, document.camera.viewport
    document.close()
    assert document.regions.all == ()
    assert not document.history.canUndo()

    analyzed.open(tiny_slide.path)
    qtbot.waitUntil(lambda: document.state is RunState.DONE, timeout=WAIT_MS)
    assert document.regions.all == kept
    assert document.camera.viewport == viewport
    assert (document.threshold, document.display.colormap) == (0.42, "magma")


def test_display_changes_of_one_gesture_are_one_step(analyzed: MainWindow) -> None:
    document = analyzed.document
    before = document.threshold
    steps = document.history.count()
    for value in (0.1, 0.2, 0.3, 0.4):
        document.show(threshold=value)
    document.show(colormap="magma")
    assert document.history.count() == steps + 2
    take(analyzed, "Undo")
    assert document.display.colormap == "viridis"
    assert document.threshold == 0.4
    assert "threshold" in analyzed.verbs.action("Undo").text()
    take(analyzed, "Undo")
    assert document.threshold == before


def test_figures_and_histogram_are_of_the_chosen_region(analyzed: MainWindow, qtbot: QtBot) -> None:
    document, figures = analyzed.document, analyzed.inspector.statistics.figures
    document.regions.add("Draw", [rectangle(300, 300, 900, 600)])
    qtbot.waitUntil(lambda: figures["Of"].text() == "Region 1", timeout=WAIT_MS)
    assert document.map is not None
    found = measure(
        document.regions.all[0], document.map.layer(), document.mpp_xy, document.threshold
    )
    assert figures["Area"].text() == "0.720 mm²"
    assert figures["Mean probability"].text() == f"{found.mean_probability:.3f}"
    control = analyzed.inspector.map.threshold_control
    pixels_of(control)
    assert control._counts.sum() == pytest.approx(found.coverage_percent / 100 * 720_000)
    document.regions.choose([])
    qtbot.waitUntil(lambda: figures["Of"].text() == "Whole slide", timeout=WAIT_MS)
    document.regions.add("Draw", [rectangle(0, 0, 300, 300), rectangle(300, 300, 600, 600)])
    text = "Whole slide, not the 2 regions"
    qtbot.waitUntil(lambda: figures["Of"].text() == text, timeout=WAIT_MS)


def test_area_of_a_region_needs_no_analysis(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    document = open_window(tiny_slide.path).document
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    document.regions.add("Draw", [rectangle(300, 300, 900, 600)])
    table = RegionTable(document)
    assert table.index(0, 6).data() == "0.720"
    assert table.index(0, 8).data() == ""


def test_window_with_all_panels_is_no_wider_than_small_screens(analyzed: MainWindow) -> None:
    analyzed.document.regions.add("Draw", [rectangle(0, 0, 300, 300)], "A class of a long name")
    for title in ("Regions", "Foci"):
        analyzed.docks[title].show()
        analyzed.docks[title].raise_()
        QApplication.processEvents()
        analyzed.resize(1024, 700)
        assert analyzed.width() == 1024
        panel = analyzed.docks[title].widget()
        for child in panel.findChildren(QPushButton) + panel.findChildren(QLabel):
            assert panel.rect().contains(child.rect().translated(child.mapTo(panel, QPoint())))
            assert child.width() >= child.sizeHint().width()


def test_freed_name_is_not_given_again(analyzed: MainWindow) -> None:
    regions = analyzed.document.regions

    def draw() -> str:
        regions.add("Draw", [rectangle(0, 0, 300, 300)])
        return regions.all[-1].name

    assert [draw(), draw(), draw()] == ["Region 1", "Region 2", "Region 3"]
    regions.edit("Rename", put=[replace(regions.all[0], name="Tumour")])
    regions.edit("Delete", remove=[regions.all[2].id])
    assert draw() == "Region 4"
    take(analyzed, "Undo")
    assert draw() == "Region 3"  # the list says nothing of another one


def test_picture_of_the_view_says_what_it_is_for(analyzed: MainWindow) -> None:
    take(analyzed, "Copy the picture of the view")
    picture = QGuiApplication.clipboard().image()
    assert picture.width() == analyzed.view.width()
    assert picture.height() == analyzed.view.height() + 24
    below = picture.copy(0, analyzed.view.height(), picture.width(), 24)
    assert len({below.pixel(x, 12) for x in range(below.width())}) > 1


def test_edits_of_several_regions_are_one_step(analyzed: MainWindow, qtbot: QtBot) -> None:
    regions, history = analyzed.document.regions, analyzed.document.history
    regions.add("Draw", [rectangle(x, 300, x + 100, 600) for x in (100, 400, 700)])
    take(analyzed, "Edit regions")
    for act in (
        lambda: take(analyzed, "Duplicate"),
        lambda: qtbot.keyClick(analyzed.view, Qt.Key.Key_Right, SHIFT),
    ):
        before = history.count()
        act()
        assert history.count() == before + 1
    assert len(regions.chosen) == 3


def test_undoing_a_colour_leaves_the_threshold_of_another_model(
    analyzed: MainWindow, qtbot: QtBot
) -> None:
    document = analyzed.document
    document.show(threshold=0.8)
    document.show(colormap="magma")
    with qtbot.waitSignal(document.model_changed, timeout=WAIT_MS):
        document.choose_model("baseline")
    take(analyzed, "Undo")
    assert document.display.colormap == "viridis"
    assert document.threshold == document.operation.threshold


def test_threshold_is_of_the_slide_and_the_model(
    analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    document = analyzed.document
    tiny = document.model.path

    def choose(model: str) -> None:
        with qtbot.waitSignal(document.model_changed, timeout=WAIT_MS):
            document.choose_model(model)

    document.show(threshold=0.5)
    choose("baseline")
    assert document.threshold == document.operation.threshold
    take(analyzed, "Undo")
    take(analyzed, "Redo")
    assert document.threshold == document.operation.threshold
    choose(str(tiny))
    assert document.threshold == 0.5

    document.close()
    assert document.threshold == document.operation.threshold
    choose("baseline")
    analyzed.open(tiny_slide.path)
    qtbot.waitUntil(lambda: document.path == tiny_slide.path, timeout=WAIT_MS)
    assert document.threshold == document.operation.threshold
    choose(str(tiny))
    assert document.threshold == 0.5


def test_defect_in_background_work_is_reported_in_the_window(qtbot: QtBot) -> None:
    task = Task()
    with qtbot.captureExceptions() as reported, qtbot.waitSignal(task.failed, timeout=WAIT_MS):
        task.start(lambda: 1 // 0)
        qtbot.waitUntil(lambda: bool(reported), timeout=WAIT_MS)
    assert reported[0][0] is ZeroDivisionError
    assert not task.is_running
