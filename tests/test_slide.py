"""Slides: what is read of a file, and what happens when it is damaged."""

from __future__ import annotations

import math
import shutil
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from idc_desktop.errors import SlideReadError
from idc_desktop.slides.levels import Level
from idc_desktop.slides.reader import Slide
from tests.support.command import run_cli
from tests.support.models import TinyModel
from tests.support.scans import write_dicom, write_vmu
from tests.support.slides import (
    Rgb,
    damage_tile,
    painted,
    pyramid,
    read_overview,
    write_svs,
    write_tiff,
)

TILE = 128


PIXELS = painted()


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Level 0 of 640 x 512 px at 2 µm/px and one of a quarter, without loss."""
    path = tmp_path_factory.mktemp("exact") / "exact.tiff"
    return write_tiff(path, pyramid(PIXELS, (1, 4)), mpp=(2.0, 2.1), tile=TILE)


def test_levels_resolution_and_power_of_a_generic_tiff(exact: Path) -> None:
    with Slide(exact) as slide:
        assert slide.vendor == "generic-tiff"
        assert (slide.width_l0, slide.height_l0) == (640, 512)
        assert [(it.width, it.height, it.downsample) for it in slide.levels] == [
            (640, 512, 1.0),
            (160, 128, 4.0),
        ]
        mpp = slide.require_mpp()
        assert (mpp.x, mpp.y, mpp.source) == (pytest.approx(2.0), pytest.approx(2.1), "file")
        assert slide.level_mpp(1) == (pytest.approx(8.0), pytest.approx(8.4))
        assert slide.objective_power is None
        assert any("not square" in warning for warning in slide.warnings)


def test_resolution_and_power_of_an_aperio_slide(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "a.svs", pyramid(PIXELS, (1, 4)), mpp=0.2525, power=40)

    with Slide(path) as slide:
        assert slide.vendor == "aperio"
        assert (slide.require_mpp().x, slide.objective_power) == (0.2525, 40.0)
        assert slide.warnings == ()


@pytest.mark.parametrize("is_whole", [True, False])
def test_lost_level_of_a_dicom_slide_is_told(tmp_path: Path, is_whole: bool) -> None:
    if is_whole:
        write_dicom(tmp_path / "0.dcm", PIXELS, mpp=2.0, number=1)
    path = write_dicom(
        tmp_path / "1.dcm", pyramid(PIXELS, (4,))[0], mpp=8.0, number=2, is_reduced=True
    )

    with Slide(path) as slide:
        assert any("not among the files" in it for it in slide.warnings) != is_whole


@pytest.mark.parametrize("shape", [(400, 100), (152, 100), (192, 128)])
def test_level_of_another_shape_is_told_and_not_used(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    """A macro image among the levels, or a level that was padded: its scale is not known."""
    odd = np.full((*shape[::-1], 3), 90, np.uint8)
    levels = [PIXELS, odd, *pyramid(PIXELS, (4, 16))]
    levels.sort(key=lambda it: -it.shape[1])

    with Slide(write_tiff(tmp_path / "x.tiff", levels, mpp=2.0)) as slide:
        assert [(it.width, it.downsample) for it in slide.levels] == [(640, 1), (160, 4), (40, 16)]
        (warning,) = slide.warnings
        assert f"({shape[0]} x {shape[1]} px)" in warning
        for level, by in enumerate((1, 4, 16)):
            found = slide.read_region(level, 0, 0, 640 // by, 512 // by)
            assert np.array_equal(found, pyramid(PIXELS, (by,))[0])
        assert np.array_equal(read_overview(slide, 160), pyramid(PIXELS, (4,))[0])


@given(
    width=st.integers(1, 1 << 20),
    height=st.integers(1, 1 << 20),
    downsample=st.floats(1, 300),
    rounding=st.tuples(*[st.sampled_from([math.floor, round, math.ceil])] * 2),
)
def test_level_keeps_the_shape_however_its_sides_are_rounded(
    width: int,
    height: int,
    downsample: float,
    rounding: tuple[Callable[[float], int], Callable[[float], int]],
) -> None:
    base = Level(0, width, height, 1.0)
    sides = [
        max(1, rule(side / downsample))
        for rule, side in zip(rounding, (width, height), strict=True)
    ]

    assert Level(1, *sides, downsample).is_reduction_of(base)


def test_coarsest_level_holds_on_both_axes(exact: Path) -> None:
    """Level 1 has 8.0 µm/px across and 8.4 down."""
    with Slide(exact) as slide:
        assert slide.coarsest_level(8.41) == 1
        assert slide.coarsest_level(8.08) == 0
        assert slide.coarsest_level(2.05) is None


def test_pixels_are_those_of_the_file(exact: Path) -> None:
    quarter = pyramid(PIXELS, (1, 4))[1]
    with Slide(exact) as slide:
        assert np.array_equal(slide.read_region(0, 37, 101, 200, 150), PIXELS[101:251, 37:237])
        assert np.array_equal(slide.read_region(1, 9, 30, 100, 77), quarter[30:107, 9:109])


@pytest.fixture(scope="module")
def fractional(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Slide, Rgb]]:
    """A second level that is 4.003 times smaller, as most scanners' levels are."""
    noise = np.random.default_rng(9).integers(60, 240, (1603, 2003, 3)).astype(np.uint8)
    path = tmp_path_factory.mktemp("fractional") / "fractional.tiff"
    write_tiff(path, pyramid(noise, (1, 4)), mpp=2.0, tile=64)
    with Slide(path) as slide:
        assert not slide.levels[1].downsample.is_integer()
        yield slide, slide.read_region(1, -512, -512, 1536, 1536)


