"""Numbers as they are shown and typed: with a decimal point, whatever the desktop's language."""

from __future__ import annotations

import math

from PySide6.QtCore import QLocale
from PySide6.QtGui import QValidator
from PySide6.QtWidgets import QDoubleSpinBox, QWidget

UM_AT_1X = 10.0
"""µm per pixel of the screen at a magnification of 1x, as the field counts: 40x is 0.25 µm."""


def number_text(value: float, digits: int = 3) -> str:
    """Return a number with at least so many significant digits, as ``1,234`` or ``0.0123``.

    Unlike Python's ``g`` it never says ``1.23e+03``.
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.{digits}g}") if abs(value) < 10 ** (digits - 1) else value
    places = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class NumberField(QDoubleSpinBox):
    """A field for a number: a comma is a decimal point, too, and a point is what is shown.

    With the language's own rules ``0.25`` would be 25 or 0 where people write a comma.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        plain = QLocale(QLocale.Language.C)
        plain.setNumberOptions(QLocale.NumberOption.OmitGroupSeparator)
        self.setLocale(plain)

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """Take a comma for a point as it is typed."""
        state = super().validate(text.replace(",", "."), position)
        assert isinstance(state, tuple)
        return state

    def valueFromText(self, text: str) -> float:
        """Read a number with either."""
        return super().valueFromText(text.replace(",", "."))
