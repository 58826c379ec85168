"""Two cameras that move together."""

from __future__ import annotations

import math

import pytest
from PySide6.QtCore import QPointF, QRectF, QSizeF
from pytestqt.qtbot import QtBot

from idc_desktop.ui.camera import Camera
from idc_desktop.ui.camera_link import CameraLink
from idc_desktop.ui.viewport import Viewport

SIZE = QSizeF(600, 400)


def camera(mpp: float | None, viewport: Viewport) -> Camera:
    made = Camera()
    made.resize(SIZE, 1.0)
    made.aim(QRectF(0, 0, 40_000, 30_000), None if mpp is None else (mpp, mpp), viewport)
    return made


def um_between(one: Camera, first: QPointF, second: QPointF) -> float:
    assert one.mpp_xy is not None
    offset = one.to_l0(second) - one.to_l0(first)
    return math.hypot(offset.x(), offset.y()) * one.mpp_xy[0]


LOOKS = [
    Viewport(20_000, 9_000, 0.2),
    Viewport(7_000, 8_000, 0.4, 33),
    Viewport(7_000, 8_000, 0.1, 250, True),
]


@pytest.fixture(params=[(a, b) for a in LOOKS for b in LOOKS])
def pair(qtbot: QtBot, request: pytest.FixtureRequest) -> tuple[Camera, Camera, CameraLink]:
    """Two joined cameras on slides of 40x and 20x, however they were turned before."""
    first, second = camera(0.25, request.param[0]), camera(0.5, request.param[1])
    link = CameraLink(first, second)
    link.join()
    return first, second, link


@pytest.mark.parametrize("leads", [0, 1])
def test_same_way_on_the_screen_in_both(
    pair: tuple[Camera, Camera, CameraLink], leads: int
) -> None:
    """What lies under a place of one screen and of the other stays together."""
    cameras, link = pair[:2], pair[2]
    leader, follower = cameras[leads], cameras[1 - leads]
    places = [QPointF(10, 20), QPointF(590, 35), QPointF(300, 200)]
    twins = [(leader.to_l0(at), follower.to_l0(at)) for at in places]
    for move in (
        lambda: leader.centre_on(leader.to_l0(QPointF(450, 90))),
        lambda: leader.rotate(40),
        lambda: leader.set_scale(leader.scale * 1.7, QPointF(50, 60)),
        leader.flip_across,
        lambda: follower.rotate(-15),  # the other one leads for once
        leader.flip_down,
    ):
        move()
        assert leader.um_per_px == pytest.approx(follower.um_per_px)
        for mine, other in twins:
            on_screen = leader.to_device().map(mine) - follower.to_device().map(other)
            assert on_screen.manhattanLength() < 1e-6
            found = link.opposite(leads, mine) - other
            assert found.manhattanLength() < 1e-6
    ends = QPointF(0, 0), QPointF(600, 0)
    assert um_between(leader, *ends) == pytest.approx(um_between(follower, *ends))


def test_free_cameras_move_alone_and_are_joined_where_they_are(qtbot: QtBot) -> None:
    first, second = camera(0.25, LOOKS[0]), camera(0.25, LOOKS[1])
    link = CameraLink(first, second)
    kept = second.viewport
    first.rotate(10)
    assert second.viewport == kept
    link.join()
    assert second.centre == QPointF(kept.x_l0, kept.y_l0)
    assert second.scale == first.scale
    link.set_free()
    kept = first.viewport
    second.centre_on(QPointF(1, 2))
    assert first.viewport == kept


def test_view_of_another_size_takes_nobody_along(qtbot: QtBot) -> None:
    first, second = camera(0.25, LOOKS[0]), camera(0.25, LOOKS[0])
    link = CameraLink(first, second)
    link.join()
    first.fit()
    fitted = first.viewport
    second.resize(QSizeF(200, 100), 1.0)
    assert first.viewport == fitted
    assert first.viewport.is_fitted
    assert second.scale == first.scale


def test_slides_without_a_common_measure_are_not_joined(qtbot: QtBot) -> None:
    link = CameraLink(camera(None, LOOKS[0]), camera(0.25, LOOKS[1]))
    link.join()
    assert not link.is_joined
    alike = CameraLink(camera(None, LOOKS[0]), camera(None, LOOKS[1]))
    alike.join()
    assert alike.is_joined


def test_another_slide_sets_free_before_it_takes_anybody_along(qtbot: QtBot) -> None:
    first, second = camera(0.25, LOOKS[0]), camera(0.25, LOOKS[1])
    link = CameraLink(first, second)
    link.join()
    kept = second.viewport
    first.aim(QRectF(0, 0, 500, 500), (0.5, 0.5))
    assert second.viewport == kept
    assert not link.is_joined
