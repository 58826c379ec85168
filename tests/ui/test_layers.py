"""The layer that is shown: raster, legend, figures, cursor read-out and exports follow it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPointF
from pytestqt.qtbot import QtBot

from idc_desktop.maps.grid import Block
from idc_desktop.maps.layers import KINDS, PATCH
from idc_desktop.maps.probability_map import BlockResult
from idc_desktop.ui.display import Display
from idc_desktop.ui.exporting import Export
from idc_desktop.ui.main_window import MainWindow
from tests.test_layers import DEPTH
from tests.ui.support import WAIT_MS, pixels_of, take


def test_layer_that_is_chosen_is_shown_everywhere(
    analyzed: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    document, view, chooser = analyzed.document, analyzed.view, analyzed.inspector.map._layer
    assert document.map is not None
    assert chooser.isHidden()
    monkeypatch.setitem(KINDS, "depth", DEPTH)  # type: ignore[arg-type]
    patch = document.map.layer()
    turned = DEPTH.stored(6 - 8 * patch.values)
    whole = Block(0, 0, 0, patch.grid.rows, patch.grid.cols)
    layers = {PATCH: patch.stored.copy(), "depth": turned}
    document.map.add(BlockResult(whole, document.map.states.copy(), layers))
    document.map_changed.emit()
    assert not chooser.isHidden()
    by_patch = pixels_of(view)

    chooser.setCurrentIndex(chooser.findText("Depth of the tissue"))
    chooser.activated.emit(chooser.currentIndex())

    assert document.layer is not None
    assert document.layer.name == "depth"
    assert not np.array_equal(pixels_of(view), by_patch)
    row, col = map(int, np.argwhere(patch.analyzed)[0])
    document.pointed.emit(QPointF(*patch.grid.cell_centre_l0(row, col)))
    depth = 6 - 8 * patch.values[row, col]
    assert analyzed.status_line.position.text().endswith(f"d = {depth:.3f}")
    assert document.subject is not None
    assert document.meter is not None
    (figures,) = document.meter.measure([document.subject.shape], 0.0)
    highest = document.layer.values[document.layer.analyzed].max()
    assert figures.max_probability == pytest.approx(highest)
    mean = analyzed.inspector.statistics.figures["Mean probability"]
    text = f"{figures.mean_probability:.3f}"
    qtbot.waitUntil(lambda: mean.text() == text, timeout=WAIT_MS)
    assert Export.of(document, tmp_path).analysis.layer.name == "depth"

    take(analyzed, "Undo")
    assert document.layer.name == PATCH
    assert np.array_equal(pixels_of(view), by_patch)


def test_layer_that_the_map_does_not_have_gives_way(analyzed: MainWindow) -> None:
    assert Display.from_dict({"layer": "depth"}) is None
    analyzed.document.show(layer="depth")

    assert analyzed.document.layer is not None
    assert analyzed.document.layer.name == PATCH
