"""The map of a slide: what became of each patch of its grid, and its probability.

Arrays are (rows, cols) of the grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from idc_desktop.grid import Block, PatchGrid

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
