"""The list of slides: folders, drops, thumbnails, files that are gone."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QItemSelectionModel, QMimeData, QPointF, QSize, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QMenu
from pytestqt.qtbot import QtBot

from idc_desktop.regions.shape import rectangle
from idc_desktop.storage.project_files import MAX_SLIDES
from idc_desktop.ui.listed_slides import ListedSlides
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.run import RunState
from idc_desktop.ui.slide_model import PICTURE_ROLE
from idc_desktop.ui.thumbnails import Thumbnails, _file, kept_picture
from tests.support.messages import description_of
from tests.support.scenes import Scene
from tests.support.slides import write_tiff
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, kept_slides, pixels_of, tips_of, words_of


@pytest.fixture
def folder(tmp_path: Path, tiny_slide: Scene) -> Path:
    """A folder of two slides and a text."""
    slides = tmp_path / "slides"
    slides.mkdir()
    shutil.copy(tiny_slide.path, slides / "b.tiff")
    write_tiff(slides / "a.tiff", [np.full((600, 900, 3), 190, np.uint8)], mpp=8.0)
    (slides / "notes.txt").write_text("no slide", encoding="utf-8")
    return slides


def test_folder_is_listed_and_walked_through(
    window: MainWindow, qtbot: QtBot, folder: Path
) -> None:
    window.open(folder)
    qtbot.waitUntil(lambda: window.document.path == folder / "a.tiff", timeout=WAIT_MS)
    assert window.slides.paths() == [folder / "a.tiff", folder / "b.tiff"]
    window.verbs.action("Next slide").trigger()
    qtbot.waitUntil(lambda: window.document.path == folder / "b.tiff", timeout=WAIT_MS)
    window.verbs.action("Next slide").trigger()  # there is none
    window.verbs.action("Previous slide").trigger()
    qtbot.waitUntil(lambda: window.document.path == folder / "a.tiff", timeout=WAIT_MS)
    qtbot.waitUntil(lambda: kept_slides() == [str(folder / "a.tiff"), str(folder / "b.tiff")])


def test_folder_is_looked_through_to_the_last_and_results_are_no_slides(
    window: MainWindow, qtbot: QtBot, folder: Path
) -> None:
    deep = folder / "2024" / "case 7"
    deep.mkdir(parents=True)
    shutil.move(folder / "b.tiff", deep / "b.tiff")
    results = folder / "results" / "a"
    results.mkdir(parents=True)
    shutil.copy(folder / "a.tiff", results / "probability.ome.tiff")
    (results / "provenance.json").write_text("{}", encoding="utf-8")
    told: list[str] = []
    window.slides.noted.connect(told.append)
    window.slides.open_all([folder / "a.tiff", folder])
    qtbot.waitUntil(lambda: window.document.path == folder / "a.tiff", timeout=WAIT_MS)
    assert window.slides.paths() == [folder / "a.tiff", deep / "b.tiff"]
    assert told == []


def test_dropped_files_join_the_list(window: MainWindow, qtbot: QtBot, folder: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(folder / name)) for name in ("b.tiff", "a.tiff")])
    event = QDropEvent(
        QPointF(50, 50),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    window.dropEvent(event)
    qtbot.waitUntil(lambda: window.document.path == folder / "b.tiff", timeout=WAIT_MS)
    assert window.slides.paths() == [folder / "b.tiff", folder / "a.tiff"]


def test_empty_folder_is_answered(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    from PySide6.QtWidgets import QMessageBox

    (tmp_path / "empty").mkdir()
    window.open(tmp_path / "empty")
    qtbot.waitUntil(lambda: window.findChild(QMessageBox) is not None, timeout=WAIT_MS)
    box = window.findChild(QMessageBox)
    assert box is not None
    assert "no slide in this folder" in box.text()
    box.close()


def test_slides_that_have_no_room_in_the_list_are_told(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is listed is remembered."""
    monkeypatch.setattr(
        ListedSlides, "_look", lambda self, paths: None
    )  # 5,000 files that do not exist
    told: list[str] = []
    window.slides.noted.connect(told.append)
    window.slides.add([tmp_path / f"{number}.svs" for number in range(MAX_SLIDES)])
    assert told == []
    assert len(window.slides) == MAX_SLIDES
    qtbot.waitUntil(lambda: len(kept_slides()) == MAX_SLIDES)
    window.slides.add([tmp_path / "one.svs", tmp_path / "two.svs"])
    assert told == [f"The list has room for {MAX_SLIDES:,} slides: the last 2 left it."]
    assert len(window.slides) == MAX_SLIDES
    qtbot.waitUntil(lambda: len(kept_slides()) == MAX_SLIDES)


