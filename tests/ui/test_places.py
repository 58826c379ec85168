"""Places that are worth coming back to."""

from __future__ import annotations

from dataclasses import asdict

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QUndoStack
from pytestqt.qtbot import QtBot

from idc_desktop.regions.shape import rectangle
from idc_desktop.ui.camera import Camera
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.places import Places
from idc_desktop.ui.viewport import Viewport
from tests.support.scenes import Scene
from tests.ui.support import WAIT_MS, take


def test_places_are_gone_through_in_turn(analyzed: MainWindow) -> None:
    camera, places = analyzed.document.camera, analyzed.document.places
    looks = []
    for x, angle in ((300.0, 0), (600.0, 30), (900.0, 60)):
        camera.set_scale(0.9)
        camera.centre_on(QPointF(x, 400))
        camera.rotate(angle)
        looks.append(camera.viewport)
        take(analyzed, "Keep this place")
    assert [it.name for it in places.all] == ["Place 1", "Place 2", "Place 3"]
    seen = []
    for words in ("Next", "Next", "Next", "Next", "Previous"):
        take(analyzed, f"{words} place")
        seen.append(camera.viewport)
    assert seen == [*looks, looks[0], looks[2]]


def test_places_can_be_undone_and_are_kept(
    analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    document, places, panel = analyzed.document, analyzed.document.places, analyzed.places
    document.camera.centre_on(QPointF(300, 400))
    take(analyzed, "Keep this place")
    document.camera.centre_on(QPointF(700, 400))
    take(analyzed, "Keep this place")
    panel.list.item(0).setText("Hot spot")
    qtbot.waitUntil(lambda: places.all[0].name == "Hot spot", timeout=WAIT_MS)
    panel.list.item(1).setText("  ")
    qtbot.waitUntil(lambda: panel.list.item(1).text() == "Place 2", timeout=WAIT_MS)

    document.regions.add("Draw", [rectangle(300, 300, 900, 600)], "IDC")
    analyzed.docks["Places"].show()
    panel.list.setCurrentRow(1)
    panel.list.setFocus()
    qtbot.keyClick(panel.list, Qt.Key.Key_Delete)  # means the place, not the region
    assert [it.name for it in places.all] == ["Hot spot"]
    assert len(document.regions.all) == 1
    take(analyzed, "Undo")
    assert [it.name for it in places.all] == ["Hot spot", "Place 2"]
    kept = places.all

    document.close()
    assert places.all == ()
    assert panel.list.count() == 0
    analyzed.open(tiny_slide.path)
    qtbot.waitUntil(lambda: document.slide is not None, timeout=WAIT_MS)
    assert places.all == kept
    panel.list.setCurrentRow(0)
    qtbot.keyClick(panel.list, Qt.Key.Key_Return)
    assert document.camera.viewport == kept[0].viewport


def test_what_makes_no_sense_is_left_out(qtbot: QtBot) -> None:
    places = Places(QUndoStack(), Camera())
    good = {"name": "Good", "viewport": asdict(Viewport(1, 2, 0.5))}
    places.take([good, {"name": 3}, {"name": "x", "viewport": {"scale": -1}}, "text", None])
    assert [it.name for it in places.all] == ["Good"]
    places.take({"name": "no list"})
    assert places.all == ()
    places.take(places.kept())
    assert places.all == ()


def test_places_that_come_late_join_those_that_were_added(qtbot: QtBot) -> None:
    places = Places(QUndoStack(), Camera())
    places.add()
    kept = [{"name": "Earlier", "viewport": asdict(Viewport(1, 2, 0.5))}]
    places.take_late(kept)
    places.take_late(kept)
    assert [it.name for it in places.all] == ["Earlier", "Place 1"]
