"""Colours, styles and icons of the window, light and dark."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from PySide6.QtCore import QByteArray, QSize, Qt
from PySide6.QtGui import QColor, QGuiApplication, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

THEMES = ("system", "light", "dark")

_ICON = QSize(24, 24)

_Role = QPalette.ColorRole
_LIGHT = {
    _Role.Window: "#f3f4f6",
    _Role.WindowText: "#1d1f24",
    _Role.Base: "#ffffff",
    _Role.AlternateBase: "#e9ebef",
    _Role.Text: "#1d1f24",
    _Role.PlaceholderText: "#6d727c",
    _Role.Button: "#fafafb",
    _Role.ButtonText: "#1d1f24",
    _Role.ToolTipBase: "#1d1f24",
    _Role.ToolTipText: "#f5f6f8",
    _Role.Light: "#ffffff",
    _Role.Midlight: "#eceef1",
    _Role.Mid: "#dfe2e7",
    _Role.Dark: "#b4b8c0",
    _Role.Shadow: "#80858f",
    _Role.Highlight: "#2467c9",
    _Role.HighlightedText: "#ffffff",
    _Role.Accent: "#2467c9",
    _Role.Link: "#2467c9",
    _Role.BrightText: "#b3261e",
}
_DARK = {
    _Role.Window: "#33363c",
    _Role.WindowText: "#e7e9ed",
    _Role.Base: "#1d1f23",
    _Role.AlternateBase: "#282b30",
    _Role.Text: "#e7e9ed",
    _Role.PlaceholderText: "#a9afb9",
    _Role.Button: "#454951",
    _Role.ButtonText: "#e7e9ed",
    _Role.ToolTipBase: "#e7e9ed",
    _Role.ToolTipText: "#1b1d21",
    _Role.Light: "#5a5f68",
    _Role.Midlight: "#4b5058",
    _Role.Mid: "#16181b",
    _Role.Dark: "#121316",
    _Role.Shadow: "#08090a",
    _Role.Highlight: "#4d8df0",
    _Role.HighlightedText: "#0d1116",
    _Role.Accent: "#4d8df0",
    _Role.Link: "#7fb0ff",
    _Role.BrightText: "#ff8a80",
}
_TEXT_ROLES = (_Role.WindowText, _Role.Text, _Role.ButtonText)

_STYLE = """
QToolBar { spacing: 2px; padding: 3px 6px; border: none; }
QToolButton#sectionTitle { font-weight: bold; border: none; padding: 7px 4px 3px 2px; }
QPushButton#primary {
    font-weight: bold; padding: 4px 12px; border: none; border-radius: 4px;
    background: palette(highlight); color: palette(highlighted-text);
}
QPushButton#primary:disabled { background: palette(mid); color: palette(placeholder-text); }
QPushButton#primary:focus { border: 2px solid palette(window-text); padding: 2px 10px; }
QDialogButtonBox { dialogbuttonbox-buttons-have-icons: 0; }
QDockWidget {
    titlebar-close-icon: url("ICONS/close.svg"); titlebar-normal-icon: url("ICONS/float.svg");
}
QTableView::indicator, QCheckBox::indicator {
    background: #ffffff; border: 1px solid #80858f; border-radius: 2px; width: 12px; height: 12px;
}
QTableView::indicator:checked, QCheckBox::indicator:checked { image: url("ICONS/check.svg"); }
QCheckBox::indicator:disabled { background: #b4b8c0; }
QCheckBox::indicator:focus { border: 2px solid palette(highlight); }
QFrame#resolutionBar, QFrame#notice { background: #fff1c9; }
QFrame#resolutionBar QLabel, QFrame#notice QLabel, QLabel#notice { color: #4b3800; }
QLabel#notice { padding: 6px; }
"""


def apply_theme(name: str) -> None:
    """Give the application one of `THEMES`; ``system`` is dark where the desktop is."""
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    is_dark = is_desktop_dark() if name == "system" else name == "dark"
    colours = _DARK if is_dark else _LIGHT
    palette = QPalette()
    for role, colour in colours.items():
        palette.setColor(role, QColor(colour))
    for role in _TEXT_ROLES:
        faint = QColor(colours[_Role.PlaceholderText])
        faint.setAlpha(150)
        palette.setColor(QPalette.ColorGroup.Disabled, role, faint)
    application.setPalette(palette)
    icons = Path(str(files("idc_desktop.resources"))) / "icons"
    application.setStyleSheet(_STYLE.replace("ICONS", icons.as_posix()))


def is_desktop_dark() -> bool:
    """Whether the desktop is dark now."""
    return QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark


def icon(name: str) -> QIcon:
    """Return an icon of ``resources/icons`` in the colours of the palette."""
    drawing = (files("idc_desktop.resources") / "icons" / f"{name}.svg").read_text("utf-8")
    palette = QGuiApplication.palette()
    made = QIcon()
    for mode, group in (
        (QIcon.Mode.Normal, QPalette.ColorGroup.Active),
        (QIcon.Mode.Disabled, QPalette.ColorGroup.Disabled),
    ):
        colour = palette.color(group, QPalette.ColorRole.WindowText)
        coloured = drawing.replace("currentColor", colour.name())
        renderer = QSvgRenderer(QByteArray(coloured.encode()))
        for ratio in (1, 2):
            pixmap = QPixmap(_ICON * ratio)
            pixmap.fill(Qt.GlobalColor.transparent)
            painter = QPainter(pixmap)
            painter.setOpacity(colour.alphaF())
            renderer.render(painter)
            painter.end()
            pixmap.setDevicePixelRatio(ratio)
            made.addPixmap(pixmap, mode)
    return made