@given(
    x=st.integers(-300, 520),
    y=st.integers(-300, 420),
    width=st.integers(1, 330),
    height=st.integers(1, 330),
)
@settings(max_examples=60, deadline=None)
def test_pixel_does_not_depend_on_the_rectangle_it_is_read_with(
    fractional: tuple[Slide, Rgb], x: int, y: int, width: int, height: int
) -> None:
    slide, whole = fractional

    part = slide.read_region(1, x, y, width, height)

    assert np.array_equal(part, whole[512 + y : 512 + y + height, 512 + x : 512 + x + width])


@pytest.mark.parametrize(("x", "y"), [(-40, -30), (600, 480), (-40, 480), (2000, 0), (-900, -900)])
def test_beyond_the_slide_is_white(exact: Path, x: int, y: int) -> None:
    width, height = 90, 70
    expected = np.full((height, width, 3), 255, np.uint8)
    for row, col in np.ndindex(height, width):
        if 0 <= y + row < 512 and 0 <= x + col < 640:
            expected[row, col] = PIXELS[y + row, x + col]

    with Slide(exact) as slide:
        assert np.array_equal(slide.read_region(0, x, y, width, height), expected)


def test_what_the_scanner_left_out_is_white(tmp_path: Path) -> None:
    path = write_svs(
        tmp_path / "gap.svs", pyramid(PIXELS, (1, 4)), tile=64, missing=(128, 128, 384, 256)
    )
    expected = PIXELS.copy()
    expected[128:256, 128:384] = 255

    with Slide(path) as slide:
        assert np.array_equal(slide.read_region(0, 0, 0, 640, 512), expected)


def test_half_transparent_pixels_lie_on_white(tmp_path: Path) -> None:
    path = tmp_path / "alpha.tiff"
    alpha = np.arange(640 * 512, dtype=np.uint32).reshape(512, 640, 1) % 256
    rgba = np.concatenate([PIXELS, alpha.astype(np.uint8)], axis=2)
    with tifffile.TiffWriter(path) as writer:
        writer.write(rgba, tile=(128, 128), photometric="rgb", extrasamples=["unassalpha"])
    expected = (PIXELS * (alpha / 255) + 255 * (1 - alpha / 255)).round()

    with Slide(path) as slide:
        found = slide.read_region(0, 0, 0, 640, 512).astype(int)

    assert np.abs(found - expected).max() <= 2  # OpenSlide's pixels are premultiplied
    assert (found[alpha[..., 0] == 0] == 255).all()


