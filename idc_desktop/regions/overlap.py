"""Which cells of a grid shapes cover, and how much of each: exact, and many shapes at once.

A hundred thousand small shapes would take as many times the dozens of NumPy calls that one takes;
so all edges go through them together, with the number of their shape beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from idc_desktop.maps.grid import PatchGrid
from idc_desktop.regions.shape import Shape

_NOTHING = 1e-12  # of a cell: 0.2 square nanometres, and above all rounding below
_MOST_EDGES = 200_000  # that go through together
_MOST_CELLS = 2_000_000

Floats = npt.NDArray[np.float64]
Cells = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Overlap:
    """Where a shape lies on a grid; cells are numbered row by row.

    Attributes
    ----------
    cells : ndarray of int, shape (n,)
        The cells that it covers in part or wholly.
    areas_px : ndarray of float, shape (n,)
        How much of each, level-0 pixels squared; only what lies on the slide.
    centred : ndarray of int, shape (m,)
        The cells whose centre is inside, right and lower edges excluded, and on the slide.
    """

    cells: Cells
    areas_px: Floats
    centred: Cells

    @classmethod
    def of(cls, shape: Shape, grid: PatchGrid) -> Overlap:
        """Compute exactly what part of each cell a shape covers."""
        (found,) = overlaps([shape], grid)
        return found


def overlaps(shapes: Sequence[Shape], grid: PatchGrid) -> Iterator[Overlap]:
    """Yield the overlap of each shape, in their order.

    What is yielded of a shape does not depend on the others.
    """
    for together in _portions(shapes, grid):
        edges = [shape.edges for shape in together]
        owner = np.repeat(np.arange(len(edges)), [len(it) for it in edges])
        every = np.concatenate(edges)
        covered = _covered(every, owner, together, grid)
        centred = _centred(every, owner, len(together), grid)
        cell_px = grid.step_x_l0 * grid.step_y_l0
        for (cells, parts), inside in zip(covered, centred, strict=True):
            yield Overlap(cells, parts * cell_px, inside)


def _portions(shapes: Sequence[Shape], grid: PatchGrid) -> Iterator[list[Shape]]:
    """Yield shapes in groups that take little memory together, or one that takes much alone."""
    together: list[Shape] = []
    edges = cells = 0.0
    for shape in shapes:
        left, top, right, bottom = shape.bounds
        across = min((right - left) / grid.step_x_l0, grid.cols) + 2
        own = across * (min((bottom - top) / grid.step_y_l0, grid.rows) + 2)
        if together and (edges + len(shape.edges) > _MOST_EDGES or cells + own > _MOST_CELLS):
            yield together
            together, edges, cells = [], 0.0, 0.0
        together.append(shape)
        edges, cells = edges + len(shape.edges), cells + own
    if together:
        yield together


def _covered(
    edges: Floats, owner: Cells, shapes: Sequence[Shape], grid: PatchGrid
) -> list[tuple[Cells, Floats]]:
    """Return the cells that each shape covers and which part of each, 0 to 1, exactly.

    Edges are cut into pieces that lie in one cell each. The part of its cell to the right of a
    piece is added where the piece goes up and taken away where it goes down; of all cells further
    right, its height. What is left or right of the slide counts as its shadow on the slide's side.
    """
    found: list[tuple[Cells, Floats]] = [(np.empty(0, np.intp), np.empty(0))] * len(shapes)
    only = [_only_cell(shape, grid) for shape in shapes]
    for number, cell in enumerate(only):
        if cell is not None:  # nothing to cut, as of the most where there are 100,000
            share = shapes[number].area_px / (grid.step_x_l0 * grid.step_y_l0)
            is_some = int(share > _NOTHING)
            found[number] = np.full(is_some, cell, np.intp), np.full(is_some, min(share, 1.0))
    is_cut = np.array([cell is None for cell in only])[owner]
    edges, owner = edges[is_cut], owner[is_cut]
    u1, v1, u2, v2 = _in_cells(edges, grid).T
    end_u = min(grid.width_l0 / grid.step_x_l0, grid.cols)
    end_v = min(grid.height_l0 / grid.step_y_l0, grid.rows)
    walls_u = np.append(np.arange(grid.cols, dtype=np.float64), end_u)
    walls_v = np.append(np.arange(grid.rows, dtype=np.float64), end_v)
    (v1, u1, v2, u2, owner), interval = _cut(v1, u1, v2, u2, walls_v, owner)
    on_slide = (interval > 0) & (interval <= grid.rows)
    row = interval[on_slide] - 1
    pieces = (it[on_slide] for it in (u1, v1, u2, v2))
    (u1, v1, u2, v2, row, owner), interval = _cut(*pieces, walls_u, row, owner[on_slide])
    if not len(row):
        return found
    col = np.clip(interval - 1, 0, grid.cols - 1)
    middle = (np.clip(u1, 0, end_u) + np.clip(u2, 0, end_u)) / 2
    height = v1 - v2
    # Each shape has a window of its own, with a column for what is further right. Windows of one
    # width lie above each other.
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    first_row, first_col = (np.minimum.reduceat(it, starts) for it in (row, col))
    rows = np.maximum.reduceat(row, starts) - first_row + 1
    width = np.maximum.reduceat(col, starts) - first_col + 2
    lengths = np.diff(starts, append=len(owner))
    steps = np.diff(walls_v, append=end_v)
    for wide in np.unique(width):
        (mine,) = np.nonzero(width == wide)
        pieces_of = _ranges(starts[mine], lengths[mine])
        base = np.cumsum(rows[mine]) - rows[mine]
        shift_row = np.repeat(base - first_row[mine], lengths[mine])
        shift_col = np.repeat(first_col[mine], lengths[mine])
        at = (row[pieces_of] + shift_row) * wide + col[pieces_of] - shift_col
        high = height[pieces_of]
        window = (int(rows[mine].sum()), int(wide))
        size = window[0] * window[1]
        right_of = high * (col[pieces_of] + 1 - middle[pieces_of])
        own = np.bincount(at, right_of, size).reshape(window)
        passed_on = np.bincount(at + 1, high, size + 1)[:-1].reshape(window)
        is_crossed = np.bincount(at, minlength=size).reshape(window) > 0
        from_left = np.cumsum(passed_on, axis=1)
        # Where no edge passes, a cell is in or out as far as its row is on the slide: whatever
        # else stands there is rounding.
        row_of = _ranges(first_row[mine], rows[mine])
        whole = steps[row_of, None]
        in_or_out = np.rint(from_left / whole) * whole
        part = np.where(is_crossed, own + from_left, in_or_out)[:, :-1]
        line, across = np.nonzero(part > _NOTHING)
        first = np.repeat(first_col[mine], rows[mine])
        cells = row_of[line] * grid.cols + across + first[line]
        parts = np.minimum(part[line, across], 1.0)
        ends = np.searchsorted(line, base[1:])
        split = zip(np.split(cells, ends), np.split(parts, ends), strict=True)
        for number, cells_and_parts in zip(owner[starts[mine]].tolist(), split, strict=True):
            found[number] = cells_and_parts
    return found


def _only_cell(shape: Shape, grid: PatchGrid) -> int | None:
    """Return the cell in which the whole shape lies, if there is one."""
    left, top, right, bottom = shape.bounds
    col = math.floor((left - grid.origin_x_l0) / grid.step_x_l0)
    row = math.floor((top - grid.origin_y_l0) / grid.step_y_l0)
    end_x = min(grid.origin_x_l0 + (col + 1) * grid.step_x_l0, grid.right_l0)
    end_y = min(grid.origin_y_l0 + (row + 1) * grid.step_y_l0, grid.bottom_l0)
    is_on_grid = 0 <= col < grid.cols and 0 <= row < grid.rows
    return row * grid.cols + col if is_on_grid and right <= end_x and bottom <= end_y else None


def _in_cells(edges: Floats, grid: PatchGrid) -> Floats:
    origin = np.array([grid.origin_x_l0, grid.origin_y_l0] * 2)
    steps = np.array([grid.step_x_l0, grid.step_y_l0] * 2)
    located: Floats = (edges - origin) / steps
    return located


def _cut(
    a1: Floats, b1: Floats, a2: Floats, b2: Floats, walls: Floats, *labels: Cells
) -> tuple[tuple[npt.NDArray[Any], ...], Cells]:
    """Cut edges from (a1, b1) to (a2, b2) wherever a crosses a wall.

    Returns
    -------
    pieces : tuple of ndarrays
        a1, b1, a2, b2 and the labels of each piece.
    interval : ndarray of int
        Between which walls each lies: i is below `walls[i]` and not below `walls[i - 1]`.
    """
    low, high = np.minimum(a1, a2), np.maximum(a1, a2)
    first = np.searchsorted(walls, low, side="right")
    count = np.maximum(np.searchsorted(walls, high, side="left"), first) - first + 1
    source = np.repeat(np.arange(len(a1)), count)
    interval = first[source] + _count_up(count)
    a1, b1, a2, b2, low, high = (it[source] for it in (a1, b1, a2, b2, low, high))
    bounded = np.concatenate([[-np.inf], walls, [np.inf]])
    low, high = np.maximum(low, bounded[interval]), np.minimum(high, bounded[interval + 1])
    start, end = np.where(a1 <= a2, low, high), np.where(a1 <= a2, high, low)
    width = np.where(a1 == a2, 1.0, a2 - a1)
    slope = (b2 - b1) / width
    # The ends of an edge are taken as they are, so that neighbours meet without a gap.
    at_start = np.where(start == a1, b1, np.where(start == a2, b2, b1 + (start - a1) * slope))
    at_end = np.where(end == a2, b2, np.where(end == a1, b1, b1 + (end - a1) * slope))
    return (start, at_start, end, at_end, *(label[source] for label in labels)), interval


def _count_up(counts: Cells) -> Cells:
    """Return 0, 1 … n - 1 for each n, one after the other."""
    steps: Cells = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return steps


def _ranges(firsts: Cells, counts: Cells) -> Cells:
    """Return first, first + 1 … for each first, so many of each, one after the other."""
    found: Cells = np.repeat(firsts, counts) + _count_up(counts)
    return found


def _centred(edges: Floats, owner: Cells, shapes: int, grid: PatchGrid) -> list[Cells]:
    """Return the cells whose centre is inside each shape: those between two of its edges."""
    x = grid.origin_x_l0 + (np.arange(grid.cols) + 0.5) * grid.step_x_l0
    y = grid.origin_y_l0 + (np.arange(grid.rows) + 0.5) * grid.step_y_l0
    x, y = x[x < grid.right_l0], y[y < grid.bottom_l0]
    x1, y1, x2, y2 = edges.T
    first = np.searchsorted(y, np.minimum(y1, y2))
    count = np.searchsorted(y, np.maximum(y1, y2)) - first
    source = np.repeat(np.arange(len(x1)), count)
    row, owner = _ranges(first, count), owner[source]
    x1, y1, x2, y2 = (it[source] for it in (x1, y1, x2, y2))
    crossing = x1 + (y[row] - y1) * ((x2 - x1) / np.where(y1 == y2, 1.0, y2 - y1))
    col = np.searchsorted(x, crossing)  # the first centre that is not to the left
    order = np.lexsort((col, row, owner))
    # A line through a closed outline enters it as often as it leaves it.
    enter, leave = order[0::2], order[1::2]
    cells = _ranges(row[enter] * grid.cols + col[enter], col[leave] - col[enter])
    of = np.repeat(owner[enter], col[leave] - col[enter])
    return np.split(cells, np.searchsorted(of, np.arange(1, shapes)))
