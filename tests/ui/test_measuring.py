"""What is measured and marked in the window stays, by name."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtWidgets import QInputDialog
from pytestqt.qtbot import QtBot

from idc_desktop.regions.marks import POINTS
from idc_desktop.regions.shape import rectangle
from idc_desktop.ui.main_window import MainWindow
from tests.support.scenes import Scene
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, drag, mouse, on_screen, pixels_of, take


def click(window: MainWindow, *points: tuple[float, float]) -> None:
    for at in on_screen(window, *points):
        mouse(window.view, QEvent.Type.MouseButtonPress, at)
        mouse(window.view, QEvent.Type.MouseButtonRelease, at)


def test_distance_stays_is_painted_and_undone(analyzed: MainWindow, qtbot: QtBot) -> None:
    regions = analyzed.document.regions
    take(analyzed, "Measure a distance")
    without = pixels_of(analyzed.view)
    drag(analyzed.view, on_screen(analyzed, (300, 300), (500, 300), (800, 300)))
    (mark,) = regions.marks
    (x, y), (to_x, to_y) = mark.points
    assert (mark.kind, mark.name) == ("line", "Length 1")
    assert math.hypot(to_x - x, to_y - y) == pytest.approx(500, abs=3)
    assert (pixels_of(analyzed.view) != without).any()
    assert analyzed.marks.list.item(0, 2).text() == "1.00 mm"
    drag(analyzed.view, on_screen(analyzed, (300, 400), (300, 400)))
    assert regions.marks == (mark,)  # a click measures nothing
    take(analyzed, "Undo")
    assert (regions.marks, analyzed.marks.list.rowCount()) == ((), 0)
    assert (pixels_of(analyzed.view) == without).all()
    take(analyzed, "Redo")
    assert regions.marks == (mark,)


def test_marks_of_all_kinds_are_kept_and_exported(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    document = analyzed.document
    take(analyzed, "Measure an angle")
    click(analyzed, (300, 300), (500, 300), (500, 600))
    take(analyzed, "Mark a point")
    click(analyzed, (700, 500))
    take(analyzed, "Set an arrow")
    drag(analyzed.view, on_screen(analyzed, (300, 700), (600, 700), (700, 700)))
    take(analyzed, "Write a text")
    click(analyzed, (900, 300))
    dialog = analyzed.findChild(QInputDialog)
    assert dialog is not None
    dialog.setTextValue("=necrosis")
    dialog.accept()
    kept = document.regions.marks
    assert [(it.kind, it.name) for it in kept] == [
        ("angle", "Angle 1"), ("point", "Point 1"), ("arrow", "Arrow 1"), ("text", "=necrosis"),
    ]  # fmt: skip
    assert "90" in analyzed.marks.list.item(0, 2).text()

    analyzed.export(tmp_path, ["measurements"])
    qtbot.waitUntil(lambda: not analyzed.export_task.is_running, timeout=WAIT_MS)
    with (tmp_path / "tiny" / "measurements.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["Kind"] for row in rows] == ["angle", "point", "arrow", "text"]
    assert float(rows[0]["Angle °"]) == pytest.approx(90, abs=1)
    assert [row["Length µm"] for row in rows] == [""] * 4
    assert rows[3]["Name"] == "'=necrosis"
    assert float(rows[1]["X1 px"]) == pytest.approx(700, abs=3)
    slide = document.path
    assert slide is not None
    document.close()
    assert analyzed.marks.list.rowCount() == 0
    analyzed.open(slide)
    qtbot.waitUntil(lambda: document.regions.marks == kept, timeout=WAIT_MS)


def test_marks_are_chosen_renamed_shown_and_deleted(analyzed: MainWindow, qtbot: QtBot) -> None:
    regions, table = analyzed.document.regions, analyzed.marks.list
    analyzed.docks["Measurements"].show()
    regions.add_mark("line", ((100, 100), (400, 500)))
    regions.add_mark("point", ((800, 600),))
    regions.add("Draw", [rectangle(0, 0, 300, 300)])
    assert regions.chosen_marks == ()
    table.selectRow(1)
    assert (regions.chosen_marks, regions.chosen) == (regions.marks[1:], ())
    take(analyzed, "Zoom to the measurement")
    centre = analyzed.view.camera.centre
    assert (centre.x(), centre.y()) == pytest.approx((800, 600), abs=1)
    table.item(1, 0).setText("mitosis")
    assert regions.marks[1].name == "mitosis"
    table.item(1, 0).setText(" ")
    assert table.item(1, 0).text() == "mitosis"
    qtbot.keyClick(analyzed.view, Qt.Key.Key_Delete)
    assert ([it.name for it in regions.marks], len(regions.all)) == (["Length 1"], 1)


def test_longest_diameter_is_kept_of_what_is_looked_at(analyzed: MainWindow, qtbot: QtBot) -> None:
    regions = analyzed.document.regions
    keys = (Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier)
    said: list[str] = []
    analyzed.document.noted.connect(said.append)
    qtbot.keyClick(analyzed.view, *keys)
    assert "nothing to measure" in said[-1]
    regions.add("Draw", [rectangle(300, 300, 600, 700)])
    qtbot.keyClick(analyzed.view, *keys)
    (mark,) = regions.marks
    assert (mark.name, mark.length((2, 2))) == ("Longest diameter of Region 1", 1_000)
    regions.choose([regions.all[0].id])
    regions.judge("IDC")
    regions.choose([])
    regions.choose_marks([])
    qtbot.keyClick(analyzed.view, *keys)
    assert regions.marks[1].name == "Longest diameter of the accepted tumour"
    length = regions.marks[1].length((2, 2))
    assert length is not None
    assert 0 < length <= 1_000


def test_marks_are_read_back_on_a_slide_that_was_never_analyzed(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, tmp_path: Path
) -> None:
    window = open_window(tiny_slide.path)
    regions, panel, file = window.document.regions, window.regions, tmp_path / "marks.geojson"
    take(window, "Keep the longest diameter")
    assert "there is no map yet" in window.statusBar().currentMessage()
    for kind, count in POINTS.items():
        regions.add_mark(kind, tuple((100.5 * k, 50.0 + k) for k in range(1, count + 1)))
    kept = regions.marks
    with qtbot.waitSignal(panel._writing.succeeded, timeout=WAIT_MS):
        panel.write(file)
    assert window.statusBar().currentMessage().startswith("5 measurements written to")
    regions.edit_marks("Delete", remove=[it.id for it in kept[1:]])

    def read() -> str:
        with qtbot.waitSignal(panel._reading.succeeded, timeout=WAIT_MS):
            panel.read(file)
        return window.statusBar().currentMessage()

    assert read() == "4 measurements imported, 1 here already"
    assert {it.id: it for it in regions.marks} == {it.id: it for it in kept}
    assert set(regions.chosen_marks) == set(kept)
    assert read() == "Nothing new: all of them were here already"
    take(window, "Undo")
    assert regions.marks == kept[:1]
