"""Two windows on one slide: the second one shows it, and says what it cannot have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QLabel, QPushButton
from pytestqt.qtbot import QtBot

from idc_desktop.regions.shape import rectangle
from idc_desktop.ui.dialogs.export_dialog import ExportDialog
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.run import RunState
from tests.support.scenes import Scene
from tests.ui.support import WAIT_MS, part, says, take, window_with


@pytest.fixture
def other(analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene) -> Iterator[MainWindow]:
    """A second window on the slide of the first one."""
    with window_with(analyzed.document.model.path) as other:
        with qtbot.waitSignal(other.document.noted, timeout=WAIT_MS) as noted:
            other.open(tiny_slide.path)
        assert "Another window" in noted.args[0]
        qtbot.waitUntil(lambda: other.document.state is RunState.DONE, timeout=WAIT_MS)
        yield other


def test_second_window_shows_the_slide_but_draws_no_regions(
    analyzed: MainWindow, other: MainWindow, qtbot: QtBot
) -> None:
    assert not other.regions_bar.isHidden()
    assert "Another window" in says(other.regions_bar)
    with qtbot.waitSignal(other.document.noted, timeout=WAIT_MS) as noted:
        other.document.regions.add("Draw", [rectangle(300, 300, 900, 600)])
    assert "Another window" in noted.args[0]
    assert other.document.regions.all == ()
    analyzed.document.close()
    other.document.regions.add("Draw", [rectangle(300, 300, 900, 600)])
    assert len(other.document.regions.all) == 1
    assert other.regions_bar.isHidden()
    other.document.close()
    assert other.regions_bar.isHidden()


def test_second_window_says_that_it_exports_no_regions(
    analyzed: MainWindow, other: MainWindow
) -> None:
    analyzed.document.regions.add("Draw", [rectangle(300, 300, 900, 600)])
    take(other, "Export …")
    dialog = other.findChild(ExportDialog)
    assert dialog is not None
    assert part(dialog, QPushButton, "Export without regions").isVisible()
    assert any("no regions" in label.text() for label in dialog.findChildren(QLabel))
    dialog.reject()
    dialog.setParent(None)

    analyzed.document.close()
    take(other, "Export …")
    dialog = other.findChild(ExportDialog)
    assert dialog is not None
    assert part(dialog, QPushButton, "Export").isVisible()
    assert len(other.document.regions.all) == 1
    dialog.reject()


def test_threshold_that_is_kept_of_a_slide_outlives_a_conflict_of_two_windows(
    analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    first = analyzed.document
    first.show(threshold=0.42)
    own = first.card.threshold
    with window_with(first.model.path) as second:
        second.open(tiny_slide.path)
        document = second.document
        qtbot.waitUntil(lambda: document.state is RunState.DONE, timeout=WAIT_MS)
        assert document.threshold == own
        assert "threshold" in says(second.regions_bar)
        first.close()
        with qtbot.waitSignal(document.noted, timeout=WAIT_MS) as noted:
            document.regions.try_again()
        assert noted.args[0] == "The threshold is 0.420, as it was kept of this slide."
        assert document.threshold == 0.42
        second.view.camera.rotate(90)  # this is kept, and the threshold with it
        document.close()
        assert second.regions_bar.isHidden()
        second.open(tiny_slide.path)
        qtbot.waitUntil(lambda: document.state is RunState.DONE, timeout=WAIT_MS)
        assert document.threshold == 0.42


def test_threshold_that_is_set_during_a_conflict_is_the_newer_one(
    analyzed: MainWindow, other: MainWindow
) -> None:
    analyzed.document.show(threshold=0.42)
    other.document.show(threshold=0.3)
    analyzed.document.close()
    other.document.regions.try_again()
    assert other.document.threshold == 0.3
    take(other, "Undo")
    assert other.document.threshold == other.document.card.threshold
