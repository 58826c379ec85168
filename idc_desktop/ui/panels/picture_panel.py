"""How light and dark of the slide are shown."""

from __future__ import annotations

from dataclasses import asdict

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFormLayout, QPushButton, QSlider, QWidget

from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.wrapped_label import WrappedLabel
from idc_desktop.ui.tone import BRIGHTNESS, CONTRAST, GAMMA, Tone

_STEPS = 100  # of a slider, per unit
_RANGES = {"brightness": BRIGHTNESS, "contrast": CONTRAST, "gamma": GAMMA}


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
            slider.setRange(round(low * _STEPS), round(high * _STEPS))
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
        if round(getattr(self._document.display, name) * _STEPS) != value:
            self._document.show(**{name: value / _STEPS})

    def _show(self) -> None:
        display = self._document.display
        for name, slider in self.sliders.items():
            slider.setValue(round(getattr(display, name) * _STEPS))
        self.reset.setEnabled(not display.tone.is_plain)
