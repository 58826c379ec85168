"""A damaged file of regions is told in a dialog, once, and the window goes on with the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QMessageBox
from pytestqt.qtbot import QtBot

from idc_desktop.regions.shape import rectangle
from idc_desktop.ui.main_window import MainWindow
from tests.support.command import run_cli
from tests.support.models import TinyModel
from tests.support.scenes import Scene
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS


def shown(window: MainWindow) -> list[str]:
    return [it.text() for it in window.findChildren(QMessageBox) if it.isVisible()]


def damage(data: Path) -> None:
    (path,) = data.glob("slides/*/regions.sqlite")
    content = path.read_bytes()
    assert content.count(b'"name":"Region 2"') == 1
    path.write_bytes(content.replace(b'"name":"Region 2"', b'"name":"Region <"'))


@pytest.fixture
def damaged(open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, tmp_path: Path) -> MainWindow:
    """The window on a slide whose second region of three is damaged."""
    window = open_window(tiny_slide.path)
    shapes = [rectangle(100.0 * at, 100, 100.0 * at + 80, 180) for at in range(1, 4)]
    window.document.regions.add("Draw", shapes)
    window.document.close()
    damage(tmp_path / "data")
    window.open(tiny_slide.path)
    qtbot.waitUntil(lambda: window.document.slide is not None, timeout=WAIT_MS)
    return window


def test_damage_is_told_once_and_the_window_goes_on(
    damaged: MainWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = damaged
    (text,) = shown(window)
    assert "Regions saved: 2, lost: 1." in text
    assert "regions.damaged-1.sqlite" in text
    (box,) = (it for it in window.findChildren(QMessageBox) if it.isVisible())
    labels = box.findChildren(QLabel)
    assert {it.textFormat() for it in labels} == {Qt.TextFormat.PlainText}
    assert [it.name for it in window.document.regions.all] == ["Region 1", "Region 3"]
    assert window.document.regions.can_edit
    assert window.document.regions.add("Draw", [rectangle(500, 500, 600, 600)])
    box.close()

    window.document.close()
    window.open(tiny_slide.path)
    qtbot.waitUntil(lambda: window.document.slide is not None, timeout=WAIT_MS)

    assert len(window.document.regions.all) == 3
    assert shown(window) == []


def test_damage_is_told_where_there_is_no_dialog(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path
) -> None:
    window = open_window(tiny_slide.path)
    window.document.regions.add("Draw", [rectangle(100, 100, 900, 900)] * 2)
    window.close()
    damage(tmp_path / "data")

    outcome = run_cli(
        "open", tiny_slide.path, "--model", tiny_model.path, "--screenshot", tmp_path / "shot.png",
        data_dir=tmp_path / "data",
    )  # fmt: skip

    assert outcome.code == 0, outcome
    (line,) = (it for it in outcome.error_lines if it.startswith("regions.sqlite: "))
    assert "Regions saved: 1, lost: 1." in line
