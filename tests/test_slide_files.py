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
from idc_desktop.slides.reader import Slide
from idc_desktop.slides.slide_files import SlideFiles
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
def test_read_error_during_the_identity_is_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "s.tiff"
    path.symlink_to("/proc/self/mem")

    with pytest.raises(SlideError, match=r"^s\.tiff: It cannot be read \("):
        SlideFiles(path)


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


def rewrite(path: Path) -> None:
    """Put another content of the same size in its place, and its time back."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(before.st_size // 2)
        file.write(b"\x5a" * 4096)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


CHANGES = [replace, truncate, edit, Path.unlink]
if os.name != "nt":  # where it leaves no trace
    CHANGES.append(rewrite)


@pytest.mark.parametrize("change", CHANGES)
def test_change_of_the_file_while_it_is_open_is_noticed(copy: Path, change) -> None:
    with Slide(copy) as slide:
        slide.check_unchanged()
        change(copy)

        with pytest.raises(SlideChangedError, match=r"copy\.tiff: "):
            slide.check_unchanged()


@pytest.mark.parametrize("change", CHANGES)
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


def chmod(path: Path) -> None:
    path.chmod(0o400)


def link(path: Path) -> None:
    path.with_name("link").hardlink_to(path)


def mark_as_read_long_ago(path: Path) -> None:
    """As backups do, so that nobody sees that they were here."""
    os.utime(path, ns=(1, path.stat().st_mtime_ns))


@pytest.mark.parametrize("touch", [chmod, link, mark_as_read_long_ago])
def test_what_leaves_the_content_alone_is_no_change(
    copy: Path, touch: Callable[[Path], None]
) -> None:
    with Slide(copy) as slide:
        entry_ns = copy.stat().st_ctime_ns
        touch(copy)
        assert os.name == "nt" or copy.stat().st_ctime_ns != entry_ns
        slide.check_unchanged()

        os.truncate(copy, copy.stat().st_size - 1)
        with pytest.raises(SlideChangedError):
            slide.check_unchanged()


@pytest.mark.skipif(os.name == "nt", reason="has no such time")
def test_content_is_looked_at_once_after_its_entry_changed(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    original = Path.open

    def count(path: Path, *arguments: str) -> object:
        reads.append(path)
        return original(path, *arguments)

    with Slide(copy) as slide:
        monkeypatch.setattr(Path, "open", count)
        slide.check_unchanged()
        assert reads == []
        chmod(copy)
        for _ in range(3):
            slide.check_unchanged()
        assert reads == [copy]


def test_reading_a_slide_does_not_count_as_a_change(copy: Path) -> None:
    with Slide(copy) as slide:
        slide.read_region(0, 0, 0, 300, 300)
        list(slide.overview_strips(slide.overview(100)))
        slide.identity()
        slide.check_unchanged()
