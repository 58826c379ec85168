"""How light and dark of the slide are shown."""

from __future__ import annotations

import math
from dataclasses import asdict

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFormLayout, QPushButton, QSlider, QWidget

from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.wrapped_label import WrappedLabel
from idc_desktop.ui.tone import BRIGHTNESS, CONTRAST, GAMMA, Tone

_STEPS = 100  # of a slider, per unit
_RANGES = {"brightness": BRIGHTNESS, "contrast": CONTRAST, "gamma": GAMMA}
_FACTORS = ("contrast", "gamma")  # 1 stands in the middle between a half and twice


class PicturePanel(QWidget):
    """Sliders for the tone of the picture; holds no state of its own."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        form = QFormLayout(self)
        form.setContentsMargins(8, 0, 8, 8)
        self.sliders: dict[str, QSlider] = {}
        for name, (low, high) in _RANGES.items():
            slider = QSlider(Qt.Orientation.Horizontal)
            slider.setRange(_place(name, low), _place(name, high))
            slider.setPageStep(10)
            slider.setAccessibleName(f"{name.capitalize()} of the picture")
            slider.valueChanged.connect(lambda value, name=name: self._on_value(name, value))
            form.addRow(name.capitalize(), slider)
            self.sliders[name] = slider
        self.reset = QPushButton("As it was scanned")
        self.reset.clicked.connect(lambda: document.show(**asdict(Tone())))
        form.addRow(self.reset)
        form.addRow(WrappedLabel("On the screen only: what is analyzed and exported stays."))
        document.display_changed.connect(self._show)
        self._show()

    def _on_value(self, name: str, value: int) -> None:
        if _place(name, getattr(self._document.display, name)) != value:
            self._document.show(**{name: _value(name, value)})

    def _show(self) -> None:
        display = self._document.display
        for name, slider in self.sliders.items():
            slider.setValue(_place(name, getattr(display, name)))
        self.reset.setEnabled(not display.tone.is_plain)


def _place(name: str, value: float) -> int:
    """Return where on its slider a value stands."""
    return round(_STEPS * (math.log2(value) if name in _FACTORS else value))


def _value(name: str, place: int) -> float:
    """Return the value at a place of its slider, within its range."""
    low, high = _RANGES[name]
    value = 2 ** (place / _STEPS) if name in _FACTORS else place / _STEPS
    return min(max(value, low), high)
