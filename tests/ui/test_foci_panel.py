"""The list of foci: found, stepped through, made regions."""

from __future__ import annotations

from PySide6.QtCore import QPointF, Qt
from PySide6.QtWidgets import QComboBox, QPushButton
from pytestqt.qtbot import QtBot

from idc_desktop.regions.statistics import measure
from idc_desktop.ui.main_window import MainWindow
from tests.ui.support import WAIT_MS, part, pixels_of, take


def test_foci_are_listed_stepped_through_and_made_regions(
    analyzed: MainWindow, qtbot: QtBot
) -> None:
    document, panel = analyzed.document, analyzed.foci
    document.show(threshold=0.3)
    part(panel, QComboBox, "Touching by").setCurrentText("sides only")
    qtbot.waitUntil(lambda: len(panel.foci) == 3, timeout=WAIT_MS)
    qtbot.keyClick(analyzed.view, Qt.Key.Key_N)
    left, top, right, bottom = panel.foci[0].shape.bounds
    middle = QPointF((left + right) / 2, (top + bottom) / 2)
    assert (analyzed.view.camera.centre - middle).manhattanLength() < 1
    assert part(panel, QPushButton, "Make 1 region").isEnabled()
    take(analyzed, "Make regions of the foci")
    assert [it.shape for it in document.regions.all] == [panel.foci[0].shape]
    assert analyzed.docks["Regions"].isVisible()
    take(analyzed, "Undo")
    assert document.regions.all == ()

    qtbot.keyClick(analyzed.view, Qt.Key.Key_Escape)
    assert part(panel, QPushButton, f"Make {len(panel.foci)} regions").isEnabled()
    take(analyzed, "Make regions of the foci")
    regions = document.regions.all
    assert len(regions) == len(panel.foci)
    assert analyzed.statusBar().currentMessage() == f"{len(regions)} regions made"
    assert {region.classification for region in regions} == {"IDC"}
    assert document.map is not None
    whole = [measure(it, document.map.layer(), document.mpp_xy, 0.3).idc_fraction for it in regions]
    assert whole == [1.0] * len(regions)

    take(analyzed, "Make regions of the foci")
    assert document.regions.all == regions
    assert "Nothing new" in analyzed.statusBar().currentMessage()
    document.regions.edit("Delete", remove=[regions[0].id])
    take(analyzed, "Make regions of the foci")
    said = analyzed.statusBar().currentMessage()
    assert said == f"1 region made, {len(regions) - 1} here already"


def test_focus_that_is_meant_is_named_and_marked(analyzed: MainWindow, qtbot: QtBot) -> None:
    panel, view = analyzed.foci, analyzed.view
    analyzed.document.show(threshold=0.3)
    qtbot.waitUntil(lambda: bool(panel.foci), timeout=WAIT_MS)
    panel.step(1)
    assert "Focus 1 of" in analyzed.statusBar().currentMessage()
    marked = pixels_of(view)
    qtbot.keyClick(panel.list, Qt.Key.Key_Escape)
    assert (pixels_of(view) != marked).any()
    assert analyzed.statusBar().currentMessage() == ""
    assert panel.list.selectionModel().selectedRows() == []

    panel.step(1)
    analyzed.document.show(threshold=0.999)
    qtbot.waitUntil(lambda: not panel.foci, timeout=WAIT_MS)
    assert analyzed.statusBar().currentMessage() == ""
