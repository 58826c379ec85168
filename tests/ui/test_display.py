"""The map out of the way: how much of it is painted, and when."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from idc_desktop.maps.colormap import lookup_table, opacity_weights
from idc_desktop.regions.shape import rectangle
from idc_desktop.ui.display import FADES, Display
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.panels.picture_panel import PicturePanel
from idc_desktop.ui.tone import Tone
from idc_desktop.ui.view.guides import bar_on_tissue
from tests.ui.support import WAIT_MS, pixels_of, take


def colours(bar: QImage) -> np.ndarray:
    """Return the colours of a picture of one row, shape (256, 3)."""
    return np.array([bar.pixelColor(x, 0).getRgb()[:3] for x in range(256)], float)


def cell_colours(window: MainWindow) -> dict[str, np.ndarray]:
    """Return the colour in the middle of the most and the least probable patch."""
    layer = window.document.layer
    assert layer is not None
    values, picture = layer.values, pixels_of(window.view)
    found = {}
    for name, place in (("high", np.nanargmax(values)), ("low", np.nanargmin(values))):
        row, col = map(int, np.unravel_index(int(place), values.shape))
        at = window.view.camera.to_device().map(QPointF(*layer.grid.cell_centre_l0(row, col)))
        found[name] = picture[round(at.y()), round(at.x())].astype(int)
    return found


def test_map_fades_away_as_the_slide_is_enlarged() -> None:
    display = Display(opacity=0.6, fades_at=20.0)
    assert display.opacity_at(None) == 0.6
    assert display.opacity_at(8.0) == display.opacity_at(2.0) == 0.6  # 5x
    assert display.opacity_at(1.0) == pytest.approx(0.3)  # 10x, half the way
    assert display.opacity_at(0.5) == display.opacity_at(0.25) == 0
    assert replace(display, fades_at=0.0).opacity_at(0.1) == 0.6


def test_display_of_another_version_is_taken_with_sense_only() -> None:
    kept = Display(extent="outline", fades_at=FADES[1], regions=False)
    assert Display.from_dict(asdict(kept)) == kept
    assert Display.from_dict({"opacity": 0.5}) == Display()
    for wrong in ({"extent": "much"}, {"fades_at": 7}, {"fades_at": math.nan}, {"regions": 1}):
        assert Display.from_dict(wrong) is None


def test_legend_has_the_colours_that_are_seen_on_tissue() -> None:
    tissue = colours(bar_on_tissue("viridis", "outline", 1.0, 0.5))
    assert (tissue == tissue[0]).all()
    whole = colours(bar_on_tissue("viridis", "all", 0.5, 0.5))
    alpha = (0.5 * opacity_weights())[:, np.newaxis]
    expected = alpha * lookup_table() + (1 - alpha) * tissue
    assert np.abs(whole - expected).max() <= 0.5
    upper = colours(bar_on_tissue("viridis", "positive", 0.5, 0.5))
    assert (upper[:127] == tissue[:127]).all()
    assert (upper[128:] == whole[128:]).all()
    assert (colours(bar_on_tissue("viridis", "all", 0.0, 0.5)) == tissue).all()


def test_less_of_the_map_is_painted_step_by_step(analyzed: MainWindow) -> None:
    document = analyzed.document
    document.show(threshold=0.5, opacity=1.0, outlined=False, legend=False)
    whole = cell_colours(analyzed)
    document.show(visible=False)
    bare = cell_colours(analyzed)
    assert all(np.abs(whole[name] - bare[name]).max() > 10 for name in whole)

    take(analyzed, "Paint less of the map, or all again")
    assert document.display.visible
    positive = cell_colours(analyzed)
    assert (positive["high"] == whole["high"]).all()
    assert (positive["low"] == bare["low"]).all()

    with_cells = pixels_of(analyzed.view)
    take(analyzed, "Paint less of the map, or all again")
    assert all((cell_colours(analyzed)[name] == bare[name]).all() for name in bare)
    outlined = pixels_of(analyzed.view)
    assert (outlined == (20, 20, 20)).all(axis=2).any()
    assert not np.array_equal(outlined, with_cells)

    take(analyzed, "Paint less of the map, or all again")
    assert (document.display.extent, document.display.visible) == ("all", True)
    take(analyzed, "Undo")  # one gesture, one step
    assert not document.display.visible


def test_opacity_has_keys(analyzed: MainWindow) -> None:
    display = analyzed.document.display
    for words, expected in (("opaque", 0.6), ("opaque", 0.7), ("transparent", 0.6)):
        take(analyzed, f"Map more {words}")
        assert analyzed.document.display.opacity == pytest.approx(expected)
    for _ in range(12):
        take(analyzed, "Map more transparent")
    assert analyzed.document.display.opacity == 0
    take(analyzed, "Undo")
    assert analyzed.document.display == display  # one gesture, one step


def test_key_that_is_held_bares_the_slide(analyzed: MainWindow, qtbot: QtBot) -> None:
    document, view = analyzed.document, analyzed.view
    document.regions.add("Draw", [rectangle(300, 300, 900, 600)], "IDC")
    document.show(legend=False)
    covered = pixels_of(view)
    document.show(visible=False, regions=False)
    bare = pixels_of(view)
    document.show(visible=True, regions=True)

    document.regions.point_out("Focus 1", rectangle(300, 300, 900, 600))
    for home in (view, analyzed.slide_panel.list):
        home.setFocus()
        qtbot.keyPress(home, Qt.Key.Key_H)
        assert document.is_bare
        assert np.array_equal(pixels_of(view), bare)
        qtbot.keyRelease(home, Qt.Key.Key_H)
        assert not document.is_bare
    document.regions.point_out()
    assert np.array_equal(pixels_of(view), covered)


def test_regions_are_hidden_by_a_key_until_one_is_drawn(analyzed: MainWindow) -> None:
    document, view = analyzed.document, analyzed.view
    without = pixels_of(view)
    document.regions.add("Draw", [rectangle(300, 300, 900, 600)], "IDC")
    assert not np.array_equal(pixels_of(view), without)
    take(analyzed, "Show the regions")
    assert np.array_equal(pixels_of(view), without)
    take(analyzed, "Draw rectangle")
    assert document.display.regions


def test_tone_of_a_channel() -> None:
    assert (Tone().table() == np.arange(256)).all()
    assert Tone(brightness=0.2).table()[100] == 151
    contrast = Tone(contrast=2.0).table().astype(int)
    assert (contrast[0], contrast[127], contrast[255]) == (0, 126, 255)
    assert contrast[150] - contrast[110] in (79, 80)
    lighter = Tone(gamma=2.0).table()
    assert (lighter[0], lighter[64], lighter[255]) == (0, 128, 255)
    for wrong in ({"gamma": 0}, {"gamma": math.nan}, {"contrast": "2"}, {"brightness": 0.7}):
        assert Display.from_dict(wrong) is None


@pytest.mark.parametrize("angle", [0, 20])
def test_tone_is_of_the_picture_on_the_screen_only(
    analyzed: MainWindow, qtbot: QtBot, angle: float
) -> None:
    document, view = analyzed.document, analyzed.view
    view.camera.rotate(angle)
    view.camera.show_pixels()
    document.show(visible=False)
    qtbot.waitUntil(lambda: view.is_sharp, timeout=WAIT_MS)
    plain = pixels_of(view)
    document.show(gamma=0.5)
    toned = pixels_of(view)
    centre = np.s_[300:420, 200:360]
    if not angle:  # else pixels are mixed before and not after
        assert (toned[centre] == Tone(gamma=0.5).table()[plain[centre]]).all()
    assert toned[centre].mean() < plain[centre].mean() - 5
    assert document.layer is not None
    assert document.display.for_another_slide().tone.is_plain
    analyzed.inspector.findChild(PicturePanel).reset.click()
    assert np.array_equal(pixels_of(view), plain)
    take(analyzed, "Undo")
    assert document.display.gamma == 0.5


def test_sliders_and_tone_agree(analyzed: MainWindow, qtbot: QtBot) -> None:
    panel = analyzed.inspector.findChild(PicturePanel)
    assert panel is not None
    assert not panel.reset.isEnabled()
    qtbot.keyClick(panel.sliders["brightness"], Qt.Key.Key_PageUp)
    assert analyzed.document.display.brightness == pytest.approx(0.1)
    analyzed.document.show(contrast=2.0)
    assert panel.sliders["contrast"].value() == panel.sliders["contrast"].maximum()
    qtbot.keyClick(panel.sliders["gamma"], Qt.Key.Key_End)
    assert analyzed.document.display.gamma == pytest.approx(2.5, rel=0.01)
    qtbot.keyClick(panel.sliders["gamma"], Qt.Key.Key_Home)
    assert analyzed.document.display.gamma == pytest.approx(0.4, rel=0.01)
    assert panel.reset.isEnabled()