def test_slide_taken_off_the_list_stays_on_disk(
    open_window: OpenWindow, qtbot: QtBot, folder: Path
) -> None:
    window = open_window(folder / "b.tiff")
    point_at(window, 0)
    qtbot.keyClick(window.slide_panel.list, Qt.Key.Key_Delete)
    assert len(window.slides) == 0
    qtbot.waitUntil(lambda: kept_slides() == [])
    assert (folder / "b.tiff").exists()


def choose(window: MainWindow, slide: Path) -> None:
    """Click a slide of the list."""
    shown = window.slide_panel.list
    at = shown.visualRect(shown.model().index(window.slides.paths().index(slide), 0)).center()
    QTest.mouseClick(shown.viewport(), Qt.MouseButton.LeftButton, pos=at)


def point_at(window: MainWindow, row: int) -> None:
    """Move the frame of the list to a row, as keys do."""
    shown = window.slide_panel.list
    flags = QItemSelectionModel.SelectionFlag
    shown.selectionModel().setCurrentIndex(shown.model().index(row, 0), flags.NoUpdate)


def highlighted(window: MainWindow) -> list[str]:
    return [str(it.data()) for it in window.slide_panel.list.selectedIndexes()]


def test_slide_that_is_open_is_chosen_again_while_another_one_is_opening(
    open_window: OpenWindow, qtbot: QtBot, folder: Path
) -> None:
    window = open_window(folder / "b.tiff")
    window.slides.add([folder / "a.tiff"])
    document, veil = window.document, window.veil
    assert veil.isHidden()
    choose(window, folder / "a.tiff")
    assert highlighted(window) == ["a.tiff"]
    assert window.windowTitle().startswith("Opening a.tiff")
    assert veil.isVisible()
    assert veil.text == "Opening a.tiff …"
    assert not window.verbs.action("Analyze").isEnabled()
    document.analyze()
    assert document.state is not RunState.RUNNING
    tiles = document._candidate[0] if document._candidate else None
    choose(window, folder / "b.tiff")
    assert document.opening is None
    assert tiles is not None
    tiles.opened.emit(description_of())  # what is under way already
    assert document.path == folder / "b.tiff"
    assert highlighted(window) == ["b.tiff"]
    assert window.windowTitle().startswith("b.tiff")
    assert veil.isHidden()


def test_slide_that_cannot_be_opened_gives_its_place_back(
    open_window: OpenWindow, qtbot: QtBot, folder: Path
) -> None:
    window = open_window(folder / "b.tiff")
    (folder / "bad.tiff").write_bytes(b"rubbish" * 99)
    window.slides.add([folder / "bad.tiff"])
    choose(window, folder / "bad.tiff")
    assert window.veil.isVisible()
    assert highlighted(window) == ["bad.tiff"]
    qtbot.waitUntil(window.veil.isHidden, timeout=WAIT_MS)
    assert highlighted(window) == ["b.tiff"]
    assert window.windowTitle().startswith("b.tiff")


def test_keys_and_right_button_leave_the_highlight_on_what_is_shown(
    open_window: OpenWindow, qtbot: QtBot, folder: Path
) -> None:
    window = open_window(folder / "b.tiff")
    window.slides.add([folder / "a.tiff"])
    shown = window.slide_panel.list
    shown.setFocus()
    qtbot.keyClick(shown, Qt.Key.Key_Up)
    assert shown.currentIndex().row() == 0
    assert highlighted(window) == ["b.tiff"]
    other = shown.visualRect(shown.model().index(0, 0)).center()
    qtbot.mouseClick(shown.viewport(), Qt.MouseButton.RightButton, pos=other)
    assert highlighted(window) == ["b.tiff"]
    shown.step(-1)
    qtbot.waitUntil(lambda: window.document.path == folder / "a.tiff", timeout=WAIT_MS)


def test_open_slide_that_is_taken_off_the_list_is_closed_and_comes_back(
    open_window: OpenWindow, qtbot: QtBot, folder: Path
) -> None:
    window = open_window(folder / "b.tiff")
    slides, document = window.slides, window.document
    slides.add([folder / "a.tiff"])
    document.runs.analyze_all([folder / "b.tiff", folder / "a.tiff"])
    slides.remove([folder / "b.tiff"])
    assert document.path is None
    assert highlighted(window) == []
    assert document.runs.of(folder / "b.tiff") is None
    slides.remove([folder / "a.tiff"])
    assert not document.runs.is_active
    assert len(slides) == 0
    assert "a.tiff" in window.verbs.action("Undo").text()
    window.verbs.action("Undo").trigger()
    assert slides.paths() == [folder / "a.tiff"]
    assert document.opening is None  # it was not open
    window.verbs.action("Undo").trigger()
    assert slides.paths() == [folder / "a.tiff", folder / "b.tiff"]
    qtbot.waitUntil(lambda: document.path == folder / "b.tiff", timeout=WAIT_MS)
    assert highlighted(window) == ["b.tiff"]
    qtbot.waitUntil(lambda: kept_slides() == [str(folder / "a.tiff"), str(folder / "b.tiff")])


