"""The geometry of the view."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from PySide6.QtCore import QPointF, QRectF, QSizeF

from idc_desktop.slides.description import SlideDescription
from idc_desktop.ui.tiles.pyramid import Tile, TilePyramid
from idc_desktop.ui.view.guides import bar_text
from idc_desktop.ui.viewport import Viewport

SIZE = QSizeF(800, 500)


def near(first: QPointF, second: QPointF, tolerance: float = 1e-6) -> bool:
    return (first - second).manhattanLength() < tolerance


@pytest.mark.parametrize("angle", [0, 30, 90, 245])
@pytest.mark.parametrize("mirrored", [False, True])
def test_zoom_keeps_the_point_under_the_cursor(angle: float, mirrored: bool) -> None:
    viewport = Viewport(5000, 3000, 0.1, angle, mirrored)
    at = QPointF(610, 123)
    before = viewport.to_l0(at, SIZE)
    zoomed = viewport.zoomed(1.7, at, SIZE)
    assert zoomed.scale == 1.7
    assert near(zoomed.to_l0(at, SIZE), before)


@pytest.mark.parametrize("angle", [0, 30, 90, 245])
def test_flips_mirror_the_screen_however_the_slide_is_turned(angle: float) -> None:
    viewport = Viewport(5000, 3000, 0.1, angle)
    for point in (QPointF(100, 40), QPointF(777, 499)):
        seen = viewport.transform(SIZE).map(viewport.to_l0(point, SIZE))
        across = viewport.flipped_across().transform(SIZE).map(viewport.to_l0(point, SIZE))
        down = viewport.flipped_down().transform(SIZE).map(viewport.to_l0(point, SIZE))
        assert near(across, QPointF(SIZE.width() - seen.x(), seen.y()))
        assert near(down, QPointF(seen.x(), SIZE.height() - seen.y()))


def test_two_flips_are_half_a_turn_and_turns_add_up() -> None:
    viewport = Viewport(angle_deg=300)
    assert viewport.flipped_across().flipped_down() == viewport.turned(180)
    assert viewport.turned(90).angle_deg == 30
    assert viewport.flipped_across().flipped_across() == viewport


@pytest.mark.parametrize("angle", [0, 45, 90])
def test_fitted_slide_is_wholly_within_the_view(angle: float) -> None:
    extent = QRectF(100, 200, 32_000, 9_000)
    viewport = Viewport(angle_deg=angle).fitted(extent, SIZE)
    shown = viewport.transform(SIZE).mapRect(extent)
    assert QRectF(0, 0, SIZE.width(), SIZE.height()).contains(shown)
    assert max(shown.width() / SIZE.width(), shown.height() / SIZE.height()) > 0.97


def test_tiles_cover_the_part_and_those_in_its_middle_come_first() -> None:
    pyramid = TilePyramid(
        SlideDescription(
            file="a.svs", vendor="aperio", width_l0=10_000, height_l0=6_000, levels=(), mpp_x=None,
            mpp_y=None, mpp_source=None, objective_power=None, bounds=None, identity="ab",
            identity_kind="", warnings=(),
        )
    )  # fmt: skip
    part = QRectF(1_000, 900, 3_000, 2_000)
    zoom = pyramid.zoom_for(0.5)
    tiles = pyramid.tiles(zoom, part)
    covered = QRectF()
    for tile in tiles:
        covered = covered.united(tile.area_l0)
    assert zoom == 1
    assert covered.contains(part)
    assert tiles[0].area_l0.contains(part.center())
    assert len(pyramid.top_tiles()) <= 4
    assert pyramid.tiles(0, QRectF(-500, -500, 400, 400)) == []
    assert Tile(2, 7, 5).parent() == Tile(3, 3, 2)


def test_length_of_the_scale_bar_is_written_in_its_unit() -> None:
    assert bar_text(200) == "200 µm"
    assert bar_text(2_000) == "2 mm"


@pytest.mark.parametrize(("angle", "um"), [(0, 5.0), (180, 5.0), (90, 10.0), (270, 10.0)])
def test_scale_across_the_view_is_that_of_the_axis_that_lies_there(angle: float, um: float) -> None:
    for mirrored in (False, True):
        viewport = Viewport(scale=0.1, angle_deg=angle, mirrored=mirrored)
        assert viewport.um_across((0.5, 1.0)) == pytest.approx(um)
    assert Viewport(scale=0.1, angle_deg=37).um_across((0.5, 0.5)) == pytest.approx(5.0)


def test_view_of_another_version_is_taken_as_far_as_it_is_known() -> None:
    kept = Viewport(5000, 3000, 0.1, 30, mirrored=True)
    values = asdict(kept)
    assert Viewport.from_dict({**values, "linked_to": "another slide"}) == kept
    older = {name: value for name, value in values.items() if name not in ("mirrored", "is_fitted")}
    assert Viewport.from_dict(older) == replace(kept, mirrored=False)
    for spoilt in (
        {**values, "scale": 0}, {**values, "x_l0": float("nan")}, {**values, "mirrored": 1},
        {**values, "y_l0": "5"}, {"angle_deg": 0.0}, [], None,
    ):  # fmt: skip
        assert Viewport.from_dict(spoilt) is None
