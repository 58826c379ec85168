"""The picture of a whole slide, read in strips."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from openslide import OpenSlide
from PIL import Image

from idc_desktop.slides.reader import Slide
from tests.support.slides import painted, pyramid, read_overview, write_tiff


@pytest.mark.parametrize("side", [64, 100, 640])
def test_overview_is_the_picture_made_small(tmp_path: Path, side: int) -> None:
    pixels = painted()
    path = write_tiff(tmp_path / "exact.tiff", pyramid(pixels, (1, 4)), mpp=(2.0, 2.1))
    with Slide(path) as slide:
        picture = read_overview(slide, side)

    assert side // 2 < max(picture.shape) <= side  # reduced by a whole number
    whole = pixels.reshape(-1, 3).mean(axis=0)
    assert np.abs(picture.reshape(-1, 3).mean(axis=0) - whole).max() < 1.5


@pytest.fixture(scope="module", params=[256, 240])
def flat(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, int]:
    """A slide without a pyramid, of sizes that no tile divides, and the side of its tiles."""
    path = tmp_path_factory.mktemp("flat") / "flat.tiff"
    pixels = painted(4501, 2749)
    return write_tiff(path, pixels, mpp=1.0, tile=request.param, compression="jpeg"), request.param


@pytest.mark.parametrize("side", [4501, 4096, 900, 7])
def test_overview_without_a_pyramid_is_the_whole_level_averaged(
    flat: tuple[Path, int], side: int
) -> None:
    factor = math.ceil(4501 / side)
    covered = 4501 // factor * factor, 2749 // factor * factor
    with Slide(flat[0]) as slide:
        whole = Image.fromarray(slide.read_region(0, 0, 0, *covered)).reduce(factor)

        for threads in (1, 3):
            assert np.array_equal(read_overview(slide, side, threads), np.asarray(whole))


@pytest.mark.parametrize("side", [4501, 4096, 900])
def test_overview_reads_every_pixel_once_and_cuts_no_row_of_tiles(
    flat: tuple[Path, int], side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of tiles that two reads share is decoded twice: a large one exceeds the cache."""
    path, tile = flat
    factor = math.ceil(4501 / side)
    read: list[tuple[int, int, int]] = []
    original = OpenSlide.read_region

    def read_region(
        handle: OpenSlide, location: tuple[int, int], level: int, size: tuple[int, int]
    ) -> Image.Image:
        read.append((location[1], *size))
        return original(handle, location, level, size)

    monkeypatch.setattr(OpenSlide, "read_region", read_region)
    with Slide(path) as slide:
        height, width, _ = read_overview(slide, side).shape

    assert sum(across * down for _, across, down in read) == width * height * factor**2
    assert max(across * down for _, across, down in read) <= 1 << 21
    assert all(top % tile == 0 for top, _, _ in read)
