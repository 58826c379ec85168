"""How a map is drawn, whoever draws it: its colours, its outline, its scale bar."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from idc_desktop.maps.layers import STEPS
from idc_desktop.maps.probability_map import MapLayer

# Perceptually uniform, and their lightness grows with the value: readable with every kind of colour
# blindness and in print. Each at 0, 1/8 … 1.
_ANCHORS = {
    "viridis": "440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 addc30 fde725",
    "cividis": "00224e 1a386f 434e6c 61656f 7d7c78 9b9476 bcae6c dfca57 fee838",
    "magma": "000004 1d1147 51127c 822681 b73779 e75263 fc8961 fec488 fcfdbf",
    "inferno": "000004 210c4a 57106e 8a226a bc3754 e45a31 f98e09 f9cb35 fcffa4",
    # Made for H&E: green over its pinks and purples stays what it is with every kind of colour
    # blindness, where violets, blues, yellows and whites fall together with some tissue.
    "leaf": "295020 2e6a18 348410 3a9f08 3fb900 4cca20 5adc40 67ee61 74ff81",
    "greys": "101010 2d2d2d 4b4b4b 696969 878787 a5a5a5 c3c3c3 e1e1e1 ffffff",
}

NAMES = tuple(_ANCHORS)
"""The colour maps that there are."""
DEFAULT = "viridis"

_LEAST_OPACITY = 0.25  # of what was asked for, at the lowest value

FAILED_RGB = (0, 120, 255)
"""Patches that were tried and have no probability; a colour of neither the map nor the stain."""


def outline(layer: MapLayer, threshold: float) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the border of the cells at or above the threshold.

    Returns
    -------
    upper, left : ndarrays of int, shape (n, 2)
        (row, col) of the cells along whose upper or left side the border runs; row and col may be
        one beyond the last.
    """
    return border(layer.positive(threshold))


def border(inside: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the border of some cells, shape (rows, cols), as of `outline`."""
    padded = np.pad(inside, 1)
    upper = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])
    left = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])
    return upper, left


def lookup_table(name: str = DEFAULT) -> npt.NDArray[np.uint8]:
    """Return the colours of a range from its lowest value to its highest, shape (256, 3)."""
    anchors = np.array([list(bytes.fromhex(text)) for text in _ANCHORS[name].split()], float)
    positions = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(positions, np.arange(len(anchors)), column) for column in anchors.T]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def opacity_weights() -> npt.NDArray[np.float64]:
    """Return what part of the opacity the colours of `lookup_table` get, shape (256,).

    The lower the value, the more transparent, so that the stain of benign tissue stays readable.
    """
    return np.linspace(_LEAST_OPACITY, 1, 256)


def colorize(layer: MapLayer, opacity: float, name: str = DEFAULT) -> npt.NDArray[np.uint8]:
    """Return a layer as RGBA, one pixel per patch, shape (rows, cols, 4).

    Opacity is weighted by `opacity_weights`. What was not analyzed is wholly transparent, never
    painted as 0; what failed has a colour of its own.
    """
    rgba = np.zeros((*layer.stored.shape, 4), np.uint8)
    analyzed = layer.analyzed
    index = layer.stored[analyzed].astype(np.int64) * 255 // STEPS
    rgba[analyzed, :3] = lookup_table(name)[index]
    failed = layer.map.failed
    rgba[failed, :3] = FAILED_RGB
    rgba[analyzed, 3] = np.round(255 * opacity * opacity_weights()[index])
    rgba[failed, 3] = round(255 * opacity)
    return rgba


def round_length_um(longest_um: float) -> float:
    """Return the largest of 1, 2, 5, 10 … µm that is not above `longest_um`: of a scale bar."""
    power = 10.0 ** math.floor(math.log10(longest_um))
    return max((step * power for step in (1, 2, 5) if step * power <= longest_um), default=power)
