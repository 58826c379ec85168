"""What a network's answers to the validation patches are worth, epoch by epoch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.scoring.metrics import Scored
from trainer.training.feeding import Part

RANKS = 0.7
"""AUC from which on a network does not answer the same whatever it sees."""


def judge(logit: NDArray[np.float64], part: Part) -> dict[str, Any]:
    """Compute the validation figures of an epoch, by their names in the log."""
    label = part.store.index.label
    figures = Scored(_probability(logit), label).metrics(part.weight, 0.5)
    loss, positive = _loss_and_share(logit, label, part.weight)
    return {
        "val_loss": loss,
        "auc": figures.auc,
        "auprc": figures.auprc,
        "val_accuracy": figures.accuracy,
        "positive_share": positive,
        "collapsed": collapse(logit, label, part.weight),
    }


def collapse(
    logit: NDArray[np.float64], label: NDArray[np.uint8], weight: NDArray[np.float64]
) -> str:
    """Say why a network is taken to answer the same whatever it sees; empty where it is not.

    Parameters
    ----------
    logit, label, weight : ndarray, shape (n,)
        Of validation patches.

    A young network that calls everything alike and ranks well is off in its mean only.
    """
    if Scored(logit, label).auc(weight) >= RANKS:
        return ""
    loss, positive = _loss_and_share(logit, label, weight)
    if not 0.01 <= positive <= 0.99:
        return f"{positive:.2%} of the validation patches are called IDC"
    prior = float(np.average(label, weights=weight))
    entropy = -(prior * math.log(prior) + (1 - prior) * math.log(1 - prior))
    if abs(loss / entropy - 1) <= 0.01:
        return f"the validation loss {loss:.4f} is that of guessing ({entropy:.4f})"
    return ""


def _loss_and_share(
    logit: NDArray[np.float64], label: NDArray[np.uint8], weight: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the weighted cross-entropy, and the weighted share that is called IDC at 0.5."""
    loss = np.average(np.logaddexp(0, logit) - label * logit, weights=weight)
    return float(loss), float(np.average(logit >= 0, weights=weight))


def _probability(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    # tanh does not overflow where exp would.
    return 0.5 + 0.5 * np.tanh(0.5 * logit)
