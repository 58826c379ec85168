"""Golden patches: painted inputs whose probabilities every installation must reproduce."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trainer.data.dataset import PatchArray
from trainer.data.painting import paint_background, paint_tissue

COUNT = 12
CANDIDATES = 1000


def choose_golden(
    predict: Callable[[PatchArray], NDArray[np.float64]], seed: int = 0
) -> tuple[PatchArray, NDArray[np.float64]]:
    """Paint candidates and keep those spread most evenly over the probability range.

    Parameters
    ----------
    predict : callable
        uint8 (n, 50, 50, 3) to calibrated probabilities (n,).

    Returns
    -------
    patches : ndarray of uint8, shape (12, 50, 50, 3)
    probability : ndarray of float64, shape (12,)
        Ascending.
    """
    rng = np.random.default_rng(seed)
    patches = np.concatenate(
        [paint_tissue(rng, CANDIDATES), paint_background(rng, CANDIDATES // 10)]
    )
    probability = predict(patches)
    free = np.ones(len(patches), bool)
    chosen: list[int] = []
    for target in np.linspace(probability.min(), probability.max(), COUNT):
        nearest = int(np.argmin(np.where(free, np.abs(probability - target), np.inf)))
        free[nearest] = False
        chosen.append(nearest)
    order = np.array(chosen)[np.argsort(probability[chosen], kind="stable")]
    return patches[order], probability[order]
