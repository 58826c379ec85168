"""What the view shows of a slide where its pixels are not here yet, or cannot be read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPointF
from pytestqt.qtbot import QtBot

from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.thumbnails import kept_picture
from idc_desktop.ui.tiles.loader import TileLoader
from idc_desktop.ui.tiles.overview import paint_overview
from tests.support.scenes import Scene
from tests.support.slides import damage_tile, write_svs, write_tiff
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, pixels_of

GLASS = 240  # nothing that is not read may be lighter
READING = "Reading the slide …"


@pytest.fixture
def starved(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No tile is asked for until this is undone."""
    monkeypatch.setattr(TileLoader, "want", lambda self, asker, tiles: None)
    return monkeypatch


def show(window: MainWindow, qtbot: QtBot, slide: Path) -> None:
    window.open(slide)
    qtbot.waitUntil(lambda: window.document.slide is not None, timeout=WAIT_MS)


def middle(window: MainWindow) -> np.ndarray:
    """Return the middle of the view's slide: nothing lies over it."""
    view = window.view
    extent = view.camera.to_device().mapRect(window.document.pyramid.extent_l0).toAlignedRect()
    inside = extent.adjusted(extent.width() // 3, extent.height() // 3, 0, 0)
    return pixels_of(view)[
        inside.top() : inside.top() + extent.height() // 3,
        inside.left() : inside.left() + extent.width() // 3,
    ]


@pytest.mark.parametrize("angle", [0, 30])
def test_what_is_not_read_yet_is_no_empty_glass(
    window: MainWindow, qtbot: QtBot, starved: pytest.MonkeyPatch, tiny_slide: Scene, angle: float
) -> None:
    show(window, qtbot, tiny_slide.path)
    window.view.camera.rotate(angle)
    assert window.view.notice == ""  # most slides are here before anybody could read it
    qtbot.waitUntil(lambda: window.view.notice == READING, timeout=WAIT_MS)
    shown = middle(window)
    assert shown.max() < GLASS
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 1  # hatched
    starved.undo()
    window.view.camera.fit()
    window.view.camera.rotate(1)
    qtbot.waitUntil(lambda: window.view.is_sharp, timeout=WAIT_MS)
    assert window.view.notice == ""


def test_picture_of_an_earlier_look_stands_in_until_the_slide_is_read(
    open_window: OpenWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image = np.full((900, 900, 3), (200, 60, 120), np.uint8)
    slide = tmp_path / "red.tiff"
    write_tiff(slide, [image], mpp=2.0)
    window = open_window(slide)
    qtbot.waitUntil(lambda: kept_picture(slide) is not None, timeout=WAIT_MS)
    window.document.close()
    monkeypatch.setattr(TileLoader, "want", lambda self, asker, tiles: None)
    show(window, qtbot, slide)
    qtbot.waitUntil(lambda: abs(int(middle(window)[..., 0].min()) - 200) < 4, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: window.view.notice == READING, timeout=WAIT_MS)


def test_picture_of_a_slide_is_not_that_of_another_one_in_its_place(
    open_window: OpenWindow, qtbot: QtBot, tmp_path: Path, tiny_slide: Scene
) -> None:
    """Not even where size and date of the file are the same."""
    slide = tmp_path / "slide.tiff"
    shutil.copy(tiny_slide.path, slide)
    open_window(slide)
    qtbot.waitUntil(lambda: kept_picture(slide) is not None, timeout=WAIT_MS)
    before = slide.stat()
    slide.write_bytes(slide.read_bytes())
    os.utime(slide, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert kept_picture(slide) is None


def test_damaged_part_is_hatched_and_named(
    open_window: OpenWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    image = np.full((1024, 1024, 3), 245, np.uint8)
    slide = tmp_path / "damaged.svs"
    write_svs(slide, [image], mpp=2.0)
    damage_tile(slide, 0, 1, 1)
    window = open_window(slide)
    assert window.view.notice == "Hatched parts of this slide are damaged and cannot be read."
    assert middle(window).min() < 100  # the hatch
    document = window.document
    small = paint_overview(document.pyramid, document.tiles, window.view.size())
    assert small.pixelColor(small.width() // 4, small.height() // 4).lightness() < GLASS
    window.view.camera.show_pixels()
    window.view.camera.centre_on(QPointF(-5_000, 0))  # nothing of it is in sight
    assert window.view.notice == ""


def test_slide_that_is_lost_is_not_said_to_be_on_its_way(
    window: MainWindow, qtbot: QtBot, starved: pytest.MonkeyPatch, tiny_slide: Scene
) -> None:
    show(window, qtbot, tiny_slide.path)
    tiles = window.document.tiles
    assert tiles is not None
    tiles.refused.emit("tiny.tiff: It cannot be read any more.")
    assert window.view.notice == "This slide cannot be read any more. Open it again."


def test_resolution_given_by_hand_reads_nothing_again(
    open_window: OpenWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slide = tmp_path / "no-resolution.tiff"
    write_tiff(slide, [np.full((900, 900, 3), (200, 60, 120), np.uint8)], mpp=None)
    window = open_window(slide)
    monkeypatch.setattr(TileLoader, "want", lambda self, asker, tiles: None)
    window.document.give_resolution(2.0)
    qtbot.waitUntil(lambda: window.document.mpp_xy == (2.0, 2.0), timeout=WAIT_MS)
    assert window.view.has_all_tiles
    assert window.view.notice == ""
