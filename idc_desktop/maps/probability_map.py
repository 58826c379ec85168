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
from idc_desktop.maps.layers import (
    ADDED,
    CONTEXT,
    KINDS,
    NO_VALUE,
    PATCH,
    REASONS,
    SHIELD,
    UNCERTAINTY,
    LayerKind,
)
from idc_desktop.models.context_settings import ContextSettings

if TYPE_CHECKING:
    from idc_desktop.maps.layers import Stored
    from idc_desktop.maps.mask import MaskEdits


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
    def failed(
        cls, block: Block, reason: str, where: npt.NDArray[np.bool_] | None = None
    ) -> BlockResult:
        """Return the result of a block of which no patch, or none of some, could be analyzed.

        Parameters
        ----------
        where : ndarray of bool, shape (rows, cols), or None
            Those that were to be analyzed; None: all.
        """
        tried = np.ones((block.rows, block.cols), np.bool_) if where is None else where
        states = np.where(tried, PatchState.FAILED, PatchState.PENDING).astype(np.uint8)
        at = [(block.row + row, block.col + col) for row, col in np.argwhere(tried).tolist()]
        return cls(block, states, {}, dict.fromkeys(at, reason))

    def over(self, former: BlockResult) -> BlockResult:
        """Return it with what was known before of the patches that it says nothing of.

        A patch that was background and is something else now was added by the user (`ADDED`).
        """
        is_new = np.not_equal(self.states, PatchState.PENDING)
        nothing = np.full(self.states.shape, NO_VALUE, np.int32)
        layers = {
            name: np.where(is_new, self.layers.get(name, nothing), former.layers.get(name, nothing))
            for name in {**former.layers, **self.layers}
        }
        was_background = np.equal(former.states, PatchState.BACKGROUND)
        is_added = is_new & was_background & np.not_equal(self.states, PatchState.BACKGROUND)
        if is_added.any():
            layers[ADDED] = np.where(is_added, 1, layers.get(ADDED, nothing)).astype(np.int32)
        left = {
            at: why
            for at, why in former.reasons.items()
            if not is_new[at[0] - self.block.row, at[1] - self.block.col]
        }
        states = np.where(is_new, self.states, former.states)
        return BlockResult(self.block, states, layers, left | self.reasons)


