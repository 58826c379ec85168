"""From a slide to patches: the tissue mask, and blocks of whole cells read from the right level."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from idc_desktop.card import PATCH_SIZE_PX
from idc_desktop.errors import ResolutionError, SlideError
from idc_desktop.grid import Block, PatchGrid
from idc_desktop.resample import Edges, area_average, bilinear, shifted, span, to_edges
from idc_desktop.slide import Slide

PREPROCESSING_VERSION = 2
"""Part of the run key; raise it when the pixels of a patch or the tissue mask change."""

_COARSER_BY = 1.01  # a level this much coarser than the model's resolution still counts as fine
_INTERPOLATED_UP_TO = 1.25  # a level 0 this much coarser is interpolated, a coarser one refused
_MAX_BLOCK_CELLS = 8
_MAX_READ_PX = 2048 * 2048  # source pixels; bounds the memory where there is no pyramid
_MAX_CELLS = 100_000_000

Patches = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TissueSettings:
    """How background is told from tissue.

    On a mask of `mask_px` x `mask_px` pixels per patch, a pixel is tissue if it is coloured
    (its largest and smallest channel differ by at least `min_chroma`) or grey but darker than
    glass (its largest channel is below `max_glass`), and not black (its largest channel is at
    least `min_light`: unscanned areas of some formats are black). A patch is background if less
    than `min_fraction` of its mask pixels are tissue.
    """

    enabled: bool = True
    mask_px: int = 10
    min_chroma: int = 12
    max_glass: int = 205
    min_light: int = 30
    min_fraction: float = 0.05

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as they stand in the run key and in exports."""
        return asdict(self) if self.enabled else {"enabled": False}

    def is_tissue(self, mask: Patches) -> npt.NDArray[np.bool_]:
        """Judge patches by their mask pixels.

        Parameters
        ----------
        mask : ndarray of uint8, shape (n, mask_px, mask_px, 3)

        Returns
        -------
        ndarray of bool, shape (n,)
        """
        high, low = mask.max(axis=-1), mask.min(axis=-1)
        tissue = ((high - low >= self.min_chroma) | (high < self.max_glass)) & (
            high >= self.min_light
        )
        fractions: npt.NDArray[np.float64] = tissue.mean(axis=(1, 2))
        return fractions >= self.min_fraction


