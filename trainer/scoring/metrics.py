"""Figures of merit with weights, and their uncertainty between cases.

Every figure takes weights; "unweighted" means weights of 1. Intervals come from a bootstrap over
cases, since patches of one slide are not independent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from trainer.errors import DataError

ECE_BINS = 15
REPEATS = 1000
WITHOUT_INTERVAL = ("ece",)
ECE_NOTE = (
    "`ece` has no interval: gaps count by their size, so that chance alone makes the figure of "
    "every resample larger. What chance can do to calibration, slope and intercept below tell."
)
"""Goes with every table of figures whose intervals come of `with_intervals`."""
FEWEST_CASES = 5
"""Drawing from fewer says nothing of how cases differ: there is no interval then."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Confusion:
    """Weights (counts, where all weights are 1) of patches by what they are and are called."""

    tn: float
    fp: float
    fn: float
    tp: float


@dataclass(frozen=True)
class Reliability:
    """What the probabilities of each of `ECE_BINS` equal bins promise, and what came of them.

    Attributes
    ----------
    weight : ndarray of float, shape (bins,)
    promised, observed : ndarray of float, shape (bins,)
        Mean probability and share of IDC; not a number where a bin is empty.
    """

    weight: Values
    promised: Values
    observed: Values

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean gap, bins weighted by their weight."""
        gap = np.nan_to_num(np.abs(self.promised - self.observed))
        return float((self.weight * gap).sum() / self.weight.sum())


@dataclass(frozen=True)
class Ranking:
    """Figures of probabilities, without a threshold."""

    auc: float
    auprc: float
    brier: float
    ece: float


@dataclass(frozen=True)
class Decision:
    """Figures at one threshold.

    `precision` and `f1_positive` are of the class IDC, `..._macro` the plain mean of both classes'.
    A share of nothing is 0.
    """

    accuracy: float
    balanced_accuracy: float
    sensitivity: float
    specificity: float
    precision: float
    f1_positive: float
    precision_macro: float
    f1_macro: float


@dataclass(frozen=True)
class Metrics(Decision, Ranking):
    """All figures of one set of predictions: first those of `Ranking`, then of `Decision`."""

    @classmethod
    def of(cls, ranking: Ranking, decision: Decision) -> Metrics:
        """Put the two halves together."""
        return cls(**vars(ranking), **vars(decision))


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval (percentiles of the bootstrap), where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


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

    def auc(self, weight: Values) -> float:
        """Area under the receiver operating characteristic; ties count half."""
        negative, positive = self._masses(weight)
        below = np.cumsum(negative) - negative / 2
        return float((positive * below).sum() / (negative.sum() * positive.sum()))

    def confusion(self, weight: Values, threshold: float) -> Confusion:
        """Count "IDC if p >= threshold" against the labels."""
        negative, positive = self._masses(weight)
        called = self.values >= threshold
        fp, tp = float(negative[called].sum()), float(positive[called].sum())
        fn, tn = float(positive[~called].sum()), float(negative[~called].sum())
        return Confusion(tn, fp, fn, tp)

    def ranking(self, weight: Values) -> Ranking:
        """Compute the figures that need no threshold; AUPRC is the average precision."""
        negative, positive = self._masses(weight)
        hits = np.cumsum(positive[::-1])
        calls = hits + np.cumsum(negative[::-1])
        precisions = np.divide(hits, calls, out=np.zeros_like(hits), where=calls > 0)
        return Ranking(
            auc=self.auc(weight),
            auprc=float((precisions * positive[::-1]).sum() / positive.sum()),
            brier=float(np.average((self._probability - self._positive) ** 2, weights=weight)),
            ece=self.reliability(weight).ece,
        )

    def metrics(self, weight: Values, threshold: float) -> Metrics:
        """Compute all figures."""
        return Metrics.of(self.ranking(weight), decide(self.confusion(weight, threshold)))

    def reliability(self, weight: Values) -> Reliability:
        """Compare promised with observed shares of IDC over equal-width bins."""
        bins = np.minimum((self._probability * ECE_BINS).astype(int), ECE_BINS - 1)
        total = np.bincount(bins, weight, ECE_BINS).astype(np.float64)
        filled = np.where(total > 0, total, np.nan)
        promised = np.bincount(bins, weight * self._probability, ECE_BINS)
        observed = np.bincount(bins, weight * self._positive, ECE_BINS)
        return Reliability(total, promised / filled, observed / filled)


def decide(confusion: Confusion) -> Decision:
    """Compute the figures of a confusion matrix."""
    tn, fp, fn, tp = confusion.tn, confusion.fp, confusion.fn, confusion.tp
    sensitivity, specificity = _share(tp, tp + fn), _share(tn, tn + fp)
    precision, other_precision = _share(tp, tp + fp), _share(tn, tn + fn)
    f1, other_f1 = _share(2 * tp, 2 * tp + fp + fn), _share(2 * tn, 2 * tn + fp + fn)
    return Decision(
        accuracy=_share(tp + tn, tp + tn + fp + fn),
        balanced_accuracy=(sensitivity + specificity) / 2,
        sensitivity=sensitivity,
        specificity=specificity,
        precision=precision,
        f1_positive=f1,
        precision_macro=(precision + other_precision) / 2,
        f1_macro=(f1 + other_f1) / 2,
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def youden_threshold(scored: Scored, weight: Values) -> float:
    """Return the probability whose use as threshold gives the largest Youden index."""
    sensitivity, specificity = scored.rates(weight)
    return float(scored.values[np.argmax(sensitivity + specificity)])


def case_bootstrap(
    case: NDArray[np.str_], label: NDArray[np.uint8], repeats: int = REPEATS, seed: int = 0
) -> list[Values]:
    """Draw cases with replacement; returns per repeat how often each patch was drawn.

    Repeats that miss one of the classes are drawn again. Of fewer than `FEWEST_CASES` cases none
    is drawn.
    """
    rng = np.random.default_rng(seed)
    names, which = np.unique(case, return_inverse=True)
    if len(names) < FEWEST_CASES:
        return []
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
    return with_intervals(
        lambda of: scored.metrics(of, threshold), label, case, weight, repeats=repeats
    )


def with_intervals(
    figures: Callable[[Values], Metrics],
    label: NDArray[np.uint8],
    case: NDArray[np.str_],
    weight: Values,
    repeats: int = REPEATS,
) -> dict[str, Interval]:
    """Compute figures of weights, and their 95 % intervals by bootstrap over cases, by name.

    Of fewer than `FEWEST_CASES` cases there are no intervals, and never of `WITHOUT_INTERVAL`.
    """
    value = figures(weight)
    draws = [figures(weight * times) for times in case_bootstrap(case, label, repeats)]

    def interval(name: str) -> Interval:
        drawn = [] if name in WITHOUT_INTERVAL else [getattr(one, name) for one in draws]
        return Interval(getattr(value, name), *percentiles(drawn))

    return {field.name: interval(field.name) for field in fields(Metrics)}


def percentiles(draws: list[float]) -> tuple[float, float] | tuple[()]:
    """Return the ends of the 95 % interval; nothing where nothing was drawn."""
    if not draws:
        return ()
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(low), float(high)
