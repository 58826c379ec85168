"""The files of a slide: what they are known by, and that a change of them is noticed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from openslide import OpenSlide

from idc_desktop.errors import SlideChangedError, SlideError
from idc_desktop.slide import Slide
from tests.support.slides import PINK, Canvas, Rgb, pyramid, write_tiff


def painted() -> Rgb:
    canvas = Canvas(640, 512, 2.0)
    canvas.paint((0, 0, 640, 512), PINK, seed=5)
    return canvas.pixels


PIXELS = painted()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A slide that may be spoiled, of 640 x 512 px."""
    return write_tiff(tmp_path / "copy.tiff", pyramid(PIXELS, (1, 4)), mpp=2.0, tile=128)


@pytest.mark.skipif(sys.platform != "linux", reason="reads a file of /proc that gives an error")
def test_read_error_during_the_identity_is_a_refusal(copy: Path) -> None:
    with Slide(copy) as slide:
        copy.unlink()
        copy.symlink_to("/proc/self/mem")

        with pytest.raises(SlideError, match=r"^copy\.tiff: It cannot be read \("):
            slide.identity()


@pytest.mark.parametrize("where", ["head", "end"])
def test_identity_follows_edits_at_both_ends(copy: Path, where: str) -> None:
    with Slide(copy) as slide:
        before = slide.identity()
    data = bytearray(copy.read_bytes())
    if where == "head":
        # A pixel within the first tile; the directories stay sound.
        data[200] ^= 0x10
    else:
        data += b"\0"
    copy.write_bytes(data)

    with Slide(copy) as slide:
        assert slide.identity() != before


def test_identity_is_that_of_the_content_and_not_of_name_and_time(
    copy: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copyfile(copy, tmp_path / "Größe = 1.tiff"))
    os.utime(other, (1, 1))

    with Slide(copy) as slide, Slide(other) as renamed:
        assert slide.identity() == renamed.identity()
        assert len(slide.identity()) == 64


def test_identity_of_a_large_file_sees_both_ends_and_the_size(tmp_path: Path) -> None:
    """Behind a pyramid any bytes may follow; here 40 MiB of a sparse file."""
    path = write_tiff(tmp_path / "large.tiff", PIXELS, mpp=2.0)
    os.truncate(path, 40 << 20)
    identities = []
    for size, edit in ((40 << 20, None), (40 << 20, (40 << 20) - 1), ((40 << 20) + 1, None)):
        os.truncate(path, size)
        if edit is not None:
            with path.open("r+b") as file:
                file.seek(edit)
                file.write(b"x")
        with Slide(path) as slide:
            identities.append(slide.identity())

    assert len(set(identities)) == 3


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    shutil.copy(path, other)
    other.replace(path)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def edit(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"II")
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("change", [replace, truncate, edit, Path.unlink])
def test_change_of_the_file_while_it_is_open_is_noticed(copy: Path, change) -> None:
    with Slide(copy) as slide:
        slide.check_unchanged()
        change(copy)

        with pytest.raises(SlideChangedError, match=r"copy\.tiff: "):
            slide.check_unchanged()


@pytest.mark.parametrize("change", [replace, truncate, edit, Path.unlink])
def test_change_of_the_file_while_it_is_being_opened_is_noticed(
    copy: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    """OpenSlide reads the directories at once and the pixels from whatever is there later."""

    def open_late(path: Path) -> OpenSlide:
        handle = OpenSlide(path)
        change(path)
        return handle

    monkeypatch.setattr("openslide.OpenSlide", open_late)

    with pytest.raises(SlideChangedError, match=r"copy\.tiff: "):
        Slide(copy)


@pytest.mark.parametrize("change", [replace, edit, Path.unlink])
def test_overview_of_a_slide_that_changes_meanwhile_ends(copy: Path, change) -> None:
    with Slide(copy) as slide:
        strips = slide.overview_strips(slide.overview(640))
        next(strips)
        change(copy)

        with pytest.raises(SlideChangedError, match=r"copy\.tiff: "):
            next(strips)


def test_reading_a_slide_does_not_count_as_a_change(copy: Path) -> None:
    with Slide(copy) as slide:
        slide.read_region(0, 0, 0, 300, 300)
        list(slide.overview_strips(slide.overview(100)))
        slide.identity()
        slide.check_unchanged()
