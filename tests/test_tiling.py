"""Patches and tissue: what is read must depend on nothing but the slide and the model's scale."""

from __future__ import annotations

import itertools
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tifffile

from idc_desktop.analysis import tiling
from idc_desktop.analysis.tiling import PatchReader
from idc_desktop.errors import ResolutionError, SlideReadError
from idc_desktop.maps.grid import Block
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models.patch_size import PatchSize
from idc_desktop.slides.reader import Slide
from tests.support.slides import (
    GLASS,
    PINK,
    Canvas,
    Rgb,
    damage_tile,
    pyramid,
    reduced,
    write_svs,
    write_tiff,
)

NO_MASK = TissueSettings(enabled=False)
SPACING = 8.0
PATCH = PatchSize(50, SPACING)


def noise(width: int, height: int, seed: int = 0) -> Rgb:
    return np.random.default_rng(seed).integers(60, 250, (height, width, 3)).astype(np.uint8)


def every_patch(reader: PatchReader, side_cells: int) -> Rgb:
    """Read all patches with blocks of a given size, as (rows, cols, 50, 50, 3)."""
    out = np.empty((reader.grid.rows, reader.grid.cols, 50, 50, 3), np.uint8)
    for block in reader.grid.blocks(side_cells):
        tissue, patches = reader.read(block)
        assert tissue.all()
        here = np.s_[block.row : block.row + block.rows, block.col : block.col + block.cols]
        out[here] = patches.reshape(block.rows, block.cols, 50, 50, 3)
    return out


@pytest.mark.parametrize(
    ("mpp", "size", "downsamples"),
    [
        (2.0, (1500, 1300), (1, 4)),
        (2.0, (2003, 1601), (1, 4)),  # the level is 4.002 and 4.0025 times smaller
        (1.37, (2203, 1801), (1, 2, 4)),
        ((0.98, 1.51), (2003, 1201), (1, 4)),
        (2.43, (1111, 907), (1,)),
        (7.97, (400, 333), (1,)),
        (9.7, (301, 233), (1,)),  # interpolated
    ],
)
def test_patch_is_the_same_whatever_block_it_was_read_with(
    tmp_path: Path,
    mpp: float | tuple[float, float],
    size: tuple[int, int],
    downsamples: tuple[int, ...],
) -> None:
    path = write_tiff(tmp_path / "x.tiff", pyramid(noise(*size), downsamples), mpp=mpp, tile=64)
    with Slide(path) as slide:
        reader = PatchReader(slide, PATCH, NO_MASK)
        single = every_patch(reader, 1)
        for side in (2, 3, 8):
            assert np.array_equal(every_patch(reader, side), single), side


@pytest.mark.parametrize("mpp", [0.37, 2.0, (0.98, 1.51), 9.7])
def test_patch_is_the_same_however_much_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mpp: float | tuple[float, float]
) -> None:
    path = write_tiff(tmp_path / "x.tiff", noise(1201, 603), mpp=mpp, tile=64)
    with Slide(path) as slide:
        reader = PatchReader(slide, PATCH, NO_MASK)
        whole = every_patch(reader, 1)
        for limit_px in (1, 100_000):
            monkeypatch.setattr(tiling, "_MAX_READ_PX", limit_px)
            assert np.array_equal(every_patch(reader, 1), whole), limit_px


