"""Brightness, contrast and gamma: of the picture on the screen only, never of what is analyzed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PySide6.QtGui import QImage

BRIGHTNESS = (-0.5, 0.5)
CONTRAST = (0.5, 2.0)
GAMMA = (0.4, 2.5)
"""The least and the most of each."""


@dataclass(frozen=True)
class Tone:
    """How light and dark of a picture are shown.

    Attributes
    ----------
    brightness : float
        Is added; 1 is from black to white.
    contrast : float
        How far light and dark are drawn apart, around the middle grey.
    gamma : float
        Above 1 the dark parts are lighter, below 1 darker; black and white stay.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    gamma: float = 1.0

    @staticmethod
    def is_sound(brightness: object, contrast: object, gamma: object) -> bool:
        """Whether values that were stored make sense."""
        ranges = ((brightness, BRIGHTNESS), (contrast, CONTRAST), (gamma, GAMMA))
        return all(
            isinstance(value, int | float) and low <= value <= high for value, (low, high) in ranges
        )

    @property
    def is_plain(self) -> bool:
        """Whether pictures stay as they are."""
        return self == Tone()

    def table(self) -> npt.NDArray[np.uint8]:
        """Return what is shown of each value of a channel, shape (256,)."""
        light = np.linspace(0, 1, 256) ** (1 / self.gamma)
        light = (light - 0.5) * self.contrast + 0.5 + self.brightness
        return np.round(255 * np.clip(light, 0, 1)).astype(np.uint8)

    def of(self, picture: QImage) -> QImage:
        """Return a picture of format RGB32 in this tone."""
        width, height = picture.width(), picture.height()
        pixels = np.frombuffer(picture.constBits(), np.uint8)
        toned = self.table()[pixels]
        # The copy owns its memory; a QImage over the array would not.
        return QImage(toned.data, width, height, QImage.Format.Format_RGB32).copy()
