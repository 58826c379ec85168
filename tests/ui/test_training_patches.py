"""From the window to training: reviewed regions become outlines that the trainer takes."""

from __future__ import annotations

import csv
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog, QMessageBox
from pytestqt.qtbot import QtBot

from idc_desktop.export.training import NEGATIVE, POSITIVE, reviewed
from idc_desktop.regions.book import RegionBook
from idc_desktop.regions.shape import Region, rectangle
from idc_desktop.slides.slide_files import SlideFiles
from idc_desktop.storage.user_data import data_folder, slide_folder
from idc_desktop.ui.main_window import MainWindow
from tests.support.region_files import read_regions
from tests.support.slides import PURPLE, Canvas, write_tiff
from tests.ui.support import WAIT_MS, take
from trainer.cli import main

CELL = 200  # level-0 pixels of the tiny slide


def box(row: int, col: int, **more: str) -> Region:
    shape = rectangle(col * CELL, row * CELL, (col + 1) * CELL, (row + 1) * CELL)
    return Region(f"r{row}c{col}", shape, **more)


def shown(window: MainWindow, qtbot: QtBot) -> QMessageBox:
    boxes: list[QMessageBox] = []

    def is_there() -> bool:
        boxes[:] = [it for it in window.findChildren(QMessageBox) if it.isVisible()]
        return bool(boxes)

    qtbot.waitUntil(is_there, timeout=WAIT_MS)
    return boxes[0]


def test_what_is_judged_or_of_a_class_counts() -> None:
    regions = [
        box(0, 0, verdict="IDC", classification="Stroma"),
        box(0, 1, classification="idc"),
        box(0, 2, verdict="DCIS"),
        box(0, 3, classification="Necrosis"),
        box(0, 4, verdict="unsure", classification="IDC"),
        box(0, 5),
    ]

    assert [(it.name, it.classification) for it in reviewed(regions)] == [
        ("r0c0", POSITIVE), ("r0c1", POSITIVE), ("r0c2", NEGATIVE), ("r0c3", NEGATIVE),
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="splits the command as a POSIX shell does")
def test_reviewed_regions_of_all_slides_become_patches(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = analyzed.document.path
    assert first is not None
    canvas = Canvas(600, 400, 2.0)
    canvas.paint_cell(0, 0, PURPLE)
    other = write_tiff(tmp_path / "the other.tiff", canvas.pixels, mpp=2.0)
    bare = Path(shutil.copy(other, tmp_path / "bare.tiff"))
    with bare.open("ab") as file:
        file.write(b"another slide")
    with RegionBook(slide_folder(data_folder(), SlideFiles(other).identity)) as book:
        book.edit([box(0, 0, classification="IDC")])
        assert book.flush()
    analyzed.slides.add([other, bare])
    analyzed.document.regions.add("Regions", [box(3, 2).shape], "IDC")
    analyzed.document.regions.add("Regions", [box(3, 1).shape], "Benign")
    out = tmp_path / "training"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(out))

    take(analyzed, "Training patches …")
    told = shown(analyzed, qtbot)

    assert "2 regions of IDC, 1 of what is not" in told.text()
    assert "outlines of 2 slides" in told.text()
    regions, _ = read_regions(out / "the other.geojson")
    assert [it.classification for it in regions] == [POSITIVE]
    next(it for it in told.buttons() if it.text() == "Copy the command").click()
    command = QGuiApplication.clipboard().text()
    words = shlex.split(command)
    assert words[:2] == ["idc-trainer", "patches"]
    assert str(bare) not in words
    assert main(words[1:]) == 0
    with (out / "patches" / "manifest.csv").open(encoding="utf-8", newline="") as file:
        found = {(it["slide"], it["row"], it["col"]): it["label"] for it in csv.DictReader(file)}
    assert found == {
        (first.name, "3", "2"): "1",
        (first.name, "3", "1"): "0",
        (other.name, "0", "0"): "1",
    }


def test_window_says_where_nothing_is_reviewed(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    analyzed.training.write(tmp_path / "training")

    assert "No region of the slides in the list is reviewed" in shown(analyzed, qtbot).text()
    assert list((tmp_path / "training").iterdir()) == []