def test_tissue_is_the_same_whatever_block_it_was_judged_in(tmp_path: Path) -> None:
    canvas = Canvas(2003, 1601, 2.0)
    for index, (left, top) in enumerate([(130, 90), (777, 601), (1210, 1111), (1701, 333)]):
        canvas.paint((left, top, left + 90 + 40 * index, top + 150), PINK, seed=index)
    path = write_tiff(tmp_path / "x.tiff", pyramid(canvas.pixels, (1, 4, 16)), mpp=2.0)
    with Slide(path) as slide:
        reader = PatchReader(slide, PATCH, TissueSettings())
        found = []
        for side in (1, 2, 8):
            cells = np.zeros((reader.grid.rows, reader.grid.cols), bool)
            for block in reader.grid.blocks(side):
                here = np.s_[block.row : block.row + block.rows, block.col : block.col + block.cols]
                cells[here] = reader.read(block)[0].reshape(block.rows, block.cols)
            found.append(cells)

    assert 4 <= found[0].sum() < found[0].size / 2
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize(
    ("mpp", "level"),
    [(0.25, 3), (0.252, 3), (0.2525, 3), (0.2526, 2), (0.5, 2), (1.01, 2), (2.02, 1), (8.0, 0)],
)
def test_coarsest_level_within_one_percent_of_the_models_scale_is_read(
    tmp_path: Path, mpp: float, level: int
) -> None:
    """Downsamples 1, 4, 8, 32; 8.08 µm/px is the limit."""
    path = write_svs(tmp_path / "x.svs", pyramid(noise(1024, 768), (1, 4, 8, 32)), mpp=mpp)
    with Slide(path) as slide:
        reader = PatchReader(slide, PATCH, NO_MASK)

        assert [round(it.downsample) for it in slide.levels] == [1, 4, 8, 32]
        assert reader.level == level
        assert reader.notes == ()


@pytest.mark.parametrize(("mpp", "fate"), [(8.08, "read"), (8.09, "noted"), (10.0, "noted")])
def test_slide_a_little_coarser_than_the_model_is_interpolated_and_noted(
    tmp_path: Path, mpp: float, fate: str
) -> None:
    path = write_svs(tmp_path / "x.svs", [noise(300, 200)], mpp=mpp)
    with Slide(path) as slide:
        reader = PatchReader(slide, PATCH, NO_MASK)

    assert any("interpolated" in note for note in reader.notes) == (fate == "noted")


def test_slide_too_coarse_is_refused_with_the_figures(tmp_path: Path) -> None:
    path = write_svs(tmp_path / "coarse.svs", [noise(300, 200)], mpp=10.01)
    with Slide(path) as slide, pytest.raises(ResolutionError, match=r"coarse\.svs: .*10\.01.*10 "):
        PatchReader(slide, PATCH, NO_MASK)


def test_patch_is_the_average_over_its_400_um(tmp_path: Path) -> None:
    """1 µm/px without a pyramid: a patch is 400 px, 8 px to one."""
    pixels = noise(1200, 800)
    with Slide(write_tiff(tmp_path / "x.tiff", pixels, mpp=1.0)) as slide:
        patches = every_patch(PatchReader(slide, PATCH, NO_MASK), 8)

    expected = reduced(pixels, 8).reshape(2, 50, 3, 50, 3).swapaxes(1, 2)
    assert np.array_equal(patches, expected)


def test_cell_over_the_edge_is_filled_with_white(tmp_path: Path) -> None:
    dark = np.full((250, 500, 3), 100, np.uint8)
    with Slide(write_tiff(tmp_path / "x.tiff", dark, mpp=2.0)) as slide:
        patches = every_patch(PatchReader(slide, PATCH, NO_MASK), 1)

    whole = patches.swapaxes(1, 2).reshape(100, 150, 3)
    assert (whole[:62, :125] == 100).all()
    assert (whole[62, :125] == 178).all()  # half covered
    assert (whole[63:] == 255).all()
    assert (whole[:, 125:] == 255).all()


@pytest.mark.parametrize("mpp", [8.5, 9.0, (9.7, 8.2), 10.0])
@pytest.mark.parametrize("side", [1, 8])
def test_interpolation_takes_nothing_from_beyond_the_slide(
    tmp_path: Path, mpp: float | tuple[float, float], side: int
) -> None:
    """What is centred on the slide has its colour to the last pixel; what is not is white."""
    height, width = 91, 157
    dark = np.full((height, width, 3), 100, np.uint8)
    with Slide(write_tiff(tmp_path / "x.tiff", dark, mpp=mpp)) as slide:
        reader = PatchReader(slide, PATCH, NO_MASK)
        patches = every_patch(reader, side)

    rows, cols = reader.grid.rows * 50, reader.grid.cols * 50
    whole = patches.swapaxes(1, 2).reshape(rows, cols, 3)
    mpp_x, mpp_y = mpp if isinstance(mpp, tuple) else (mpp, mpp)
    tall = (np.arange(rows) + 0.5) * SPACING / mpp_y < height
    wide = (np.arange(cols) + 0.5) * SPACING / mpp_x < width
    expected = np.where(tall[:, None] & wide[None, :], 100, 255)
    assert np.array_equal(whole, np.repeat(expected[..., None], 3, axis=2))


