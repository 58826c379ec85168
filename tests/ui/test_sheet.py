"""What is written for the report: kept as it is typed, undone, and on the first page."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from PySide6.QtWidgets import QDialog
from pytestqt.qtbot import QtBot

from idc_desktop.regions.sheet import Sheet
from idc_desktop.ui.dialogs.sheet_dialog import SheetDialog
from idc_desktop.ui.main_window import MainWindow
from tests.ui.support import WAIT_MS, take


def asked(window: MainWindow) -> SheetDialog:
    take(window, "Report: case, reader, conclusion …")
    dialog = next(it for it in window.findChildren(SheetDialog) if it.isVisible())
    assert isinstance(dialog, QDialog)
    return dialog


def test_text_is_kept_as_it_is_typed_and_is_one_step(analyzed: MainWindow, qtbot: QtBot) -> None:
    regions = analyzed.document.regions
    dialog = asked(analyzed)
    qtbot.keyClicks(dialog.case, "C 7")
    qtbot.waitUntil(lambda: regions.sheet == Sheet(case="C 7"), timeout=WAIT_MS)
    dialog.conclusion.setPlainText("IDC, 4 mm.\nNo DCIS.")
    qtbot.waitUntil(lambda: "No DCIS" in regions.sheet.conclusion, timeout=WAIT_MS)
    dialog.reader.setText("Dr. Löwe")
    dialog.accept()
    kept = Sheet("C 7", "Dr. Löwe", "", "IDC, 4 mm.\nNo DCIS.")
    assert regions.sheet == kept
    take(analyzed, "Undo")
    assert regions.sheet == Sheet()
    take(analyzed, "Redo")
    assert regions.sheet == kept

    dialog = asked(analyzed)
    dialog.comment.setPlainText("never mind")
    dialog.reject()
    assert regions.sheet == kept
    slide = analyzed.document.path
    assert slide is not None
    analyzed.document.close()
    assert regions.sheet == Sheet()
    analyzed.open(slide)
    qtbot.waitUntil(lambda: regions.sheet == kept, timeout=WAIT_MS)


def test_reader_of_the_last_slide_is_proposed(analyzed: MainWindow) -> None:
    dialog = asked(analyzed)
    dialog.reader.setText("Dr. Who")
    dialog.accept()
    analyzed.document.regions.write_sheet(Sheet())
    assert asked(analyzed).reader.text() == "Dr. Who"


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler-utils is not installed")
@pytest.mark.parametrize("anonymous", [False, True])
def test_it_stands_in_the_report(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path, anonymous: bool
) -> None:
    sheet = Sheet("H26/7", "Dr. Löwe", "Опухоль 癌", "First.\nSecond <b>.")
    analyzed.document.regions.write_sheet(sheet)
    analyzed.export(tmp_path, ["report"], anonymous)
    qtbot.waitUntil(lambda: not analyzed.export_task.is_running, timeout=WAIT_MS)
    (report,) = tmp_path.glob("*/report.pdf")
    done = subprocess.run(
        ["pdftotext", "-layout", report, "-"], capture_output=True, text=True, check=True
    )
    first = " ".join(done.stdout.split("\f")[0].split())
    assert all(it in first for it in ("Conclusion", "First. Second <b>.", "Опухоль 癌"))
    assert ("Case H26/7" in first, "Read by Dr. Löwe" in first) == (not anonymous, not anonymous)
