"""What is painted, and what is asked for next, while the tiles of a slide arrive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PySide6.QtCore import QEvent, QObject, QPoint, QPointF
from PySide6.QtGui import QPaintEvent, QRegion
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.tiles.pace import Pace
from idc_desktop.ui.tiles.pyramid import Tile
from tests.support.slides import write_tiff
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, as_pixels

SIDE = 2048


class Painted(QObject):
    """Collects which part of a widget is painted."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[QRegion] = []

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QPaintEvent):
            self.parts.append(event.region())
        return False


@pytest.fixture
def noisy(open_window: OpenWindow, tmp_path: Path) -> MainWindow:
    """A slide on which no two pixels are alike, its middle shown at a pixel for a pixel."""
    image = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    slide = tmp_path / "noise.tiff"
    write_tiff(slide, [image], mpp=0.5)
    return open_window(slide)


def on_screen(window: MainWindow) -> npt.NDArray[np.int16]:
    """Return what stands on the screen, shape (height, width, 3), without painting it again."""
    view = window.view
    place = view.mapTo(window, QPoint(0, 0))
    picture = window.screen().grabWindow(
        window.winId(), place.x(), place.y(), view.width(), view.height()
    )
    return as_pixels(picture.toImage()).astype(np.int16)


def test_tile_that_arrives_is_painted_alone(noisy: MainWindow, qtbot: QtBot) -> None:
    view, tiles = noisy.view, noisy.document.tiles
    assert tiles is not None
    view.camera.set_scale(1)
    view.camera.centre_on(QPointF(SIDE / 2, SIDE / 2))
    qtbot.waitUntil(lambda: view.is_sharp, timeout=WAIT_MS)
    QApplication.processEvents()
    painted = Painted()
    view.installEventFilter(painted)
    tile = Tile(0, 4, 4)
    tiles.loaded.emit(tile)
    qtbot.waitUntil(lambda: bool(painted.parts), timeout=WAIT_MS)
    (part,) = painted.parts
    place = view.camera.to_device().mapRect(tile.area_l0).toAlignedRect()
    assert part.boundingRect().contains(place & view.rect())
    assert place.adjusted(-3, -3, 3, 3).contains(part.boundingRect())
    tiles.loaded.emit(None)  # any of them
    qtbot.waitUntil(lambda: len(painted.parts) == 2, timeout=WAIT_MS)
    assert painted.parts[1].boundingRect() == view.rect()


@pytest.mark.parametrize("angle_deg", [0, 33])
@pytest.mark.parametrize("scale", [0.3, 0.7, 1.9])
def test_tiles_painted_one_by_one_look_as_if_painted_together(
    noisy: MainWindow, qtbot: QtBot, angle_deg: float, scale: float
) -> None:
    view = noisy.view
    view.camera.rotate(angle_deg)
    view.camera.set_scale(scale)
    view.camera.centre_on(QPointF(700, 900))
    qtbot.waitUntil(lambda: view.is_sharp, timeout=WAIT_MS)
    QApplication.processEvents()
    arrived = on_screen(noisy)
    view.repaint()
    difference = np.abs(arrived - on_screen(noisy)).max(axis=2)
    if angle_deg:
        # Where Qt begins a turned line shifts it by a hair: a pixel of a border may be either's.
        assert (difference > 24).mean() < 0.002
    else:
        assert difference.max() == 0
    assert len(np.unique(arrived)) > 100


def test_fast_decoder_is_given_more_at_once_than_a_slow_one() -> None:
    """A jump must not wait for dozens of tiles that take long and are wanted no more."""
    fast, slow = Pace(), Pace()
    for pace, each_s in ((fast, 0.002), (slow, 0.4)):
        pace.asked(0)
        for number in range(1, 60):
            pace.answered(number * each_s, is_last=False)
    assert fast.at_once == 24
    assert slow.at_once == 3


def test_time_in_which_nothing_was_asked_is_not_the_decoders() -> None:
    pace = Pace()
    for number in range(60):
        pace.asked(10 * number)
        pace.asked(10 * number + 0.001)
        pace.answered(10 * number + 0.002, is_last=False)
        pace.answered(10 * number + 0.004, is_last=True)
    assert pace.at_once == 24
