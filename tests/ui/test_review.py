"""Verdicts in the window: given by keys, kept, undone, and what they come to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QInputDialog
from pytestqt.qtbot import QtBot

from idc_desktop.export.folder import write_regions
from idc_desktop.regions.shape import rectangle, shape_of
from idc_desktop.ui.main_window import MainWindow
from tests.support.command import read_csv
from tests.ui.support import WAIT_MS, on_screen, part, pixels_of, says, take


def press(window: MainWindow, qtbot: QtBot, key: Qt.Key) -> None:
    qtbot.keyClick(window.view, key)


def show_foci(window: MainWindow, qtbot: QtBot, count: int) -> None:
    window.docks["Foci"].show()
    window.document.show(threshold=0.3)
    part(window.foci, QComboBox, "Touching by").setCurrentText("sides only")
    qtbot.waitUntil(lambda: len(window.foci.foci) == count, timeout=WAIT_MS)


def figure(window: MainWindow, name: str) -> str:
    window.inspector.statistics._show()
    return window.inspector.statistics.figures[name].text()


@pytest.fixture
def three(analyzed: MainWindow, qtbot: QtBot) -> MainWindow:
    """The window with the three foci of the tiny slide."""
    show_foci(analyzed, qtbot, 3)
    return analyzed


def test_foci_are_judged_by_keys_and_that_is_undone(three: MainWindow, qtbot: QtBot) -> None:
    document, panel = three.document, three.foci
    assert figure(three, "Accepted IDC area") == "–"
    assert figure(three, "Longest diameter") == "–"
    for key in (Qt.Key.Key_N, Qt.Key.Key_C, Qt.Key.Key_J, Qt.Key.Key_I):
        press(three, qtbot, key)

    assert panel.verdicts == ["DCIS", "IDC", ""]
    assert [(it.name, it.verdict, it.is_focus) for it in document.regions.all] == [
        ("Focus 1", "DCIS", True),
        ("Focus 2", "IDC", True),
    ]
    assert [panel.list.item(row, 5).text() for row in range(3)] == ["DCIS", "IDC", ""]
    assert "2 judged" in says(panel)
    assert panel.verdict_bar.buttons["IDC"].isChecked()
    area = f"{panel.foci[1].area_um2 / 1e6:,.3f} mm²"
    assert figure(three, "Accepted IDC area") == area
    take(three, "Undo")
    assert panel.verdicts == ["DCIS", "", ""]
    assert figure(three, "Accepted IDC area") == "0.000 mm²"
    take(three, "Undo")
    assert (panel.verdicts, document.regions.all) == (["", "", ""], ())
    take(three, "Redo")
    assert panel.verdicts == ["DCIS", "", ""]


def test_verdict_is_written_at_the_outline_of_its_focus(three: MainWindow) -> None:
    """The corner of its bounds may lie on another focus, which then seems judged."""
    corners = [(600, 200), (900, 200), (900, 800), (300, 800), (300, 500), (600, 500)]
    regions, view = three.document.regions, three.view
    regions.add("Draw", [shape_of([[corners]])], "Other")
    regions.choose([regions.all[0].id])
    without = pixels_of(view)
    regions.judge("IDC")
    changed = (pixels_of(view) != without).any(axis=2)
    for point, is_there in (((600, 200), True), ((300, 200), False)):
        (at,) = on_screen(three, point)
        x, y = round(at.x()), round(at.y())
        assert changed[y - 12 : y - 5, x + 5 : x + 20].any() == is_there


def test_verdict_is_changed_and_taken_back(three: MainWindow, qtbot: QtBot) -> None:
    regions = three.document.regions
    for key in (Qt.Key.Key_N, Qt.Key.Key_0, Qt.Key.Key_K):
        press(three, qtbot, key)
    (region,) = regions.all
    assert region.verdict == "benign"
    qtbot.keyClick(three.view, Qt.Key.Key_Q, Qt.KeyboardModifier.ShiftModifier)
    assert three.foci.verdicts == ["", "", ""]
    press(three, qtbot, Qt.Key.Key_Q)
    assert [(it.id, it.verdict) for it in regions.all] == [(region.id, "unsure")]


def test_verdict_outlives_the_threshold_and_the_window(
    three: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    document = three.document
    press(three, qtbot, Qt.Key.Key_N)
    press(three, qtbot, Qt.Key.Key_I)
    (kept,) = document.regions.all
    document.show(threshold=0.999)
    qtbot.waitUntil(lambda: document.regions.focus is None, timeout=WAIT_MS)
    assert document.regions.all == (kept,)
    slide = document.path
    assert slide is not None
    document.close()
    three.open(slide)
    qtbot.waitUntil(lambda: bool(document.regions.all), timeout=WAIT_MS)
    assert document.regions.all == (kept,)


def test_chosen_region_is_judged_where_no_focus_is_looked_at(
    three: MainWindow, qtbot: QtBot
) -> None:
    regions = three.document.regions
    said: list[str] = []
    three.document.noted.connect(said.append)
    press(three, qtbot, Qt.Key.Key_I)
    assert "Nothing to judge" in said[-1]
    press(three, qtbot, Qt.Key.Key_N)
    regions.add("Draw", [rectangle(300, 300, 700, 600)])
    assert regions.focus is None  # who draws looks at what was drawn
    assert three.foci.list.currentRow() == -1
    press(three, qtbot, Qt.Key.Key_I)

    (region,) = regions.all
    assert (region.verdict, region.is_focus) == ("IDC", False)
    table = three.regions.table
    assert table.data(table.index(0, 2)) == "IDC"
    assert table.setData(table.index(0, 2), "unsure")
    assert not table.setData(table.index(0, 2), "a guess")
    assert regions.all[0].verdict == "unsure"
    assert figure(three, "Longest diameter") == "1.00 mm"  # 400 x 300 px of 2 µm
    press(three, qtbot, Qt.Key.Key_I)
    qtbot.waitUntil(lambda: table.index(0, 9).data() not in ("", "0.000"), timeout=WAIT_MS)
    assert table.index(0, 9).data() == table.index(0, 8).data()
    press(three, qtbot, Qt.Key.Key_K)
    qtbot.waitUntil(lambda: table.index(0, 9).data() == "0.000", timeout=WAIT_MS)


def test_note_is_written_on_a_focus_and_exported(
    three: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    press(three, qtbot, Qt.Key.Key_N)
    press(three, qtbot, Qt.Key.Key_F4)
    dialog = three.findChild(QInputDialog)
    assert dialog is not None
    assert "focus 1" in dialog.labelText()
    dialog.setTextValue("=necrosis\nin the middle")
    dialog.accept()
    (region,) = three.document.regions.all
    assert (region.verdict, region.note) == ("", "=necrosis\nin the middle")
    press(three, qtbot, Qt.Key.Key_I)
    assert three.document.regions.all[0].note == region.note
    assert three.foci.list.item(0, 5).text() == "IDC: =necrosis in the middle"

    three.export(tmp_path)
    qtbot.waitUntil(lambda: not three.export_task.is_running, timeout=WAIT_MS)
    row, whole = read_csv(tmp_path / "tiny" / "regions.csv")
    assert (row["Verdict"], row["Note"]) == ("IDC", "'=necrosis\nin the middle")
    assert row["Accepted IDC area µm^2"] == row["IDC area µm^2"] == row["Area µm^2"]
    assert whole["Accepted IDC area µm^2"] == row["IDC area µm^2"]
    assert (whole["Verdict"], whole["Note"]) == ("", "")
    assert float(whole["IDC area µm^2"]) > float(row["IDC area µm^2"])


def test_step_to_the_next_that_is_not_judged(three: MainWindow, qtbot: QtBot) -> None:
    said: list[str] = []
    three.document.noted.connect(said.append)
    rows = []
    for _ in range(3):
        press(three, qtbot, Qt.Key.Key_J)
        rows.append(three.foci.list.currentRow())
        press(three, qtbot, Qt.Key.Key_0)
    assert rows == [0, 1, 2]
    assert "3 of 3 foci judged" in said[-1]
    press(three, qtbot, Qt.Key.Key_J)
    assert said[-1] == "All foci of the list are judged."


def test_verdict_follows_what_is_cut_and_goes_where_unlike_is_united(
    three: MainWindow, qtbot: QtBot
) -> None:
    regions = three.document.regions
    regions.add("Draw", [rectangle(0, 0, 400, 400)])
    regions.judge("DCIS")
    regions.write_note("n")
    (whole,) = regions.all
    halves = [rectangle(0, 0, 200, 400), rectangle(200, 0, 400, 400)]
    regions.split("Split", {whole: halves})
    assert [(it.verdict, it.note) for it in regions.all] == [("DCIS", "n")] * 2
    assert len({it.id for it in regions.all}) == 2
    regions.choose([regions.all[1].id])
    regions.judge("benign")
    take(three, "Choose all")
    take(three, "Unite")
    assert [it.verdict for it in regions.all] == [""]
    assert "not all judged alike" in three.statusBar().currentMessage()


def test_file_that_knows_no_verdicts_takes_none_away(
    three: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    regions = three.document.regions
    press(three, qtbot, Qt.Key.Key_N)
    press(three, qtbot, Qt.Key.Key_I)
    (judged,) = regions.all
    write_regions(tmp_path / "mine.geojson", [judged])
    text = json.loads((tmp_path / "mine.geojson").read_text(encoding="utf-8"))
    properties = text["features"][0]["properties"]
    assert properties.pop("metadata") == {"Verdict": "IDC"}
    properties["name"] = "renamed elsewhere"
    (tmp_path / "mine.geojson").write_text(json.dumps(text), encoding="utf-8")
    three.regions.read(tmp_path / "mine.geojson")
    qtbot.waitUntil(lambda: regions.all[0].name == "renamed elsewhere", timeout=WAIT_MS)
    assert (regions.all[0].verdict, regions.all[0].id) == ("IDC", judged.id)


def test_focus_judged_otherwise_within_an_area_judged_idc_is_told(
    three: MainWindow, qtbot: QtBot
) -> None:
    regions = three.document.regions
    press(three, qtbot, Qt.Key.Key_N)
    press(three, qtbot, Qt.Key.Key_K)
    (focus,) = regions.all
    _, _, right, bottom = focus.shape.bounds
    regions.add("Draw", [rectangle(0, 0, right + 100, bottom + 100)])
    press(three, qtbot, Qt.Key.Key_I)
    assert f"{focus.name} (benign): within an area judged IDC" in three.statusBar().currentMessage()
    table = three.regions.table
    cell = table.index(0, 2)
    assert cell.data() == "benign, within IDC"
    assert cell.data(Qt.ItemDataRole.EditRole) == "benign"
    assert "counts whole" in cell.data(Qt.ItemDataRole.ToolTipRole)
    qtbot.waitUntil(
        lambda: figure(three, "Accepted IDC area").endswith("mm² judged otherwise"), timeout=WAIT_MS
    )
    take(three, "Undo")
    assert table.index(0, 2).data() == "benign"
