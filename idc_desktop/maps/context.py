"""The context map: what the model says of a patch, seen together with the patches around it.

It is made of the patch probabilities alone, so a run that was computed long ago gains it without
being computed again. A patch is judged by its own log-odds or by the mean of its neighbourhood,
whichever is higher: neighbours can raise a doubtful patch, but never lower a sure one, so that a
small focus is not washed out by the benign tissue around it, as a plain mean does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from idc_desktop.models.context_settings import ContextSettings

LEAST_PROBABILITY = 1e-6
"""Probabilities are stored to so much: beyond it, log-odds are not known."""

_REACH = 3  # standard deviations

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def log_odds(probability: Floats) -> Floats:
    """Return the log-odds of probabilities, which are never taken for certain."""
    inside = np.clip(probability, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return np.log(inside / (1 - inside))


def neighbourhood(values: Floats, counts: Flags, sigma_patches: float) -> Floats:
    """Return the mean around each patch, weighted by a Gaussian of the distance.

    Parameters
    ----------
    values : ndarray, shape (rows, cols)
    counts : ndarray of bool, shape (rows, cols)
        Patches that give and take; what there is of the others has no influence, and they get 0.
    sigma_patches : float
    """
    reach = int(np.ceil(_REACH * sigma_patches))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_patches) ** 2)
    total = _spread(np.where(counts, values, 0.0), weights)
    weight = _spread(counts.astype(np.float64), weights)
    return np.where(counts, total / np.where(counts, weight, 1.0), 0.0)


def in_context(own: Floats, around: Floats) -> Floats:
    """Return the log-odds of patches in their context, before calibration.

    Parameters
    ----------
    own, around : ndarray
        Log-odds of the patches alone, and of their neighbourhoods.
    """
    return np.maximum(own, around)


def context_values(
    probability: Floats, counts: Flags, settings: ContextSettings
) -> tuple[Floats, Floats]:
    """Return the values of the context map and the uncertainty of each, NaN where nothing counts.

    Uncertainty is the share of the labelled patches that the model was fitted on which are at
    least as far from its threshold: 1 at the threshold, 0.8 where only a fifth of them is nearer.
    How far a patch is, its own log-odds and those around it say with equal weight: where the two
    disagree, errors are frequent.

    Parameters
    ----------
    probability : ndarray, shape (rows, cols)
        Of the patch map.
    counts : ndarray of bool, shape (rows, cols)
        Patches that are analyzed and not left out.
    settings : ContextSettings
    """
    own = np.where(counts, log_odds(np.where(counts, probability, 0.5)), 0.0)
    around = neighbourhood(own, counts, settings.sigma_patches)
    calibrated = settings.a * in_context(own, around) + settings.b
    # tanh does not overflow where exp would.
    value = 0.5 + 0.5 * np.tanh(0.5 * calibrated)
    (threshold,) = (log_odds(np.array([settings.operation.threshold])) - settings.b) / settings.a
    far = margin(own, around, float(threshold))
    uncertainty = 1 - np.interp(far, settings.margins, np.linspace(0, 1, len(settings.margins)))
    return np.where(counts, value, np.nan), np.where(counts, uncertainty, np.nan)


def margin(own: Floats, around: Floats, threshold: float) -> Floats:
    """Return how far patches are from a threshold, all in log-odds before calibration."""
    return np.abs((own + around) / 2 - threshold)


def _spread(values: Floats, weights: Floats) -> Floats:
    """Sum up the weighted values around each one, along both axes."""
    for _ in range(2):
        reach = len(weights) // 2
        padded = np.pad(values, ((reach, reach), (0, 0)))
        total = np.zeros_like(values)
        for at, weight in enumerate(weights.tolist()):
            total += weight * padded[at : at + len(values)]
        values = total.T
    return values
