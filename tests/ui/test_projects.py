"""Projects in the window: several lists of slides, each in a file that two windows may change."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QFileDialog, QInputDialog
from pytestqt.qtbot import QtBot

from idc_desktop.storage.project_files import added, change_project, create_project, read_project
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.panels.project_bar import PROJECT_MENU
from idc_desktop.ui.settings import Settings
from tests.support.models import TinyModel
from tests.support.scenes import Scene
from tests.support.slides import write_tiff
from tests.ui.support import WAIT_MS, kept_slides, take, window_with, words_of


@pytest.fixture
def folder(tmp_path: Path, tiny_slide: Scene) -> Path:
    """A folder of two slides."""
    slides = tmp_path / "study" / "slides"
    slides.mkdir(parents=True)
    shutil.copy(tiny_slide.path, slides / "b.tiff")
    write_tiff(slides / "a.tiff", [np.full((600, 900, 3), 190, np.uint8)], mpp=8.0)
    return slides


@pytest.fixture
def project(folder: Path) -> Path:
    """A project beside them."""
    path = folder.parent / "Mamma.idcproject"
    create_project(path, [folder / "b.tiff", folder / "a.tiff"])
    return path


def answer_files(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Have the dialogs for files answer with a path."""
    for name in ("getSaveFileName", "getOpenFileName"):
        monkeypatch.setattr(QFileDialog, name, lambda *_args: (str(path), ""))


def open_project(window: MainWindow, qtbot: QtBot, path: Path) -> None:
    window.open(path)
    qtbot.waitUntil(lambda: window.slides.project == path, timeout=WAIT_MS)


def test_a_project_that_is_opened_is_listed_and_its_first_slide_shown(
    window: MainWindow, qtbot: QtBot, project: Path, folder: Path
) -> None:
    own = folder.parent / "own.svs"
    window.slides.add([own])
    open_project(window, qtbot, project)
    qtbot.waitUntil(lambda: window.document.path == folder / "b.tiff", timeout=WAIT_MS)
    assert window.slides.paths() == [folder / "b.tiff", folder / "a.tiff"]
    assert "Mamma" in window.slide_panel.projects.text()
    assert Settings.load().recent_projects == [str(project)]
    take(window, "Close the project")
    assert window.document.path is None
    assert window.slides.paths() == [own]
    assert kept_slides() == [str(own)]
    assert window.slide_panel.projects.text() == "No project"
    assert not window.verbs.action("Close the project").isEnabled()


def test_slides_given_with_a_project_join_it(
    window: MainWindow, qtbot: QtBot, project: Path, folder: Path
) -> None:
    shutil.copy(folder / "a.tiff", folder / "c.tiff")
    window.slides.open_all([project, folder / "c.tiff"])
    qtbot.waitUntil(lambda: window.document.path == folder / "c.tiff", timeout=WAIT_MS)
    expected = [folder / name for name in ("c.tiff", "b.tiff", "a.tiff")]
    assert window.slides.paths() == expected
    qtbot.waitUntil(lambda: read_project(project) == expected)
    assert kept_slides() == []


def test_the_project_is_there_again_when_the_window_opens(
    window: MainWindow, qtbot: QtBot, project: Path, folder: Path, tiny_model: TinyModel
) -> None:
    open_project(window, qtbot, project)
    with_project = MainWindow(Settings.load(), SlideDocument(str(tiny_model.path)))
    assert with_project.slides.project == project
    assert with_project.slides.paths() == [folder / "b.tiff", folder / "a.tiff"]
    with_project.close()
    project.unlink()
    without = MainWindow(Settings.load(), SlideDocument(str(tiny_model.path)))
    with qtbot.waitSignal(without.slides.noted) as noted:
        pass
    assert "Mamma.idcproject: The project is not there" in noted.args[0]
    assert without.slides.project is None
    without.close()


@pytest.fixture
def other(window: MainWindow, tiny_model: TinyModel) -> Iterator[MainWindow]:
    """A second window."""
    with window_with(tiny_model.path) as other:
        yield other


def test_two_windows_with_one_project_lose_none_of_their_changes(
    window: MainWindow, other: MainWindow, qtbot: QtBot, project: Path, folder: Path
) -> None:
    open_project(window, qtbot, project)
    open_project(other, qtbot, project)
    for it in (window, other):  # a slide that comes later would begin a history of its own
        qtbot.waitUntil(lambda it=it: it.document.path == folder / "b.tiff", timeout=WAIT_MS)
    window.slides.add([folder / "of the first.svs"])
    other.slides.add([folder / "of the second.svs"])
    other.slides.remove([folder / "a.tiff"])
    expected = {folder / it for it in ("b.tiff", "of the first.svs", "of the second.svs")}
    qtbot.waitUntil(lambda: set(read_project(project)) == expected, timeout=WAIT_MS)
    for it in (window, other):
        qtbot.waitUntil(lambda it=it: set(it.slides.paths()) == expected, timeout=WAIT_MS)
    other.document.history.undo()
    qtbot.waitUntil(lambda: folder / "a.tiff" in window.slides.paths(), timeout=WAIT_MS)


def test_what_cannot_be_written_is_told_once_and_written_later(
    window: MainWindow, qtbot: QtBot, project: Path, folder: Path
) -> None:
    open_project(window, qtbot, project)
    text = project.read_text("utf-8")
    project.write_text("[]", "utf-8")
    told: list[str] = []
    window.slides.noted.connect(told.append)
    window.slides.add([folder / "c.svs"])
    qtbot.waitUntil(lambda: bool(told))
    window.slides.add([folder / "d.svs"])
    qtbot.wait(200)
    assert len(told) == 1
    assert "no project of IDC Desktop" in told[0]
    project.write_text(text, "utf-8")
    expected = [folder / it for it in ("d.svs", "c.svs", "b.tiff", "a.tiff")]
    assert window.slides.paths() == expected
    qtbot.waitUntil(lambda: read_project(project) == expected, timeout=WAIT_MS)