def test_white_beyond_the_slide_takes_little_memory(exact: Path) -> None:
    """OpenSlide's four bytes a pixel, three of the result, and what tells one from the other."""
    side = 2000
    with Slide(exact) as slide:
        tracemalloc.start()
        try:
            slide.read_region(0, -side // 2, -side // 2, side, side)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < 16 * side * side


@pytest.fixture
def torn(tmp_path: Path) -> tuple[Path, tuple[int, int, int, int]]:
    """A slide of JPEG tiles, as scanners write it, with one tile of nonsense."""
    path = write_tiff(tmp_path / "torn.tiff", PIXELS, mpp=2.0, tile=TILE, compression="jpeg")
    shutil.copy(path, tmp_path / "whole.tiff")
    return path, damage_tile(path, 0, 2, 1)


def test_corrupt_tile_costs_only_reads_that_touch_it(
    torn: tuple[Path, tuple[int, int, int, int]],
) -> None:
    path, (left, top, right, bottom) = torn
    with Slide(path.with_name("whole.tiff")) as whole, Slide(path) as slide:
        for _ in range(2):
            with pytest.raises(SlideReadError):
                slide.read_region(0, left + 5, top + 5, 20, 20)
            for row, col in np.ndindex(4, 5):
                box = (0, col * TILE, row * TILE, TILE, TILE)
                if (col * TILE, row * TILE) == (left, top):
                    continue
                assert np.array_equal(slide.read_region(*box), whole.read_region(*box)), box
        beside = (0, right, bottom, 30, 30)
        assert np.array_equal(slide.read_region(*beside), whole.read_region(*beside))


def test_corrupt_tile_does_not_disturb_other_threads(
    torn: tuple[Path, tuple[int, int, int, int]],
) -> None:
    path, (left, top, *_) = torn
    boxes = [(0, col * TILE, row * TILE, TILE, TILE) for row, col in np.ndindex(4, 5)] * 6
    with Slide(path.with_name("whole.tiff")) as whole:
        expected = {box: whole.read_region(*box).tobytes() for box in set(boxes)}
    with Slide(path) as slide, ThreadPoolExecutor(6) as pool:

        def read(box: tuple[int, int, int, int, int]) -> bytes | None:
            try:
                return slide.read_region(*box).tobytes()
            except SlideReadError:
                return None

        found = list(pool.map(read, boxes))

    for box, pixels in zip(boxes, found, strict=True):
        assert pixels == (None if box[1:3] == (left, top) else expected[box]), box


def test_overview_shows_what_can_be_read_and_greys_the_rest(
    torn: tuple[Path, tuple[int, int, int, int]],
) -> None:
    path, _ = torn
    with Slide(path.with_name("whole.tiff")) as whole, Slide(path) as slide:
        clean, found = read_overview(whole, 4096), read_overview(slide, 4096)

    assert found.shape == clean.shape == (512, 640, 3)
    differs = (found != clean).any(axis=2)
    assert differs.any()
    assert (found[differs] == found[differs][0]).all()  # one flat grey
    # Salvaged in pieces of 256 px, of which the torn tile spoils one.
    assert differs[:256, 256:512].sum() == differs.sum()


def test_label_and_macro_are_never_decoded(
    tmp_path: Path, data_dir: Path, tiny_model: TinyModel
) -> None:
    """Their strips are nonsense, and one claims 40,000 x 40,000 px: the slide is unharmed."""
    small = np.full((40, 60, 3), 200, np.uint8)
    path = write_svs(tmp_path / "s.svs", pyramid(PIXELS, (1, 4)), mpp=2.0, label=small, macro=small)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for page in list(file.pages)[-2:]:
            assert isinstance(page, tifffile.TiffPage)
            offset, count = page.dataoffsets[0], page.databytecounts[0]
            data[offset : offset + count] = b"\xa5" * count
        for tag in (256, 257, 278):
            entry = page.tags[tag]
            struct.pack_into("<HII", data, entry.offset + 2, 4, 1, 40_000)
    path.write_bytes(data)

    with Slide(path) as slide:
        assert np.array_equal(slide.read_region(0, 0, 0, 640, 512), PIXELS)
        assert read_overview(slide, 160).shape == (128, 160, 3)
        with pytest.raises(SlideReadError, match="macro image is too large"):
            slide.read_associated("macro")
    outcome = run_cli(
        "analyze", path, "--out", tmp_path / "out", "--model", tiny_model.path, data_dir=data_dir
    )
    assert outcome.code == 0, outcome


def test_hamamatsus_slides_say_where_the_middle_of_the_glass_is(tmp_path: Path) -> None:
    path = write_vmu(tmp_path / "scan.vmu", np.full((120, 200, 3), 200, np.uint8))
    with path.open("a", encoding="ascii") as file:
        file.write("XOffsetFromSlideCentre=8000\nYOffsetFromSlideCentre=-4000\n")

    with Slide(path, 4.0) as slide:
        assert slide.describe().glass_middle_l0 == (100 - 2, 60 + 1)
    with Slide(path) as slide:
        assert slide.describe().glass_middle_l0 is None


def test_large_tile_is_decoded_once_for_all_that_lies_on_it(tmp_path: Path) -> None:
    """OpenSlide's own cache holds no tile of 4096 px, and but two of 2048."""
    pixels = np.tile(painted(512, 512), (8, 8, 1))
    path = write_tiff(tmp_path / "large.tiff", pixels, mpp=2.0, tile=4096, compression="jpeg")
    with Slide(path) as slide:
        taken_s = []
        for place in range(9):
            began = time.thread_time()
            slide.read_region(0, 256 * place, 256 * place, 256, 256)
            taken_s.append(time.thread_time() - began)
    first, *others = taken_s
    assert np.median(others) < first / 5
