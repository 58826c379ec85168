"""The menu of the regions, and what is done by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtWidgets import QApplication, QMenu
from pytestqt.qtbot import QtBot

from idc_desktop.regions.shape import rectangle
from idc_desktop.ui.main_window import MainWindow
from tests.ui.support import WAIT_MS, on_screen, take

Reason = QContextMenuEvent.Reason


def ask_menu(window: MainWindow, at_l0: tuple[float, float], reason: Reason = Reason.Mouse) -> None:
    (at,) = on_screen(window, at_l0)
    event = QContextMenuEvent(reason, at.toPoint(), at.toPoint())
    QApplication.sendEvent(window.view, event)


def test_menu_of_the_view_sets_class_lock_and_sight_of_several(
    analyzed: MainWindow, qtbot: QtBot
) -> None:
    regions, view = analyzed.document.regions, analyzed.view
    regions.add("Draw", [rectangle(0, 0, 300, 300), rectangle(600, 300, 900, 600)])
    regions.choose([])
    with qtbot.waitSignal(view.menu_asked, timeout=WAIT_MS):
        ask_menu(analyzed, (750, 450))
    assert [region.name for region in regions.chosen] == ["Region 2"]
    menu = analyzed.regions.findChild(QMenu)
    assert menu is not None
    words = [action.text() for action in menu.actions()]
    assert "Hide" in words
    assert "Show" not in words
    menu.close()

    regions.choose(region.id for region in regions.all)
    analyzed.regions.set_class("IDC")
    assert {region.classification for region in regions.all} == {"IDC"}
    take(analyzed, "Undo")
    assert {region.classification for region in regions.all} == {""}


def test_menu_of_one_region_unites_nothing(analyzed: MainWindow) -> None:
    regions, panel = analyzed.document.regions, analyzed.regions
    regions.add("Draw", [rectangle(0, 0, 300, 300), rectangle(600, 300, 900, 600)])

    def enabled() -> set[str]:
        panel.show_menu(QPoint())
        menu = panel.findChild(QMenu)
        assert menu is not None
        words = {action.text().replace("&", "") for action in menu.actions() if action.isEnabled()}
        menu.setParent(None)
        return words

    several = {"Unite", "Subtract the others from the first"}
    assert enabled() >= {"Delete", "Duplicate", *several}
    regions.choose([regions.all[0].id])
    assert enabled() >= {"Delete", "Duplicate"}
    assert not enabled() & several


def test_menu_beside_all_regions_offers_nothing(analyzed: MainWindow, qtbot: QtBot) -> None:
    """It would delete a region that is elsewhere, and perhaps out of sight."""
    regions = analyzed.document.regions
    regions.add("Draw", [rectangle(0, 0, 300, 300)])
    with qtbot.assertNotEmitted(analyzed.view.menu_asked):
        ask_menu(analyzed, (750, 450))
    assert analyzed.regions.findChild(QMenu) is None
    assert len(regions.chosen) == 1
    with qtbot.waitSignal(analyzed.view.menu_asked, timeout=WAIT_MS):
        ask_menu(analyzed, (750, 450), Reason.Keyboard)  # the key means what is chosen
    menu = analyzed.regions.findChild(QMenu)
    assert menu is not None
    menu.close()


@pytest.mark.parametrize(
    ("classes", "united", "told"),
    [
        (("", "IDC"), "IDC", "United as IDC; among them were: no class."),
        (("IDC", ""), "IDC", "United as IDC; among them were: no class."),
        (("Stroma", "IDC"), "Stroma", "United as Stroma; among them were: IDC."),
        (("IDC", "IDC"), "IDC", ""),
        (("", ""), "", ""),
    ],
)
def test_class_is_not_lost_where_regions_are_united(
    window: MainWindow, tmp_path: Path, classes: tuple[str, str], united: str, told: str
) -> None:
    regions = window.document.regions
    regions.open(tmp_path / "slide")
    for at, name in enumerate(classes):
        regions.add("Draw", [rectangle(200 * at, 0, 200 * at + 250, 300)], name)
    first, second = regions.all
    regions.choose([first.id, second.id])
    window.verbs.action("Unite").trigger()
    (region,) = regions.all
    assert (region.id, region.classification) == (first.id, united)
    assert region.rgb == next((it.rgb for it in (first, second) if it.classification), first.rgb)
    assert window.statusBar().currentMessage() == told
