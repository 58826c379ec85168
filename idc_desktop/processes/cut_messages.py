"""What the engine and its parent say to each other where patches are cut out of a slide.

The engine lays the grid and says it; the parent answers with the cells that it wants. So it does
whenever an engine follows one that died, and then wants what it does not have yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Self

from idc_desktop.maps.grid import MAX_CELLS, PatchGrid
from idc_desktop.models.patch_size import SIDE_RANGE_PX, PatchSize
from idc_desktop.processes.engine_messages import BlockSide, Done, Note
from idc_desktop.processes.message import (
    Cancel,
    Cell,
    Command,
    Count,
    Event,
    JobMessage,
    Number,
    SlideOpened,
    Started,
)
from idc_desktop.typed_json import AnyNumber, Within

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NOT_WANTED, CUT, BACKGROUND, UNREADABLE, EXCLUDED = range(5)
"""What became of a cell."""


@dataclass(frozen=True)
class GridLaid(Event):
    """The grid; the engine waits for `WantedCells`."""

    NAME = "grid"

    grid: PatchGrid

    def __post_init__(self) -> None:
        if self.grid.rows * self.grid.cols > MAX_CELLS:
            raise ValueError(f"a grid of {self.grid.rows} x {self.grid.cols} is too large")


@dataclass(frozen=True)
class BlockCut(Event):
    """What became of the cells of a block (uint8 each), then the pixels of those that were cut.

    Attributes
    ----------
    patches : int
        How many were cut.
    reasons : tuple of (row, col, text)
        Why cells cannot be read; rows and columns of the grid.
    """

    NAME = "block cut"

    number: Number
    row: Cell
    col: Cell
    rows: BlockSide
    cols: BlockSide
    side_px: Annotated[int, Within(*SIDE_RANGE_PX)]
    patches: Annotated[int, Within(0, 1 << 16)]
    reasons: tuple[tuple[Cell, Cell, str], ...]

    @property
    def payload_bytes(self) -> int:
        """How many raw bytes belong to it."""
        return self.rows * self.cols + self.patches * self.side_px**2 * 3

    @property
    def cells(self) -> npt.NDArray[np.uint8]:
        """What became of each cell, shape (rows, cols)."""
        import numpy as np

        count = self.rows * self.cols
        return np.frombuffer(self.payload, np.uint8, count).reshape(self.rows, self.cols)

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """The patches, cell by cell from the top left, shape (patches, side, side, 3)."""
        import numpy as np

        flat = np.frombuffer(self.payload, np.uint8, offset=self.rows * self.cols)
        return flat.reshape(self.patches, self.side_px, self.side_px, 3)


@dataclass(frozen=True)
class WantedCells(Command):
    """Which cells of the grid are to be cut: a bit each, row by row."""

    NAME = "cells"

    rows: Annotated[int, Within(1, MAX_CELLS)]
    cols: Annotated[int, Within(1, MAX_CELLS)]

    def __post_init__(self) -> None:
        if self.rows * self.cols > MAX_CELLS:
            raise ValueError(f"a grid of {self.rows} x {self.cols} is too large")

    @classmethod
    def of(cls, wanted: npt.NDArray[np.bool_]) -> Self:
        """Return the command for a mask, shape (rows, cols)."""
        import numpy as np

        return cls(*wanted.shape, payload=np.packbits(wanted).tobytes())

    @property
    def payload_bytes(self) -> int:
        """How many raw bytes belong to it."""
        return -(-self.rows * self.cols // 8)

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """The mask, shape (rows, cols)."""
        import numpy as np

        bits = np.unpackbits(np.frombuffer(self.payload, np.uint8), count=self.rows * self.cols)
        return bits.reshape(self.rows, self.cols).astype(np.bool_)


@dataclass(frozen=True)
class CutJob(JobMessage):
    """Cut patches out of a slide, as a model of this patch size would see them.

    Attributes
    ----------
    slide : str
        Path.
    mpp : float or None
        Resolution that the user gave, µm per level-0 pixel.
    threads : int
        Blocks at work at once.
    tissue : bool
        Whether background is told from tissue, and left out.
    any_tissue : bool
        Whether a patch with any tissue at all is none of background: an outline says what it is.
    shield : bool
        Whether patches are left out that the shield finds something on.
    careful, crashed
        See `after_crash`.
    """

    NAME = "cut"
    ANSWERS = (SlideOpened, GridLaid, Note, Started, BlockCut, Done)
    COMMANDS = (Cancel, WantedCells)

    slide: str
    patch: PatchSize
    mpp: AnyNumber | None
    threads: Count
    tissue: bool = True
    any_tissue: bool = False
    shield: bool = False
    careful: tuple[Number, ...] = ()
    crashed: tuple[tuple[Number, str], ...] = ()

    def after_crash(
        self, careful: Iterable[int], crashed: Mapping[int, str], *, has_planned: bool
    ) -> Self:
        """Return the job for the engine that follows one that died."""
        return replace(self, careful=tuple(careful), crashed=tuple(crashed.items()))
