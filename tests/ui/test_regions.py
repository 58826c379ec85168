"""Regions in the window: the table, foci, files, undo, and what is kept."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QLabel, QMessageBox, QPushButton
from pytestqt.qtbot import QtBot

from idc_desktop.export.folder import write_regions
from idc_desktop.processes.memory import resident_bytes
from idc_desktop.processes.region_reading import RegionReading
from idc_desktop.regions import geojson
from idc_desktop.regions.editing import draw_ellipse
from idc_desktop.regions.shape import Region, rectangle, shape_of
from idc_desktop.regions.statistics import measure
from idc_desktop.ui.dialogs.export_dialog import ExportDialog
from idc_desktop.ui.exporting import Export
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.panels import region_panel
from idc_desktop.ui.panels.region_table import RegionTable
from idc_desktop.ui.run import RunState
from idc_desktop.ui.task import Task
from tests.support import crashing_engine, crashing_region_reader
from tests.support.crashing_engine import Crash
from tests.support.region_files import read_regions
from tests.support.scenes import Scene
from tests.support.slides import write_tiff
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, pixels_of, take

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
    assert "IDC: 1" in panel._summary.text()

    check = Qt.ItemDataRole.CheckStateRole
    assert table.setData(table.index(0, 5), Qt.CheckState.Checked.value, check)
    regions.choose([regions.all[0].id])
    take(analyzed, "Delete")
    assert len(regions.all) == 2  # it is locked
    said = analyzed.statusBar().currentMessage()
    assert said == "Nothing was changed: 'Tumour A' is locked. Unlock it first."

    panel._sorted.sort(6, Qt.SortOrder.DescendingOrder)
    assert panel._sorted.index(0, 0).data() == regions.all[1].name
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


def test_foci_are_listed_stepped_through_and_made_regions(
    analyzed: MainWindow, qtbot: QtBot
) -> None:
    document, panel = analyzed.document, analyzed.foci
    document.show(threshold=0.3)
    panel._neighbours.setCurrentText("sides only")
    qtbot.waitUntil(lambda: len(panel.foci) == 3, timeout=WAIT_MS)
    qtbot.keyClick(analyzed.view, Qt.Key.Key_N)
    left, top, right, bottom = panel.foci[0].shape.bounds
    middle = QPointF((left + right) / 2, (top + bottom) / 2)
    assert (analyzed.view.camera.centre - middle).manhattanLength() < 1
    assert panel._make.text() == "Make 1 region"
    take(analyzed, "Make regions of the foci")
    assert [it.shape for it in document.regions.all] == [panel.foci[0].shape]
    assert analyzed.docks["Regions"].isVisible()
    take(analyzed, "Undo")
    assert document.regions.all == ()

    qtbot.keyClick(analyzed.view, Qt.Key.Key_Escape)
    assert panel._make.text() == f"Make {len(panel.foci)} regions"
    take(analyzed, "Make regions of the foci")
    regions = document.regions.all
    assert len(regions) == len(panel.foci)
    assert analyzed.statusBar().currentMessage() == f"{len(regions)} regions made"
    assert {region.classification for region in regions} == {"IDC"}
    assert document.map is not None
    whole = [measure(it, document.map.layer(), document.mpp_xy, 0.3).idc_fraction for it in regions]
    assert whole == [1.0] * len(regions)

    take(analyzed, "Make regions of the foci")
    assert document.regions.all == regions
    assert "Nothing new" in analyzed.statusBar().currentMessage()
    document.regions.edit("Delete", remove=[regions[0].id])
    take(analyzed, "Make regions of the foci")
    said = analyzed.statusBar().currentMessage()
    assert said == f"1 region made, {len(regions) - 1} here already"


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


def test_exported_regions_are_those_of_the_window(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    regions = analyzed.document.regions
    regions.add("Draw", [rectangle(300, 300, 900, 600)], "IDC")
    with qtbot.waitSignal(analyzed.export_task.succeeded, timeout=WAIT_MS) as done:
        analyzed.export(tmp_path / "out", ["qupath"])
    folder = done.args[0].folder
    with (folder / "regions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["Name"] for row in rows] == ["Region 1", "Whole slide"]
    assert any(path.name.endswith(".geojson.gz") for path in folder.iterdir())


def test_regions_go_to_a_file_and_come_back(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    regions, panel = analyzed.document.regions, analyzed.regions
    regions.add("Draw", [rectangle(300, 300, 900, 600), rectangle(0, 0, 100, 100)], "IDC")
    kept = regions.all
    with qtbot.waitSignal(panel._writing.succeeded, timeout=WAIT_MS):
        panel.write(tmp_path / "mine.geojson.gz")
    assert len(read_regions(tmp_path / "mine.geojson.gz")[0]) == 2
    take(analyzed, "Choose all")
    take(analyzed, "Delete")
    with qtbot.waitSignal(panel._reading.succeeded, timeout=WAIT_MS):
        panel.read(tmp_path / "mine.geojson.gz")
    assert [replace(it, color=None) for it in regions.all] == list(kept)
    kept = regions.all

    (tmp_path / "bad.geojson").write_text('{"type": "FeatureCollection",\n"features": [', "utf-8")
    with qtbot.waitSignal(panel._reading.failed, timeout=WAIT_MS):
        panel.read(tmp_path / "bad.geojson")
    assert regions.all == kept
    assert "bad.geojson" in analyzed.statusBar().currentMessage()


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


def test_export_is_asked_for_and_can_leave_out_the_name(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path, tiny_slide: Scene
) -> None:
    take(analyzed, "Export …")
    dialog = analyzed.findChild(ExportDialog)
    assert dialog is not None
    dialog._folder.setText("")
    assert not dialog._write.isEnabled()
    dialog._folder.setText(str(tmp_path / "out"))
    assert tiny_slide.path.stem in dialog._where.text()
    assert not dialog._boxes["dicom"].isEnabled()
    dialog._boxes["report"].setChecked(True)
    dialog._anonymous.setChecked(True)
    with qtbot.waitSignal(analyzed.export_task.succeeded, timeout=WAIT_MS) as done:
        dialog._write.click()
    folder = done.args[0].folder
    assert folder.name == analyzed.document.slide.identity[:12]
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")
    name = tiny_slide.path.name.encode()
    assert not any(name in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_area_of_a_region_needs_no_analysis(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    document = open_window(tiny_slide.path).document
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    document.regions.add("Draw", [rectangle(300, 300, 900, 600)])
    table = RegionTable(document)
    assert table.index(0, 6).data() == "0.720"
    assert table.index(0, 8).data() == ""


def test_importing_says_what_is_new_and_what_is_replaced(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    regions, panel = analyzed.document.regions, analyzed.regions

    def read(name: str) -> str:
        with qtbot.waitSignal(panel._reading.succeeded, timeout=WAIT_MS):
            panel.read(tmp_path / name)
        return analyzed.statusBar().currentMessage()

    cell = shape_of([[[(0, 0), (200, 0), (200, 200), (0, 200)]]])  # no rectangle by its making
    ellipse = draw_ellipse((300, 300), (500.1, 600.7))
    regions.add("Draw", [cell, ellipse, rectangle(600, 0, 900, 300)], "DCIS")
    kept = regions.all
    with (tmp_path / "mine.geojson").open("w", encoding="utf-8") as file:
        geojson.write(file.write, kept, (123.4, 56.7))
    regions.edit("Lock", put=[replace(it, is_hidden=True) for it in kept[:1]])
    kept = regions.all
    assert read("mine.geojson") == "Nothing new: all of them were here already"
    assert regions.all == kept

    locked = replace(kept[1], is_locked=True)
    regions.edit("Lock", put=[locked])
    renamed = [replace(kept[0], name="Other name"), locked, Region("New", rectangle(0, 0, 9, 9))]
    write_regions(tmp_path / "other.geojson", renamed)
    assert read("other.geojson") == "2 regions imported, 1 of them replaced, 1 here already"
    assert [it.name for it in regions.all] == ["Other name", "Region 2", "Region 3", "New"]

    write_regions(tmp_path / "moved.geojson", [replace(locked, shape=locked.shape.moved(1, 0))])
    assert read("moved.geojson").startswith("Nothing was changed: 'Region 2' is locked")


def test_focus_that_is_meant_is_named_and_marked(analyzed: MainWindow, qtbot: QtBot) -> None:
    panel, view = analyzed.foci, analyzed.view
    analyzed.document.show(threshold=0.3)
    qtbot.waitUntil(lambda: bool(panel.foci), timeout=WAIT_MS)
    panel.step(1)
    assert "Focus 1 of" in analyzed.statusBar().currentMessage()
    marked = pixels_of(view)
    qtbot.keyClick(panel.list, Qt.Key.Key_Escape)
    assert (pixels_of(view) != marked).any()
    assert analyzed.statusBar().currentMessage() == ""
    assert panel.list.selectionModel().selectedRows() == []

    panel.step(1)
    analyzed.document.show(threshold=0.999)
    qtbot.waitUntil(lambda: not panel.foci, timeout=WAIT_MS)
    assert analyzed.statusBar().currentMessage() == ""


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


def test_window_closes_while_a_file_is_read(
    open_window: OpenWindow,
    qtbot: QtBot,
    tiny_slide: Scene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    window = open_window(tiny_slide.path)
    path = tmp_path / "r.geojson"
    write_regions(path, [Region("r", rectangle(0, 0, 9, 9))])
    monkeypatch.setenv(crashing_engine.VARIABLE, Crash("hang", "open").variable())
    monkeypatch.setattr(
        region_panel, "RegionReading", partial(RegionReading, module=crashing_region_reader.MODULE)
    )
    window.regions.read(path)
    (reading,) = window.regions._readings

    with qtbot.waitSignal(window.regions._reading.failed, timeout=WAIT_MS):
        window.close()
    assert reading._child.pid is not None
    qtbot.waitUntil(lambda: resident_bytes(reading._child.pid or 0) is None, timeout=WAIT_MS)


def test_work_on_one_slide_does_not_reach_another(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    document, panel = analyzed.document, analyzed.regions
    other = tmp_path / "other.tiff"
    write_tiff(other, [np.full((600, 900, 3), 190, np.uint8)], mpp=8.0)
    write_regions(tmp_path / "r.geojson", [Region("Mine", rectangle(0, 0, 300, 300))])
    document.regions.add("Draw", [rectangle(300, 300, 900, 600)], "IDC")
    export = Export.of(document, tmp_path / "out")
    qtbot.waitUntil(lambda: bool(analyzed.foci.foci), timeout=WAIT_MS)
    foci = analyzed.foci.foci
    slide, *found = document.path, *read_regions(tmp_path / "r.geojson")
    document.open(other)
    qtbot.waitUntil(lambda: document.path == other, timeout=WAIT_MS)

    panel._on_read_done((slide, *found))
    assert document.regions.all == ()
    with (export.write().folder / "regions.csv").open(encoding="utf-8", newline="") as file:
        assert [row["Name"] for row in csv.DictReader(file)] == ["Region 1", "Whole slide"]
    qtbot.waitUntil(lambda: not analyzed.foci.foci, timeout=WAIT_MS)
    analyzed.foci._on_found(("the map of the other slide", True, foci, []))
    assert analyzed.foci.foci == []


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


@pytest.mark.parametrize(("answer", "moved"), [("Scanned area", 100), ("Image", 0)])
def test_slide_with_bounds_is_asked_where_the_file_counts_from(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path, answer: str, moved: int
) -> None:
    panel, document = analyzed.regions, analyzed.document
    assert document.slide is not None
    document.slide = replace(document.slide, bounds=(100, 200, 800, 600))
    path = tmp_path / "theirs.geojson"
    write_regions(path, [Region("r", rectangle(10, 20, 300, 400))])
    members = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({"type": members["type"], "features": members["features"]}), "utf-8")
    panel.ask_and_read(path)
    box = panel.findChild(QMessageBox)
    assert box is not None
    button = next(it for it in box.buttons() if it.text().replace("&", "") == answer)
    with qtbot.waitSignal(panel._reading.succeeded, timeout=WAIT_MS):
        button.click()
    assert document.regions.all[0].shape.bounds[:2] == (10 + moved, 20 + 2 * moved)
