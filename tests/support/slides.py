"""Writers of small slide files that OpenSlide opens, and a painter of tissue on a 400 µm grid.

Nothing here is a real slide: every pixel is painted. Sizes are ``(width, height)``, boxes and steps
are level-0 pixels ``(x, y)``, arrays are ``(rows, columns, 3)``.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from idc_desktop.slides.reader import Slide

Rgb = npt.NDArray[np.uint8]
Color = tuple[int, int, int]
Compression = Literal["none", "deflate", "jpeg"]

CELL_UM = 400.0
GLASS: Color = (243, 243, 243)
PINK: Color = (221, 130, 166)
RED: Color = (214, 92, 134)
PURPLE: Color = (122, 72, 158)
MAUVE: Color = (170, 108, 170)


# --- files ------------------------------------------------------------------------------------


def reduced(image: Rgb, downsample: int) -> Rgb:
    """Return the image averaged over whole ``downsample`` squares; odd margins are cut off."""
    if downsample == 1:
        return image
    height, width = (side // downsample for side in image.shape[:2])
    cut = image[: height * downsample, : width * downsample].astype(np.uint32)
    boxes = cut.reshape(height, downsample, width, downsample, 3).sum(axis=(1, 3))
    area = downsample * downsample
    return ((boxes + area // 2) // area).astype(np.uint8)


def pyramid(image: Rgb, downsamples: Sequence[int]) -> list[Rgb]:
    """Return one image for each downsample, the first of which is 1."""
    return [reduced(image, downsample) for downsample in downsamples]


def write_tiff(
    path: Path,
    levels: Rgb | Sequence[Rgb],
    *,
    mpp: float | tuple[float, float] | None,
    tile: int = 128,
    compression: Compression = "deflate",
    description: str | None = None,
) -> Path:
    """Write a tiled pyramidal TIFF (OpenSlide: ``generic-tiff``); pixels are exact unless JPEG.

    Parameters
    ----------
    levels : array or sequence of arrays
        Level 0, or all levels from the largest to the smallest.
    mpp : float, pair of float, or None
        µm per level-0 pixel, or per axis ``(x, y)``; stored as pixels per centimetre. None leaves
        the resolution without a unit, so that the slide's scale is unknown.
    """
    images = [levels] if isinstance(levels, np.ndarray) else list(levels)
    with tifffile.TiffWriter(path) as writer:
        for index, image in enumerate(images):
            common: dict[str, Any] = {
                "description": description if index == 0 else None,
                "subfiletype": 0 if index == 0 else 1,
                **_resolution(mpp, images[0], image),
            }
            if compression == "jpeg":
                write_jpeg_level(writer, jpeg_tiles(image, tile), image.shape[:2], tile, **common)
            else:
                writer.write(image, **common, **_tiled(tile, compression))
    return path


def jpeg_tile(image: Rgb, quality: int = 80) -> bytes:
    """Return one tile as a JPEG stream, as slide scanners store it (YCbCr, 4:2:0)."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return stream.getvalue()


def _tiles(
    image: Rgb, tile: int, missing: tuple[int, int, int, int] | None, downsample: float
) -> Iterator[Rgb | None]:
    height, width = image.shape[:2]
    left, top, right, bottom = (edge / downsample for edge in missing or (0, 0, 0, 0))
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            if left <= x and x + tile <= right and top <= y and y + tile <= bottom:
                yield None
                continue
            piece = np.zeros((tile, tile, 3), np.uint8)
            part = image[y : y + tile, x : x + tile]
            piece[: part.shape[0], : part.shape[1]] = part
            yield piece


def jpeg_tiles(image: Rgb, tile: int, quality: int = 80) -> Iterator[bytes]:
    """Cut an image into JPEG tiles, row by row; the last ones are filled up with glass."""
    height, width = image.shape[:2]
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            piece = np.full((tile, tile, 3), GLASS, np.uint8)
            part = image[top : top + tile, left : left + tile]
            piece[: part.shape[0], : part.shape[1]] = part
            yield jpeg_tile(piece, quality)


