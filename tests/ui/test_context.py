"""The context map in the window: the default where a model has it, with a threshold of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtWidgets import QComboBox
from pytestqt.qtbot import QtBot

from idc_desktop.maps.layers import CONTEXT, PATCH, UNCERTAINTY
from idc_desktop.ui.dialogs.pages import card_page
from idc_desktop.ui.exporting import Export
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.numbers import NumberField
from tests.support.models import CONTEXT as BLOCK
from tests.support.models import write_tiny_model
from tests.support.scenes import Scene
from tests.ui.support import WAIT_MS, analyze, part, pixels_of, window_with


@pytest.fixture
def analyzed(
    tiny_slide: Scene, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MainWindow]:
    """A window with a slide that a model with a context map has analyzed."""
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "data"))
    model = write_tiny_model(tmp_path / "both.onnx", context=BLOCK)
    with window_with(model.path) as window:
        window.resize(1200, 900)
        window.show()
        window.open(tiny_slide.path)
        qtbot.waitUntil(lambda: window.view.is_sharp, timeout=WAIT_MS)
        analyze(window, qtbot)
        yield window


def test_context_is_shown_measured_listed_and_exported_unless_another_map_is_chosen(
    analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene, tmp_path: Path
) -> None:
    document, panel = analyzed.document, analyzed.inspector.map
    assert document.layer is not None
    shown = document.layer.name, document.measured_map, document.threshold
    assert shown == (CONTEXT, CONTEXT, 0.4)
    assert part(panel, QComboBox, "Layer (Y)").currentText() == "Probability of IDC in context"
    assert part(panel, NumberField, "Threshold").value() == 0.4
    assert "on labelled slides: sensitivity 0.90" in panel.operating_point.text.text()
    assert "Where 30 % of the patches are IDC" in panel.operating_point.text.text()
    found = Export.of(document, tmp_path).analysis
    assert (found.map_kind, found.threshold) == (CONTEXT, 0.4)
    statuses = analyzed.slide_panel.statuses
    qtbot.waitUntil(lambda: statuses.of(tiny_slide.path).words.startswith("IDC"), timeout=WAIT_MS)
    assert "map" not in statuses.of(tiny_slide.path).words
    in_context = pixels_of(analyzed.view)

    document.show(threshold=0.7)
    document.show(layer=PATCH)

    assert (document.measured_map, document.threshold) == (PATCH, 0.5)
    assert part(panel, NumberField, "Threshold").value() == 0.5
    assert "on validation patches" in panel.operating_point.text.text()
    assert Export.of(document, tmp_path).analysis.map_kind == PATCH
    assert not np.array_equal(pixels_of(analyzed.view), in_context)
    qtbot.waitUntil(
        lambda: statuses.of(tiny_slide.path).words.endswith("(patch map)"), timeout=WAIT_MS
    )
    document.show(layer=CONTEXT)
    assert document.threshold == 0.7


def test_a_key_goes_through_the_layers_and_figures_stay_those_of_a_probability(
    analyzed: MainWindow, qtbot: QtBot
) -> None:
    document = analyzed.document
    assert document.map is not None
    layer = document.map.layer(UNCERTAINTY)
    qtbot.keyClick(analyzed.view, Qt.Key.Key_Y)

    assert document.layer is not None
    assert document.meter is not None
    assert (document.layer.name, document.measured_map) == (UNCERTAINTY, CONTEXT)
    assert document.meter.layer.name == CONTEXT
    assert document.threshold == 0.4
    row, col = map(int, np.argwhere(layer.analyzed)[0])
    document.select((row, col))
    said = analyzed.inspector.patch.text.text()
    for name, unit in ((PATCH, "P(IDC)"), (CONTEXT, "P(IDC) in context"), (UNCERTAINTY, "uncert")):
        value = document.map.layer(name).value_at(row, col)
        assert unit in said
        assert f"= {value:.6f}" in said
    document.pointed.emit(QPointF(*layer.grid.cell_centre_l0(row, col)))
    value = layer.value_at(row, col)
    assert analyzed.status_line.position.text().endswith(f"u = {value:.3f}")
    control = analyzed.inspector.map.threshold_control
    control._count()
    shares = np.histogram(layer.values[layer.analyzed], len(control._counts), (0, 1))[0]
    assert ((control._counts > 0) == (shares > 0)).all()
    assert control.accessibleName() == "Histogram: Uncertainty"
    qtbot.keyClick(control, Qt.Key.Key_Right)
    assert document.threshold == 0.4
    qtbot.keyClick(analyzed.view, Qt.Key.Key_Y)
    assert document.layer.name == PATCH
    qtbot.keyClick(analyzed.view, Qt.Key.Key_Y)
    assert document.layer.name == CONTEXT


def test_presets_set_the_threshold_of_the_map_that_is_shown(analyzed: MainWindow) -> None:
    document, panel = analyzed.document, analyzed.inspector.map.operating_point
    for name, least in (("Screening", "sensitivity"), ("Specific", "specificity")):
        panel.buttons[name].click()
        point = document.operation.at(document.threshold)
        assert getattr(point, least) >= 0.95
        assert not panel.buttons[name].isEnabled()
    panel.buttons["Balanced"].click()
    assert document.threshold == 0.4
    assert not panel.buttons["Model's"].isEnabled()


def test_card_tells_of_the_context_map(analyzed: MainWindow) -> None:
    page = card_page(analyzed.document.card, "0" * 64)

    assert "Threshold of the context map" in page
    assert "painted slides" in page
