"""Slides that are refused, and what is said of those that are damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from openslide import OpenSlide, OpenSlideError

from idc_desktop.errors import SlideChangedError, SlideError, SlideReadError
from idc_desktop.slides.reader import Slide
from tests.support.scans import write_mirax
from tests.support.slides import painted, write_tiff


def test_slide_that_cannot_be_opened_again_is_not_called_a_wrong_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a disk that fails under an open slide; the tile must not be in the cache."""
    path = write_tiff(tmp_path / "failing.tiff", painted(4000, 3000), mpp=2.0, compression="jpeg")
    with Slide(path) as slide:
        with path.open("r+b") as file:
            file.write(b"\xff" * path.stat().st_size)
        # The file system knows nothing of what its disk lost.
        monkeypatch.setattr("idc_desktop.slides.slide_files._is_unchanged", lambda member: True)

        with pytest.raises(
            SlideError, match=r"^failing\.tiff: It cannot be read any more"
        ) as caught:
            slide.read_region(0, 0, 0, 4000, 3000)

    assert not isinstance(caught.value, SlideReadError | SlideChangedError)


def test_read_of_a_removed_slide_says_that_it_is_gone(tmp_path: Path) -> None:
    """OpenSlide opens the file anew for its reads; the cache must not have the tile."""
    pixels = painted(4000, 3000)
    path = write_tiff(tmp_path / "gone.tiff", pixels, mpp=2.0)
    with Slide(path) as slide:
        path.unlink()

        with pytest.raises(SlideChangedError, match=r"gone\.tiff: The slide is no longer there"):
            slide.read_region(0, 0, 0, 4000, 3000)


def test_slide_beyond_any_scanner_is_refused_with_its_size(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "vast.tiff", painted(), mpp=2.0)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        entry = file.pages.first.tags[256]
        struct.pack_into("<HII", data, entry.offset + 2, 4, 1, (1 << 22) + 1)
    path.write_bytes(data)

    with pytest.raises(SlideError, match=r"vast\.tiff"):
        Slide(path)


@pytest.mark.parametrize(("width", "height"), [(8192, 8192), (1 << 20, 32)])
def test_tiles_that_are_decoded_for_each_patch_are_refused(
    tmp_path: Path, width: int, height: int
) -> None:
    path = write_tiff(tmp_path / "giant.tiff", painted(), mpp=2.0)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for tag, side in ((322, width), (323, height)):
            entry = file.pages.first.tags[tag]
            struct.pack_into("<HII", data, entry.offset + 2, 4, 1, side)
    path.write_bytes(data)

    with pytest.raises(SlideError, match=rf"^giant\.tiff: .* {width:,} x {height:,} px, too many"):
        Slide(path)


def test_file_that_is_no_slide_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.svs"
    path.write_text("This is not a slide.", encoding="utf-8")

    with pytest.raises(SlideError, match=r"notes\.svs: This is not a slide format"):
        Slide(path)


def test_what_a_decoder_quotes_of_a_damaged_file_stays_on_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiff(tmp_path / "exact.tiff", painted(), mpp=2.0)

    def refuse(path: Path) -> OpenSlide:
        raise OpenSlideError(f"Reading {path}: no such colours: R\n\x1b[31mB\0")

    monkeypatch.setattr("openslide.OpenSlide", refuse)

    with pytest.raises(SlideError, match=r"exact\.tiff: .*…/the slide: no such colours") as caught:
        Slide(path)

    assert str(caught.value).isprintable()


def test_mirax_slide_without_all_of_its_data_folder_is_refused_as_such(tmp_path: Path) -> None:
    path = tmp_path / "m.mrxs"
    path.write_bytes(b"\xff\xd8" + bytes(100))

    with pytest.raises(SlideError, match=r"m\.mrxs: Its data folder m is missing"):
        Slide(path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "Data0001.dat").write_bytes(bytes(100))
    with pytest.raises(SlideError, match=r"m\.mrxs: Its data folder m is incomplete"):
        Slide(path)


@pytest.mark.parametrize(("overlap", "width"), [(72, 0), (80, -64)])
def test_mirax_slide_whose_tiles_overlap_to_nothing_is_refused(
    tmp_path: Path, overlap: int, width: int
) -> None:
    """Nine columns of 64 px, each but the last less the overlap."""
    path = write_mirax(tmp_path / "m.mrxs", [np.full((64, 576, 3), 200, np.uint8)], mpp=2.0)
    slidedat = tmp_path / "m" / "Slidedat.ini"
    text = slidedat.read_text(encoding="utf-8-sig")
    text = text.replace("OVERLAP_X = 0", f"OVERLAP_X = {overlap}")
    slidedat.write_text(text, encoding="utf-8")

    with pytest.raises(SlideError, match=rf"^m\.mrxs: It claims {width} x 64 px; a slide has 1 to"):
        Slide(path)


def test_truncated_slide_is_refused_or_warned_about_with_the_byte(tmp_path: Path) -> None:
    whole = write_tiff(tmp_path / "whole.tiff", painted(), mpp=2.0)
    data = whole.read_bytes()
    cut = tmp_path / "cut.tiff"
    said = []
    for size in (len(data) // 3, len(data) - 10, len(data) - 5000):
        cut.write_bytes(data[:size])
        try:
            with Slide(cut) as slide:
                said.append((size, " ".join(slide.warnings)))
        except SlideError as error:
            said.append((size, str(error)))

    for size, text in said:
        assert f"ends at byte {size:,}" in text
