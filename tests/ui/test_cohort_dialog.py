"""The results of a cohort in the window: its slides with their states, followed as they change."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from idc_desktop.cohorts.states import CohortFolder
from idc_desktop.commands.cli import main
from idc_desktop.ui.dialogs.cohort_dialog import CohortDialog
from idc_desktop.ui.main_window import MainWindow
from tests.support.models import TinyModel
from tests.support.scenes import Scene
from tests.ui.support import WAIT_MS


@pytest.fixture
def results(tmp_path: Path, tiny_slide: Scene, tiny_model: TinyModel) -> Path:
    """A cohort of a slide, one that is none, and one that is not done yet."""
    slides, out = tmp_path / "slides", tmp_path / "results"
    (slides / "sub").mkdir(parents=True)
    shutil.copy(tiny_slide.path, slides / "sub" / "<b>a.tiff")
    shutil.copy(tiny_slide.path, slides / "z.tiff")
    (slides / "bad.svs").write_bytes(b"no slide" * 99)
    options = ["--model", str(tiny_model.path), "--provider", "cpu", "--out", str(out)]
    assert main(["cohort", str(slides), *options]) == 3
    folder = CohortFolder(out)
    folder.forget(next(it.id for it in folder.listed() if it.image == "z.tiff"))
    return out


def shown(dialog: CohortDialog) -> list[list[str]]:
    table = dialog.table
    return [
        [item.text() if (item := table.item(row, column)) is not None else "" for column in (0, 2)]
        for row in range(table.rowCount())
    ]


def test_folder_of_a_cohort_lists_its_slides_with_their_states(
    window: MainWindow, results: Path, qtbot: QtBot
) -> None:
    folder = CohortFolder(results)
    before = {it: (results / ".cohort" / "states" / f"{it}.json") for it in folder.stamps()}
    contents = {it: path.read_bytes() for it, path in before.items()}

    window.open(results)

    qtbot.waitUntil(lambda: bool(window.findChildren(CohortDialog)), timeout=WAIT_MS)
    (dialog,) = window.findChildren(CohortDialog)
    qtbot.waitUntil(lambda: dialog.table.rowCount() == 3, timeout=WAIT_MS)
    assert shown(dialog) == [
        ["bad.svs", "refused"],
        ["sub/<b>a.tiff", "done"],
        ["z.tiff", "pending"],
    ]
    assert dialog.summary.text() == "3 slides: 1 done, 1 refused, 1 pending"
    assert "This is not a slide format" in dialog.table.item(0, 6).text()
    assert float(dialog.table.item(1, 3).text()) > 0

    # It follows the command, and selects nothing else meanwhile.
    dialog.table.selectRow(1)
    waiting = next(it for it in folder.listed() if it.image == "z.tiff")
    state = folder.state(next(it.id for it in folder.listed() if it.image == "sub/<b>a.tiff"))
    assert state is not None
    folder.keep(waiting.id, replace(state, image="z.tiff", status="partial"))
    qtbot.waitUntil(lambda: shown(dialog)[2] == ["z.tiff", "partial"], timeout=WAIT_MS)
    assert dialog.table.currentRow() == 1

    dialog.opening.click()
    qtbot.waitUntil(lambda: window.document.slide is not None, timeout=WAIT_MS)
    assert window.document.path is not None
    assert window.document.path.name == "<b>a.tiff"
    assert {it: path.read_bytes() for it, path in before.items()} == contents


def test_slides_of_an_anonymous_cohort_cannot_be_opened(
    window: MainWindow, results: Path, qtbot: QtBot
) -> None:
    folder = CohortFolder(results)
    folder.list([replace(it, place=None) for it in folder.listed()])
    window.open(results)
    qtbot.waitUntil(lambda: bool(window.findChildren(CohortDialog)), timeout=WAIT_MS)
    (dialog,) = window.findChildren(CohortDialog)
    qtbot.waitUntil(lambda: dialog.table.rowCount() == 3, timeout=WAIT_MS)

    dialog.table.selectRow(1)

    assert not dialog.opening.isEnabled()
