"""Platt scaling: from a network's logit to the probability that IDC has in the data set.

Weights make the calibration patches stand for the natural mix; the network itself may have been
trained on any other mix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.errors import DataError
from trainer.scoring.markdown import interval
from trainer.scoring.metrics import Interval, Scored, case_bootstrap, percentiles, youden_threshold

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
    logit: NDArray[np.float64],
    label: NDArray[np.uint8] | NDArray[np.float64],
    weight: NDArray[np.float64],
) -> Platt:
    """Fit by weighted logistic regression (Newton's method).

    Parameters
    ----------
    logit, label, weight : ndarray, shape (n,)
        A label may be a probability, such as another network's.

    Raises
    ------
    DataError
        One class only, or logits that run against the labels (a <= 0).
    """
    if len(np.unique(label)) < 2:
        raise DataError("Calibration needs both classes among the cases held out.")
    a, b = _fit(logit, label, weight)
    if a <= 0:
        raise DataError(
            "The network ranks IDC below the rest on the cases held out; train it longer."
        )
    return Platt(a, b)


# Not scikit-learn's weighted LogisticRegression: its penalty draws a to 0 instead of 1 and leaves b
# free. Without one it ends up to 5e-6 beside this (4e-4 at its usual tolerance), and patches that
# are told apart completely, as those of small data are, have no minimum: a of four such patches is
# 6.1 here and whatever the tolerance stops at there.
def _fit(
    logit: NDArray[np.float64],
    label: NDArray[np.uint8] | NDArray[np.float64],
    weight: NDArray[np.float64],
) -> tuple[float, float]:
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
    return float(theta[0]), float(theta[1])


@dataclass(frozen=True)
class Agreement:
    """How far probabilities and what came of them agree, over all patches and case by case.

    Attributes
    ----------
    slope, intercept : Interval
        Of a logistic regression of the labels on the log-odds; 1 and 0 where they agree. A slope
        below 1: too certain.
    case_errors : tuple of float
        Of each case: mean probability less share of IDC.
    """

    slope: Interval
    intercept: Interval
    case_errors: tuple[float, ...]

    @property
    def case_error(self) -> float:
        """Mean size of the cases' errors."""
        return float(np.mean(np.abs(self.case_errors)))

    def lines(self) -> list[str]:
        """Return what a report says of it, as items of a Markdown list."""
        size = np.abs(self.case_errors)
        median, most, worst = np.percentile(size, (50, 90, 100))
        return [
            f"- recalibration (logistic regression on the log-odds; a slope below 1: too certain): "
            f"slope {interval(self.slope)}, intercept {interval(self.intercept)}",
            f"- calibration error of a case (mean probability less share of IDC, {len(size)} "
            f"cases): mean size {self.case_error:.3f}, median {median:.3f}, 90 % of cases within "
            f"{most:.3f}, worst {worst:.3f}; {np.mean(np.array(self.case_errors) > 0):.0%} of "
            "cases too high",
        ]


_AGREEMENT_REPEATS = 200
"""Of the bootstrap; each is a regression of its own."""


def agreement(
    probability: NDArray[np.float64],
    label: NDArray[np.uint8],
    case: NDArray[np.str_],
    weight: NDArray[np.float64],
) -> Agreement:
    """Compare calibrated probabilities with labels; intervals by bootstrap over cases.

    Parameters
    ----------
    probability, label, case, weight : ndarray, shape (n,)
    """
    inside = np.clip(probability, 10.0**-PROBABILITY_DIGITS, 1 - 10.0**-PROBABILITY_DIGITS)
    logit = np.log(inside / (1 - inside))
    value = _fit(logit, label, weight)
    repeats = case_bootstrap(case, label, _AGREEMENT_REPEATS)
    draws = [_fit(logit, label, weight * times) for times in repeats]
    slope, intercept = (
        Interval(value[at], *percentiles([draw[at] for draw in draws])) for at in (0, 1)
    )
    masks = (case == one for one in np.unique(case))
    errors = tuple(
        float(np.average(probability[of] - label[of], weights=weight[of])) for of in masks
    )
    return Agreement(slope, intercept, errors)
