"""The patch grid of a slide: geometry, no pixels and no values.

Frames: names ending in ``_l0`` are level-0 pixels with the origin at the top left of the slide;
arrays are (rows, cols).

NumPy is imported where arrays are asked for: the processes tell each other of grids and blocks
before they have loaded it, which takes 0.1 s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from idc_desktop.typed_json import Within

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


MAX_CELLS = 2_000_000
"""Patches of the largest grid."""

_Count = Annotated[int, Within(1, MAX_CELLS)]
_SidePx = Annotated[int, Within(1, 1 << 31)]
_StepPx = Annotated[float, Within(1e-3, 1e9)]


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

    rows: _Count
    cols: _Count
    step_x_l0: _StepPx
    step_y_l0: _StepPx
    origin_x_l0: Annotated[int, Within(-(1 << 31), 1 << 31)]
    origin_y_l0: Annotated[int, Within(-(1 << 31), 1 << 31)]
    width_l0: _SidePx
    height_l0: _SidePx

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
        return _edges(self.origin_x_l0, self.cols, self.step_x_l0)

    def row_edges_l0(self) -> npt.NDArray[np.float64]:
        """Y of the cells' edges, shape (rows + 1,)."""
        return _edges(self.origin_y_l0, self.rows, self.step_y_l0)

    def column_edges_px(self) -> npt.NDArray[np.int64]:
        """X of the cells' edges as exported: whole pixels, half rounded up, within the extent."""
        return _whole_px(self.column_edges_l0(), self.right_l0)

    def row_edges_px(self) -> npt.NDArray[np.int64]:
        """Y of the cells' edges as exported: whole pixels, half rounded up, within the extent."""
        return _whole_px(self.row_edges_l0(), self.bottom_l0)

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
    def place(self) -> tuple[slice, slice]:
        """Where its cells are in an array of the grid."""
        return slice(self.row, self.row + self.rows), slice(self.col, self.col + self.cols)

    @property
    def cells(self) -> int:
        """How many patches it holds."""
        return self.rows * self.cols


def _edges(origin: int, cells: int, step: float) -> npt.NDArray[np.float64]:
    import numpy as np

    return origin + np.arange(cells + 1, dtype=np.float64) * step


def _whole_px(edges: npt.NDArray[np.float64], end: int) -> npt.NDArray[np.int64]:
    import numpy as np

    return np.minimum(np.floor(edges + 0.5), end).astype(np.int64)
