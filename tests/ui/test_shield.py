"""What the shield leaves out is seen to be left out, says why, and comes back when it is off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PySide6.QtWidgets import QCheckBox, QComboBox
from pytestqt.qtbot import QtBot

from idc_desktop.ui.exporting import Export
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.outcome import Outcome
from tests.support.models import CONTEXT, write_tiny_model
from tests.ui.support import WAIT_MS, analyze, part, pixels_of, take


def test_excluded_patch_says_why_and_is_counted_again_without_the_shield(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    document, figures = analyzed.document, analyzed.inspector.statistics.figures
    assert document.map is not None
    qtbot.waitUntil(lambda: figures["Patches analyzed"].text() != "–", timeout=WAIT_MS)
    before, counted = pixels_of(analyzed.view), int(figures["Patches analyzed"].text())
    analyzed_patches = document.map.counts()["ok"]
    row, col = map(int, np.argwhere(document.map.analyzed)[0])
    p = document.map.layer().value_at(row, col)
    where = np.zeros(document.map.states.shape, np.bool_)
    where[row, col] = True
    document.map.exclude("pen", where)
    document.map_changed.emit()
    document.select((row, col))

    qtbot.waitUntil(lambda: figures["Excluded"].text() == "1", timeout=WAIT_MS)
    assert figures["Patches analyzed"].text() == f"{counted - 1:,}"
    text = analyzed.inspector.patch.text.text()
    assert f"excluded: pen (p = {p:.6f}, not counted)" in text
    assert not np.array_equal(pixels_of(analyzed.view), before)
    assert any("1 pen" in note for note in Export.of(document, tmp_path).analysis.notes)

    part(analyzed.inspector, QCheckBox, "Shield: leave artefacts out").setChecked(False)
    qtbot.waitUntil(lambda: figures["Excluded"].text() == "0", timeout=WAIT_MS)
    assert document.map.counts()["ok"] == analyzed_patches
    assert f"{p:.6f}" in analyzed.inspector.patch.text.text()
    take(analyzed, "Undo")
    assert document.map.counts()["excluded"] == 1


def test_list_tells_a_slide_that_is_none_for_the_model(analyzed: MainWindow) -> None:
    document = analyzed.document
    assert document.map is not None
    usual = Outcome.of(document.record, document.model, 0.5, "patch")
    assert (usual.caution, usual.excluded_patches) == ("", 0)
    first = np.argwhere(document.map.analyzed)[0]
    where = document.map.analyzed
    where[tuple(first)] = False
    document.map.exclude("blur", where)

    found = Outcome.of(document.record, document.model, 0.5, "patch")

    assert "out of focus" in found.caution
    assert found.text(document.card).endswith(": not to be trusted")
    document.map.exclude("fold", ~where)
    none = Outcome.of(document.record, document.model, 0.5, "patch")
    assert none.text(document.card) == "all excluded"


def test_shield_stays_in_sight_when_there_are_layers(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    """The row for the layers comes with the map, and must take no room from another."""
    shield = part(analyzed.inspector, QCheckBox, "Shield: leave artefacts out")
    model = write_tiny_model(tmp_path / "context.onnx", name="context", context=CONTEXT)
    with qtbot.waitSignal(analyzed.document.model_changed, timeout=WAIT_MS):
        analyzed.document.choose_model(str(model.path))
    analyze(analyzed, qtbot)
    qtbot.waitUntil(part(analyzed.inspector, QComboBox, "Layer (Y)").isVisible, timeout=WAIT_MS)
    assert shield.visibleRegion().boundingRect() == shield.rect()