class PatchReader:
    """Reads the patches of a slide's grid at a model's resolution.

    Parameters
    ----------
    slide : Slide
        With a known resolution.
    spacing_um_px : float
        The model's resolution; a patch is 50 x 50 pixels of it.
    tissue : TissueSettings

    Attributes
    ----------
    grid : PatchGrid
    level : int
        The level that is read: the coarsest that is no coarser than the model's resolution.
    notes : tuple of str
        What a user should know, such as that pixels had to be interpolated.

    Raises
    ------
    ResolutionError
        The resolution is unknown, or the slide is too coarse for the model.
    """

    def __init__(self, slide: Slide, spacing_um_px: float, tissue: TissueSettings) -> None:
        mpp = slide.require_mpp()
        self._slide = slide
        self._tissue = tissue
        patch_size_um = PATCH_SIZE_PX * spacing_um_px
        self.grid = PatchGrid.over(slide.extent_l0, (mpp.x, mpp.y), patch_size_um)
        if self.grid.rows * self.grid.cols > _MAX_CELLS:
            raise SlideError(
                f"{slide.name}: It would have {self.grid.rows:,} x {self.grid.cols:,} patches; "
                "the size or the resolution is wrong."
            )
        level = slide.coarsest_level(spacing_um_px * _COARSER_BY)
        self._interpolated = level is None
        self.notes: tuple[str, ...] = ()
        if level is None:
            if max(mpp.x, mpp.y) > spacing_um_px * _INTERPOLATED_UP_TO:
                raise ResolutionError(
                    f"{slide.name}: Its finest pixels are {max(mpp.x, mpp.y):g} µm wide; the model "
                    f"needs {spacing_um_px:g} µm, and at most "
                    f"{spacing_um_px * _INTERPOLATED_UP_TO:g} can be interpolated. Use a scan of "
                    "higher resolution."
                )
            self.notes = (
                f"The slide ({max(mpp.x, mpp.y):g} µm/px) is coarser than the model's resolution "
                f"({spacing_um_px:g} µm/px): its pixels were interpolated.",
            )
        self.level = level or 0
        mask_level = slide.coarsest_level(patch_size_um / tissue.mask_px * _COARSER_BY)
        has_coarser = (
            mask_level is not None
            and slide.levels[mask_level].downsample > 1.5 * slide.levels[self.level].downsample
        )
        self._mask_level = mask_level if has_coarser and not self._interpolated else None
        downsample = slide.levels[self.level].downsample
        cell_px = max(self.grid.step_x_l0, self.grid.step_y_l0) / downsample
        self.block_cells = max(1, min(_MAX_BLOCK_CELLS, int(math.sqrt(_MAX_READ_PX) / cell_px)))

    def blocks(self) -> Iterator[Block]:
        """Yield the grid's blocks; memory does not grow with the slide."""
        return self.grid.blocks(self.block_cells)

    def block_count(self) -> int:
        """How many blocks there are."""
        side = self.block_cells
        return math.ceil(self.grid.rows / side) * math.ceil(self.grid.cols / side)

    def read(self, block: Block) -> tuple[npt.NDArray[np.bool_], Patches]:
        """Read a block.

        Returns
        -------
        tissue : ndarray of bool, shape (rows * cols,)
            Which cells are tissue, row by row.
        patches : ndarray of uint8, shape (n, 50, 50, 3)
            The patches of those cells only, RGB, in the same order.

        Raises
        ------
        SlideReadError
            Some pixel of the block cannot be decoded.
        """
        every = np.ones(block.cells, np.bool_)
        if self._tissue.enabled and self._mask_level is not None:
            mask = self._cells(block, self._mask_level, self._tissue.mask_px)
            every = self._tissue.is_tissue(mask)
            if not every.any():
                return every, np.empty((0, PATCH_SIZE_PX, PATCH_SIZE_PX, 3), np.uint8)
        patches = self._cells(block, self.level, PATCH_SIZE_PX)
        if self._tissue.enabled and self._mask_level is None:
            side, fine = self._tissue.mask_px, PATCH_SIZE_PX // self._tissue.mask_px
            pieces = patches.reshape(-1, side, fine, side, fine, 3)
            means = pieces.mean(axis=(2, 4), dtype=np.float32)
            every = self._tissue.is_tissue((means + 0.5).astype(np.uint8))
        return every, patches if every.all() else patches[every]

    def _cells(self, block: Block, level: int, side_px: int) -> Patches:
        """Read a block from a level as (cells, side_px, side_px, 3)."""
        downsample = self._slide.levels[level].downsample
        grid = self.grid

        def edges(origin: int, step: float, first: int, cells: int) -> Edges:
            fractions = np.arange(first * side_px, (first + cells) * side_px + 1) / side_px
            return to_edges((origin + fractions * step) / downsample)

        edges_y = edges(grid.origin_y_l0, grid.step_y_l0, block.row, block.rows)
        edges_x = edges(grid.origin_x_l0, grid.step_x_l0, block.col, block.cols)
        # A cell of very fine pixels is read in bands; what is averaged stays the same.
        (top, bottom), (left, right) = span(edges_y), span(edges_x)
        rows = len(edges_y) - 1
        at_once = max(1, rows * _MAX_READ_PX // ((bottom - top) * (right - left)))
        parts = [
            self._resampled(level, edges_y[row : row + at_once + 1], edges_x)
            for row in range(0, rows, at_once)
        ]
        out = np.concatenate(parts)
        cells = out.reshape(block.rows, side_px, block.cols, side_px, 3).swapaxes(1, 2)
        return cells.reshape(block.cells, side_px, side_px, 3)

    def _resampled(self, level: int, edges_y: Edges, edges_x: Edges) -> Patches:
        margin = 1 if self._interpolated else 0
        (top, bottom), (left, right) = span(edges_y, margin), span(edges_x, margin)
        pixels = self._slide.read_region(level, left, top, right - left, bottom - top)
        if self._interpolated and (top < 0 or left < 0):
            # Interpolate from the outermost pixels at the slide's edge, not from the white beyond.
            pixels = np.pad(
                pixels[max(0, -top) :, max(0, -left) :],
                ((max(0, -top), 0), (max(0, -left), 0), (0, 0)),
                mode="edge",
            )
        resample = bilinear if self._interpolated else area_average
        return resample(pixels, shifted(edges_y, top), shifted(edges_x, left))
