"""The field for the magnification: what is understood, what it answers."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from idc_desktop.ui.panels.magnification_field import parse_magnification
from tests.support.scenes import Scene
from tests.ui.conftest import OpenWindow


@pytest.mark.parametrize(
    ("text", "um_per_px"),
    [
        ("10x", 1.0),
        ("40 x", 0.25),
        ("20×", 0.5),
        ("2,5x", 4.0),
        ("5", 2.0),
        ("2 µm", 2.0),
        ("0.25µm/px", 0.25),
        (".5 um / px", 0.5),
        ("0x", None),
        ("-2x", None),
        ("nan x", None),
        ("1e9x", None),
        ("", None),
    ],
)
def test_magnification_is_understood_or_refused(text: str, um_per_px: float | None) -> None:
    assert parse_magnification(text) == um_per_px


def test_nonsense_in_the_magnification_field_is_answered(
    open_window: OpenWindow, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    before = window.view.camera.scale
    window.magnification.setText("nonsense")
    window.magnification.returnPressed.emit()
    assert window.view.camera.scale == before
    assert "10x" in window.statusBar().currentMessage()


def test_magnification_says_what_could_not_be_reached_and_nothing_else(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    field, said = window.magnification, window.statusBar().currentMessage
    mpp = window.document.mpp_xy
    assert mpp is not None
    most = 10 / (mpp[0] / 8)  # eight pixels of the screen for one of the slide
    for text, answer in [
        (f"{2 * most:g}x", "The view cannot be enlarged further."),
        (f"{most:g}x", ""),
        ("nonsense", "Type a magnification"),
        (f"{most / 4:g}x", ""),
    ]:
        field.setText(text)
        qtbot.keyClick(field, Qt.Key.Key_Return)
        assert said().startswith(answer)
        assert bool(said()) == bool(answer)
        assert window.view.hasFocus()
    shown = field.text()
    field.setFocus()
    field.setText("3")
    qtbot.keyClick(field, Qt.Key.Key_Escape)
    assert field.text() == shown
    assert window.view.hasFocus()


def test_typed_magnification_is_gone_to(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    window.magnification.setText("5x")
    window.magnification.returnPressed.emit()
    mpp = window.document.mpp_xy
    assert mpp is not None
    assert window.view.camera.scale == pytest.approx(mpp[0] / 2.0)
