"""What an export from the window replaces, and what it says of what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from idc_desktop.export.folder import write_folder
from idc_desktop.export.verify import verify_folder
from idc_desktop.ui.main_window import MainWindow
from tests.support.command import file_sha256
from tests.support.models import TinyModel
from tests.test_export import analysis
from tests.ui.support import WAIT_MS


def box_of(window: MainWindow, qtbot: QtBot) -> QMessageBox:
    """Return the box that opens over the window."""
    qtbot.waitUntil(lambda: bool(window.findChildren(QMessageBox)), timeout=WAIT_MS)
    (box,) = window.findChildren(QMessageBox)
    return box


@pytest.mark.parametrize("answer", ["Cancel", "Replace"])
def test_results_of_another_slide_are_replaced_only_after_a_question(
    analyzed: MainWindow, qtbot: QtBot, tiny_model: TinyModel, tmp_path: Path, answer: str
) -> None:
    folder = tmp_path / "out" / "tiny"
    write_folder(folder, analysis(tiny_model.path), [], ("regions",))
    before = {path: file_sha256(path) for path in folder.iterdir()}

    analyzed.export(tmp_path / "out")

    box = box_of(analyzed, qtbot)
    assert box.text() == "tiny: This folder holds results of another slide."
    assert "--overwrite" not in box.informativeText()
    assert {path: file_sha256(path) for path in folder.iterdir()} == before
    (button,) = (it for it in box.buttons() if it.text().replace("&", "") == answer)
    assert box.defaultButton().text().replace("&", "") == "Cancel"
    if answer == "Replace":
        with qtbot.waitSignal(analyzed.export_task.succeeded, timeout=WAIT_MS) as done:
            button.click()
        assert done.args[0].outdated == ("regions.geojson",)
        told = [it.informativeText() for it in analyzed.findChildren(QMessageBox)]
        assert any("not written again: regions.geojson." in text for text in told)
        (folder / "regions.geojson").unlink()
        slide = analyzed.document.slide
        assert slide is not None
        assert verify_folder(folder)["slide"]["identity"] == slide.identity
    else:
        button.click()
        assert not analyzed.export_task.is_running
        assert {path: file_sha256(path) for path in folder.iterdir()} == before


def test_export_among_the_files_of_a_scan_is_refused(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "Slidedat.ini").touch()

    analyzed.export(tmp_path / "scan")

    assert box_of(analyzed, qtbot).text().startswith("scan: The results would lie in this folder")
    assert [path.name for path in (tmp_path / "scan").iterdir()] == ["Slidedat.ini"]
