"""From probabilities to colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from idc_desktop.grid import MILLIONTHS, PatchState, ProbabilityMap

# Perceptually uniform and readable with every kind of colour blindness: viridis at 0, 1/8 … 1.
_VIRIDIS = (
    "440154",
    "472d7b",
    "3b528b",
    "2c728e",
    "21918c",
    "28ae80",
    "5ec962",
    "addc30",
    "fde725",
)

FAILED_RGB = (214, 39, 120)
"""Patches that were tried and have no probability; a colour that the map never uses."""


def lookup_table() -> npt.NDArray[np.uint8]:
    """Return the colours of probabilities 0 to 1, shape (256, 3)."""
    anchors = np.array([list(bytes.fromhex(text)) for text in _VIRIDIS], float)
    positions = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(positions, np.arange(len(anchors)), column) for column in anchors.T]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def colorize(probability_map: ProbabilityMap, opacity: float) -> npt.NDArray[np.uint8]:
    """Return the map as RGBA, one pixel per patch, shape (rows, cols, 4).

    What was not analyzed is transparent, never painted as 0; what failed has a colour of its own.
    """
    rgba = np.zeros((*probability_map.states.shape, 4), np.uint8)
    analyzed = probability_map.analyzed
    index = probability_map.millionths[analyzed].astype(np.int64) * 255 // MILLIONTHS
    rgba[analyzed, :3] = lookup_table()[index]
    failed = np.isin(probability_map.states, (PatchState.FAILED, PatchState.INVALID_OUTPUT))
    rgba[failed, :3] = FAILED_RGB
    rgba[analyzed | failed, 3] = round(255 * opacity)
    return rgba
