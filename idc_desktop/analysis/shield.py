"""The shield: which patches show what the model has no business judging, and what that is.

A patch is judged by its own pixels, and by what is usual on its slide (`survey`), so that the
verdict does not depend on what was read with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from idc_desktop.analysis.folds import TILE_PX, Folds, tile_means
from idc_desktop.analysis.pixel_kinds import (
    BLACK,
    COLD,
    DARK,
    DYED,
    FAINTLY_WARM,
    FOREIGN,
    GREEN,
    GREY,
    LAYERED,
    RIM,
    WARM,
    kinds_of,
)
from idc_desktop.analysis.survey import Survey
from idc_desktop.maps.layers import REASONS

SHIELD_VERSION = 2
"""Stands beside the verdicts that a run keeps; raise it when they change."""

Rgb = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Kinds = npt.NDArray[np.uint16]
Verdicts = npt.NDArray[np.uint8]
"""Places in `REASONS`; 0 where there is nothing to say."""

_UM_PX = 8.0  # finer pixels are averaged to about this before they are judged
_AT_ONCE = 64  # patches: what is worked on stays in the cache

# Parts of a patch. None is reached on slides of three laboratories by more than 1 patch in 300.
_COLOURED_SHARE = 0.14
_GREEN_SHARE = 0.04
_SMOOTHLY_WARM_SHARE = 0.04  # of the tiles
_GREY_SHARE = 0.10
_RIM_SHARE = 0.034
_FOLDED_SHARE = 0.12
_FOREIGN_SHARE = 0.50  # of what is dyed
_LEAST_DYED_SHARE = 0.15
_DARK_SHARE = 0.4

# Variances within a tile, squared grey values, and curvature: the mean squared Laplacian.
# Blurred is a patch with enough tiles whose curvature is so many times their variance, or less:
# with so many more than the slide's patches usually have, and in any case with the most.
_SOFT_CONTRAST, _SOFT = 20.0, 0.8
_CONTRAST, _BLURRED = 10.0, 0.5
_MOST_SOFT, _BEYOND_USUAL, _MORE_SOFT = (0.08, 0.04), 1.5, (0.02, 0.025)
_USUAL, _LEAST_PATCHES = 97, 20  # percent of the slide's patches, and of how many at least
_ROUNDING = 1e-6
_LOW_CONTRAST, _FAINTLY_BLURRED, _NOISE = 1.5, 0.3, 0.6
_LEAST_DEVIATION = 0.5

# A red pen is smooth where it is red; blood, which may be as red, is grains.
_WARM_TILE, _SMOOTH = 0.4, 600.0

_ORDER = ("blank", "dark", "pen", "ink", "colour", "fold", "bubble or edge", "blur")
"""Of what holds of a patch, the first is its reason; ``dark`` stands for a colour."""


class Shield:
    """What judges the patches of a slide.

    Parameters
    ----------
    um_px : float
        Width of their pixels.
    survey : Survey, optional
        Of the slide. Without one no colours are wrong as a whole, and folds are found only where
        they are darker than any single layer of any slide.
    """

    def __init__(self, um_px: float, survey: Survey | None = None) -> None:
        self._um_px = um_px
        self._has_wrong_colours = survey is not None and survey.has_wrong_colours
        self._folds: Folds | None = None
        self._most_soft = np.array(_MOST_SOFT)
        if survey is not None and len(survey.patches) >= _LEAST_PATCHES:
            patches = _reduced(survey.patches, um_px)
            self._folds = Folds(patches)
            usual = np.percentile(_soft_shares(*_relief(patches)), _USUAL, axis=0)
            self._most_soft = np.minimum(self._most_soft, _BEYOND_USUAL * usual + _MORE_SOFT)

    def judge(self, patches: Rgb) -> Verdicts:
        """Judge patches.

        Parameters
        ----------
        patches : ndarray of uint8, shape (n, side, side, 3)
            RGB.

        Returns
        -------
        ndarray of uint8, shape (n,)
            Places in `REASONS`.
        """
        verdicts = np.zeros(len(patches), np.uint8)
        for first in range(0, len(patches), _AT_ONCE):
            some = _reduced(patches[first : first + _AT_ONCE], self._um_px)
            found = dict(self._found(some))
            if self._has_wrong_colours:
                found["dark"] |= found["pen"] | found["ink"]
            for reason in reversed(_ORDER):
                verdicts[first : first + _AT_ONCE][found[reason]] = REASONS.index(
                    "colour" if reason == "dark" else reason
                )
        return verdicts

    def _found(self, patches: Rgb) -> Iterator[tuple[str, Bools]]:
        """Yield each reason, and of which patches it holds."""
        kinds = kinds_of(patches)
        brightness, curvature = _relief(patches)

        def share(kind: int) -> Any:  # noqa: ANN401 - an array that can be compared
            return np.count_nonzero(kinds & kind, axis=(1, 2)) / (kinds.shape[1] * kinds.shape[2])

        dyed, foreign = share(DYED), share(FOREIGN)
        is_foreign = (dyed >= _LEAST_DYED_SHARE) & (foreign > _FOREIGN_SHARE * dyed)
        yield "colour", is_foreign
        yield "dark", is_foreign & (share(DARK) > _DARK_SHARE)
        is_warm = tile_means(kinds & FAINTLY_WARM > 0) > _WARM_TILE
        smoothly_warm = (is_warm & (curvature < _SMOOTH)).mean(axis=(1, 2))
        yield (
            "pen",
            (share(COLD) >= _COLOURED_SHARE)
            | (share(GREEN) >= _GREEN_SHARE)
            | (share(WARM) >= _COLOURED_SHARE)
            | (smoothly_warm >= _SMOOTHLY_WARM_SHARE),
        )
        yield "ink", share(BLACK) >= _COLOURED_SHARE
        yield "bubble or edge", (share(RIM) >= _RIM_SHARE) | (share(GREY) >= _GREY_SHARE)
        yield "blank", brightness.std(axis=(1, 2)) < _LEAST_DEVIATION
        soft = _soft_shares(brightness, curvature)
        yield "blur", np.asarray((soft > self._most_soft + _ROUNDING).any(axis=-1))
        is_folded = np.asarray(share(LAYERED) >= _FOLDED_SHARE)
        if self._folds is not None:
            is_folded |= self._folds.are_in(patches)
        yield "fold", is_folded


def _squared_laplacian(brightness: Floats) -> Floats:
    curvature = np.zeros_like(brightness)
    inner = curvature[:, 1:-1, 1:-1]
    inner += 4 * brightness[:, 1:-1, 1:-1]
    inner -= brightness[:, :-2, 1:-1] + brightness[:, 2:, 1:-1]
    inner -= brightness[:, 1:-1, :-2] + brightness[:, 1:-1, 2:]
    curvature *= curvature
    return curvature


def _relief(patches: Rgb) -> tuple[Floats, Floats]:
    """Return the brightness of each pixel, and the curvature of each tile."""
    brightness = patches.astype(np.float32) @ np.array([0.3, 0.5, 0.2], np.float32)
    return brightness, tile_means(_squared_laplacian(brightness))


def _soft_shares(brightness: Floats, curvature: Floats) -> npt.NDArray[np.float64]:
    """Return which shares of each patch have contrast, but hardly or no curvature to match."""
    contrast = tile_means(brightness * brightness) - tile_means(brightness) ** 2
    is_soft = (contrast > _SOFT_CONTRAST) & (curvature < _SOFT * contrast)
    is_blurred = (contrast > _CONTRAST) & (curvature < _BLURRED * contrast)
    is_blurred |= (contrast > _LOW_CONTRAST) & (curvature < _FAINTLY_BLURRED * contrast + _NOISE)
    return np.stack([is_soft.mean(axis=(1, 2)), is_blurred.mean(axis=(1, 2))], axis=-1)


def _reduced(patches: Rgb, um_px: float) -> Rgb:
    times = max(1, min(round(_UM_PX / um_px), patches.shape[1] // TILE_PX))
    return patches if times == 1 else np.rint(tile_means(patches, times)).astype(np.uint8)
