"""Platt scaling: from a network's logit to the probability that IDC has in the data set.

Weights make the calibration patches stand for the natural mix; the network itself may have been
trained on any other mix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.errors import DataError
from trainer.evaluation import Scored, youden_threshold

PROBABILITY_DIGITS = 6

_PRIOR = 1e-6
"""Ridge on (a - 1, b), as a share of the total weight: bounds separable data, else negligible."""


@dataclass(frozen=True)
class Platt:
    """``probability = 1 / (1 + exp(-(a * logit + b)))``."""

    a: float
    b: float

    def probability(self, logit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probability of IDC, same shape."""
        # tanh does not overflow where exp would.
        return 0.5 + 0.5 * np.tanh(0.5 * (self.a * logit + self.b))

    def stored(self, logit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `probability` to the digits that the application stores, as thresholds are."""
        return self.probability(logit).round(PROBABILITY_DIGITS)


def calibrate(
    logit: NDArray[np.float64], label: NDArray[np.uint8], weight: NDArray[np.float64]
) -> tuple[Platt, float]:
    """Fit Platt scaling, and choose the probability of the largest Youden index as threshold.

    Takes and raises what `fit_platt` does.
    """
    platt = fit_platt(logit, label, weight)
    return platt, youden_threshold(Scored(platt.stored(logit), label), weight)


def fit_platt(
    logit: NDArray[np.float64], label: NDArray[np.uint8], weight: NDArray[np.float64]
) -> Platt:
    """Fit by weighted logistic regression (Newton's method).

    Parameters
    ----------
    logit, label, weight : ndarray, shape (n,)

    Raises
    ------
    DataError
        One class only, or logits that run against the labels (a <= 0).
    """
    if len(np.unique(label)) < 2:
        raise DataError("Calibration needs both classes among the validation cases.")
    x = np.stack([logit, np.ones_like(logit)], axis=1)
    share = weight / weight.sum()
    start = np.array([1.0, 0.0])

    def loss(theta: NDArray[np.float64]) -> float:
        z = x @ theta
        fit = share @ (np.logaddexp(0, z) - label * z)
        return float(fit + _PRIOR / 2 * ((theta - start) ** 2).sum())

    theta = start
    for _ in range(100):
        p = 0.5 + 0.5 * np.tanh(0.5 * (x @ theta))
        gradient = x.T @ (share * (p - label)) + _PRIOR * (theta - start)
        hessian = (x * (share * p * (1 - p))[:, None]).T @ x + _PRIOR * np.eye(2)
        move = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and loss(theta - size * move) > loss(theta):
            size /= 2
        theta = theta - size * move
        if np.abs(size * move).max() < 1e-10:
            break
    if theta[0] <= 0:
        raise DataError(
            "The network ranks IDC below the rest on the validation cases; train it longer."
        )
    return Platt(float(theta[0]), float(theta[1]))
