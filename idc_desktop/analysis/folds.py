"""Folds: tissue that lies on itself absorbs twice what the same slide's tissue of its hue does.

How much a single layer absorbs depends on the slide's stain and thickness, and on what the tissue
is: epithelium more than stroma. So patches from all over the slide say it, hue by hue, and how
unlike each other the slide's single layers are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

TILE_PX = 5  # of 8 µm
WHITE = 245

# Hues, by the parts of what is absorbed: of red, and of the lead of green over blue.
_RED_PARTS = np.array([0.08, 0.12, 0.16, 0.20, 0.24, 0.28, 0.32, 0.36, 0.42], np.float32)
_LEADS = np.array([0.12, 0.18, 0.24, 0.30, 0.36, 0.42], np.float32)
_LEAST_TILES = 40  # of a hue that is known
_DENSER_PART = 0.75  # of the tiles of a hue are less dense than what it is known by
_LEAST_DENSITY = 0.2
_GLASS_GREEN = 190  # glass shows through a tile from here

_SMALL, _LARGE = 0.07, 0.20  # of the tiles of a patch
_USUAL = 97  # percent of the slide's patches
_BEYOND_USUAL, _LEAST_RATIOS = 1.22, (1.36, 1.26)


class Folds:
    """What a slide's tissue absorbs in one layer.

    Parameters
    ----------
    patches : ndarray of uint8, shape (n, side, side, 3)
        Some of the slide's tissue, at about 8 µm/px.
    """

    def __init__(self, patches: npt.NDArray[np.uint8]) -> None:
        densities, hues = _tiles_of(patches)
        self._single = np.full((len(_RED_PARTS) + 1) * (len(_LEADS) + 1), np.inf, np.float32)
        is_tissue = densities > _LEAST_DENSITY
        densities, hues_of_tissue = densities[is_tissue], hues[is_tissue]
        for hue in np.flatnonzero(np.bincount(hues_of_tissue.ravel()) >= _LEAST_TILES):
            here = np.sort(densities[hues_of_tissue == hue])
            self._single[hue] = here[int(_DENSER_PART * len(here))]
        usual = np.percentile(self._many_fold(patches), _USUAL, axis=0)
        self._ratios = np.maximum(_BEYOND_USUAL * usual, _LEAST_RATIOS)

    def are_in(self, patches: npt.NDArray[np.uint8]) -> Bools:
        """Return which patches show a fold."""
        return np.asarray((self._many_fold(patches) > self._ratios).any(axis=-1))

    def _many_fold(self, patches: npt.NDArray[np.uint8]) -> Floats:
        """Return how many layers a small and a large part of each patch have at least, (n, 2)."""
        densities, hues = _tiles_of(patches)
        layers = np.sort(densities / self._single[hues], axis=1)
        count = layers.shape[1]
        return np.asarray(layers[:, [-max(1, round(part * count)) for part in (_SMALL, _LARGE)]])


def tiles(values: npt.NDArray[Any], side: int = TILE_PX) -> npt.NDArray[Any]:
    """Cut patches into tiles, (n, down, side, across, side); pixels that fill none are left out."""
    down, across = values.shape[1] // side, values.shape[2] // side
    cut = values[:, : down * side, : across * side]
    return cut.reshape(len(values), down, side, across, side, *values.shape[3:])


def tile_means(values: npt.NDArray[Any], side: int = TILE_PX) -> Floats:
    """Return the means of the tiles of patches, (n, down, across)."""
    # Whole rows are added first: that is three times as fast as a mean over both axes.
    rows = tiles(values, side).sum(axis=2, dtype=np.float32)
    return np.asarray(rows.sum(axis=3) / np.float32(side * side))


def _tiles_of(patches: npt.NDArray[np.uint8]) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return what the tiles of each patch absorb, 0 where glass shows through; and their hues."""
    light = tile_means(patches).reshape(len(patches), -1, 3)
    absorbed = np.maximum(-np.log10(np.maximum(light, 1) / np.float32(WHITE)), 0)
    density = absorbed.sum(axis=-1)
    parts = absorbed / np.maximum(density, 1e-3)[..., None]
    red = np.searchsorted(_RED_PARTS, parts[..., 0], side="right")
    lead = np.searchsorted(_LEADS, parts[..., 1] - parts[..., 2], side="right")
    brightest = tiles(patches[..., 1]).max(axis=(2, 4)).reshape(len(patches), -1)
    return density * (brightest < _GLASS_GREEN), red * (len(_LEADS) + 1) + lead