def write_jpeg_level(
    writer: tifffile.TiffWriter,
    tiles: Iterable[bytes],
    shape: Sequence[int],
    tile: int,
    **arguments: Any,
) -> None:
    """Write a level of ready-made JPEG tiles (row by row); `arguments` go to tifffile."""
    # tifffile looks an encoder up even where the tiles come encoded, and has none of its own.
    tifffile.TIFF.COMPRESSORS._codecs.setdefault(tifffile.COMPRESSION.JPEG, _no_encoder)
    writer.write(
        iter(tiles),
        shape=(*shape, 3),
        dtype=np.uint8,
        tile=(tile, tile),
        photometric="ycbcr",
        subsampling=(2, 2),
        compression="jpeg",
        **arguments,
    )


def write_svs(
    path: Path,
    levels: Sequence[Rgb],
    *,
    mpp: float | str | None = 0.5,
    power: int | None = 20,
    tile: int = 128,
    fields: Mapping[str, str] | None = None,
    label: Rgb | None = None,
    macro: Rgb | None = None,
    missing: tuple[int, int, int, int] | None = None,
) -> Path:
    """Write a slide in Aperio's layout: level 0, thumbnail, other levels, label, macro.

    Parameters
    ----------
    mpp, power
        ``MPP`` and ``AppMag`` of the description, a text as it is; None leaves them out.
    fields : mapping
        Further ``name = value`` pairs of the description, such as ``Filename`` or ``User``.
    missing : (left, top, right, bottom), optional
        Tiles wholly within this box of level 0 are left out, as scanners do where they saw
        nothing; OpenSlide gives transparent pixels there.
    """
    height, width = levels[0].shape[:2]
    pairs = dict(fields or {})
    if power is not None:
        pairs["AppMag"] = str(power)
    if mpp is not None:
        pairs["MPP"] = mpp if isinstance(mpp, str) else repr(mpp)
    head = f"Aperio Image Library v11.2.1\r\n{width}x{height} ({tile}x{tile}) deflate"
    base = head + "".join(f"|{name} = {value}" for name, value in pairs.items())
    thumbnail = reduced(levels[-1], max(1, max(levels[-1].shape[:2]) // 64))
    tiled = _tiled(tile, "deflate")
    with tifffile.TiffWriter(path) as writer:
        for index, level in enumerate(levels):
            writer.write(
                _tiles(level, tile, missing, levels[0].shape[1] / level.shape[1]),
                shape=level.shape,
                dtype=np.uint8,
                description=base if index == 0 else f"{head} -> {_size(level)}",
                **_NO_EXTRAS,
                **tiled,
            )
            if index == 0:
                _write_strip(writer, thumbnail, f"{head} -> thumbnail", 0)
        if label is not None:
            _write_strip(writer, label, f"Aperio Image Library v11.2.1\r\nlabel {_size(label)}", 1)
        if macro is not None:
            _write_strip(writer, macro, f"Aperio Image Library v11.2.1\r\nmacro {_size(macro)}", 9)
    return path


def damage_tile(path: Path, page: int, tile_x: int, tile_y: int) -> tuple[int, int, int, int]:
    """Overwrite one tile's bytes with nonsense; return its box in pixels of that page."""
    with tifffile.TiffFile(path) as file:
        entry = file.pages[page]
        assert isinstance(entry, tifffile.TiffPage)
        across = math.ceil(entry.imagewidth / entry.tilewidth)
        index = tile_y * across + tile_x
        offset, count = entry.dataoffsets[index], entry.databytecounts[index]
        width, height = entry.tilewidth, entry.tilelength
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"\x5a" * count)
    return tile_x * width, tile_y * height, (tile_x + 1) * width, (tile_y + 1) * height


_NO_EXTRAS: dict[str, Any] = {"metadata": None, "software": False}


def _no_encoder(*_: object, **__: object) -> bytes:
    raise AssertionError("the tiles should have come encoded")


def _tiled(tile: int, compression: Literal["none", "deflate"]) -> dict[str, Any]:
    method = None if compression == "none" else "zlib"
    return {
        "tile": (tile, tile),
        "photometric": "rgb",
        "compression": method,
        "compressionargs": {"level": 1} if method else None,
    }


def _write_strip(writer: tifffile.TiffWriter, image: Rgb, text: str, subfiletype: int) -> None:
    writer.write(
        image,
        description=text,
        photometric="rgb",
        rowsperstrip=image.shape[0],
        subfiletype=subfiletype,
        **_NO_EXTRAS,
    )


def _size(image: Rgb) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _resolution(mpp: float | tuple[float, float] | None, base: Rgb, level: Rgb) -> dict[str, Any]:
    if mpp is None:
        return dict(_NO_EXTRAS)
    across, down = mpp if isinstance(mpp, tuple) else (mpp, mpp)
    across *= base.shape[1] / level.shape[1]
    down *= base.shape[0] / level.shape[0]
    return {
        **_NO_EXTRAS,
        "resolution": (1e4 / across, 1e4 / down),
        "resolutionunit": "CENTIMETER",
    }


# --- pixels -----------------------------------------------------------------------------------


class Canvas:
    """A white slide on which chosen 400 µm cells are painted.

    Attributes
    ----------
    pixels : ndarray of uint8
        Level 0, glass where nothing is painted.
    step : pair of float
        Width and height of a cell, level-0 pixels; never rounded.
    """

    def __init__(self, width: int, height: int, mpp: float | tuple[float, float]) -> None:
        across, down = mpp if isinstance(mpp, tuple) else (mpp, mpp)
        self.step = (CELL_UM / across, CELL_UM / down)
        self.pixels: Rgb = np.full((height, width, 3), GLASS, np.uint8)

    @property
    def rows(self) -> int:
        """Rows of the grid, the last one perhaps cut off."""
        return math.ceil(self.pixels.shape[0] / self.step[1] - 1e-6)

    @property
    def cols(self) -> int:
        """Columns of the grid, the last one perhaps cut off."""
        return math.ceil(self.pixels.shape[1] / self.step[0] - 1e-6)

    def box(self, row: int, col: int) -> tuple[int, int, int, int]:
        """Return a cell's ``(left, top, right, bottom)``, rounded and clipped to the slide."""
        height, width = self.pixels.shape[:2]
        return (
            min(width, math.floor(col * self.step[0] + 0.5)),
            min(height, math.floor(row * self.step[1] + 0.5)),
            min(width, math.floor((col + 1) * self.step[0] + 0.5)),
            min(height, math.floor((row + 1) * self.step[1] + 0.5)),
        )

    def paint(
        self,
        box: tuple[int, int, int, int],
        color: Color,
        *,
        seed: int = 0,
        grain: int = 4,
        spread: int = 24,
    ) -> None:
        """Paint a box with tissue: `color` in squares of `grain` pixels, varied by ± `spread`."""
        left, top, right, bottom = box
        rows, cols = -(-(bottom - top) // grain), -(-(right - left) // grain)
        random = np.random.default_rng(seed)
        variation = random.integers(-spread, spread + 1, (rows, cols, 3))
        squares = np.clip(np.array(color) + variation, 0, 255).astype(np.uint8)
        full = squares.repeat(grain, axis=0).repeat(grain, axis=1)
        self.pixels[top:bottom, left:right] = full[: bottom - top, : right - left]

    def paint_cell(self, row: int, col: int, color: Color, **texture: int) -> None:
        """Paint a whole cell, as far as it lies on the slide."""
        self.paint(self.box(row, col), color, **texture)


def painted(width: int = 640, height: int = 512) -> Rgb:
    """Return a picture of pink tissue without glass."""
    canvas = Canvas(width, height, 2.0)
    canvas.paint((0, 0, width, height), PINK, seed=5)
    return canvas.pixels


def read_overview(slide: Slide, side: int, threads: int = 2) -> Rgb:
    """Return the picture of a whole slide, at most `side` pixels wide and high."""
    plan = slide.overview(side)
    picture = np.concatenate(list(slide.overview_strips(plan, threads)))
    assert picture.shape == (plan.height, plan.width, 3)
    return picture
