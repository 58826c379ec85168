"""Little room: everything can be reached, and no number is cut."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, QSize
from PySide6.QtGui import QHelpEvent
from PySide6.QtWidgets import QApplication, QScrollArea, QToolTip, QWidget
from pytestqt.qtbot import QtBot

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.ui.app import create_window
from idc_desktop.ui.dialogs.reading import ReadingDialog
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.outcome import Outcome
from idc_desktop.ui.panels.slide_item import _in_pieces
from idc_desktop.ui.panels.status_line import StatusLine
from idc_desktop.ui.plain import Label
from idc_desktop.ui.run import RunState
from idc_desktop.ui.screen import resize_within_screen
from idc_desktop.ui.settings import Settings
from tests.support.scenes import Scene
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, pixels_of

LAPTOP = QSize(1024, 700)
HALF_A_DENSE_SCREEN = QSize(700, 450)  # 1400 x 900 at scale 2


def is_in_sight(widget: QWidget) -> bool:
    """Whether all of a widget can be seen."""
    return widget.isVisible() and widget.visibleRegion().boundingRect() == widget.rect()


def test_first_window_fits_the_screen(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "data"))
    window = create_window(Settings())
    qtbot.addWidget(window)
    window.show()
    assert window.screen().availableGeometry().contains(window.geometry())
    assert is_in_sight(window.inspector.analysis.run_button)


def test_dialog_fits_the_screen(qtbot: QtBot) -> None:
    dialog = ReadingDialog("Much to read", "<p>word</p>" * 500)
    qtbot.addWidget(dialog)
    resize_within_screen(dialog, 5_000, 5_000)
    room = dialog.screen().availableGeometry().size()
    assert room.width() / 2 < dialog.width() < room.width()
    assert room.height() / 2 < dialog.height() < room.height()


def test_analyze_stays_in_sight(analyzed: MainWindow, qtbot: QtBot) -> None:
    """Also when a patch is clicked, whose picture lies far below."""
    for size, cell in ((LAPTOP, (2, 3)), (HALF_A_DENSE_SCREEN, (2, 2))):
        analyzed.resize(size)
        analyzed.document.select(cell)
        picture = analyzed.inspector.patch.picture
        qtbot.waitUntil(lambda it=picture: not it.visibleRegion().isEmpty(), timeout=WAIT_MS)
        assert analyzed.size() == size
        assert is_in_sight(analyzed.inspector.analysis.run_button)
        assert is_in_sight(analyzed.inspector.analysis.export_button)


def test_status_line_shows_numbers_whole_or_not_at_all(analyzed: MainWindow) -> None:
    line = analyzed.findChild(StatusLine)
    assert line is not None
    for width, counts in ((1400, (4,)), (1024, (4,)), (700, (2, 3))):
        analyzed.resize(width, 600)
        QApplication.processEvents()
        analyzed.document.pointed.emit(QPointF(700.0, 500.0))
        QApplication.processEvents()
        shown = [it for it in line.findChildren(Label) if it.isVisible()]
        assert all(is_in_sight(it) and it.width() >= it.sizeHint().width() for it in shown)
        assert analyzed.width() == width
        assert len(shown) in counts
        assert "p = " in shown[0].text()
        assert shown[-1].text() == RESEARCH_USE_NOTICE


def test_message_that_is_too_long_says_so(window: MainWindow) -> None:
    window.resize(700, 500)
    QApplication.processEvents()
    bar, text = window.statusBar(), "A message of many words " * 20
    bar.showMessage(text)
    shown = pixels_of(bar)
    bar.showMessage(text[:-5] + "end.")
    assert np.array_equal(shown, pixels_of(bar))  # both end in "…" before
    at = QPoint(20, bar.height() // 2)
    help_asked = QHelpEvent(QHelpEvent.Type.ToolTip, at, bar.mapToGlobal(at))
    QApplication.sendEvent(bar, help_asked)
    assert QToolTip.text().strip() == (text[:-5] + "end.").strip()
    QToolTip.hideText()


def test_what_came_out_of_a_slide_is_wrapped_and_never_cut(
    open_window: OpenWindow, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    shown, statuses = window.slide_panel.list, window.slide_panel.statuses
    shown.setIconSize(QSize(1, 1))

    def rows(failed: int) -> np.ndarray:
        outcome = Outcome("tiny", 0.123, 0.34, 1e6, failed)
        statuses._outcomes[tiny_slide.path] = {window.document.model.sha256: outcome}
        statuses.changed.emit(tiny_slide.path)
        QApplication.processEvents()
        area = shown.visualRect(shown.model().index(0, 0))
        pixels = pixels_of(shown.viewport())[area.top() : area.bottom(), area.left() : area.right()]
        return np.unique(np.nonzero((pixels != pixels[0, -1]).any(axis=2))[0])

    shown.setMaximumWidth(160)
    QApplication.processEvents()
    line = shown.fontMetrics().lineSpacing()
    whole, short = rows(failed=1_234_567), rows(failed=0)
    assert len(whole) >= len(short) + line // 2


def test_words_of_a_slide_break_but_not_within_a_number_and_its_unit() -> None:
    found = "IDC 34 % at 0.123 (patch map), 6 failed: not to be trusted"
    assert _in_pieces(found).split(" ") == [
        "IDC\N{NO-BREAK SPACE}34\N{NO-BREAK SPACE}%",
        "at\N{NO-BREAK SPACE}0.123",
        "(patch",
        "map),",
        "6\N{NO-BREAK SPACE}failed:",
        *("not", "to", "be", "trusted"),
    ]


def test_long_names_leave_the_inspector_as_wide_as_it_is(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, tmp_path: Path
) -> None:
    slide = tmp_path / f"{'a_name_without_any_space_' * 8}.tiff"
    shutil.copy(tiny_slide.path, slide)
    window = open_window(slide)
    window.resize(HALF_A_DENSE_SCREEN)
    window.verbs.action("New rectangle in the view").trigger()
    (region,) = window.document.regions.all
    name = "region_" * 40
    window.document.regions.edit("Rename region", put=[replace(region, name=name)])
    qtbot.waitUntil(lambda: window.document.state is RunState.READY, timeout=WAIT_MS)
    window.document.analyze()
    qtbot.waitUntil(lambda: window.document.state is RunState.DONE, timeout=WAIT_MS)
    window.document.regions.choose([region.id])
    label = window.inspector.statistics.figures["Of"]
    qtbot.waitUntil(lambda: label.text() == name, timeout=WAIT_MS)
    QApplication.processEvents()
    scrolled = window.inspector.findChild(QScrollArea)
    assert scrolled is not None
    content = scrolled.widget()
    assert content is not None
    assert content.width() <= scrolled.viewport().width()
    assert window.size() == HALF_A_DENSE_SCREEN
    at = label.rect().center()
    QApplication.sendEvent(label, QHelpEvent(QHelpEvent.Type.ToolTip, at, label.mapToGlobal(at)))
    assert QToolTip.text() == name
    QToolTip.hideText()
