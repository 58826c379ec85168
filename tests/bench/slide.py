"""Large slides for the figures: blobs of tissue on glass, stamped from ready-made JPEG tiles."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from tests.support.slides import (
    GLASS,
    PINK,
    PURPLE,
    RED,
    Rgb,
    jpeg_tile,
    jpeg_tiles,
    write_jpeg_level,
)

TILE = 256
MPP = 0.5

_TISSUE_DOWNSAMPLE = 16
_VERSION = 2
_QUALITY = 60
_BLOBS = (
    # centre x, centre y, radius x, radius y: shares of the slide's width and height
    (0.27, 0.33, 0.185, 0.235),
    (0.66, 0.27, 0.225, 0.185),
    (0.44, 0.73, 0.265, 0.185),
    (0.86, 0.70, 0.085, 0.18),
)


@dataclass(frozen=True)
class BenchSlide:
    """A slide to be made: its name, its size in level-0 pixels, multiples of 16, and its levels."""

    name: str
    width: int
    height: int
    downsamples: tuple[int, ...] = (1, 4, _TISSUE_DOWNSAMPLE)

    def path(self) -> Path:
        """Return the file, which is made once and kept in the system's temporary folder."""
        folder = Path(tempfile.gettempdir()) / f"idc-desktop-bench-{os.getuid()}"
        path = folder / f"{self.name}-v{_VERSION}.tiff"
        if not path.exists():
            folder.mkdir(exist_ok=True)
            unfinished = path.with_suffix(f".{os.getpid()}.part")
            self._write(unfinished)
            unfinished.rename(path)
        return path

    def _write(self, path: Path) -> None:
        tissue = self._tissue()
        image = _textured(tissue)
        with tifffile.TiffWriter(path) as writer:
            for index, downsample in enumerate(self.downsamples):
                shape = self.height // downsample, self.width // downsample
                if downsample == _TISSUE_DOWNSAMPLE:
                    tiles = jpeg_tiles(image, TILE, _QUALITY)
                else:
                    tiles = _stamped(tissue, shape, _TISSUE_DOWNSAMPLE // downsample)
                per_cm = 1e4 / (MPP * downsample)
                write_jpeg_level(
                    writer,
                    tiles,
                    shape,
                    TILE,
                    subfiletype=0 if index == 0 else 1,
                    resolution=(per_cm, per_cm),
                    resolutionunit="CENTIMETER",
                    metadata=None,
                    software=False,
                )

    def _tissue(self) -> npt.NDArray[np.bool_]:
        """Return where tissue lies, in pixels of `_TISSUE_DOWNSAMPLE`."""
        height, width = self.height // _TISSUE_DOWNSAMPLE, self.width // _TISSUE_DOWNSAMPLE
        down = (np.arange(height) + 0.5)[:, None] / height
        across = (np.arange(width) + 0.5)[None, :] / width
        tissue = np.zeros((height, width), bool)
        for x, y, radius_x, radius_y in _BLOBS:
            tissue |= ((across - x) / radius_x) ** 2 + ((down - y) / radius_y) ** 2 <= 1
        return tissue


STANDARD = BenchSlide("standard", 40_000, 32_000)
TENFOLD = BenchSlide("tenfold", 126_480, 101_184)
FLAT = BenchSlide("flat", 20_000, 16_000, downsamples=(1,))


def _texture(seed: int, side: int = 512) -> Rgb:
    """Paint fibres and nuclei that repeat without a seam."""
    random = np.random.default_rng(seed)
    base = np.empty((side, side, 3), np.float32)
    base[:] = PINK if seed % 2 else RED
    coarse = random.random((side // 16, side // 16)).repeat(16, axis=0).repeat(16, axis=1)
    base += (coarse[:, :, None] - 0.5) * 50
    nuclei = random.random((side // 2, side // 2)).repeat(2, axis=0).repeat(2, axis=1) > 0.85
    base[nuclei] = PURPLE
    return np.clip(base + random.normal(0, 6, base.shape), 0, 255).astype(np.uint8)


def _textured(tissue: npt.NDArray[np.bool_]) -> Rgb:
    height, width = tissue.shape
    texture = _texture(1)
    side = len(texture)
    whole = np.tile(texture, (-(-height // side), -(-width // side), 1))[:height, :width]
    whole[~tissue] = GLASS
    return whole


def _stamped(
    tissue: npt.NDArray[np.bool_], shape: tuple[int, int], downsample: int
) -> Iterator[bytes]:
    """Choose a ready-made tile for every place, by what lies under its centre."""
    # Coarse-grained, so that a tile takes few bytes; nothing has to read these levels.
    grown = (_texture(seed, TILE // 8).repeat(8, axis=0).repeat(8, axis=1) for seed in range(6))
    stamps = [jpeg_tile(texture, _QUALITY) for texture in grown]
    glass = jpeg_tile(np.full((TILE, TILE, 3), GLASS, np.uint8), _QUALITY)
    for number, (top, left) in enumerate(
        (top, left) for top in range(0, shape[0], TILE) for left in range(0, shape[1], TILE)
    ):
        row = min((top + TILE // 2) // downsample, tissue.shape[0] - 1)
        col = min((left + TILE // 2) // downsample, tissue.shape[1] - 1)
        yield stamps[number % len(stamps)] if tissue[row, col] else glass
