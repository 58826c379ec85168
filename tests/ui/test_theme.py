"""Light and dark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QPalette

from idc_desktop.ui import theme
from idc_desktop.ui.main_window import MainWindow


@pytest.fixture
def light() -> Iterator[None]:
    theme.apply_theme("light")
    yield
    theme.apply_theme("light")


@pytest.mark.usefixtures("light")
def test_window_turns_dark_when_the_desktop_does(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it was told to be light, it stays so."""
    changed = QGuiApplication.styleHints().colorSchemeChanged

    def is_dark() -> bool:
        return window.palette().color(QPalette.ColorRole.Window).lightness() < 128

    monkeypatch.setattr(theme, "is_desktop_dark", lambda: True)
    changed.emit(Qt.ColorScheme.Dark)
    assert is_dark()
    monkeypatch.setattr(theme, "is_desktop_dark", lambda: False)
    changed.emit(Qt.ColorScheme.Light)
    assert not is_dark()
    window._set_theme("light")
    monkeypatch.setattr(theme, "is_desktop_dark", lambda: True)
    changed.emit(Qt.ColorScheme.Dark)
    assert not is_dark()


@pytest.mark.usefixtures("light")
def test_closed_window_colours_no_other(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.close()
    monkeypatch.setattr(theme, "is_desktop_dark", lambda: True)
    QGuiApplication.styleHints().colorSchemeChanged.emit(Qt.ColorScheme.Dark)
    assert window.palette().color(QPalette.ColorRole.Window).lightness() > 128
