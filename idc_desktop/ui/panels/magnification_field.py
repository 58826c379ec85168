"""The magnification as a number that can be typed."""

from __future__ import annotations

import re

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QWidget

from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.numbers import UM_AT_1X, number_text

_POWER = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*[x×]?")
_RESOLUTION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(?:µm|μm|um)(?:\s*/\s*px)?")
_AS_SHOWN = re.compile(r"\s*\([^()]*\)$")  # what the field itself shows beside the magnification
_SAME = 1.001
_HELP = "Type a magnification such as 10x, or a resolution such as 2 µm."


def parse_magnification(text: str) -> float | None:
    """Return the µm per pixel that a text such as ``10x`` or ``0.5 µm/px`` means, or None."""
    cleaned = _AS_SHOWN.sub("", text.strip().lower()).replace(",", ".")
    if match := _RESOLUTION.fullmatch(cleaned):
        return float(match[1]) or None
    if match := _POWER.fullmatch(cleaned):
        return UM_AT_1X / float(match[1]) if float(match[1]) else None
    return None


class MagnificationField(QLineEdit):
    """Shows the magnification and goes to the one that is typed."""

    noted = Signal(str)
    """Something to tell the user; empty where what was told no longer holds."""

    left = Signal()
    """What was typed is done with: the focus belongs to the slide again."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self.setFixedWidth(150)
        self.setToolTip(_HELP)
        self.setAccessibleName("Magnification")
        self.returnPressed.connect(self._on_return)
        self.editingFinished.connect(self.refresh)
        document.camera.moved.connect(self.refresh)
        document.slide_changed.connect(self.refresh)

    def refresh(self) -> None:
        """Show the magnification."""
        um_per_px = self._document.camera.um_per_px if self._document.slide else None
        self.setEnabled(um_per_px is not None)
        if um_per_px is not None:
            self.setText(f"{number_text(UM_AT_1X / um_per_px)}x  ({number_text(um_per_px)} µm/px)")
        else:
            self.clear()

    def _on_return(self) -> None:
        asked, note = parse_magnification(self.text()), ""
        if asked is None:
            note = _HELP
        else:
            self._document.camera.show_um_per_px(asked)
            reached = self._document.camera.um_per_px
            if reached is not None and reached > asked * _SAME:
                note = "The view cannot be enlarged further."
        self.noted.emit(note)
        self.refresh()
        self.left.emit()