def test_the_list_becomes_a_project_and_gets_another_name(
    window: MainWindow, qtbot: QtBot, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.open(folder)
    qtbot.waitUntil(lambda: window.document.path == folder / "a.tiff", timeout=WAIT_MS)
    answer_files(monkeypatch, folder / "Study")
    take(window, "Save the list as a project …")
    path = folder / "Study.idcproject"
    qtbot.waitUntil(lambda: window.slides.project == path)
    assert window.document.path == folder / "a.tiff"  # it stays open
    assert read_project(path) == [folder / "a.tiff", folder / "b.tiff"]
    monkeypatch.setattr(QInputDialog, "getText", lambda *_args: (" Mamma 2026 ", True))
    take(window, "Rename the project …")
    named = folder / "Mamma 2026.idcproject"
    qtbot.waitUntil(lambda: window.slides.project == named)
    assert not path.exists()
    assert Settings.load().recent_projects == [str(named)]
    window.slides.remove([folder / "b.tiff"])
    qtbot.waitUntil(lambda: read_project(named) == [folder / "a.tiff"])
    window.document.history.undo()
    qtbot.waitUntil(lambda: len(read_project(named)) == 2)


def test_a_name_that_is_taken_is_refused_and_the_project_stays(
    window: MainWindow, qtbot: QtBot, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_project(window, qtbot, project)
    create_project(project.with_name("Other.idcproject"), [])
    monkeypatch.setattr(QInputDialog, "getText", lambda *_args: ("Other", True))
    with qtbot.waitSignal(window.slides.noted) as noted:
        take(window, "Rename the project …")
    assert "There is a file of this name" in noted.args[0]
    assert window.slides.project == project
    window.slides.add([project.with_name("new.svs")])
    qtbot.waitUntil(lambda: len(read_project(project)) == 3)


def test_a_new_project_is_empty_and_the_slide_of_the_other_is_closed(
    window: MainWindow, qtbot: QtBot, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.open(folder / "a.tiff")
    qtbot.waitUntil(lambda: window.document.path is not None, timeout=WAIT_MS)
    answer_files(monkeypatch, folder / "New.idcproject")
    take(window, "New project …")
    qtbot.waitUntil(lambda: window.slides.project is not None)
    assert window.document.path is None
    assert window.slides.paths() == []
    assert kept_slides() == [str(folder / "a.tiff")]


def test_selected_slides_are_in_another_project_too(
    window: MainWindow, qtbot: QtBot, folder: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(folder / "a.tiff", folder / "c.tiff")
    window.slides.add([folder / "c.tiff"])
    window.slide_panel.table.select([folder / "c.tiff"])
    answer_files(monkeypatch, project)
    with qtbot.waitSignal(window.document.noted) as noted:
        take(window, "Put the selected slides into a project …")
    assert noted.args[0] == "c.tiff is in Mamma now."
    assert read_project(project)[0] == folder / "c.tiff"
    assert window.slides.paths() == [folder / "c.tiff"]


def test_slides_that_moved_are_missing_until_one_is_pointed_to(
    window: MainWindow, qtbot: QtBot, folder: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = folder.parent / "archive"
    shutil.move(folder, moved)
    open_project(window, qtbot, project)
    qtbot.waitUntil(lambda: set(words_of(window).values()) == {"not found"}, timeout=WAIT_MS)
    answer_files(monkeypatch, moved / "b.tiff")
    take(window, "Find the missing slide …")
    qtbot.waitUntil(lambda: window.slides.paths() == [moved / "b.tiff", moved / "a.tiff"])
    qtbot.waitUntil(lambda: "not found" not in words_of(window).values(), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: read_project(project) == window.slides.paths())
    window.document.history.undo()
    assert window.slides.paths() == [folder / "b.tiff", folder / "a.tiff"]


def test_a_change_made_just_before_the_window_closes_is_kept(
    window: MainWindow, qtbot: QtBot, project: Path, folder: Path
) -> None:
    open_project(window, qtbot, project)
    window.slides.remove([folder / "a.tiff"])
    window.close()
    assert read_project(project) == [folder / "b.tiff"]


def test_recent_projects_are_offered(window: MainWindow, qtbot: QtBot, project: Path) -> None:
    open_project(window, qtbot, project)
    recent = window.verbs.menu(window, f"{PROJECT_MENU}>Re&cent projects")
    recent.aboutToShow.emit()
    assert [it.text() for it in recent.actions()] == [f"&1  Mamma   ({project.parent})"]
    take(window, "Close the project")
    recent.actions()[0].trigger()
    qtbot.waitUntil(lambda: window.slides.project == project, timeout=WAIT_MS)


def test_hostile_projects_change_nothing(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window.slides.add([tmp_path / "own.svs"])
    path = tmp_path / "bad.idcproject"
    path.write_text("[" * 100_000, "utf-8")
    with qtbot.waitSignal(window.slides.refused) as refused:
        window.open(path)
    assert "bad.idcproject: This is no project of IDC Desktop" in refused.args[0]
    assert window.slides.project is None
    assert window.slides.paths() == [tmp_path / "own.svs"]


def test_changes_of_others_are_seen(
    window: MainWindow, qtbot: QtBot, project: Path, folder: Path
) -> None:
    open_project(window, qtbot, project)
    change_project(project, [partial(added, new=[folder / "c.svs"])])
    qtbot.waitUntil(lambda: len(window.slides) == 3, timeout=WAIT_MS)
