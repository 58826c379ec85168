"""Figures of merit with weights, and their uncertainty between cases.

Every figure takes weights; "unweighted" means weights of 1. Intervals come from a bootstrap over
cases, since patches of one slide are not independent.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from trainer.errors import DataError

ECE_BINS = 15
REPEATS = 1000

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Metrics:
    """Figures of one set of predictions; those after `ece` depend on the threshold."""

    auc: float
    auprc: float
    brier: float
    ece: float
    accuracy: float
    balanced_accuracy: float
    sensitivity: float
    specificity: float
    precision: float
    f1_positive: float


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval (percentiles of the bootstrap)."""

    value: float
    low: float
    high: float


class Scored:
    """Predictions sorted once, so that each bootstrap repeat is a few sums.

    Parameters
    ----------
    probability : ndarray of float, shape (n,)
    label : ndarray of int, shape (n,)
        0 or 1; both must occur.

    Raises
    ------
    DataError
        Only one class is there.
    """

    def __init__(self, probability: Values, label: NDArray[np.uint8]) -> None:
        if len(np.unique(label)) < 2:
            raise DataError("Only one class is there to score; name cases with both classes.")
        self.values, self._group = np.unique(probability, return_inverse=True)
        self._probability = probability
        self._positive = label.astype(bool)

    def _masses(self, weight: Values) -> tuple[Values, Values]:
        """Weight of negatives and of positives at each distinct probability, ascending."""
        size = len(self.values)
        positive = np.bincount(self._group, weight * self._positive, size)
        negative = np.bincount(self._group, weight * ~self._positive, size)
        return negative.astype(np.float64), positive.astype(np.float64)

    def rates(self, weight: Values) -> tuple[Values, Values]:
        """Sensitivity and specificity of "IDC if p >= t" for t at each distinct probability."""
        negative, positive = self._masses(weight)
        above = np.cumsum(positive[::-1])[::-1]
        below = np.cumsum(negative) - negative
        return above / positive.sum(), below / negative.sum()

    def metrics(self, weight: Values, threshold: float) -> Metrics:
        """Compute all figures; ties in AUC count half, AUPRC is the average precision."""
        negative, positive = self._masses(weight)
        n, p = negative.sum(), positive.sum()
        auc = float((positive * (np.cumsum(negative) - negative / 2)).sum() / (n * p))
        hits = np.cumsum(positive[::-1])
        calls = hits + np.cumsum(negative[::-1])
        precisions = np.divide(hits, calls, out=np.zeros_like(hits), where=calls > 0)
        called = self.values >= threshold
        tp, fp = positive[called].sum(), negative[called].sum()
        sensitivity, specificity = float(tp / p), float(1 - fp / n)
        return Metrics(
            auc=auc,
            auprc=float((precisions * positive[::-1]).sum() / p),
            brier=float(np.average((self._probability - self._positive) ** 2, weights=weight)),
            ece=self._ece(weight),
            accuracy=float((tp + n - fp) / (n + p)),
            balanced_accuracy=(sensitivity + specificity) / 2,
            sensitivity=sensitivity,
            specificity=specificity,
            precision=float(tp / (tp + fp)) if tp + fp > 0 else 0.0,
            f1_positive=float(2 * tp / (tp + fp + p)),
        )

    def _ece(self, weight: Values) -> float:
        """Compute the expected calibration error over equal-width bins."""
        bins = np.minimum((self._probability * ECE_BINS).astype(int), ECE_BINS - 1)
        gap = np.bincount(bins, weight * (self._probability - self._positive), ECE_BINS)
        return float(np.abs(gap).sum() / weight.sum())


def youden_threshold(scored: Scored, weight: Values) -> float:
    """Return the probability whose use as threshold gives the largest Youden index."""
    sensitivity, specificity = scored.rates(weight)
    return float(scored.values[np.argmax(sensitivity + specificity)])


def case_bootstrap(
    case: NDArray[np.str_], label: NDArray[np.uint8], repeats: int = REPEATS, seed: int = 0
) -> list[Values]:
    """Draw cases with replacement; returns per repeat how often each patch was drawn.

    Repeats that miss one of the classes are drawn again.
    """
    rng = np.random.default_rng(seed)
    names, which = np.unique(case, return_inverse=True)
    draws: list[Values] = []
    while len(draws) < repeats:
        times = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        patches = times[which].astype(np.float64)
        if len(np.unique(label[patches > 0])) == 2:
            draws.append(patches)
    return draws


def evaluate(
    probability: Values,
    label: NDArray[np.uint8],
    case: NDArray[np.str_],
    weight: Values,
    threshold: float,
    repeats: int = REPEATS,
) -> dict[str, Interval]:
    """Compute every figure of `Metrics` with its 95 % interval, by name."""
    scored = Scored(probability, label)
    value = scored.metrics(weight, threshold)
    draws = [scored.metrics(weight * n, threshold) for n in case_bootstrap(case, label, repeats)]
    return {
        field.name: Interval(
            getattr(value, field.name),
            *(
                float(q)
                for q in np.percentile([getattr(d, field.name) for d in draws], (2.5, 97.5))
            ),
        )
        for field in fields(Metrics)
    }
