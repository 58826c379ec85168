"""Where a view looks, without a view."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPointF, QRectF, QSizeF
from pytestqt.qtbot import QtBot

from idc_desktop.ui.camera import Camera
from idc_desktop.ui.viewport import Viewport

EXTENT = QRectF(0, 0, 40_000, 20_000)
MPP = (0.25, 0.25)


@pytest.fixture
def camera(qtbot: QtBot) -> Camera:
    """A camera of 800 x 500 on a whole slide."""
    made = Camera()
    made.resize(QSizeF(800, 500), 1.0)
    made.aim(EXTENT, MPP)
    return made


def test_fitted_slide_stays_fitted_at_every_size_and_turn(camera: Camera) -> None:
    for change in (
        lambda: camera.resize(QSizeF(300, 900), 2.0),
        lambda: camera.rotate(90),
        camera.flip_across,
    ):
        change()
        shown = camera.to_device().mapRect(EXTENT)
        assert QRectF(QPointF(), camera.size).contains(shown)
        assert max(shown.width() / 300, shown.height() / 900) > 0.97


def test_magnification_is_of_the_pixels_of_the_screen(camera: Camera) -> None:
    camera.show_um_per_px(0.5)
    assert camera.scale == pytest.approx(0.5)
    camera.resize(QSizeF(800, 500), 2.0)
    assert camera.um_per_px == pytest.approx(0.25)
    camera.show_pixels()
    assert camera.screen_scale == pytest.approx(1.0)


def test_zoom_has_limits(camera: Camera) -> None:
    whole = camera.scale
    camera.set_scale(1e9)
    assert camera.is_at_limit
    camera.set_scale(1e-9)
    assert camera.scale == pytest.approx(whole / 2)


def test_another_slide_is_looked_at_as_it_was_left(camera: Camera) -> None:
    camera.aim(EXTENT, None, Viewport(5, 6, 0.5, 30))
    assert camera.centre == QPointF(5, 6)
    assert camera.um_per_px is None
    camera.aim(EXTENT, MPP)
    assert camera.centre == EXTENT.center()


def test_move_is_told_once(camera: Camera, qtbot: QtBot) -> None:
    with qtbot.waitSignal(camera.moved, timeout=100):
        camera.centre_on(QPointF(3, 4))
    with qtbot.assertNotEmitted(camera.moved):
        camera.centre_on(QPointF(3, 4))
