"""What an export from the window replaces, and what it says of what it leaves."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PySide6.QtWidgets import QCheckBox, QLineEdit, QMessageBox, QPushButton
from pytestqt.qtbot import QtBot

from idc_desktop.export.folder import write_folder
from idc_desktop.export.verify import verify_folder
from idc_desktop.regions.shape import rectangle
from idc_desktop.ui.dialogs.export_dialog import ExportDialog
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.panels.analysis_panel import AnalysisPanel
from tests.support.command import file_sha256
from tests.support.models import TinyModel
from tests.support.scenes import Scene
from tests.test_export import analysis
from tests.ui.support import WAIT_MS, part, says, take


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


def test_nothing_is_exported_of_a_slide_while_another_one_is_named(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path, tiny_slide: Scene
) -> None:
    other = tmp_path / "other.tiff"
    other.write_bytes(tiny_slide.path.read_bytes())
    words = ("Export …", "Save the picture of the view …", "Report: case, reader, conclusion …")
    button = analyzed.findChild(AnalysisPanel).export_button
    assert all(analyzed.verbs.action(it).isEnabled() for it in words)
    assert button.isEnabled()

    analyzed.open(other)
    qtbot.waitUntil(lambda: analyzed.document.is_leaving, timeout=WAIT_MS)

    assert analyzed.windowTitle().startswith("Opening other.tiff")
    assert not any(analyzed.verbs.action(it).isEnabled() for it in words)
    assert not button.isEnabled()
    analyzed.export(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not analyzed.export_task.is_running
    analyzed.document.stay()
    assert all(analyzed.verbs.action(it).isEnabled() for it in words)
    assert button.isEnabled()


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


def test_export_is_asked_for_and_can_leave_out_the_name(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path, tiny_slide: Scene
) -> None:
    take(analyzed, "Export …")
    dialog = analyzed.findChild(ExportDialog)
    assert dialog is not None
    folder, write = part(dialog, QLineEdit, "Folder"), part(dialog, QPushButton, "Export")
    folder.setText("")
    assert not write.isEnabled()
    folder.setText(str(tmp_path / "out"))
    assert tiny_slide.path.stem in says(dialog)
    box = {it.text().split()[0]: it for it in dialog.findChildren(QCheckBox)}
    assert not box["DICOM"].isEnabled()
    box["Report"].setChecked(True)
    part(dialog, QCheckBox, "Leave out the slide's name").setChecked(True)
    with qtbot.waitSignal(analyzed.export_task.succeeded, timeout=WAIT_MS) as done:
        write.click()
    folder = done.args[0].folder
    assert folder.name == analyzed.document.slide.identity[:12]
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")
    name = tiny_slide.path.name.encode()
    assert not any(name in path.read_bytes() for path in folder.rglob("*") if path.is_file())
