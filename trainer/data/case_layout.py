"""A case laid out as it lies on the slide: cell (row, col) = ((y - 1) / side, (x - 1) / side)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.dataset import PatchArray, PatchStore
from trainer.errors import DataError

THUMBNAIL = 5
"""Pixels that a patch is wide in the thumbnail."""


@dataclass(frozen=True)
class CaseMap:
    """One case on its grid.

    Attributes
    ----------
    case : str
    label : ndarray of int8, shape (rows, cols)
        -1 where the data hold no patch.
    probability : ndarray of float64, shape (rows, cols)
        Not a number where the data hold no patch.
    thumbnail : ndarray of uint8, shape (5 rows, 5 cols, 3)
        White where the data hold no patch.
    """

    case: str
    label: NDArray[np.int8]
    probability: NDArray[np.float64]
    thumbnail: PatchArray


def lay_out(store: PatchStore, probability: NDArray[np.float64], case: str) -> CaseMap:
    """Lay out the patches of a case.

    Parameters
    ----------
    store : PatchStore
    probability : ndarray, shape (n,)
        Of the store's patches.
    case : str

    Raises
    ------
    DataError
        The store holds no patch of the case.
    """
    which = np.flatnonzero(store.index.case == case)
    if not len(which):
        raise DataError(f"Case {case} has no patch in this part of the data.")
    side = store.patch.side_px
    row = (store.index.y[which] - 1) // side
    col = (store.index.x[which] - 1) // side
    shape = (int(row.max()) + 1, int(col.max()) + 1)
    label = np.full(shape, -1, np.int8)
    label[row, col] = store.index.label[which]
    values = np.full(shape, np.nan)
    values[row, col] = probability[which]
    tiles = np.full((*shape, THUMBNAIL, THUMBNAIL, 3), 255, np.uint8)
    step = side // THUMBNAIL
    seen = store.read(which)[:, : THUMBNAIL * step, : THUMBNAIL * step]
    patches = seen.reshape(-1, THUMBNAIL, step, THUMBNAIL, step, 3)
    tiles[row, col] = patches.mean(axis=(2, 4)).round()
    thumbnail = tiles.swapaxes(1, 2).reshape(shape[0] * THUMBNAIL, shape[1] * THUMBNAIL, 3)
    return CaseMap(case, label, values, thumbnail)