@pytest.mark.parametrize("is_undone", [False, True])
def test_slide_that_is_opening_opens_though_the_open_one_is_taken_off(
    open_window: OpenWindow, qtbot: QtBot, folder: Path, is_undone: bool
) -> None:
    window = open_window(folder / "b.tiff")
    window.slides.add([folder / "a.tiff"])
    choose(window, folder / "a.tiff")
    window.slides.remove([folder / "b.tiff"])
    assert window.document.path is None
    assert window.document.opening == folder / "a.tiff"
    if is_undone:
        window.verbs.action("Undo").trigger()
        assert window.slides.paths() == [folder / "a.tiff", folder / "b.tiff"]
    assert highlighted(window) == ["a.tiff"]
    qtbot.waitUntil(lambda: window.document.path == folder / "a.tiff", timeout=WAIT_MS)
    assert highlighted(window) == ["a.tiff"]
    assert window.document.opening is None


def test_removal_is_done_again(open_window: OpenWindow, folder: Path) -> None:
    window = open_window(folder / "b.tiff")
    window.slides.add([folder / "a.tiff"])
    window.slides.remove([folder / "a.tiff"])
    window.verbs.action("Undo").trigger()
    choose(window, folder / "a.tiff")
    window.verbs.action("Redo").trigger()
    assert window.slides.paths() == [folder / "b.tiff"]
    assert window.document.opening is None
    assert window.document.path == folder / "b.tiff"


def test_delete_takes_no_slide_off_while_a_region_is_chosen(
    open_window: OpenWindow, qtbot: QtBot, folder: Path
) -> None:
    window = open_window(folder / "b.tiff")
    regions = window.document.regions
    regions.add("Draw", [rectangle(100, 100, 700, 700)])
    assert len(regions.chosen) == 1
    point_at(window, 0)
    window.slide_panel.list.setFocus()
    qtbot.keyClick(window.slide_panel.list, Qt.Key.Key_Delete)
    assert len(window.slides) == 1
    assert window.document.path == folder / "b.tiff"


