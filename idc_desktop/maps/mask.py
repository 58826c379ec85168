"""What a user changed of the tissue mask, on the grid of a map.

NumPy is imported where arrays are asked for, as in `grid`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Cells = npt.NDArray[np.bool_]

Span = tuple[int, int, int]
"""Neighbours in a row of a grid: the row, the first column, and the one beyond the last."""


@dataclass(frozen=True, eq=False)
class MaskEdits:
    """Which patches count as tissue, or as background, whatever their pixels say.

    Attributes
    ----------
    added, removed : ndarray of bool, shape (rows, cols)
        Tissue and background by hand; no patch is both.
    areas : int
        How many areas say so.
    """

    added: Cells
    removed: Cells
    areas: int


def spans_of(cells: Cells) -> tuple[Span, ...]:
    """Return the spans of a grid's cells that are True, row by row."""
    import numpy as np

    padded = np.zeros((cells.shape[0], cells.shape[1] + 2), np.int8)
    padded[:, 1:-1] = cells
    steps = np.diff(padded, axis=1)
    firsts, ends = np.argwhere(steps == 1), np.argwhere(steps == -1)
    return tuple(
        (row, first, end)
        for (row, first), end in zip(firsts.tolist(), ends[:, 1].tolist(), strict=True)
    )


def cells_of(spans: Iterable[Span], shape: tuple[int, int]) -> Cells:
    """Return the cells of spans on a grid of (rows, cols); `ValueError` where one lies off it."""
    import numpy as np

    cells = np.zeros(shape, np.bool_)
    for row, first, end in spans:
        if not (0 <= row < shape[0] and 0 <= first < end <= shape[1]):
            raise ValueError(f"row {row}, columns {first} to {end} lie off the grid")
        cells[row, first:end] = True
    return cells
