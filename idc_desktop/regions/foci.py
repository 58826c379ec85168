"""Regions from the map: the connected areas at or above the threshold, and the wand.

Two cells are connected if they share a side or, with 8 neighbours, a corner. Cells without a
probability (background, failed) are never positive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.probability_map import MapLayer
from idc_desktop.regions.shape import Polygon, Shape, shape_of

Neighbours = Literal[4, 8]
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.intp]

_NONE = -1


@dataclass(frozen=True)
class FocusRules:
    """What counts as a focus.

    Attributes
    ----------
    neighbours : {4, 8}
    min_area_um2 : float or None
        Smaller foci are left out; None keeps a single whole cell, whatever its size.
    max_hole_um2 : float
        What a focus encloses, up to this size, is filled before foci are told apart: islands in it
        become part of the focus. 0 fills nothing.
    """

    neighbours: Neighbours = 8
    min_area_um2: float | None = None
    max_hole_um2: float = 0.0

    def least_um2(self, grid: PatchGrid, mpp: tuple[float, float]) -> float:
        """Return the area of the smallest focus on a grid; `mpp` is level 0's, (x, y)."""
        if self.min_area_um2 is not None:
            return self.min_area_um2
        return grid.step_x_l0 * mpp[0] * grid.step_y_l0 * mpp[1]


@dataclass(frozen=True)
class Focus:
    """A connected positive area, its small gaps perhaps filled.

    Attributes
    ----------
    area_um2 : float
        Of its shape: positive cells and filled ones, as far as they lie on the slide.
    max_probability, mean_probability : float
        Over its positive cells, the mean weighted by area.
    """

    shape: Shape
    area_um2: float
    max_probability: float
    mean_probability: float


def find_foci(
    layer: MapLayer,
    mpp: tuple[float, float],
    threshold: float,
    rules: FocusRules | None = None,
) -> list[Focus]:
    """Return the foci of a layer, the largest first; of equal ones the most probable.

    Parameters
    ----------
    mpp : (x, y)
        Level-0 resolution, µm per pixel.
    rules : FocusRules, optional
        Default: `FocusRules()`.
    """
    rules = rules or FocusRules()
    areas_um2 = _cell_areas_px(layer.grid) * (mpp[0] * mpp[1])
    positive = layer.positive(threshold)
    filled = positive | _holes(positive, areas_um2, rules)
    labels = _label(filled, rules.neighbours)
    polygons = _polygons(filled, layer.grid, labels)
    cells = labels[positive]
    p = layer.values[positive]
    area = np.bincount(labels[filled], areas_um2[filled])
    positive_area = np.bincount(cells, areas_um2[positive])
    weighted = np.bincount(cells, areas_um2[positive] * p)
    highest = np.zeros(len(area))
    np.maximum.at(highest, cells, p)
    least = rules.least_um2(layer.grid, mpp) * (1 - 1e-9)  # a cell's area is rounded, too
    found = [label for label in np.unique(cells).tolist() if area[label] >= least]
    found.sort(key=lambda label: (-area[label], -highest[label]))  # else from the top
    return [
        Focus(
            shape_of(polygons[label]),
            float(area[label]),
            float(highest[label]),
            float(weighted[label] / positive_area[label]),
        )
        for label in found
    ]


def wand(
    layer: MapLayer,
    cell: tuple[int, int],
    threshold: float,
    neighbours: Neighbours = 8,
) -> Shape | None:
    """Return the connected area at or above the threshold around a cell (row, col).

    None if the cell itself is below the threshold or has no probability.
    """
    positive = layer.positive(threshold)
    if not positive[cell]:
        return None
    labels = _label(positive, neighbours)
    mine = labels == labels[cell]
    (polygons,) = _polygons(mine, layer.grid, np.where(mine, 0, _NONE)).values()
    return shape_of(polygons)


def _edges_on_slide(grid: PatchGrid) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    x = np.minimum(grid.column_edges_l0(), grid.right_l0)
    return x, np.minimum(grid.row_edges_l0(), grid.bottom_l0)


def _cell_areas_px(grid: PatchGrid) -> npt.NDArray[np.float64]:
    x, y = _edges_on_slide(grid)
    return np.outer(np.diff(y), np.diff(x))


def _holes(positive: Mask, areas_um2: npt.NDArray[np.float64], rules: FocusRules) -> Mask:
    """Return what is enclosed and small enough to be filled."""
    if rules.max_hole_um2 <= 0:
        return np.zeros_like(positive)
    # What positive cells enclose by their corners, the others cannot leave by theirs.
    around = np.pad(~positive, 1, constant_values=True)
    labels = _label(around, 4 if rules.neighbours == 8 else 8)
    sizes = np.bincount(labels[around], np.pad(areas_um2, 1)[around], labels.max() + 1)
    is_hole = sizes <= rules.max_hole_um2 * (1 + 1e-9)
    is_hole[labels[0, 0]] = False  # the outside
    return (~positive) & is_hole[labels[1:-1, 1:-1]]


