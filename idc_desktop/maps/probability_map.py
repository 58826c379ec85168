"""The map of a slide: what became of each patch of its grid, and its layers of values.

Arrays are (rows, cols) of the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from idc_desktop.maps.context import context_values
from idc_desktop.maps.grid import Block, PatchGrid
from idc_desktop.maps.layers import CONTEXT, KINDS, NO_VALUE, PATCH, UNCERTAINTY, LayerKind
from idc_desktop.models.context_settings import ContextSettings

if TYPE_CHECKING:
    from idc_desktop.maps.layers import Stored


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
    layers : mapping of str to ndarray of int32, shape (rows, cols)
        The values of each layer that it has, as `LayerKind.stored`.
    reasons : dict
        (row, col) of the grid -> why that patch failed.
    """

    block: Block
    states: npt.NDArray[np.uint8]
    layers: Mapping[str, Stored]
    reasons: dict[tuple[int, int], str] = field(default_factory=dict)

    @classmethod
    def failed(cls, block: Block, reason: str) -> BlockResult:
        """Return the result of a block of which no patch could be analyzed."""
        shape = (block.rows, block.cols)
        reasons = {(block.row + row, block.col + col): reason for row, col in np.ndindex(*shape)}
        states = np.full(shape, PatchState.FAILED, np.uint8)
        return cls(block, states, {}, reasons)


class ProbabilityMap:
    """Patch states and layers of a whole grid, filled block by block.

    Parameters
    ----------
    grid : PatchGrid
    context : ContextSettings or None
        How the layers are made that follow from the patch layer; None: there are none.

    Attributes
    ----------
    states : ndarray of uint8, shape (rows, cols)
        As the run has them: never ``EXCLUDED``, which `exclude` adds without a change of them.
    reasons : dict
        (row, col) -> why that patch failed.
    exclusions : dict
        (row, col) -> why that analyzed patch is left out of all figures.
    version : int
        Rises with each result that is added, and each exclusion.
    """

    def __init__(self, grid: PatchGrid, context: ContextSettings | None = None) -> None:
        self.grid = grid
        self.version = 0
        self.states = np.full((grid.rows, grid.cols), PatchState.PENDING, np.uint8)
        self.reasons: dict[tuple[int, int], str] = {}
        self.exclusions: dict[tuple[int, int], str] = {}
        self._is_excluded = np.zeros(self.states.shape, np.bool_)
        self._layers = {PATCH: self._no_values()}
        self._context = context
        self._derived: dict[str, Stored] = {}
        self._derived_version = -1
        if context is not None:
            self._derived = {name: self._no_values() for name in (CONTEXT, UNCERTAINTY)}

    def add(self, result: BlockResult) -> None:
        """Take over a block's result."""
        block = result.block
        here = np.s_[block.row : block.row + block.rows, block.col : block.col + block.cols]
        self.states[here] = result.states
        for name in result.layers.keys() - self._layers.keys():
            self._layers[name] = self._no_values()
        for name, stored in self._layers.items():
            stored[here] = result.layers.get(name, NO_VALUE)
        self.reasons.update(result.reasons)
        self.version += 1

    def exclude(self, reason: str, where: npt.NDArray[np.bool_]) -> None:
        """Leave patches out of all figures, whether they are analyzed yet or not.

        Parameters
        ----------
        reason : str
        where : ndarray of bool, shape (rows, cols)
            Those that are left out already keep their reason.
        """
        for row, col in np.argwhere(where & ~self._is_excluded).tolist():
            self.exclusions[row, col] = reason
        self._is_excluded |= where
        self.version += 1

    def layer(self, name: str = PATCH) -> MapLayer:
        """Return a layer; `KeyError` if the map has none of this name."""
        if name not in self._derived and name not in self._layers:
            raise KeyError(name)
        return MapLayer(self, KINDS[name])

    def stored(self, name: str) -> Stored:
        """Return a layer's values as `LayerKind.stored`: always the same array, as it is now."""
        if name not in self._derived:
            return self._layers[name]
        if self._derived_version != self.version:
            self._derive()
            self._derived_version = self.version
        return self._derived[name]

    def _derive(self) -> None:
        """Make the layers that follow from the patch layer."""
        assert self._context is not None
        patch = self.layer()
        found = context_values(patch.values, patch.analyzed, self._context)
        for (name, stored), values in zip(self._derived.items(), found, strict=True):
            stored[:] = KINDS[name].stored(values)

    @property
    def layers(self) -> tuple[MapLayer, ...]:
        """All layers, in the order of `KINDS`."""
        return tuple(
            self.layer(name) for name in KINDS if name in self._layers.keys() | self._derived.keys()
        )

    def copy(self) -> ProbabilityMap:
        """Return a map that stays as this one is now."""
        copied = ProbabilityMap(self.grid, self._context)
        copied.version, copied.states = self.version, self.states.copy()
        copied.reasons, copied.exclusions = dict(self.reasons), dict(self.exclusions)
        copied._is_excluded = self._is_excluded.copy()
        copied._layers = {name: it.copy() for name, it in self._layers.items()}
        return copied

    @property
    def analyzed(self) -> npt.NDArray[np.bool_]:
        """Where the model gave a probability that counts, shape (rows, cols)."""
        return np.equal(self.states, PatchState.OK) & ~self._is_excluded

    @property
    def failed(self) -> npt.NDArray[np.bool_]:
        """Where a patch was tried in vain, shape (rows, cols)."""
        return np.isin(self.states, (PatchState.FAILED, PatchState.INVALID_OUTPUT))

    @property
    def failed_patches(self) -> int:
        """How many patches were tried in vain."""
        return int(np.count_nonzero(self.failed))

    def state_at(self, row: int, col: int) -> PatchState:
        """Return what became of a patch."""
        state = PatchState(self.states[row, col])
        is_out = state is PatchState.OK and bool(self._is_excluded[row, col])
        return PatchState.EXCLUDED if is_out else state

    def state_text(self, row: int, col: int) -> str:
        """Say what became of a patch, and why where that is known."""
        state, cell = self.state_at(row, col), (row, col)
        reasons = self.exclusions if state is PatchState.EXCLUDED else self.reasons
        return f"{state.words}: {reasons[cell]}" if cell in reasons else state.words

    def counts(self) -> dict[str, int]:
        """Return the number of patches per state, ``pending`` left out."""
        counts = {state: int(np.count_nonzero(self.states == state)) for state in PatchState}
        counts[PatchState.EXCLUDED] = counts[PatchState.OK] - int(np.count_nonzero(self.analyzed))
        counts[PatchState.OK] -= counts[PatchState.EXCLUDED]
        return {it.label: counts[it] for it in PatchState if it is not PatchState.PENDING}

    def _no_values(self) -> Stored:
        return np.full((self.grid.rows, self.grid.cols), NO_VALUE, np.int32)


