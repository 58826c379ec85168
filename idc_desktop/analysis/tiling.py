"""From a slide to patches: the tissue mask, and blocks of whole cells read from the right level."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from idc_desktop.analysis.resample import (
    Edges,
    area_average,
    bilinear,
    centred_within,
    shifted,
    span,
    to_edges,
)
from idc_desktop.analysis.survey import Survey, surveyed
from idc_desktop.errors import ResolutionError, SlideError, SlideReadError
from idc_desktop.maps.grid import MAX_CELLS, Block, PatchGrid
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models.patch_size import PatchSize
from idc_desktop.slides.reader import Slide

PREPROCESSING_VERSION = 3
"""Part of the run key; raise it when the pixels of a patch or the tissue mask change."""

_COARSER_BY = 1.01  # a level this much coarser than the model's resolution still counts as fine
_INTERPOLATED_UP_TO = 1.25  # a level 0 this much coarser is interpolated, a coarser one refused
_MAX_BLOCK_CELLS = 8
_LEAST_SEEN, _MOST_SEEN, _MOST_TRIED = 32, 128, 256  # patches, to know a slide by
_MOST_SEEN_PX = 64e6
_MAX_READ_PX = 2048 * 2048  # source pixels; bounds the memory where there is no pyramid

Patches = npt.NDArray[np.uint8]


class PatchReader:
    """Reads the patches of a slide's grid at a model's resolution.

    Parameters
    ----------
    slide : Slide
        With a known resolution.
    patch : PatchSize
        The model's.
    tissue : TissueSettings

    Attributes
    ----------
    grid : PatchGrid
    patch : PatchSize
    level : int
        The level that is read: the coarsest that is no coarser than the model's resolution.
    survey : Survey
        What patches from all over the slide say of it; of none until `look_around`.
    wanted : ndarray of bool, shape (rows, cols), or None
        The cells of the grid that are to be read; None: all of them. The others count as no tissue.

    Raises
    ------
    ResolutionError
        The resolution is unknown, or the slide is too coarse for the model.
    """

    def __init__(self, slide: Slide, patch: PatchSize, tissue: TissueSettings) -> None:
        mpp = slide.require_mpp()
        self.wanted: npt.NDArray[np.bool_] | None = None
        self._slide = slide
        self.patch = patch
        self._side_px, spacing_um_px = patch.side_px, patch.spacing_um_px
        self.grid = PatchGrid.over(slide.extent_l0, (mpp.x, mpp.y), patch.edge_um)
        if self.grid.rows * self.grid.cols > MAX_CELLS:
            raise SlideError(
                f"{slide.name}: It would have {self.grid.rows:,} x {self.grid.cols:,} patches; "
                "the size or the resolution is wrong."
            )
        level = slide.coarsest_level(spacing_um_px * _COARSER_BY)
        self._interpolated = level is None
        self._notes: tuple[str, ...] = ()
        if level is None:
            if max(mpp.x, mpp.y) > spacing_um_px * _INTERPOLATED_UP_TO:
                raise ResolutionError(
                    f"{slide.name}: Its finest pixels are {max(mpp.x, mpp.y):g} µm wide; the model "
                    f"needs {spacing_um_px:g} µm, and at most "
                    f"{spacing_um_px * _INTERPOLATED_UP_TO:g} can be interpolated. Use a scan of "
                    "higher resolution."
                )
            self._notes = (
                f"The slide ({max(mpp.x, mpp.y):g} µm/px) is coarser than the model's resolution "
                f"({spacing_um_px:g} µm/px): its pixels were interpolated.",
            )
        self.level = level or 0
        mask_level = slide.coarsest_level(patch.edge_um / tissue.mask_px * _COARSER_BY)
        has_coarser = (
            mask_level is not None
            and slide.levels[mask_level].downsample > 1.5 * slide.levels[self.level].downsample
        )
        self._mask_level = mask_level if has_coarser and not self._interpolated else None
        downsample = slide.levels[self.level].downsample
        cell_px = max(self.grid.step_x_l0, self.grid.step_y_l0) / downsample
        self._cell_px = cell_px
        self.survey = Survey(tissue, self.no_patches())
        self.block_cells = max(1, min(_MAX_BLOCK_CELLS, int(math.sqrt(_MAX_READ_PX) / cell_px)))

    @property
    def tissue(self) -> TissueSettings:
        """How tissue is told from background on this slide."""
        return self.survey.tissue

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know, such as that pixels had to be interpolated."""
        return (*self._notes, *self.survey.notes)

    def look_around(self) -> None:
        """Look at patches from all over the slide: its glass may not be white.

        What is found depends on the slide alone, so that it is the same whatever is read after.
        """
        patches = [self.no_patches()]
        for cell in self._cells_all_over():
            with contextlib.suppress(SlideReadError):  # what can be read says enough
                patches.append(self._cells(cell, self.level, self._side_px))
        seen = np.concatenate(patches)
        self.survey = surveyed(seen, _masks(seen, self.tissue.mask_px), self.tissue)

    def _cells_all_over(self) -> Iterator[Block]:
        """Yield cells that are evenly spread; after the first ones, none that is glass."""
        grid, extent = self.grid, self._slide.extent_l0
        rows = max(1, int(extent[3] / grid.step_y_l0))  # the last ones reach beyond the slide
        cols = max(1, int(extent[2] / grid.step_x_l0))
        most = max(_LEAST_SEEN, min(_MOST_SEEN, int(_MOST_SEEN_PX / self._cell_px**2)))
        tried: set[tuple[int, int]] = set()
        yielded = 0
        for number in range(_MOST_TRIED):
            # Multiples of these parts of 1 fill a square more evenly than chance does.
            row, col = int(rows * (number * 0.7549 % 1)), int(cols * (number * 0.5698 % 1))
            if (row, col) in tried:
                continue
            tried.add((row, col))
            cell = Block(0, row, col, 1, 1)
            if yielded >= _LEAST_SEEN and self._is_glass(cell):
                continue
            yield cell
            yielded += 1
            if yielded == most or len(tried) == rows * cols:
                return

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
        patches : ndarray of uint8, shape (n, side, side, 3)
            The patches of those cells only, RGB, in the same order.

        Raises
        ------
        SlideReadError
            Some pixel of the block cannot be decoded.
        """
        on_slide = self._on_slide(block) & self.chosen(block)
        if on_slide.any() and self.tissue.enabled and self._is_glass(block):
            on_slide[:] = False
        if not on_slide.any():
            return on_slide, self.no_patches()
        patches = self._cells(block, self.level, self._side_px)
        tissue = on_slide
        if self.tissue.enabled:
            tissue &= self.tissue.is_tissue(_masks(patches, self.tissue.mask_px))
        return tissue, patches if tissue.all() else patches[tissue]

    def chosen(self, block: Block) -> npt.NDArray[np.bool_]:
        """Return which cells of a block are wanted, shape (rows * cols,)."""
        if self.wanted is None:
            return np.ones(block.cells, np.bool_)
        return self.wanted[block.place].reshape(-1)

    def no_patches(self) -> Patches:
        """Return an array of patches that has none."""
        return np.empty((0, self._side_px, self._side_px, 3), np.uint8)

    def _is_glass(self, block: Block) -> bool:
        """Whether a coarser level shows that the block's own pixels need not be read."""
        if self._mask_level is None:
            return False
        try:
            mask = self._cells(block, self._mask_level, self.tissue.mask_px)
        except SlideReadError:  # the level that decides may be sound
            return False
        return self.tissue.is_surely_glass(mask)

    def _on_slide(self, block: Block) -> npt.NDArray[np.bool_]:
        """Which cells hold a pixel of the slide; the last row or column may be a sliver of one."""
        grid = self.grid
        tall = np.diff(grid.row_edges_px())[block.row : block.row + block.rows] > 0
        wide = np.diff(grid.column_edges_px())[block.col : block.col + block.cols] > 0
        return (tall[:, None] & wide[None, :]).reshape(-1)

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
        if self._interpolated:
            return self._interpolate(level, edges_y, edges_x)
        (top, bottom), (left, right) = span(edges_y), span(edges_x)
        pixels = self._slide.read_region(level, left, top, right - left, bottom - top)
        return area_average(pixels, shifted(edges_y, top), shifted(edges_x, left))

    def _interpolate(self, level: int, edges_y: Edges, edges_x: Edges) -> Patches:
        """Interpolate between the slide's own pixels; what is centred beyond them is white."""
        size = self._slide.levels[level]
        (top, bottom), (left, right) = span(edges_y, 1), span(edges_x, 1)
        first_y, last_y = max(top, 0), min(bottom, size.height)
        first_x, last_x = max(left, 0), min(right, size.width)
        out = np.full((len(edges_y) - 1, len(edges_x) - 1, 3), 255, np.uint8)
        if first_y >= last_y or first_x >= last_x:
            return out
        pixels = self._slide.read_region(
            level, first_x, first_y, last_x - first_x, last_y - first_y
        )
        beyond = ((first_y - top, bottom - last_y), (first_x - left, right - last_x), (0, 0))
        pixels = np.pad(pixels, beyond, mode="edge")
        values = bilinear(pixels, shifted(edges_y, top), shifted(edges_x, left))
        within = np.ix_(centred_within(edges_y, size.height), centred_within(edges_x, size.width))
        out[within] = values[within]
        return out


def _masks(patches: Patches, mask_px: int) -> Patches:
    """Average patches onto the pixels of their masks, (n, mask_px, mask_px, 3)."""
    side = patches.shape[1]
    if side % mask_px == 0:
        fine = side // mask_px
        pieces = patches.reshape(-1, mask_px, fine, mask_px, fine, 3)
        means: npt.NDArray[np.float32] = pieces.mean(axis=(2, 4), dtype=np.float32)
        return (means + 0.5).astype(np.uint8)
    edges = to_edges(np.arange(mask_px + 1) * (side / mask_px))
    return np.array([area_average(patch, edges, edges) for patch in patches])
