"""Defects of ours in the window: told once, logged within bounds, crashes included."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QMessageBox, QWidget
from pytestqt.qtbot import QtBot

from idc_desktop.console import report_defect
from idc_desktop.ui.app import _Reporter
from idc_desktop.ui.main_window import MainWindow
from tests.support.command import environment
from tests.ui.support import WAIT_MS


class Broken(QWidget):
    """Fails at every paint, each time in other words."""

    def __init__(self) -> None:
        super().__init__()
        self.paints = 0

    def paintEvent(self, event: QPaintEvent) -> None:
        self.paints += 1
        raise ValueError(f"defect {self.paints}")


def test_defect_at_every_paint_is_told_once(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", _Reporter(window))
    broken = Broken()
    qtbot.addWidget(broken)
    broken.show()
    for number in range(1, 9):
        broken.update()
        qtbot.waitUntil(lambda number=number: broken.paints >= number, timeout=WAIT_MS)
        for box in window.findChildren(QMessageBox):
            box.close()
    text = (tmp_path / "data" / "logs" / "defects.log").read_text("utf-8")
    assert text.count("ValueError: defect") == 1


def test_log_of_defects_has_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path))
    for number in range(7):
        assert report_defect(f"{number} {'x' * (400 << 10)}") == 1
    files = sorted((tmp_path / "logs").iterdir())
    assert [it.name for it in files] == ["defects.log", "defects.old.log"]
    assert "6 x" in files[0].read_text("utf-8")
    assert sum(it.stat().st_size for it in files) < 3 << 20


@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal")
def test_crash_of_the_window_leaves_a_trace(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "crashes.log"
    extra = {"QT_QPA_PLATFORM": "offscreen"}
    with subprocess.Popen(
        [sys.executable, "-m", "idc_desktop"],
        env=environment(tmp_path, extra), stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 20
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)  # until it is in use
        process.send_signal(signal.SIGABRT)
    assert process.returncode == -signal.SIGABRT
    text = log.read_text("utf-8")
    assert "Fatal Python error: Aborted" in text
    assert "app.py" in text
