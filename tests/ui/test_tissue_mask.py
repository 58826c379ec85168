"""The tissue mask in the window: shown, changed by regions, and analyses inside regions only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from idc_desktop.maps.probability_map import PatchState
from idc_desktop.regions.shape import MASK_ADDED, MASK_REMOVED, rectangle
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.run import RunState
from tests.support.command import read_csv
from tests.support.scenes import Scene
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, pixels_of, take

PX = 200  # of a cell
SHIFT = Qt.KeyboardModifier.ShiftModifier


def state_of(window: MainWindow, row: int, col: int) -> PatchState:
    assert window.document.map is not None
    return PatchState(window.document.map.states[row, col])


def wait_for(window: MainWindow, qtbot: QtBot, state: RunState) -> None:
    qtbot.waitUntil(lambda: window.document.state is state, timeout=WAIT_MS)


def test_mask_is_shown_changed_and_taken_back(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    document, regions = analyzed.document, analyzed.document.regions
    before, counts = pixels_of(analyzed.view), document.map.counts()
    qtbot.keyClick(analyzed.view, Qt.Key.Key_A, SHIFT)
    assert analyzed.inspector.map._boxes["mask"].isChecked()
    shown = pixels_of(analyzed.view)
    assert (shown != before).any()
    assert (shown == (0, 90, 220)).all(axis=2).any()  # the line around tissue

    regions.add("Draw", [rectangle(PX, PX, 2 * PX, 2 * PX)], "IDC")
    regions.judge("IDC")
    qtbot.keyClick(analyzed.view, Qt.Key.Key_X, SHIFT)  # tissue that is none
    (area,) = regions.all
    assert (area.classification, area.verdict) == (MASK_REMOVED, "")
    assert state_of(analyzed, 1, 1) is PatchState.BACKGROUND
    assert document.state is RunState.DONE  # there is nothing to compute
    assert document.map.counts() == counts | {
        "ok": counts["ok"] - 1, "background": counts["background"] + 1
    }  # fmt: skip
    regions.judge("IDC")
    assert "has no verdict" in analyzed.statusBar().currentMessage()

    regions.add("Draw", [rectangle(0, 0, PX, PX)])
    qtbot.keyClick(analyzed.view, Qt.Key.Key_B, SHIFT)  # glass that is none
    assert regions.all[1].classification == MASK_ADDED
    assert document.state is RunState.PAUSED
    assert "mask was changed: 1 patch more is tissue" in document.message
    assert not analyzed.verbs.action("Export …").isEnabled()
    document.analyze()
    wait_for(analyzed, qtbot, RunState.DONE)
    assert state_of(analyzed, 0, 0) is PatchState.OK

    analyzed.export(tmp_path)
    qtbot.waitUntil(lambda: not analyzed.export_task.is_running, timeout=WAIT_MS)
    assert [it["Name"] for it in read_csv(tmp_path / "tiny" / "regions.csv")] == ["Whole slide"]
    said = json.loads((tmp_path / "tiny" / "provenance.json").read_text(encoding="utf-8"))
    assert said["tissue"]["edited"] == {"added": 1, "removed": 1}
    assert any(it.startswith("The tissue mask was changed by hand") for it in said["notes"])

    while document.history.canUndo():
        document.history.undo()
    assert regions.all == ()
    assert document.state is RunState.DONE
    assert document.map.counts() == counts


def test_changed_mask_is_there_when_the_slide_is_opened_again(
    analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    regions = analyzed.document.regions
    regions.add("Draw", [rectangle(0, 0, PX, PX)], MASK_ADDED)
    analyzed.document.analyze()
    wait_for(analyzed, qtbot, RunState.DONE)
    analyzed.document.close()
    analyzed.open(tiny_slide.path)
    wait_for(analyzed, qtbot, RunState.DONE)
    assert state_of(analyzed, 0, 0) is PatchState.OK
    take(analyzed, "Choose all")
    take(analyzed, "Delete")
    assert state_of(analyzed, 0, 0) is PatchState.BACKGROUND
    assert analyzed.document.state is RunState.DONE


def test_inside_of_a_region_is_analyzed_alone_and_the_rest_later(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    document = window.document
    wait_for(window, qtbot, RunState.READY)
    verb = window.verbs.action("Analyze here only")
    document.regions.add("Draw", [rectangle(1.5 * PX, 1.5 * PX, 2.5 * PX, 2.2 * PX)])
    assert verb.isEnabled()
    qtbot.keyClick(window.view, Qt.Key.Key_R, SHIFT)
    wait_for(window, qtbot, RunState.PAUSED)
    assert document.map is not None
    assert np.count_nonzero(document.map.states) == 4
    assert document.message == "Analyzed inside regions only; Analyze computes the rest."
    assert window.inspector.analysis.run_button.text() == "Analyze the rest"
    assert window.slide_panel.statuses.of(tiny_slide.path).words == "partial: inside regions"
    document.regions.choose([])
    assert not verb.isEnabled()
    window.inspector.statistics._show()
    of_what = window.inspector.statistics.figures["Of"].text()
    assert of_what == "Whole slide, inside regions only"
    document.analyze()
    wait_for(window, qtbot, RunState.DONE)
    take(window, "Choose all")
    document.analyze_inside()
    assert "analyzed already" in window.statusBar().currentMessage()