def test_sliver_that_holds_no_pixel_of_the_slide_is_background(tmp_path: Path) -> None:
    """500.2 µm wide at 1.0004 µm/px: the grid's third column would be 0.04 pixels wide."""
    pixels = noise(800, 420)
    with Slide(write_tiff(tmp_path / "x.tiff", pixels, mpp=(1.00005, 1.0))) as slide:
        reader = PatchReader(slide, PATCH, NO_MASK)
        tissue, patches = reader.read(Block(0, 0, 0, 2, 3))

    assert (reader.grid.rows, reader.grid.cols) == (2, 3)
    assert tissue.reshape(2, 3).tolist() == [[True, True, False]] * 2
    assert len(patches) == 4


def test_same_patches_are_tissue_with_and_without_a_pyramid(tmp_path: Path) -> None:
    """At the rim of tissue a coarser level says otherwise than the patch's own pixels."""
    canvas = Canvas(4000, 3200, 1.0)
    rng = np.random.default_rng(3)
    for x, y in rng.integers(0, 3000, (150, 2)).tolist():
        side = int(rng.integers(30, 180))
        canvas.paint((x, y, x + side, y + side // 2), PINK, seed=x)
    found = []
    for name, downsamples in (("flat", (1,)), ("high", (1, 8, 32)), ("odd", (1, 5, 11, 37))):
        path = write_tiff(tmp_path / f"{name}.tiff", pyramid(canvas.pixels, downsamples), mpp=1.0)
        with Slide(path) as slide:
            reader = PatchReader(slide, PATCH, TissueSettings())
            tissue = np.zeros((reader.grid.rows, reader.grid.cols), np.bool_)
            for block in reader.blocks():
                here = np.s_[block.row : block.row + block.rows, block.col : block.col + block.cols]
                tissue[here] = reader.read(block)[0].reshape(block.rows, block.cols)
            found.append(tissue)

    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert 0 < found[0].sum() < found[0].size


def test_damaged_coarse_level_hides_no_patch(tmp_path: Path) -> None:
    canvas = Canvas(1600, 1200, 2.0)
    canvas.paint_cell(1, 1, PINK)
    path = write_tiff(tmp_path / "x.tiff", pyramid(canvas.pixels, (1, 4, 20)), mpp=2.0, tile=64)
    damage_tile(path, 2, 0, 0)
    with Slide(path) as slide:
        tissue, patches = PatchReader(slide, PATCH, TissueSettings()).read(Block(0, 0, 0, 3, 4))

    assert np.flatnonzero(tissue).tolist() == [1 * 4 + 1]
    assert len(patches) == 1


def test_block_with_a_damaged_tile_raises(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "x.tiff", noise(600, 600), mpp=2.0, compression="jpeg")
    left, top, *_ = damage_tile(path, 0, 3, 1)
    with Slide(path) as slide:
        reader = PatchReader(slide, PATCH, NO_MASK)

        with pytest.raises(SlideReadError):
            reader.read(Block(0, 0, 0, 3, 3))
        with pytest.raises(SlideReadError):
            reader.read(Block(0, top // 200, left // 200, 1, 1))
        assert reader.read(Block(0, 2, 2, 1, 1))[0].all()


def mask_of(color: tuple[int, int, int], fraction: float = 1.0) -> Rgb:
    """Return the mask pixels of one patch: a fraction in a colour, the rest glass."""
    mask = np.full((100, 3), GLASS, np.uint8)
    mask[: round(100 * fraction)] = color
    return mask.reshape(1, 10, 10, 3)


@pytest.mark.parametrize(
    ("color", "is_tissue"),
    [
        ((255, 255, 255), False),
        (GLASS, False),
        ((215, 215, 215), False),  # grey glass
        ((232, 240, 243), False),  # bluish glass
        ((236, 218, 228), True),  # pale pink stroma
        ((221, 130, 166), True),
        ((122, 72, 158), True),
        ((150, 150, 150), True),  # grey but darker than glass: a fold
        ((0, 0, 0), False),  # unscanned
        ((20, 12, 16), False),
        ((204, 200, 202), True),
        ((205, 205, 205), False),
    ],
)
def test_colour_of_tissue(color: tuple[int, int, int], is_tissue: bool) -> None:
    assert bool(TissueSettings().is_tissue(mask_of(color))[0]) is is_tissue


def test_five_percent_of_tissue_make_a_tissue_patch() -> None:
    settings = TissueSettings()

    assert settings.is_tissue(mask_of(PINK, 0.05))[0]
    assert not settings.is_tissue(mask_of(PINK, 0.04))[0]


def test_fat_is_tissue_by_its_walls() -> None:
    """Adipocytes are empty rings: mostly glass, thin pink walls every 64 µm."""
    canvas = Canvas(400, 400, 1.0)
    for at in range(0, 400, 64):
        canvas.paint((at, 0, at + 8, 400), PINK, seed=at)
        canvas.paint((0, at, 400, at + 8), PINK, seed=at + 1)
    mask = reduced(canvas.pixels, 40)[None]

    assert TissueSettings().is_tissue(mask)[0]


def test_black_border_and_glass_are_background_and_tissue_is_not(tmp_path: Path) -> None:
    canvas = Canvas(1000, 600, 2.0)
    canvas.pixels[:, :200] = 0
    canvas.paint_cell(1, 3, PINK)
    for levels in (pyramid(canvas.pixels, (1, 4)), pyramid(canvas.pixels, (1, 4, 20))):
        with Slide(write_tiff(tmp_path / "x.tiff", levels, mpp=2.0)) as slide:
            reader = PatchReader(slide, PATCH, TissueSettings())
            tissue, patches = reader.read(Block(0, 0, 0, 3, 5))

        assert np.flatnonzero(tissue).tolist() == [1 * 5 + 3]
        assert patches.shape == (1, 50, 50, 3)


LILAC = (218, 206, 224)


def tinted(colour: tuple[int, int, int], side: int = 1500) -> Rgb:
    """Return a slide on glass of a colour, with a haze of eosin and a lump of pale tissue."""
    canvas = Canvas(side, side, 2.0)
    canvas.pixels[:] = 255
    canvas.paint((300, 300, 700, 900), PINK, seed=1)
    canvas.paint((700, 300, 900, 900), (236, 205, 222), seed=2)
    noise = np.random.default_rng(5).normal(0, 1.5, canvas.pixels.shape)
    seen = canvas.pixels * (np.array(colour) / 255) + noise
    return seen.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("colour", [LILAC, (236, 219, 234), (245, 235, 214), (196, 196, 196)])
def test_glass_that_is_not_white_is_background(
    tmp_path: Path, colour: tuple[int, int, int]
) -> None:
    found = []
    for name, glass in (("white", (246, 246, 246)), ("tinted", colour)):
        levels = pyramid(tinted(glass), (1, 4, 16))
        with Slide(write_tiff(tmp_path / f"{name}.tiff", levels, mpp=2.0)) as slide:
            reader = PatchReader(slide, PATCH, TissueSettings())
            before = reader.tissue
            reader.look_around()
            found.append([reader.read(block)[0] for block in reader.blocks()])
            is_white = reader.tissue == before
        assert is_white == (name == "white")
        assert len(reader.notes) == (0 if is_white else 1)

    assert 0 < np.concatenate(found[0]).sum() < 30
    assert np.array_equal(np.concatenate(found[0]), np.concatenate(found[1]))
    assert reader.tissue.glass == pytest.approx(colour, abs=2)
    assert TissueSettings.from_dict(reader.tissue.as_dict()) == reader.tissue


def test_pale_tissue_without_glass_is_no_glass(tmp_path: Path) -> None:
    canvas = Canvas(1600, 1600, 2.0)
    canvas.paint((0, 0, 1600, 1600), (236, 205, 222), seed=2)
    with Slide(write_tiff(tmp_path / "x.tiff", canvas.pixels, mpp=2.0)) as slide:
        reader = PatchReader(slide, PATCH, TissueSettings())
        reader.look_around()
        assert reader.tissue == TissueSettings()
        assert all(reader.read(block)[0].all() for block in reader.blocks())


def test_settings_of_the_mask_are_told_in_words() -> None:
    assert NO_MASK.words().startswith("Everything counts as tissue")
    assert (
        "is coloured (its channels differ by 12 of 255 or more) or grey" in TissueSettings().words()
    )
    tinted = TissueSettings(glass=(230, 220, 240)).words()
    assert "beside glass of the colour 230, 220, 240, and is not black" in tinted


def test_settings_of_the_mask_are_part_of_the_record_only_when_it_is_on() -> None:
    assert NO_MASK.as_dict() == {"enabled": False}
    assert TissueSettings().as_dict()["min_fraction"] == 0.05


def test_plan_of_a_slide_of_2_to_the_21_pixels_needs_no_memory(
    tmp_path: Path,
) -> None:
    """A sparse file: two million pixels a side, every tile left out."""
    side, tile = 1 << 21, 4096
    count = (side // tile) ** 2
    path = tmp_path / "vast.tiff"
    ifd = [
        (254, 4, 1, 0), (256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 8),
        (262, 3, 1, 1), (277, 3, 1, 1), (282, 5, 1, 16), (283, 5, 1, 16), (296, 3, 1, 3),
        (322, 4, 1, tile), (323, 4, 1, tile), (324, 4, count, 4096), (325, 4, count, 4096),
    ]  # fmt: skip
    data = struct.pack("<2sHI", b"II", 42, 32) + bytes(8) + struct.pack("<II", 50_000, 1)
    data = data.ljust(32, b"\0") + struct.pack("<H", len(ifd))
    data += b"".join(struct.pack("<HHII", *entry) for entry in ifd) + bytes(4)
    path.write_bytes(data.ljust(4096 + 4 * count, b"\0"))
    with tifffile.TiffFile(path) as file:
        assert file.pages.first.shape == (side, side)
    with Slide(path) as slide:
        tracemalloc.start()
        try:
            reader = PatchReader(slide, PATCH, TissueSettings())
            planned = sum(block.cells for block in itertools.islice(reader.blocks(), 100_000))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert (reader.grid.rows, reader.grid.cols) == (1049, 1049)
    assert reader.block_count() == 1049 * 1049
    assert planned == 100_000
    assert peak < 5_000_000


def test_block_of_a_slide_without_a_pyramid_stays_small(tmp_path: Path) -> None:
    """At 0.1 µm/px a cell is 4,000 px wide: one at a time is enough."""
    path = write_svs(tmp_path / "x.svs", [noise(640, 512)], mpp=0.1)
    with Slide(path) as slide:
        assert PatchReader(slide, PATCH, NO_MASK).block_cells == 1
    with Slide(path, 2.0) as slide:
        assert PatchReader(slide, PATCH, NO_MASK).block_cells == 8


@pytest.mark.parametrize("mpp", [0.05, 0.15, 0.25, 1.0])
def test_cell_of_very_fine_pixels_is_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mpp: float
) -> None:
    """At 0.05 µm/px a cell has 64 million pixels."""
    path = write_tiff(tmp_path / "x.tiff", noise(640, 512), mpp=mpp)
    read: list[int] = []
    original = Slide.read_region

    def read_region(slide: Slide, level: int, x: int, y: int, width: int, height: int) -> Rgb:
        read.append(width * height)
        return original(slide, level, x, y, width, height)

    monkeypatch.setattr(Slide, "read_region", read_region)
    with Slide(path) as slide:
        reader = PatchReader(slide, PATCH, NO_MASK)
        reader.read(next(reader.blocks()))

    assert sum(read) >= (400 / mpp) ** 2
    assert max(read) <= 2048**2
