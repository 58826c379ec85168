"""The patch grid of a slide and the map of probabilities on it: geometry and values, no pixels.

Frames: names ending in ``_l0`` are level-0 pixels with the origin at the top left of the slide;
arrays are (rows, cols).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

MILLIONTHS = 1_000_000
"""Probabilities are rounded to 6 decimals once, when stored: as an integer count of 1e-6."""

NO_PROBABILITY = -1
"""Stands in integer probability arrays where a patch has none."""


class PatchState(IntEnum):
    """What became of a patch; the numbers are part of the store's format."""

    PENDING = 0
    OK = 1
    BACKGROUND = 2
    FAILED = 3
    INVALID_OUTPUT = 4
    EXCLUDED = 5

    @property
    def label(self) -> str:
        """Name in exported files: such as ``ok`` or ``invalid_output``."""
        return self.name.lower()

    @property
    def words(self) -> str:
        """Name for people: such as ``ok`` or ``invalid output``."""
        return self.label.replace("_", " ")


@dataclass(frozen=True)
class PatchGrid:
    """A regular grid of square patches over a slide.

    Attributes
    ----------
    rows, cols : int
        Cells that cover the extent; the last ones may reach beyond it.
    step_x_l0, step_y_l0 : float
        Side of a cell, level-0 pixels per axis; never rounded.
    origin_x_l0, origin_y_l0 : int
        Top left corner: the slide's bounds where it has them, else (0, 0).
    width_l0, height_l0 : int
        Extent that the grid covers, from the origin.
    """

    rows: int
    cols: int
    step_x_l0: float
    step_y_l0: float
    origin_x_l0: int
    origin_y_l0: int
    width_l0: int
    height_l0: int

    @classmethod
    def over(
        cls, extent_l0: tuple[int, int, int, int], mpp: tuple[float, float], patch_size_um: float
    ) -> PatchGrid:
        """Lay the grid over an extent.

        Parameters
        ----------
        extent_l0 : (x, y, width, height)
            The slide's bounds, or the whole slide.
        mpp : (x, y)
            Level-0 resolution, µm per pixel.
        patch_size_um : float
            Side of a patch, µm.
        """
        x, y, width, height = extent_l0
        step_x, step_y = patch_size_um / mpp[0], patch_size_um / mpp[1]
        return cls(
            rows=math.ceil(height / step_y - 1e-6),
            cols=math.ceil(width / step_x - 1e-6),
            step_x_l0=step_x,
            step_y_l0=step_y,
            origin_x_l0=x,
            origin_y_l0=y,
            width_l0=width,
            height_l0=height,
        )

    @property
    def right_l0(self) -> int:
        """X just beyond the extent."""
        return self.origin_x_l0 + self.width_l0

    @property
    def bottom_l0(self) -> int:
        """Y just beyond the extent."""
        return self.origin_y_l0 + self.height_l0

    def column_edges_l0(self) -> npt.NDArray[np.float64]:
        """X of the cells' edges, shape (cols + 1,)."""
        return self.origin_x_l0 + np.arange(self.cols + 1, dtype=np.float64) * self.step_x_l0

    def row_edges_l0(self) -> npt.NDArray[np.float64]:
        """Y of the cells' edges, shape (rows + 1,)."""
        return self.origin_y_l0 + np.arange(self.rows + 1, dtype=np.float64) * self.step_y_l0

    def column_edges_px(self) -> npt.NDArray[np.int64]:
        """X of the cells' edges as exported: whole pixels, half rounded up, within the extent."""
        return np.minimum(np.floor(self.column_edges_l0() + 0.5), self.right_l0).astype(np.int64)

    def row_edges_px(self) -> npt.NDArray[np.int64]:
        """Y of the cells' edges as exported: whole pixels, half rounded up, within the extent."""
        return np.minimum(np.floor(self.row_edges_l0() + 0.5), self.bottom_l0).astype(np.int64)

    def cell_at(self, x_l0: float, y_l0: float) -> tuple[int, int] | None:
        """Return (row, col) of the cell that holds a point, None outside the extent."""
        if not (
            self.origin_x_l0 <= x_l0 < self.right_l0 and self.origin_y_l0 <= y_l0 < self.bottom_l0
        ):
            return None
        row = int((y_l0 - self.origin_y_l0) / self.step_y_l0)
        col = int((x_l0 - self.origin_x_l0) / self.step_x_l0)
        return min(row, self.rows - 1), min(col, self.cols - 1)

    def cell_centre_l0(self, row: int, col: int) -> tuple[float, float]:
        """Return the middle (x, y) of a cell."""
        return (
            self.origin_x_l0 + (col + 0.5) * self.step_x_l0,
            self.origin_y_l0 + (row + 0.5) * self.step_y_l0,
        )

    def touches(self, block: Block, area_l0: Sequence[float]) -> bool:
        """Whether a block and a rectangle (x, y, width, height) have a point in common."""
        x, y, width, height = area_l0
        left = self.origin_x_l0 + block.col * self.step_x_l0
        top = self.origin_y_l0 + block.row * self.step_y_l0
        right, bottom = left + block.cols * self.step_x_l0, top + block.rows * self.step_y_l0
        return left < x + width and x < right and top < y + height and y < bottom

    def blocks(self, side_cells: int) -> Iterator[Block]:
        """Yield the squares of cells that are read and committed together, row by row."""
        number = 0
        for row in range(0, self.rows, side_cells):
            for col in range(0, self.cols, side_cells):
                rows = min(side_cells, self.rows - row)
                yield Block(number, row, col, rows, min(side_cells, self.cols - col))
                number += 1

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that exports name (the extent is the slide's own)."""
        fields = asdict(self)
        del fields["width_l0"], fields["height_l0"]
        return fields


@dataclass(frozen=True)
class Block:
    """A rectangle of whole cells: the unit of reading, inference and commit."""

    number: int
    row: int
    col: int
    rows: int
    cols: int

    @property
    def cells(self) -> int:
        """How many patches it holds."""
        return self.rows * self.cols


@dataclass(frozen=True)
class BlockResult:
    """What came of a block.

    Attributes
    ----------
    states : ndarray of uint8, shape (rows, cols)
        `PatchState` values.
    millionths : ndarray of int32, shape (rows, cols)
        Probability of IDC in units of 1e-6, `NO_PROBABILITY` where there is none.
    reasons : dict
        (row, col) of the grid -> why that patch failed.
    """

    block: Block
    states: npt.NDArray[np.uint8]
    millionths: npt.NDArray[np.int32]
    reasons: dict[tuple[int, int], str] = field(default_factory=dict)

    @classmethod
    def failed(cls, block: Block, reason: str) -> BlockResult:
        """Return the result of a block of which no patch could be analyzed."""
        shape = (block.rows, block.cols)
        reasons = {(block.row + row, block.col + col): reason for row, col in np.ndindex(*shape)}
        return cls(
            block,
            np.full(shape, PatchState.FAILED, np.uint8),
            np.full(shape, NO_PROBABILITY, np.int32),
            reasons,
        )


class ProbabilityMap:
    """Patch states and probabilities of a whole grid, filled block by block.

    Attributes
    ----------
    states : ndarray of uint8, shape (rows, cols)
    millionths : ndarray of int32, shape (rows, cols)
    reasons : dict
        (row, col) -> why that patch failed.
    version : int
        Rises with each result that is added.
    """

    def __init__(self, grid: PatchGrid) -> None:
        self.grid = grid
        self.version = 0
        self.states = np.full((grid.rows, grid.cols), PatchState.PENDING, np.uint8)
        self.millionths = np.full((grid.rows, grid.cols), NO_PROBABILITY, np.int32)
        self.reasons: dict[tuple[int, int], str] = {}

    def add(self, result: BlockResult) -> None:
        """Take over a block's result."""
        block = result.block
        here = np.s_[block.row : block.row + block.rows, block.col : block.col + block.cols]
        self.states[here] = result.states
        self.millionths[here] = result.millionths
        self.reasons.update(result.reasons)
        self.version += 1

    @property
    def analyzed(self) -> npt.NDArray[np.bool_]:
        """Where a patch has a probability, shape (rows, cols)."""
        return np.equal(self.states, PatchState.OK)

    def positive(self, threshold: float) -> npt.NDArray[np.bool_]:
        """Where a patch is called IDC: P(IDC) at or above the threshold, shape (rows, cols)."""
        return self.analyzed & (self.millionths / MILLIONTHS >= threshold)

    @property
    def failed(self) -> npt.NDArray[np.bool_]:
        """Where a patch was tried in vain, shape (rows, cols)."""
        return np.isin(self.states, (PatchState.FAILED, PatchState.INVALID_OUTPUT))

    @property
    def failed_patches(self) -> int:
        """How many patches were tried in vain."""
        return int(np.count_nonzero(self.failed))

    def state_text(self, row: int, col: int) -> str:
        """Say what became of a patch, and why where that is known."""
        words, reason = PatchState(self.states[row, col]).words, self.reasons.get((row, col))
        return words if reason is None else f"{words}: {reason}"

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """P(IDC) per patch, NaN where there is none, shape (rows, cols)."""
        return np.where(self.analyzed, self.millionths / MILLIONTHS, np.nan)

    def counts(self) -> dict[str, int]:
        """Return the number of patches per state, ``pending`` left out."""
        return {
            state.label: int(np.count_nonzero(self.states == state))
            for state in PatchState
            if state is not PatchState.PENDING
        }
