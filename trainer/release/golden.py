"""Golden patches: painted inputs whose probabilities every installation must reproduce."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from idc_desktop.models.patch_size import PatchSize
from trainer.data.dataset import PATCH, PatchArray
from trainer.data.painting import paint_background, paint_tissue

Predict = Callable[[PatchArray], NDArray[np.float64]]
"""uint8 (n, side, side, 3) to calibrated probabilities (n,)."""

COUNT = 12
CANDIDATES = 1000


def choose_golden(
    predict: Predict,
    seed: int = 0,
    again: Predict | None = None,
    patch: PatchSize = PATCH,
) -> tuple[PatchArray, NDArray[np.float64]]:
    """Paint candidates and keep those spread most evenly over the probability range.

    Parameters
    ----------
    predict : callable
    again : callable, optional
        The same by other arithmetic, as another processor may have it: the half of the candidates
        that the two agree on worst, which hang on the rounding of single values, are left out.
    patch : PatchSize

    Returns
    -------
    patches : ndarray of uint8, shape (12, side, side, 3)
    probability : ndarray of float64, shape (12,)
        Ascending.
    """
    rng = np.random.default_rng(seed)
    patches = np.concatenate(
        [paint_tissue(rng, CANDIDATES, patch), paint_background(rng, CANDIDATES // 10, patch)]
    )
    probability = predict(patches)
    if again is not None:
        steady = np.argsort(np.abs(again(patches) - probability), kind="stable")
        steady = np.sort(steady[: len(steady) // 2])
        patches, probability = patches[steady], probability[steady]
    free = np.ones(len(patches), bool)
    chosen: list[int] = []
    for target in np.linspace(probability.min(), probability.max(), COUNT):
        nearest = int(np.argmin(np.where(free, np.abs(probability - target), np.inf)))
        free[nearest] = False
        chosen.append(nearest)
    order = np.array(chosen)[np.argsort(probability[chosen], kind="stable")]
    return patches[order], probability[order]