@dataclass(frozen=True, eq=False)
class MapLayer:
    """One layer of a map; grows as the map does.

    Attributes
    ----------
    map : ProbabilityMap
    kind : LayerKind
    """

    map: ProbabilityMap
    kind: LayerKind

    @property
    def stored(self) -> Stored:
        """The values as `LayerKind.stored`, shape (rows, cols)."""
        return self.map.stored(self.kind.name)

    @property
    def name(self) -> str:
        """By which it is asked for."""
        return self.kind.name

    @property
    def grid(self) -> PatchGrid:
        """The grid of the map."""
        return self.map.grid

    @property
    def analyzed(self) -> npt.NDArray[np.bool_]:
        """Where an analyzed patch has a value, shape (rows, cols)."""
        return self.map.analyzed & np.not_equal(self.stored, NO_VALUE)

    @property
    def values(self) -> npt.NDArray[np.float64]:
        """The values of the analyzed patches, NaN where there is none, shape (rows, cols)."""
        return np.where(self.analyzed, self.kind.value(self.stored), np.nan)

    def positive(self, threshold: float) -> npt.NDArray[np.bool_]:
        """Where an analyzed patch has a value at or above a threshold, shape (rows, cols)."""
        return self.analyzed & np.greater_equal(self.stored, self.kind.least(threshold))

    def value_at(self, row: int, col: int) -> float | None:
        """Return the value of an analyzed patch; None if it has none."""
        stored = int(self.stored[row, col])
        is_analyzed = self.map.state_at(row, col) is PatchState.OK and stored != NO_VALUE
        return float(self.kind.value(stored)) if is_analyzed else None
