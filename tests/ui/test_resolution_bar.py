"""The bar asks where the objective contradicts the resolution, and proposes where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PySide6.QtWidgets import (
    QApplication,
    QPushButton,
)
from pytestqt.qtbot import QtBot

from tests.support.scenes import Scene
from tests.support.slides import write_svs, write_tiff
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, part


def test_doubtful_resolution_is_asked_about_and_an_unknown_one_proposed(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, tmp_path: Path
) -> None:
    doubtful = write_svs(tmp_path / "doubtful.svs", tiny_slide.levels, mpp=2.0, power=20)
    unknown = write_svs(tmp_path / "unknown.svs", tiny_slide.levels, mpp=None, power=20)
    window = open_window(doubtful)
    document, bar = window.document, window.resolution_bar

    assert bar.isVisibleTo(window)
    assert "objective (20x) gives pixels of about 0.5 µm" in bar.text.text()
    assert bar.field.value() == 2.0
    assert document.mpp_xy == (2.0, 2.0)

    document.open(unknown)
    qtbot.waitUntil(lambda: document.path == unknown, timeout=WAIT_MS)
    assert "Its objective, 20x, suggests about 0.5." in bar.text.text()
    assert (bar.field.value(), document.mpp_xy) == (0.0, None)  # never used without being asked


def test_unknown_resolution_is_asked_for(
    open_window: OpenWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    write_tiff(tmp_path / "bare.tiff", [np.full((500, 600, 3), 200, np.uint8)], mpp=None)
    window = open_window(tmp_path / "bare.tiff")
    bar, run = window.resolution_bar, window.inspector.analysis.run_button

    assert bar.isVisible()
    assert not run.isEnabled()
    assert not part(bar, QPushButton, "Use").isEnabled()
    for width in (1024, 800):
        window.resize(width, 600)
        QApplication.processEvents()
        assert window.width() == width
        assert bar.text.height() >= bar.text.heightForWidth(bar.text.width())
    bar.field.setValue(2.0)
    assert "1.2 × 1.0 mm" in bar.text.text()
    part(bar, QPushButton, "Use").click()
    qtbot.waitUntil(lambda: window.document.mpp_xy == (2.0, 2.0), timeout=WAIT_MS)
    assert "by hand" in bar.text.text()
    assert not part(bar, QPushButton, "Use").isEnabled()
    qtbot.waitUntil(run.isEnabled, timeout=WAIT_MS)


def test_resolution_given_by_hand_is_remembered_and_can_be_changed(
    open_window: OpenWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    slide = tmp_path / "bare.tiff"
    write_tiff(slide, [np.full((500, 600, 3), 200, np.uint8)], mpp=None)
    window = open_window(slide)
    document, bar = window.document, window.resolution_bar
    document.give_resolution(4.99)
    qtbot.waitUntil(lambda: document.mpp_xy == (4.99, 4.99), timeout=WAIT_MS)
    bar.field.setValue(0.499)
    part(bar, QPushButton, "Use").click()
    qtbot.waitUntil(lambda: document.mpp_xy == (0.499, 0.499), timeout=WAIT_MS)
    document.close()
    window.open(slide)
    qtbot.waitUntil(lambda: document.mpp_xy == (0.499, 0.499), timeout=WAIT_MS)
