"""How far sensitivity on other cases is from what the cases that calibrate a model promise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.splits import FOLDS
from trainer.errors import DataError
from trainer.scoring.metrics import Scored, youden_threshold
from trainer.training.feeding import Part

DRAWS = 200
WITHIN = 0.05
"""How far sensitivity on cases not seen may be from what their calibration promises."""
_SEED = 1

Values = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Reliability:
    """What came of calibrating by some of the cases and testing on the others, again and again.

    Attributes
    ----------
    drawn, others : int
        Cases that calibrated, and that tested, in each draw.
    share_within : float
        Of the draws in which sensitivity was within `WITHIN` of the promised one.
    off_by : float
        In 95 % of the draws it was nearer than this.
    """

    drawn: int
    others: int
    share_within: float
    off_by: float

    @property
    def expected_off_by(self) -> float:
        """`off_by`, where all of these cases calibrate and very many others follow.

        Cases differ by chance, so that the error of a mean of n of them goes with 1 / sqrt(n); in
        a draw both means have one.
        """
        of_draw = 1 / self.drawn + 1 / self.others
        return self.off_by * math.sqrt(1 / (self.drawn + self.others) / of_draw)

    def line(self) -> str:
        """Say it in two sentences."""
        return (
            f"{self.drawn} of these cases calibrated and the {self.others} others tested, {DRAWS} "
            f"times: their pooled sensitivity was within {100 * WITHIN:g} points of the promised "
            f"one in {self.share_within:.0%} of the draws, and within {100 * self.off_by:.1f} "
            f"points in 95 %. Calibrated by all {self.drawn + self.others}, it is to be expected "
            f"within about {100 * self.expected_off_by:.1f} points on many other cases like these."
        )


def rehearse(part: Part, logit: Values, drawn: int | None = None) -> Reliability:
    """Calibrate by cases drawn at random and test on the others, `DRAWS` times.

    What is promised is what the card says: the sensitivity out of fold, each fifth of the cases
    called by the threshold of the other four.

    Parameters
    ----------
    part : Part
        All cases.
    logit : ndarray, shape (n,)
    drawn : int, optional
        Cases of each draw; half of them where not given.

    Raises
    ------
    DataError
        There are not as many cases, or no draw has both classes on both sides.
    """
    rng, index = np.random.default_rng(_SEED), part.store.index
    names, which = np.unique(index.case, return_inverse=True)
    count = len(names) // 2 if drawn is None else drawn
    if not FOLDS <= count < len(names) and drawn is not None:
        raise DataError(
            f"--drawn {drawn}: of {len(names)} cases, {FOLDS} to {len(names) - 1} can be drawn."
        )
    away: list[float] = []
    for _ in range(50 * DRAWS):
        group = np.full(len(names), -1)
        group[rng.permutation(len(names))[:count]] = np.arange(count) % FOLDS
        if (off := _off(part, logit, group[which])) is not None:
            away.append(off)
        if len(away) == DRAWS:
            break
    if not away:
        raise DataError("No half of the cases has both classes. Label more cases.")
    found = np.array(away)
    return Reliability(
        count,
        len(names) - count,
        float((found <= WITHIN).mean()),
        float(np.percentile(found, 95)),
    )


def _off(part: Part, logit: Values, group: Rows) -> float | None:
    """Return how far a draw is off; None where a class is missing.

    Parameters
    ----------
    group : ndarray of int, shape (n,)
        Fold of each patch; -1 of those that test.
    """
    label = part.store.index.label
    # Calls depend on the order of the log-odds alone, and so does the threshold.
    share = 0.5 + 0.5 * np.tanh(0.5 * logit)
    is_positive = label == 1

    def called(by: NDArray[np.bool_], of: NDArray[np.bool_]) -> tuple[float, float]:
        """Weight of the positives of some patches that others' threshold calls, and of all."""
        threshold = youden_threshold(Scored(share[by], label[by]), part.weight[by])
        mine = of & is_positive
        weight = part.weight[mine]
        return float(weight[share[mine] >= threshold].sum()), float(weight.sum())

    mine = group >= 0
    folds = [(mine & (group != fold), group == fold) for fold in np.unique(group[mine])]
    if any(len(np.unique(label[by])) < 2 for by, _ in [*folds, (mine, ~mine), (~mine, mine)]):
        return None
    kept, all_of = np.array([called(by, of) for by, of in folds]).sum(axis=0)
    found, others = called(mine, ~mine)
    return float(abs(kept / all_of - found / others))
