"""Drawing and editing regions with the mouse, and with keys that need none of the tools."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from PySide6.QtCore import QEvent, Qt
from pytestqt.qtbot import QtBot

from idc_desktop.regions.shape import Region, rectangle
from idc_desktop.regions.statistics import measure
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.view.drawing_tools import BrushTool
from tests.support.scenes import Scene
from tests.ui.support import WAIT_MS, drag, mouse, on_screen, take

SHIFT, ALT = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier


def box(region: Region) -> tuple[float, ...]:
    return tuple(round(edge) for edge in region.shape.bounds)


@pytest.mark.parametrize(
    ("words", "roi"), [("Draw rectangle", "Rectangle"), ("Draw ellipse", "Ellipse")]
)
def test_boxes_are_drawn_between_corners(analyzed: MainWindow, words: str, roi: str) -> None:
    take(analyzed, words)
    drag(analyzed.view, on_screen(analyzed, (200, 300), (500, 400), (900, 700)))
    (region,) = analyzed.document.regions.all
    assert region.shape.roi == roi
    assert np.abs(np.subtract(box(region), (200, 300, 900, 700))).max() <= 2
    assert analyzed.document.regions.chosen == (region,)
    assert analyzed.docks["Regions"].isVisible()

    drag(analyzed.view, on_screen(analyzed, (200, 300), (700, 400)), keys=SHIFT)
    left, top, right, bottom = analyzed.document.regions.all[1].shape.bounds
    assert right - left == pytest.approx(bottom - top)
    drag(analyzed.view, on_screen(analyzed, (200, 300), (200, 300)))  # a mere click
    assert len(analyzed.document.regions.all) == 2


def test_polygon_is_closed_by_enter_double_click_or_its_first_corner(
    analyzed: MainWindow, qtbot: QtBot
) -> None:
    view = analyzed.view
    corners = [(200.0, 200.0), (800.0, 250.0), (700.0, 700.0)]
    take(analyzed, "Draw polygon")

    def click(point: tuple[float, float]) -> None:
        (at,) = on_screen(analyzed, point)
        mouse(view, QEvent.Type.MouseButtonPress, at)
        mouse(view, QEvent.Type.MouseButtonRelease, at)

    def closes_by(end: Callable[[], object]) -> Region:
        before = len(analyzed.document.regions.all)
        for corner in corners:
            click(corner)
        end()
        assert len(analyzed.document.regions.all) == before + 1
        return analyzed.document.regions.all[-1]

    by_key = closes_by(lambda: qtbot.keyClick(view, Qt.Key.Key_Return))
    by_corner = closes_by(lambda: click(corners[0]))
    by_double = closes_by(
        lambda: mouse(view, QEvent.Type.MouseButtonDblClick, *on_screen(analyzed, corners[-1]))
    )
    areas = {round(region.shape.moments().area, -2) for region in (by_key, by_corner, by_double)}
    assert len(areas) == 1

    click(corners[0])
    click(corners[1])
    qtbot.keyClick(view, Qt.Key.Key_Backspace)
    assert len(view.tool.points) == 1
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert view.tool.points == []


def test_crossing_polygon_is_repaired_and_said_so(analyzed: MainWindow, qtbot: QtBot) -> None:
    take(analyzed, "Draw freehand")
    way = [(200, 200), (800, 800), (800, 200), (200, 800)]
    drag(analyzed.view, on_screen(analyzed, *way))
    (region,) = analyzed.document.regions.all
    assert region.shape.moments().area == pytest.approx(180_000, rel=0.05)
    assert "repaired" in analyzed.statusBar().currentMessage()


def test_brush_paints_onto_the_chosen_region_and_eraser_takes_away(
    analyzed: MainWindow, qtbot: QtBot
) -> None:
    view, regions = analyzed.view, analyzed.document.regions
    take(analyzed, "Brush")
    brush = view.tool
    assert isinstance(brush, BrushTool)
    drag(view, on_screen(analyzed, (300, 500), (500, 500), (700, 500)))
    (region,) = regions.all
    radius = brush.radius_l0
    expected = 2 * radius * 400 + math.pi * radius**2
    assert region.shape.moments().area == pytest.approx(expected, rel=0.03)

    drag(view, on_screen(analyzed, (500, 500), (500, 800)))
    (grown,) = regions.all
    assert grown.id == region.id
    assert grown.shape.bounds[3] > 800

    qtbot.keyClick(view, Qt.Key.Key_Period)
    assert brush.radius_l0 > radius
    take(analyzed, "Eraser")
    drag(view, on_screen(analyzed, (250, 500), (750, 500)))
    assert regions.all[0].shape.moments().area < grown.shape.moments().area - expected / 2
    take(analyzed, "Undo")
    assert regions.all == (grown,)


def test_eraser_and_split_never_do_nothing_in_silence(analyzed: MainWindow) -> None:
    view, regions = analyzed.view, analyzed.document.regions
    regions.add("Draw", [rectangle(300, 300, 500, 600), rectangle(700, 300, 900, 600)])
    left, right = regions.all
    regions.choose([left.id])
    take(analyzed, "Eraser")
    drag(view, on_screen(analyzed, (800, 550), (800, 700)))
    assert regions.all[0] == left
    assert regions.all[1].shape.area_px < right.shape.area_px
    take(analyzed, "Undo")
    drag(view, on_screen(analyzed, (800, 900), (900, 900)))
    assert "No region is erased" in analyzed.statusBar().currentMessage()

    take(analyzed, "Split")
    drag(view, on_screen(analyzed, (800, 200), (800, 500), (800, 900)))
    assert "Choose the region first" in analyzed.statusBar().currentMessage()
    assert regions.all == (left, right)


def test_wand_takes_the_connected_positive_patches(analyzed: MainWindow) -> None:
    document = analyzed.document
    current = document.map
    assert current is not None
    document.show(threshold=0.3)
    positive = current.analyzed & (current.layer().stored >= 300_000)
    row, col = map(int, np.argwhere(positive)[0])
    take(analyzed, "Wand on the map")
    (at,) = on_screen(analyzed, current.grid.cell_centre_l0(row, col))
    mouse(analyzed.view, QEvent.Type.MouseButtonPress, at)
    mouse(analyzed.view, QEvent.Type.MouseButtonRelease, at)
    (region,) = document.regions.all
    assert region.classification == "IDC"
    found = measure(region, current.layer(), document.mpp_xy, 0.3)
    assert found.idc_fraction == 1.0

    row, col = map(int, np.argwhere(~positive)[0])
    (at,) = on_screen(analyzed, current.grid.cell_centre_l0(row, col))
    mouse(analyzed.view, QEvent.Type.MouseButtonPress, at)
    mouse(analyzed.view, QEvent.Type.MouseButtonRelease, at)
    assert len(document.regions.all) == 1
    assert "no patch" in analyzed.statusBar().currentMessage()


def test_regions_are_moved_reshaped_split_and_nudged(analyzed: MainWindow, qtbot: QtBot) -> None:
    view, regions = analyzed.view, analyzed.document.regions
    regions.add("Draw", [rectangle(300, 300, 700, 600)])
    take(analyzed, "Edit regions")
    drag(view, on_screen(analyzed, (500, 450), (550, 480), (600, 500)))
    assert np.abs(np.subtract(box(regions.all[0]), (400, 350, 800, 650))).max() <= 3

    drag(view, on_screen(analyzed, (800, 650), (850, 700), (900, 800)))
    assert np.abs(np.subtract(box(regions.all[0]), (400, 350, 900, 800))).max() <= 3

    corners = len(regions.all[0].shape.polygons[0][0])
    mouse(view, QEvent.Type.MouseButtonDblClick, *on_screen(analyzed, (600, 350)))
    assert len(regions.all[0].shape.polygons[0][0]) == corners + 1
    (at,) = on_screen(analyzed, (600, 350))
    mouse(view, QEvent.Type.MouseButtonPress, at, keys=ALT)
    mouse(view, QEvent.Type.MouseButtonRelease, at, keys=ALT)
    assert len(regions.all[0].shape.polygons[0][0]) == corners

    before = regions.all[0].shape.bounds[0]
    qtbot.keyClick(view, Qt.Key.Key_Right, SHIFT)
    assert regions.all[0].shape.bounds[0] == pytest.approx(before + 1 / view.camera.scale)

    take(analyzed, "Split")
    drag(view, on_screen(analyzed, (500, 200), (500, 600), (500, 1000)))
    assert len(regions.all) == 2
    assert len(regions.chosen) == 2
    assert [it.name for it in regions.all] == ["Region 1", "Region 1 (2)"]
    while analyzed.document.history.canUndo():
        take(analyzed, "Undo")
    assert regions.all == ()
    while analyzed.document.history.canRedo():
        take(analyzed, "Redo")
    assert len(regions.all) == 2


def test_region_is_made_moved_and_stretched_by_keys_alone(
    analyzed: MainWindow, qtbot: QtBot
) -> None:
    view, regions = analyzed.view, analyzed.document.regions
    qtbot.keyClick(view, Qt.Key.Key_Insert)
    qtbot.keyClick(view, Qt.Key.Key_E)
    before = regions.all[0].shape.moments()
    qtbot.keyClick(view, Qt.Key.Key_Down, SHIFT)
    for _ in range(3):
        qtbot.keyClick(view, Qt.Key.Key_Right, ALT)
    qtbot.keyClick(view, Qt.Key.Key_Up, ALT)
    after = regions.all[0].shape.moments()
    assert after.area == pytest.approx(before.area * 1.02**2)
    assert after.centroid[1] == pytest.approx(before.centroid[1] + 1 / view.camera.scale)


def test_second_quick_stroke_is_not_lost(analyzed: MainWindow) -> None:
    """Qt gives the second press of a pair as a double click."""
    view = analyzed.view
    take(analyzed, "Brush")
    first, second = on_screen(analyzed, (300, 300), (900, 700))
    drag(view, [first, first])
    mouse(view, QEvent.Type.MouseButtonDblClick, second)
    mouse(view, QEvent.Type.MouseButtonRelease, second)
    assert len(analyzed.document.regions.all) == 2


def test_region_deleted_in_the_midst_of_a_drag_stays_deleted(analyzed: MainWindow) -> None:
    view, regions = analyzed.view, analyzed.document.regions
    regions.add("Draw", [rectangle(300, 300, 700, 600)])
    take(analyzed, "Edit regions")
    start, end = on_screen(analyzed, (500, 450), (600, 500))
    mouse(view, QEvent.Type.MouseButtonPress, start)
    mouse(view, QEvent.Type.MouseMove, end)
    take(analyzed, "Delete")
    mouse(view, QEvent.Type.MouseButtonRelease, end)
    assert regions.all == ()


def test_slide_that_opens_in_the_midst_of_a_drag_lets_go(
    analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    view = analyzed.view
    start, end, later = on_screen(analyzed, (500, 450), (600, 500), (800, 800))
    mouse(view, QEvent.Type.MouseButtonPress, start)
    mouse(view, QEvent.Type.MouseMove, end)
    with qtbot.waitSignal(analyzed.document.slide_changed, timeout=WAIT_MS):
        analyzed.document.open(tiny_slide.path, 2.0)
    mouse(view, QEvent.Type.MouseButtonRelease, end)
    before = view.camera.centre
    mouse(view, QEvent.Type.MouseMove, later)
    assert view.camera.centre == before
