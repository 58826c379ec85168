"""The border of some cells of a grid as lines that can be painted, one unit a cell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QLineF, QRectF


class Borders:
    """Made once for each border: making the lines costs more than painting them.

    Parameters
    ----------
    upper, left : ndarrays of int, shape (n, 2)
        As `idc_desktop.maps.colormap.border` returns them.
    """

    def __init__(self, upper: npt.NDArray[np.intp], left: npt.NDArray[np.intp]) -> None:
        self._across = _Lines(upper, lambda row, first, last: QLineF(first, row, last, row))
        self._down = _Lines(left[:, ::-1], lambda col, first, last: QLineF(col, first, col, last))

    def within(self, seen: QRectF) -> list[QLineF]:
        """Return the lines that a rectangle of cells may hold."""
        across = self._across.within(seen.top(), seen.bottom())
        return across + self._down.within(seen.left(), seen.right())


class _Lines:
    """Borders of cells along the rows, or along the columns.

    Parameters
    ----------
    borders : ndarray of int, shape (n, 2)
        (line, place) of the cells along whose side the border runs.
    draw : callable
        Makes the line of (line, first, beyond last).
    """

    def __init__(
        self, borders: npt.NDArray[np.intp], draw: Callable[[int, int, int], QLineF]
    ) -> None:
        runs = _runs(borders)
        self._places = runs[:, 0]
        self._lines = [draw(*run) for run in runs.tolist()]

    def within(self, low: float, high: float) -> list[QLineF]:
        """Return the lines between two places."""
        first, last = np.searchsorted(self._places, (low - 1, high + 1))
        return self._lines[first:last]


def _runs(borders: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Join borders of cells (line, place) that follow each other to (line, first, beyond last)."""
    if not len(borders):
        return np.empty((0, 3), np.intp)
    ordered = borders[np.lexsort((borders[:, 1], borders[:, 0]))]
    breaks = np.any(np.diff(ordered, axis=0) != (0, 1), axis=1)
    starts = ordered[np.concatenate([[True], breaks])]
    ends = ordered[np.concatenate([breaks, [True]])]
    return np.column_stack([starts, ends[:, 1] + 1])
