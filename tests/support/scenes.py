"""Painted slides whose patches, states and probabilities are known beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.support.models import TinyModel
from tests.support.slides import (
    MAUVE,
    PINK,
    PURPLE,
    RED,
    Canvas,
    Color,
    Rgb,
    pyramid,
    reduced,
    write_svs,
    write_tiff,
)

Cell = tuple[int, int]

TINY_MPP = 2.0
TINY_SIZE = (1320, 900)
"""7 x 5 cells of 200 px; the last column is cut to 60 %, the last row to 50 %."""

_MARGIN_PX = 32
_TINY_TISSUE: Mapping[Cell, Color] = {
    (1, 1): RED,
    (1, 2): PINK,
    (2, 1): MAUVE,
    (2, 2): RED,
    (2, 3): PURPLE,
    (3, 1): PINK,
    (3, 2): PURPLE,
    (3, 3): RED,
    (3, 6): RED,
    (4, 2): PINK,
    (4, 3): MAUVE,
    (4, 6): PINK,
}
_TINY_FIFTH = (1, 4)
_TINY_SPECK = (2, 5)

INVALID_COLOR: Color = (200, 40, 120)
"""Mean colour for which the model of the ``invalid`` tests answers NaN."""


@dataclass(frozen=True)
class Scene:
    """A slide file and what is painted on it.

    Attributes
    ----------
    levels : list of arrays
        The pixels of every level, as they are in the file.
    tissue : set of (row, col)
        Cells that must be analyzed; all others are background.
    """

    path: Path
    mpp: tuple[float, float]
    levels: list[Rgb]
    tissue: frozenset[Cell]


def paint_tiny(model: TinyModel) -> tuple[Canvas, frozenset[Cell]]:
    """Paint the tiny slide: tissue in known cells, every probability clear of a rounding edge."""
    canvas = Canvas(*TINY_SIZE, TINY_MPP)
    for cell, color in _TINY_TISSUE.items():
        _paint_clear(canvas, cell, _cut(canvas, cell), color, model)
    left, top, *_ = canvas.box(*_TINY_FIFTH)
    _paint_clear(canvas, _TINY_FIFTH, (left + 56, top + 56, left + 144, top + 144), PURPLE, model)
    left, top, *_ = canvas.box(*_TINY_SPECK)
    canvas.paint((left + 92, top + 92, left + 112, top + 112), PURPLE)
    return canvas, frozenset({*_TINY_TISSUE, _TINY_FIFTH})


def write_tiny_slide(path: Path, model: TinyModel, downsamples: tuple[int, ...] = (1, 4)) -> Scene:
    """Write the tiny slide; the second level is exactly at 8 µm/px, so nothing is resampled."""
    canvas, tissue = paint_tiny(model)
    levels = pyramid(canvas.pixels, downsamples)
    write_tiff(path, levels, mpp=TINY_MPP)
    return Scene(path, (TINY_MPP, TINY_MPP), levels, tissue)


def write_invalid_slide(path: Path, model: TinyModel) -> tuple[Scene, Cell]:
    """Write the tiny slide with one more cell: flat `INVALID_COLOR`. Returns that cell, too."""
    canvas, tissue = paint_tiny(model)
    canvas.paint_cell(0, 5, INVALID_COLOR, spread=0)
    levels = pyramid(canvas.pixels, (1, 4))
    write_tiff(path, levels, mpp=TINY_MPP)
    return Scene(path, (TINY_MPP, TINY_MPP), levels, tissue | {(0, 5)}), (0, 5)


def write_tissue_slide(
    path: Path,
    size: tuple[int, int],
    mpp: float | tuple[float, float],
    *,
    downsamples: tuple[int, ...] = (1,),
    tile: int = 128,
    seed: int = 0,
) -> Scene:
    """Write a slide full of tissue, every cell in another colour, of any mpp and size."""
    canvas = Canvas(*size, mpp)
    random = np.random.default_rng(seed)
    cells = [(row, col) for row in range(canvas.rows) for col in range(canvas.cols)]
    for row, col in cells:
        red, green, blue = random.integers((150, 60, 90), (225, 130, 180))
        canvas.paint_cell(row, col, (int(red), int(green), int(blue)), seed=int(red))
    levels = pyramid(canvas.pixels, downsamples)
    write_tiff(path, levels, mpp=mpp, tile=tile)
    pair = mpp if isinstance(mpp, tuple) else (mpp, mpp)
    return Scene(path, pair, levels, frozenset(cells))


def write_coded_slide(
    path: Path,
    size: tuple[int, int],
    mpp: float,
    downsamples: tuple[int, ...],
    spread: int = 12,
) -> Scene:
    """Write a slide of tissue whose levels differ in colour, to tell which one was read."""
    base = Canvas(*size, mpp)
    levels = []
    for index, downsample in enumerate(downsamples):
        canvas = Canvas(size[0] // downsample, size[1] // downsample, mpp * downsample)
        color = (PURPLE, PINK, RED, MAUVE)[index]
        height, width = canvas.pixels.shape[:2]
        canvas.paint((0, 0, width, height), color, seed=index, spread=spread)
        levels.append(canvas.pixels)
    write_tiff(path, levels, mpp=mpp)
    cells = frozenset((row, col) for row in range(base.rows) for col in range(base.cols))
    return Scene(path, (mpp, mpp), levels, cells)


def write_gappy_slide(path: Path, size: tuple[int, int] = (1320, 900)) -> Scene:
    """Write a slide full of tissue with a hole where the scanner saved nothing.

    The hole is transparent in OpenSlide and therefore white for us; it covers one whole cell.
    """
    canvas = Canvas(*size, TINY_MPP)
    cells = {(row, col) for row in range(canvas.rows) for col in range(canvas.cols)}
    for row, col in cells:
        canvas.paint_cell(row, col, (RED, PINK, MAUVE)[(row + col) % 3], seed=10 * row + col)
    left, top, right, bottom = 256, 256, 768, 768
    painted = pyramid(canvas.pixels, (1, 4))
    write_svs(path, painted, mpp=TINY_MPP, tile=64, missing=(left, top, right, bottom))
    levels = [level.copy() for level in painted]
    for level, downsample in zip(levels, (1, 4), strict=True):
        rows = slice(top // downsample, bottom // downsample)
        level[rows, left // downsample : right // downsample] = 255
    return Scene(path, (TINY_MPP, TINY_MPP), levels, frozenset(cells - {(2, 2)}))


def write_glass_slide(path: Path, size: tuple[int, int] = (900, 700)) -> Scene:
    """Write a slide with nothing on it."""
    levels = pyramid(Canvas(*size, TINY_MPP).pixels, (1, 4))
    write_tiff(path, levels, mpp=TINY_MPP)
    return Scene(path, (TINY_MPP, TINY_MPP), levels, frozenset())


def _cut(canvas: Canvas, cell: Cell) -> tuple[int, int, int, int]:
    """Return a tissue cell's box, with a margin of glass towards neighbours without tissue.

    The margin keeps a coarse tissue mask from spilling over into a background cell.
    """
    row, col = cell
    left, top, right, bottom = canvas.box(row, col)
    height, width = canvas.pixels.shape[:2]
    if (row, col - 1) not in _TINY_TISSUE and left > 0:
        left += _MARGIN_PX
    if (row, col + 1) not in _TINY_TISSUE and right < width:
        right -= _MARGIN_PX
    if (row - 1, col) not in _TINY_TISSUE and top > 0:
        top += _MARGIN_PX
    if (row + 1, col) not in _TINY_TISSUE and bottom < height:
        bottom -= _MARGIN_PX
    return left, top, right, bottom


def _paint_clear(
    canvas: Canvas, cell: Cell, box: tuple[int, int, int, int], color: Color, model: TinyModel
) -> None:
    """Paint so that single precision cannot turn the probability's sixth decimal."""
    for attempt in range(100):
        canvas.paint(box, color, seed=1000 * attempt + 10 * cell[0] + cell[1])
        probability = float(model.probability(_patch(canvas, cell)))
        if abs(math.modf(probability * 1e6)[0] - 0.5) > 0.3:
            return
    raise AssertionError(f"no texture found for cell {cell}")


def _patch(canvas: Canvas, cell: Cell) -> npt.NDArray[np.uint8]:
    left, top, right, bottom = canvas.box(*cell)
    whole = np.full((200, 200, 3), 255, np.uint8)
    whole[: bottom - top, : right - left] = canvas.pixels[top:bottom, left:right]
    return reduced(whole, 4)
