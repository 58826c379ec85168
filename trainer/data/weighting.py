"""Weights that undo an uneven sample of patches.

Of some cases the data at hand hold every patch, of others a few dozen with most of the positives.
Each (case, class) is therefore weighted to its natural count (that of the whole public set), and
a case's total is capped, so that neither a large case nor a few patches standing for a large case
decide alone. With the complete data set all weights are 1, but for the cap.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idc_desktop.plain_files import open_text
from trainer.errors import DataError

CASE_CAP = 1000.0
"""Largest total weight of a case, in patches: near the median count of a complete case (967)."""

DESCRIPTION = (
    "each (case, class) weighted to its natural count, as far as one was given, then each case's "
    f"total capped at {CASE_CAP:g} patches"
)

NaturalCounts = dict[str, tuple[int, int]]
"""Case id -> (not-IDC, IDC) patches in the complete data set."""


def read_natural_counts(path: Path) -> NaturalCounts:
    """Read a CSV with the columns ``patient_id, n0, n1``.

    Raises
    ------
    DataError
        The file cannot be read or lacks a column, or a line makes no sense.
    """
    found: NaturalCounts = {}
    try:
        with open_text(path, "utf-8-sig") as file:
            lines = csv.DictReader(file)
            for row in lines:
                case, counts = row["patient_id"].strip(), (int(row["n0"]), int(row["n1"]))
                if min(counts) < 0:
                    raise DataError(f"{path}, line {lines.line_num}: a count is below 0.")
                if found.setdefault(case, counts) != counts:
                    raise DataError(
                        f"{path}, line {lines.line_num}: case {case} has other counts above."
                    )
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError) as cause:
        raise DataError(
            f"{path} cannot be read as counts per case. It needs the columns patient_id, n0, n1, "
            "the last two with whole numbers."
        ) from cause
    return found


def natural_weights(
    case: NDArray[np.str_],
    label: NDArray[np.uint8],
    natural: NaturalCounts,
    case_cap: float = CASE_CAP,
) -> NDArray[np.float64]:
    """Weigh each patch by (natural count / available count) of its case and class, capped.

    Parameters
    ----------
    case, label : ndarray, shape (n,)
    natural : dict
        A case that is missing here counts as complete. A class without any patch at hand cannot
        be represented and adds nothing.
    case_cap : float
        Largest total weight of one case; both classes shrink by the same factor.

    Returns
    -------
    ndarray of float64, shape (n,)
        Positive.
    """
    weights = np.ones(len(label))
    for one in np.unique(case):
        of_case = case == one
        for value in (0, 1):
            rows = of_case & (label == value)
            count = int(rows.sum())
            if count and one in natural:
                # The table may count fewer patches than there are; a weight of 0 would hide some.
                weights[rows] = max(natural[one][value], 1) / count
        total = weights[of_case].sum()
        weights[of_case] *= min(1.0, case_cap / total)
    return weights


def weightings(weight: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return what figures are computed with, by name: these natural weights, and all alike."""
    return {"weighted": weight, "unweighted": np.ones_like(weight)}


def loss_weights(
    weight: NDArray[np.float64],
    label: NDArray[np.uint8],
    exponent: float,
    class_weights: bool = False,
) -> NDArray[np.float32]:
    """Weights of patches in the loss, of mean 1.

    Parameters
    ----------
    weight, label : ndarray, shape (n,)
    exponent : float
        Of `weight`: 0 lets all patches count alike, 1 those of full weight.
    class_weights : bool
        Scale each class so that both have the same sum.
    """
    balance = weight**exponent
    if class_weights:
        balance = balance / np.bincount(label, balance)[label]
    return (balance / balance.mean()).astype(np.float32)