class ProbabilityMap:
    """Patch states and layers of a whole grid, filled block by block.

    Parameters
    ----------
    grid : PatchGrid
    context : ContextSettings or None
        How the layers are made that follow from the patch layer; None: there are none.
    is_shielded : bool
        Whether patches that the shield found something on are left out of all figures.

    Attributes
    ----------
    version : int
        Rises with each result that is added, and each change of what is excluded.
    """

    def __init__(
        self, grid: PatchGrid, context: ContextSettings | None = None, *, is_shielded: bool = True
    ) -> None:
        self.grid = grid
        self.version = 0
        self._states = np.full((grid.rows, grid.cols), PatchState.PENDING, np.uint8)
        self._reasons: dict[tuple[int, int], str] = {}
        self._is_added = np.zeros(self._states.shape, np.bool_)
        self._mask: MaskEdits | None = None
        self._edited: tuple[int, npt.NDArray[np.uint8]] | None = None  # by version
        self._is_shielded = is_shielded
        self._verdicts = self._no_values()
        self._layers = {PATCH: self._no_values()}
        self._context = context
        self._derived: dict[str, Stored] = {}
        self._derived_version = -1
        if context is not None:
            self._derived = {name: self._no_values() for name in (CONTEXT, UNCERTAINTY)}

    def add(self, result: BlockResult) -> None:
        """Take over a block's result."""
        here = result.block.place
        self._states[here] = result.states
        self._verdicts[here] = result.layers.get(SHIELD, NO_VALUE)
        self._is_added[here] = np.greater(result.layers.get(ADDED, NO_VALUE), 0)
        for name in result.layers.keys() - self._layers.keys() - {SHIELD, ADDED}:
            self._layers[name] = self._no_values()
        for name, stored in self._layers.items():
            stored[here] = result.layers.get(name, NO_VALUE)
        self._reasons.update(result.reasons)
        self.version += 1

    @property
    def mask(self) -> MaskEdits | None:
        """What the user changed of the tissue mask; None for nothing."""
        return self._mask

    @mask.setter
    def mask(self, mask: MaskEdits | None) -> None:
        self.version += mask is not self._mask
        self._mask = mask

    @property
    def states(self) -> npt.NDArray[np.uint8]:
        """What became of each patch, shape (rows, cols), `PatchState` values.

        Never ``EXCLUDED``, which is what the shield makes of ``OK``. Where the user changed the
        tissue mask, what was taken out of it is background, and what was added is pending until it
        is computed; what was computed for an addition that was taken back is background again.
        """
        if self._mask is None and not self._is_added.any():
            return self._states
        if self._edited is None or self._edited[0] != self.version:
            states, known = self._states.copy(), np.not_equal(self._states, PatchState.PENDING)
            if self._mask is None:
                states[self._is_added] = PatchState.BACKGROUND
            else:
                states[self._is_added & ~self._mask.added] = PatchState.BACKGROUND
                is_missing = np.equal(states, PatchState.BACKGROUND) & self._mask.added
                states[is_missing] = PatchState.PENDING
                states[known & self._mask.removed] = PatchState.BACKGROUND
            self._edited = self.version, states
        return self._edited[1]

    @property
    def reasons(self) -> dict[tuple[int, int], str]:
        """Why patches failed, by (row, col)."""
        if self.states is self._states:
            return self._reasons
        failed = self.failed
        return {at: why for at, why in self._reasons.items() if failed[at]}

    @property
    def mask_counts(self) -> tuple[int, int]:
        """How many patches are tissue, and how many background, by the user's hand alone."""
        if self._mask is None:
            return 0, 0
        was = np.where(self._is_added, PatchState.BACKGROUND, self._states)
        is_tissue = ~np.isin(was, (PatchState.PENDING, PatchState.BACKGROUND))
        added = self._mask.added & np.equal(was, PatchState.BACKGROUND)
        return int(added.sum()), int((self._mask.removed & is_tissue).sum())

    def exclude(self, reason: str, where: npt.NDArray[np.bool_]) -> None:
        """Have the shield find something on patches.

        Parameters
        ----------
        reason : str
            Of `REASONS`.
        where : ndarray of bool, shape (rows, cols)
            Those on which something was found already keep their reason.
        """
        self._verdicts[where & (self._verdicts <= 0)] = REASONS.index(reason)
        self.version += 1

    @property
    def is_shielded(self) -> bool:
        """Whether patches that the shield found something on are left out of all figures."""
        return self._is_shielded

    @is_shielded.setter
    def is_shielded(self, is_shielded: bool) -> None:
        self.version += is_shielded != self._is_shielded
        self._is_shielded = is_shielded

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
        copied = ProbabilityMap(self.grid, self._context, is_shielded=self.is_shielded)
        copied.version, copied._mask = self.version, self._mask
        copied._states, copied._is_added = self._states.copy(), self._is_added.copy()
        copied._reasons, copied._verdicts = dict(self._reasons), self._verdicts.copy()
        copied._layers = {name: it.copy() for name, it in self._layers.items()}
        return copied

    @property
    def analyzed(self) -> npt.NDArray[np.bool_]:
        """Where the model gave a probability that counts, shape (rows, cols)."""
        return np.equal(self.states, PatchState.OK) & ~self._is_found

    @property
    def excluded(self) -> npt.NDArray[np.bool_]:
        """Where the shield leaves out what the model said, shape (rows, cols)."""
        return np.equal(self.states, PatchState.OK) & self._is_found

    @property
    def unjudged_patches(self) -> int:
        """How many analyzed patches the shield never saw: those of earlier versions."""
        return int(np.count_nonzero(np.equal(self.states, PatchState.OK) & (self._verdicts < 0)))

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
        is_out = state is PatchState.OK and self.is_shielded and self._verdicts[row, col] > 0
        return PatchState.EXCLUDED if is_out else state

    def found_at(self, row: int, col: int) -> str:
        """Return what the shield found on a patch, of `REASONS`; empty for nothing."""
        return REASONS[max(0, int(self._verdicts[row, col]))]

    def found(self) -> dict[str, int]:
        """Return on how many analyzed patches the shield found what, the most first."""
        counts = np.bincount(self._verdicts[np.equal(self.states, PatchState.OK)].clip(0))
        found = {why: int(it) for why, it in zip(REASONS, counts, strict=False) if why and it}
        return dict(sorted(found.items(), key=lambda it: -it[1]))

    def state_text(self, row: int, col: int) -> str:
        """Say what became of a patch, and why where that is known."""
        state = self.state_at(row, col)
        is_out = state is PatchState.EXCLUDED
        why = self.found_at(row, col) if is_out else self.reasons.get((row, col))
        return f"{state.words}: {why}" if why else state.words

    def counts(self) -> dict[str, int]:
        """Return the number of patches per state, ``pending`` left out."""
        counts = {state: int(np.count_nonzero(self.states == state)) for state in PatchState}
        counts[PatchState.EXCLUDED] = int(np.count_nonzero(self.excluded))
        counts[PatchState.OK] -= counts[PatchState.EXCLUDED]
        return {it.label: counts[it] for it in PatchState if it is not PatchState.PENDING}

    @property
    def _is_found(self) -> npt.NDArray[np.bool_]:
        return np.greater(self._verdicts, 0) & self.is_shielded

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
