"""Drawing without a mouse: keys make what the mouse makes at the same points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtGui import QAccessible
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QTableView,
    QWidget,
)
from pytestqt.qtbot import QtBot

from idc_desktop.regions.shape import Region, rectangle
from idc_desktop.ui.dialogs.pages import shortcuts_page
from idc_desktop.ui.main_window import MainWindow
from tests.ui.support import drag, mouse, on_screen, pixels_of, take

NONE = Qt.KeyboardModifier.NoModifier
SHIFT, ALT = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier
CTRL = Qt.KeyboardModifier.ControlModifier
STEP_PX = 8
"""How far an arrow key moves the crosshair."""

# Where the crosshair goes, in steps of an arrow key from the middle of the view.
WAY = [(-16, -12), (-16, 4), (9, 4), (9, -12)]


class Hands:
    """The same path by keyboard and by mouse.

    Attributes
    ----------
    passed : list of QPointF
        Every point of the view that the crosshair came by.
    """

    def __init__(self, window: MainWindow, qtbot: QtBot) -> None:
        self._window, self._view = window, window.view
        self._qtbot = qtbot
        self.passed: list[QPointF] = []

    def take(self, words: str) -> None:
        """Take up a tool; the crosshair will appear in the middle of the view."""
        take(self._window, words)
        QApplication.processEvents()  # the table of regions makes its room
        self._step = (0, 0)
        self.passed = [QPointF(self._view.width() // 2, self._view.height() // 2)]

    def go(self, to: tuple[int, int], keys: Qt.KeyboardModifier = NONE) -> list[QPointF]:
        """Move by arrow keys; return the points on the way."""
        start = len(self.passed)
        for axis, (back, on) in enumerate(
            ((Qt.Key.Key_Left, Qt.Key.Key_Right), (Qt.Key.Key_Up, Qt.Key.Key_Down))
        ):
            for _ in range(abs(to[axis] - self._step[axis])):
                self._qtbot.keyClick(self._view, on if to[axis] > self._step[axis] else back, keys)
                sign = 1 if to[axis] > self._step[axis] else -1
                moved = (sign * STEP_PX, 0) if axis == 0 else (0, sign * STEP_PX)
                self.passed.append(self.passed[-1] + QPointF(*moved))
        self._step = to
        return self.passed[start:]

    def key(self, key: Qt.Key, keys: Qt.KeyboardModifier = NONE) -> QPointF:
        """Press a key; return where the crosshair is."""
        self._qtbot.keyClick(self._view, key, keys)
        return self.passed[-1]

    def drag(
        self, way: Sequence[tuple[int, int]], keys: Qt.KeyboardModifier = NONE
    ) -> list[QPointF]:
        """Drag from the first place through the others, by keys; return the points on the way."""
        self.go(way[0])
        points = [self.key(Qt.Key.Key_Space, keys)]
        for place in way[1:]:
            points += self.go(place, keys)
        self.key(Qt.Key.Key_Space, keys)
        return points


@pytest.fixture
def hands(analyzed: MainWindow, qtbot: QtBot) -> Hands:
    return Hands(analyzed, qtbot)


def shapes(window: MainWindow) -> list[list[list[list[float]]]]:
    """Return the points of every region, to compare."""
    return [[ring.tolist() for ring in it.shape.rings] for it in window.document.regions.all]


def undo_all(window: MainWindow) -> None:
    while window.document.history.canUndo():
        take(window, "Undo")


@pytest.mark.parametrize("keys", [NONE, SHIFT])
@pytest.mark.parametrize(
    "words", ["Draw rectangle", "Draw ellipse", "Draw freehand", "Brush", "Eraser", "Split"]
)
def test_drag_by_keys_is_a_drag(
    analyzed: MainWindow, hands: Hands, words: str, keys: Qt.KeyboardModifier
) -> None:
    regions = analyzed.document.regions
    is_drawn_on = words in ("Eraser", "Split")

    def prepare() -> None:
        undo_all(analyzed)
        if is_drawn_on:
            middle = analyzed.view.camera.centre
            x, y, side = middle.x(), middle.y(), 60 / analyzed.view.camera.scale
            regions.add("Draw", [rectangle(x - side, y - side, x + side, y + side)])

    prepare()
    before = shapes(analyzed)
    hands.take(words)
    way = WAY[::2] if is_drawn_on or words in ("Draw rectangle", "Draw ellipse") else WAY
    points = hands.drag(way, keys)
    by_keys = shapes(analyzed)
    assert by_keys != before
    prepare()
    drag(analyzed.view, points, keys=keys)
    assert shapes(analyzed) == by_keys


def test_polygon_takes_a_corner_by_enter_and_closes_by_enter_again(
    analyzed: MainWindow, hands: Hands
) -> None:
    hands.take("Draw polygon")
    corners = []
    for place in WAY:
        hands.go(place)
        corners.append(hands.key(Qt.Key.Key_Return))
    hands.key(Qt.Key.Key_Return)
    by_keys = shapes(analyzed)
    assert len(by_keys) == 1
    undo_all(analyzed)
    for corner in corners:
        mouse(analyzed.view, QEvent.Type.MouseButtonPress, corner)
        mouse(analyzed.view, QEvent.Type.MouseButtonRelease, corner)
    mouse(analyzed.view, QEvent.Type.MouseButtonDblClick, corners[-1])
    mouse(analyzed.view, QEvent.Type.MouseButtonRelease, corners[-1])
    assert shapes(analyzed) == by_keys


def test_wand_grows_at_the_crosshair(analyzed: MainWindow, hands: Hands) -> None:
    document = analyzed.document
    document.show(threshold=0.3)
    assert document.map is not None
    positive = document.map.analyzed & (document.map.layer().stored >= 300_000)
    row, col = map(int, np.argwhere(positive)[0])
    analyzed.view.camera.centre_on(QPointF(*document.map.grid.cell_centre_l0(row, col)))
    hands.take("Wand on the map")
    hands.go((1, 0))
    at = hands.key(Qt.Key.Key_Return)
    by_keys = shapes(analyzed)
    assert len(by_keys) == 1
    undo_all(analyzed)
    document.show(threshold=0.3)
    mouse(analyzed.view, QEvent.Type.MouseButtonPress, at)
    mouse(analyzed.view, QEvent.Type.MouseButtonRelease, at)
    assert shapes(analyzed) == by_keys


def test_distance_and_angle_are_measured_by_keys(analyzed: MainWindow, hands: Hands) -> None:
    regions = analyzed.document.regions
    hands.take("Measure a distance")
    points = hands.drag(WAY[:2])
    drag(analyzed.view, points)
    by_keys, by_mouse = regions.marks
    assert by_keys.points == by_mouse.points
    hands.take("Measure an angle")
    clicked = []
    for place in WAY[:3]:
        hands.go(place)
        clicked.append(hands.key(Qt.Key.Key_Return))
    for at in clicked:
        mouse(analyzed.view, QEvent.Type.MouseButtonPress, at)
        mouse(analyzed.view, QEvent.Type.MouseButtonRelease, at)
    assert regions.marks[2].points == regions.marks[3].points
    undo_all(analyzed)
    assert regions.marks == ()


def test_corner_is_dragged_inserted_and_taken_away_at_the_crosshair(
    analyzed: MainWindow, hands: Hands
) -> None:
    view, regions = analyzed.view, analyzed.document.regions
    hands.take("Edit regions")
    corners = [
        view.camera.to_l0(hands.passed[0] + STEP_PX * QPointF(*place)) for place in (WAY[0], WAY[2])
    ]
    (left, top), (right, bottom) = [(at.x(), at.y()) for at in corners]

    def prepare() -> Region:
        undo_all(analyzed)
        regions.add("Draw", [rectangle(left, top, right, bottom)])
        return regions.all[0]

    prepare()
    points = hands.drag([WAY[2], (14, 10)])
    by_keys = shapes(analyzed)
    assert regions.all[0].shape.bounds == pytest.approx(
        (left, top, *(view.camera.to_l0(points[-1]).toTuple()))
    )
    prepare()
    drag(view, points)
    assert shapes(analyzed) == by_keys

    hands.take("Edit regions")  # the mouse has sent the crosshair away
    corners_before = len(prepare().shape.polygons[0][0])
    hands.go((0, WAY[0][1]))  # the upper edge
    hands.key(Qt.Key.Key_Return)
    hands.key(Qt.Key.Key_Return)
    assert len(regions.all[0].shape.polygons[0][0]) == corners_before + 1
    hands.key(Qt.Key.Key_Return, ALT)
    assert len(regions.all[0].shape.polygons[0][0]) == corners_before

    regions.choose([])
    hands.go((-5, -5))
    hands.key(Qt.Key.Key_Return)
    assert regions.chosen == regions.all
    before = regions.all[0].shape.bounds
    hands.key(Qt.Key.Key_Right, SHIFT)  # still nudges
    assert regions.all[0].shape.bounds[0] == pytest.approx(before[0] + 1 / view.camera.scale)


def test_crosshair_is_seen_and_makes_way_for_the_mouse(
    analyzed: MainWindow, hands: Hands, qtbot: QtBot
) -> None:
    view = analyzed.view
    hands.take("Draw rectangle")
    without = pixels_of(view)
    hands.go((3, 2))
    assert (pixels_of(view) != without).any()
    assert analyzed.status_line.position.text().startswith("x ")
    mouse(view, QEvent.Type.MouseMove, QPointF(5, 5), Qt.MouseButton.NoButton)
    assert (pixels_of(view) == without).all()
    hands.go((4, 2))
    for _ in range(2):  # first what was begun, then itself
        qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert (pixels_of(view) == without).all()


def test_stroke_held_by_key_ends_by_key_or_escape_only(
    analyzed: MainWindow, hands: Hands, qtbot: QtBot
) -> None:
    view, regions = analyzed.view, analyzed.document.regions
    hands.take("Draw rectangle")
    hands.go((3, 2))
    hands.key(Qt.Key.Key_Space)
    hands.go((9, 9))
    nudged = QPointF(5, 5)
    mouse(view, QEvent.Type.MouseMove, nudged)
    mouse(view, QEvent.Type.MouseButtonRelease, nudged)
    assert view.is_pressed
    hands.key(Qt.Key.Key_Escape)
    assert not view.is_pressed
    hands.key(Qt.Key.Key_Space)
    hands.go((15, 12))
    hands.take("Brush")  # what another tool had begun is forgotten
    assert not view.is_pressed
    hands.take("Draw rectangle")
    drag(view, on_screen(analyzed, (200, 300), (500, 400), (900, 700)))
    assert len(regions.all) == 1


def test_crosshair_stays_in_sight_and_takes_the_slide_along(
    analyzed: MainWindow, hands: Hands, qtbot: QtBot
) -> None:
    view = analyzed.view
    view.camera.set_scale(2.0)
    hands.take("Draw rectangle")
    start = view.camera.centre
    hands.go((120, 1))  # farther than the view is wide
    there = view.camera.to_l0(view.rect().toRectF().center()) - start
    assert there.x() > 0
    qtbot.keyClick(view, Qt.Key.Key_Space)
    before = view.tool.points[0]
    assert before[0] - start.x() == pytest.approx(120 * STEP_PX / view.camera.scale, abs=1)
    for _ in range(3):
        qtbot.keyClick(view, Qt.Key.Key_Right, CTRL)
    assert view.tool.at[0] - before[0] == pytest.approx(3 / view.camera.scale)


def test_arrows_still_pan_where_nothing_is_drawn(analyzed: MainWindow, qtbot: QtBot) -> None:
    view = analyzed.view
    take(analyzed, "Draw rectangle")
    take(analyzed, "Look and pan")
    before, without = view.camera.centre, view.hint
    qtbot.keyClick(view, Qt.Key.Key_Right)
    assert view.camera.centre.x() > before.x()
    assert without == ""


def test_keys_of_the_tool_are_told(analyzed: MainWindow) -> None:
    for verb in ("Draw polygon", "Wand on the map", "Edit regions", "Measure a distance"):
        take(analyzed, verb)
        assert "Space" in analyzed.view.accessibleDescription()
    assert "crosshair" in shortcuts_page(analyzed.verbs.shortcuts())


def test_every_control_has_a_name_for_a_screen_reader(window: MainWindow) -> None:
    for dock in window.docks.values():
        dock.show()
    kinds = (QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit, QTableView)
    controls = [
        it
        for it in window.findChildren(QWidget)
        if isinstance(it, kinds)
        and it.focusPolicy() != Qt.FocusPolicy.NoFocus
        and not isinstance(it.parent(), (QAbstractSpinBox, QComboBox))
    ]
    names = {
        it: QAccessible.queryAccessibleInterface(it).text(QAccessible.Text.Name) for it in controls
    }
    assert len(controls) > 40
    assert [it for it, name in names.items() if not name.strip()] == []