def _label(mask: Mask, neighbours: Neighbours) -> Labels:
    """Return the number of the connected area of each cell, from the top; else `_NONE`."""
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    roots = _joined(rows.tolist(), starts.tolist(), ends.tolist(), int(neighbours == 8))
    labels = np.full(mask.shape, _NONE, np.intp)
    labels[mask] = np.repeat(np.unique(roots, return_inverse=True)[1], ends - starts)
    return labels


def _joined(rows: list[int], starts: list[int], ends: list[int], reach: int) -> Labels:
    """Return for each run of cells the first run connected to it; `reach` 1 joins corners."""
    parents = list(range(len(rows)))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    above = 0  # the first run of the row above that may still touch
    for number, row in enumerate(rows):
        start, end = starts[number], ends[number]
        while rows[above] < row - 1 or (rows[above] == row - 1 and ends[above] + reach <= start):
            above += 1
        other = above
        while rows[other] == row - 1 and starts[other] < end + reach:
            one, two = root(number), root(other)
            parents[max(one, two)] = min(one, two)
            other += 1
    return np.array([root(number) for number in range(len(parents))], np.intp)


def _polygons(mask: Mask, grid: PatchGrid, labels: Labels) -> dict[int, list[Polygon]]:
    """Return the polygons of the cells of each label.

    Cells that only share a corner are separate polygons that touch there, as a valid MultiPolygon
    must be; a hole that touches the outline in a corner is a ring of its own.
    """
    blocks = _label(mask, 4)
    x, y = _edges_on_slide(grid)
    outlines: dict[int, Polygon] = {}
    holes: dict[int, list[npt.NDArray[np.float64]]] = {}
    owner: dict[int, int] = {}
    for (row, col), corners in _rings(mask, blocks):
        ring = np.stack([x[corners[:, 1]], y[corners[:, 0]]], axis=1)
        block = int(blocks[row, col])
        owner[block] = int(labels[row, col])
        ahead = np.roll(corners, -1, axis=0)
        if (corners[:, 1] * ahead[:, 0] - ahead[:, 1] * corners[:, 0]).sum() > 0:
            outlines[block] = (ring,)
        else:
            holes.setdefault(block, []).append(ring)
    polygons: dict[int, list[Polygon]] = {}
    for block, outline in outlines.items():
        polygons.setdefault(owner[block], []).append((*outline, *holes.get(block, ())))
    return polygons


def _rings(mask: Mask, blocks: Labels) -> Iterator[tuple[tuple[int, int], npt.NDArray[np.intp]]]:
    """Yield a cell along each ring, and the ring's corners, shape (n, 2), as (row, col) of edges.

    Outlines run clockwise as seen on the screen, holes the other way.
    """
    padded = np.pad(mask, 1)
    cols = mask.shape[1] + 1
    # Sides in the order top, right, bottom, left: where each begins and ends, relative to its cell.
    sides = ((-1, 0, 0, 0, 0, 1), (0, 1, 0, 1, 1, 1), (1, 0, 1, 1, 1, 0), (0, -1, 1, 0, 0, 0))
    pieces = []
    for number, (down, across, from_row, from_col, to_row, to_col) in enumerate(sides):
        neighbour = padded[1 + down : padded.shape[0] - 1 + down, 1 + across :][:, : mask.shape[1]]
        row, col = np.nonzero(mask & ~neighbour)
        start = (row + from_row) * cols + col + from_col
        end = (row + to_row) * cols + col + to_col
        pieces.append(np.stack([start, end, row, col, np.full_like(row, number)], axis=1))
    edges = np.concatenate(pieces)
    start, end, row, col, side = edges[np.argsort(edges[:, 0], kind="stable")].T
    following = np.searchsorted(start, end)
    second = np.minimum(following + 1, len(start) - 1)
    is_crossing = (start[second] == end) & (second > following)
    # Where four edges meet, two cells touch by a corner: a ring stays with its cell, unless the
    # cells are one block anyway.
    same_cell = (row[following] == row) & (col[following] == col)
    joins = blocks[row[following], col[following]] == blocks[row[second], col[second]]
    following = np.where(is_crossing & (same_cell == joins), second, following)
    todo = np.ones(len(start), np.bool_)
    order = following.tolist()
    for first in range(len(order)):
        if not todo[first]:
            continue
        ring = [first]
        while (edge := order[ring[-1]]) != first:
            ring.append(edge)
        chain = np.array(ring)
        todo[chain] = False
        turns = chain[side[chain] != side[np.roll(chain, 1)]]
        corners = np.stack([start[turns] // cols, start[turns] % cols], axis=1)
        yield (int(row[first]), int(col[first])), corners