def test_opened_slide_leaves_a_thumbnail(
    open_window: OpenWindow, qtbot: QtBot, folder: Path
) -> None:
    window = open_window(folder / "b.tiff")
    qtbot.waitUntil(lambda: _file(folder / "b.tiff").exists(), timeout=WAIT_MS)
    row = window.slide_panel.rows.index(0, 0)

    def is_shown() -> bool:
        picture = row.data(PICTURE_ROLE).pixmap(84, 63).toImage()
        return picture.pixelColor(picture.width() // 2, picture.height() // 2).alpha() == 255

    qtbot.waitUntil(is_shown, timeout=WAIT_MS)
    assert "b.tiff" not in _file(folder / "b.tiff").name


def test_thumbnails_of_other_slides_are_read_and_rubbish_is_skipped(
    window: MainWindow, qtbot: QtBot, folder: Path
) -> None:
    (folder / "c.tiff").write_bytes(b"rubbish" * 50)
    thumbnails = Thumbnails(window)
    assert kept_picture(folder / "a.tiff") is None
    thumbnails.make(folder / "c.tiff")
    with qtbot.waitSignal(thumbnails.made, timeout=WAIT_MS) as made:
        thumbnails.make(folder / "a.tiff")
    path, picture = made.args
    assert path == folder / "a.tiff"
    assert abs(picture.pixelColor(picture.width() // 2, picture.height() // 2).red() - 190) < 4
    qtbot.waitUntil(lambda: kept_picture(folder / "a.tiff") is not None, timeout=WAIT_MS)
    thumbnails.close()


def test_missing_slide_is_marked(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window.slides.add([tmp_path / "gone.svs"])
    qtbot.waitUntil(lambda: words_of(window) == {"gone.svs": "not found"}, timeout=WAIT_MS)
    assert window.slides.present() == []


def test_what_is_known_of_slides_stays_known_when_others_join(
    window: MainWindow, qtbot: QtBot, folder: Path
) -> None:
    slides = window.slides
    slides.add([folder / "b.tiff"])
    qtbot.waitUntil(lambda: words_of(window)["b.tiff"] == "not analyzed", timeout=WAIT_MS)
    slides.add([folder / "a.tiff"])
    assert words_of(window)["b.tiff"] == "not analyzed"
    slides.add([folder / "b.tiff"])
    assert slides.paths() == [folder / "b.tiff", folder / "a.tiff"]
    assert list(words_of(window)) == ["b.tiff", "a.tiff"]


def test_menu_of_another_slide_leaves_the_mark_on_the_one_that_is_shown(
    open_window: OpenWindow, folder: Path
) -> None:
    window = open_window(folder / "a.tiff")
    window.slides.add([folder / "b.tiff"])
    shown = window.slide_panel.list
    point_at(window, 0)  # as the right button does
    shown.customContextMenuRequested.emit(shown.visualRect(shown.model().index(0, 0)).center())
    menu = shown.findChild(QMenu)
    assert menu is not None
    assert shown.currentIndex().row() == 0
    menu.close()
    assert shown.currentIndex().row() == 1
    assert highlighted(window) == ["a.tiff"]


def test_long_name_leaves_room_for_what_came_out(
    window: MainWindow, qtbot: QtBot, folder: Path
) -> None:
    """The second line looks as that of a short name; the tip has the whole name."""
    long = folder / f"{'a-slide-with-a-long-name-' * 5}.tiff"
    shutil.copy(folder / "b.tiff", long)
    window.slides.add([folder / "b.tiff", long])
    shown = window.slide_panel.list
    qtbot.waitUntil(
        lambda: all(it == "not analyzed" for it in words_of(window).values()), timeout=WAIT_MS
    )
    shown.setIconSize(QSize(1, 1))  # their pictures arrive when they like
    QApplication.processEvents()
    boxes = [shown.visualRect(shown.model().index(row, 0)) for row in range(2)]
    pixels, line = pixels_of(shown.viewport()), shown.fontMetrics().lineSpacing()
    last_lines = []
    for box in boxes:
        row = pixels[box.top() + 3 : box.bottom() - 3, box.left() + 3 : box.right() - 3]
        bottom = np.nonzero(row.min(axis=(1, 2)) < 128)[0][-1]
        last_lines.append(row[bottom - line + 5 : bottom + 1])
    assert np.array_equal(*last_lines)
    assert long.name in tips_of(window)[1]


def test_share_that_does_not_answer_stops_nobody(
    window: MainWindow,
    qtbot: QtBot,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = threading.Event()
    share = tmp_path / "share"
    share.mkdir()
    for name in ("access", "scandir", "stat"):
        real = getattr(os, name)

        def slow(path: Any, *rest: Any, real: Any = real, **named: Any) -> Any:
            if str(path).startswith(str(share)):
                answers.wait(WAIT_MS / 1000)
            return real(path, *rest, **named)

        monkeypatch.setattr(os, name, slow)
    before = time.monotonic()
    window.slides.add([share / "one.svs", folder / "a.tiff"])
    window.open(share)
    window.open(folder / "b.tiff")
    assert time.monotonic() - before < 1
    qtbot.waitUntil(lambda: window.document.path == folder / "b.tiff", timeout=WAIT_MS // 2)
    qtbot.waitUntil(lambda: words_of(window)["a.tiff"] == "not analyzed", timeout=WAIT_MS // 2)
    assert words_of(window)["one.svs"] == "…"
    answers.set()
    qtbot.waitUntil(lambda: words_of(window)["one.svs"] == "not found", timeout=WAIT_MS)
    qtbot.wait(100)
    assert window.document.path == folder / "b.tiff"  # of several the last one counts


def test_slide_that_cannot_be_read_is_marked(
    window: MainWindow, qtbot: QtBot, folder: Path
) -> None:
    """By whoever tries it: its thumbnail, or the view."""
    (folder / "bad.tiff").write_bytes(b"rubbish" * 50)
    window.slides.add([folder / "bad.tiff", folder / "a.tiff"])
    qtbot.waitUntil(lambda: words_of(window)["bad.tiff"] == "cannot be read", timeout=WAIT_MS)
    assert "bad.tiff: " in tips_of(window)[0].split("\n")[1]
    assert words_of(window)["a.tiff"] != "cannot be read"
    shutil.copy(folder / "b.tiff", folder / "bad.tiff")
    choose(window, folder / "bad.tiff")
    qtbot.waitUntil(lambda: window.document.path == folder / "bad.tiff", timeout=WAIT_MS)
    assert words_of(window)["bad.tiff"] != "cannot be read"
