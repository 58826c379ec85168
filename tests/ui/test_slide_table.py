"""The slides as a table: what is known of each, sorted, searched, and acted on."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QCheckBox, QDialog, QPushButton
from pytestqt.qtbot import QtBot

from idc_desktop.cohorts.tables import COHORT_COLUMNS
from idc_desktop.regions.shape import rectangle
from idc_desktop.ui.listed_slides import ListedSlides
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.outcome import Details, Outcome
from idc_desktop.ui.panels.slide_table import SlideTable
from idc_desktop.ui.slide_model import COLUMNS
from idc_desktop.ui.time_left import TimeLeft
from tests.support.scenes import Scene
from tests.ui.support import WAIT_MS, kept_slides, part

DESCENDING = Qt.SortOrder.DescendingOrder
FOLDER = Path("/slides")


@pytest.fixture
def table(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> SlideTable:
    """A table of three slides, of which two were analyzed; their files are not looked at."""
    monkeypatch.setattr(ListedSlides, "_look", lambda self, paths: None)
    window.slides.add([FOLDER / name for name in ("b.svs", "a.svs", "c.svs")])
    statuses, sha256 = window.slide_panel.statuses, window.document.model.sha256
    for name, fraction, note in (("a.svs", 0.25, "ask for HER2"), ("b.svs", 0.75, "")):
        figures = {"Foci": "3", "Largest focus µm^2": "2500000.0"}
        details = Details(figures, "12 patches excluded.", 1.5e6, 2, note)
        outcome = Outcome("tiny", 0.5, fraction, 1e6, 0, details=details)
        statuses.learn(FOLDER / name, {sha256: outcome})
    statuses.learn(FOLDER / "c.svs", {})
    window.docks["Slide table"].show()
    return window.slide_panel.table


def cells(table: SlideTable, title: str) -> list[str]:
    """Return what a column says, from the top."""
    column = next(place for place, it in enumerate(COLUMNS) if it.title == title)
    return [str(table.rows.index(row, column).data()) for row in range(table.rows.rowCount())]


def test_what_is_not_known_is_empty_and_comes_last(table: SlideTable) -> None:
    assert cells(table, "Name") == ["b.svs", "a.svs", "c.svs"]
    assert cells(table, "IDC, %") == ["75.0", "25.0", ""]
    assert cells(table, "Accepted, mm²") == ["1.500", "1.500", ""]
    assert cells(table, "Largest, mm²") == ["2.500", "2.500", ""]
    assert cells(table, "Judged") == ["2", "2", ""]
    assert cells(table, "Failed") == ["0", "0", ""]
    share = next(place for place, it in enumerate(COLUMNS) if it.title == "IDC, %")
    table.view.sortByColumn(share, Qt.SortOrder.AscendingOrder)
    assert cells(table, "Name") == ["a.svs", "b.svs", "c.svs"]
    table.view.sortByColumn(share, DESCENDING)
    assert cells(table, "Name") == ["b.svs", "a.svs", "c.svs"]
    table.view.sortByColumn(0, DESCENDING)
    assert cells(table, "Name") == ["c.svs", "b.svs", "a.svs"]
    table.unsort()
    assert cells(table, "Name") == ["b.svs", "a.svs", "c.svs"]


def test_search_looks_at_names_states_and_notes_and_keeps_what_is_selected(
    table: SlideTable,
) -> None:
    table.select([FOLDER / "a.svs"])
    for text, found in (
        ("her2", ["a.svs"]),
        ("EXCLUDED b.", ["b.svs"]),
        ("not analyzed", ["c.svs"]),
        ("nothing such", []),
    ):
        table.search.setText(text)
        assert cells(table, "Name") == found
    table.search.clear()
    assert len(cells(table, "Name")) == 3
    table.select([FOLDER / "c.svs", FOLDER / "b.svs"])
    table.search.setText("c.svs")
    assert table.selected() == [FOLDER / "c.svs"]
    assert table.count.text() == "1 of 3 slides, 1 selected"


def test_several_slides_leave_the_list_by_one_key_and_come_back(
    window: MainWindow, qtbot: QtBot, table: SlideTable
) -> None:
    table.view.setFocus()
    qtbot.keyClick(table.view, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert len(table.selected()) == 3
    table.select([FOLDER / "b.svs", FOLDER / "c.svs"])
    qtbot.keyClick(table.view, Qt.Key.Key_Delete)
    assert cells(table, "Name") == ["a.svs"]
    qtbot.waitUntil(lambda: kept_slides() == [str(FOLDER / "a.svs")])
    assert "2 slides" in window.verbs.action("Undo").text()
    window.verbs.action("Undo").trigger()
    assert cells(table, "Name") == ["b.svs", "a.svs", "c.svs"]
    assert cells(table, "IDC, %") == ["75.0", "25.0", ""]


def test_selected_slides_are_analyzed_as_far_as_that_is_not_done(
    window: MainWindow, table: SlideTable
) -> None:
    table.select([FOLDER / "a.svs", FOLDER / "c.svs"])
    table.analyze()
    runs = window.document.runs
    assert runs.total == 1
    run = runs.of(FOLDER / "c.svs")
    assert run is not None
    assert cells(table, "State")[2] == "starting …"
    runs.cancel_all()


def test_details_follow_verdicts_and_are_kept(
    analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    """They are measured in the background, and read back without opening the slide."""
    document, statuses = analyzed.document, analyzed.slide_panel.statuses
    sha256, slide = document.model.sha256, tiny_slide.path

    def details() -> Details:
        outcome = statuses.of(slide).outcome
        found = outcome.details if outcome is not None else None
        return found or Details({})

    qtbot.waitUntil(lambda: "Foci" in details().figures, timeout=WAIT_MS)
    assert details().accepted_um2 is None
    qtbot.waitUntil(lambda: len(analyzed.foci.foci) == details().number("Foci"), timeout=WAIT_MS)
    description = document.slide
    assert description is not None
    width, height = description.width_l0, description.height_l0
    document.regions.add("Draw", [rectangle(0, 0, width, height)])
    document.regions.judge("IDC")
    qtbot.waitUntil(lambda: details().accepted_um2 is not None, timeout=WAIT_MS)
    assert details().accepted_um2 == pytest.approx(details().number("IDC area µm^2"))
    assert details().judged_foci == len(analyzed.foci.foci)
    qtbot.waitUntil(lambda: Outcome.all_stored(slide)[sha256].details == details(), timeout=WAIT_MS)


def test_table_is_written_with_the_columns_of_a_cohort(
    window: MainWindow, qtbot: QtBot, table: SlideTable, tmp_path: Path
) -> None:
    window.slide_panel.statuses.take_unreadable(FOLDER / "c.svs", "c.svs: damaged")
    target = tmp_path / "all.csv"
    table.write(target)
    qtbot.waitUntil(target.exists, timeout=WAIT_MS)
    with target.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COHORT_COLUMNS
    assert [(it["Image"], it["Status"], it["Foci"], it["Error"]) for it in rows] == [
        ("a.svs", "done", "3", ""),
        ("b.svs", "done", "3", ""),
        ("c.svs", "refused", "", "c.svs: damaged"),
    ]
    told: list[str] = []
    window.slides.noted.connect(told.append)
    table.write(tmp_path / "no such folder" / "all.csv")
    qtbot.waitUntil(lambda: bool(told), timeout=WAIT_MS)
    assert "The table cannot be written" in told[0]


def test_what_failed_is_told_by_its_reason(
    window: MainWindow, table: SlideTable, qtbot: QtBot
) -> None:
    statuses = window.slide_panel.statuses
    pages: list[tuple[str, str]] = []
    table.page_asked.connect(lambda *page: pages.append(page))
    verb = window.verbs.action("What failed …")
    button = next(it for it in table.findChildren(QPushButton) if it.text() == "What failed …")
    assert not verb.isEnabled()  # nothing failed so far
    assert not button.isEnabled()
    for name in ("b.svs", "c.svs"):
        statuses.learn(FOLDER / name, {}, is_missing=True)
    qtbot.waitUntil(verb.isEnabled, timeout=WAIT_MS)
    assert button.isEnabled()
    verb.trigger()
    ((title, html),) = pages
    assert title == "What failed"
    assert html.count("<h3>") == 1
    assert "<li>b.svs</li><li>c.svs</li>" in html
    assert "1 analyzed" in html
    for dialog in window.findChildren(QDialog):
        dialog.close()


def test_one_threshold_for_all_has_those_measured_that_are_at_another(
    window: MainWindow, table: SlideTable, qtbot: QtBot
) -> None:
    document, statuses = window.document, window.slide_panel.statuses
    told: list[str] = []
    document.noted.connect(told.append)
    analyzed = [FOLDER / "a.svs", FOLDER / "b.svs"]
    assert statuses.left_to_do(analyzed) == []
    part(window.inspector, QCheckBox, "For all slides").click()
    assert window.verbs.action("One threshold for all slides").isChecked()
    assert document.threshold == 0.5
    assert statuses.left_to_do(analyzed) == []  # they are at this one
    document.show(threshold=0.2)
    assert statuses.left_to_do(analyzed) == analyzed
    qtbot.waitUntil(lambda: any("2 of 2 slides" in it for it in told), timeout=WAIT_MS)
    window.verbs.action("One threshold for all slides").trigger()
    assert document.threshold == document.operation.threshold
    assert statuses.left_to_do(analyzed) == []


def test_slides_are_measured_at_the_threshold_of_all_without_being_computed_anew(
    analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window, document = analyzed, analyzed.document
    statuses, slide = window.slide_panel.statuses, tiny_slide.path
    qtbot.waitUntil(lambda: statuses.of(slide).outcome is not None, timeout=WAIT_MS)
    document.share_threshold(True)
    document.show(threshold=0.01)
    window.verbs.action("Undo").trigger()
    assert document.threshold == document.operation.threshold
    window.verbs.action("Redo").trigger()
    document.close()
    assert document.display.common is not None
    document.show(threshold=0.02)
    assert statuses.left_to_do([slide]) == [slide]
    window.slide_panel.analyze_or_pause()
    qtbot.waitUntil(lambda: not document.runs.is_active, timeout=WAIT_MS)
    outcome = statuses.of(slide).outcome
    assert outcome is not None
    assert outcome.threshold == 0.02
    window.open(slide)
    qtbot.waitUntil(lambda: document.path == slide, timeout=WAIT_MS)
    assert document.threshold == 0.02  # whatever was kept of this slide


def test_foci_are_gone_through_slide_after_slide(
    analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene, tmp_path: Path
) -> None:
    """From the last focus of a slide to the first one of the next that has any."""
    window, document, foci = analyzed, analyzed.document, analyzed.foci
    qtbot.waitUntil(lambda: bool(foci.foci), timeout=WAIT_MS)
    bare, other = tmp_path / "bare.tiff", tmp_path / "other.tiff"
    for path in (bare, other):
        shutil.copy(tiny_slide.path, path)
    window.slides.add([tiny_slide.path, bare, other])  # one slide, under three names
    statuses, sha256 = window.slide_panel.statuses, document.model.sha256
    without = Outcome("tiny", 0.5, 0.0, 0.0, 0, details=Details({"Foci": "0"}))
    statuses._outcomes[bare] = {sha256: without}
    statuses._outcomes[other] = {sha256: Outcome("tiny", 0.5, 0.5, 1e6, 0)}
    for _ in foci.foci:
        window.verbs.action("Next focus, also of the next slide").trigger()
    assert foci.list.currentRow() == len(foci.foci) - 1
    assert document.path == tiny_slide.path
    window.verbs.action("Next focus, also of the next slide").trigger()
    qtbot.waitUntil(lambda: document.path == other, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: foci.list.currentRow() == 0, timeout=WAIT_MS)
    foci.list.setCurrentCell(len(foci.foci) - 1, 0)
    window.verbs.action("Next focus, also of the next slide").trigger()
    assert document.opening is None
    assert document.path == other


def test_time_left_is_told_from_the_pace_without_pauses() -> None:
    now = [0.0]
    left = TimeLeft(lambda: now[0])
    left.begin()
    left.work(True)
    assert left.text(0.5, 10) == ""  # too early to tell
    now[0] = 60.0
    assert left.text(1, 10) == "about 9 min left"
    left.work(False)
    now[0] = 6_000.0
    left.work(True)
    assert left.text(1, 10) == "about 9 min left"
    assert left.text(1, 1_000) == "about 16.6 h left"
    assert left.text(9.5, 10) == "less than a minute left"


def test_thousands_of_rows_cost_what_is_seen_of_them(
    window: MainWindow, table: SlideTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state is asked for once, however often rows are sorted; pictures only of what is seen."""
    asked: list[Path] = []
    statuses, pictures = window.slide_panel.statuses, window.slide_panel.pictures
    of = statuses.of
    monkeypatch.setattr(statuses, "of", lambda slide: asked.append(slide) or of(slide))
    monkeypatch.setattr(pictures, "_read", lambda folder: None)
    window.slides.add([FOLDER / f"{number:04}.svs" for number in range(1_000)])
    for column in range(len(COLUMNS)):
        table.view.sortByColumn(column, DESCENDING)
    table.search.setText("99")
    QApplication.processEvents()
    assert table.rows.rowCount() == 19
    # Again where two seconds pass: what the list says of all states is then counted anew.
    assert len(asked) <= 3 * 1_003 + len(COLUMNS)
    assert 0 < len(pictures._icons) < 40
