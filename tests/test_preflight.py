"""Checks of a file before any decoder sees it (reliability: T01, T02, T04, T07, T08)."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idc_desktop.errors import SlideError
from idc_desktop.slides.preflight import inspect_tiff, is_dicom_slide, regular_files, resolve
from tests.support.slides import write_tiff

LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 190000000\n"
)
SLIDE = np.random.default_rng(3).integers(90, 220, (300, 420, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pyramid of 4 x 3 and 1 tiles."""
    folder = tmp_path_factory.mktemp("sound")
    return write_tiff(folder / "sound.tiff", [SLIDE, SLIDE[::4, ::4].copy()], mpp=2.0)


@pytest.fixture(scope="module")
def sound_big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("big") / "big.tiff"
    with tifffile.TiffWriter(path, bigtiff=True, byteorder=">") as writer:
        writer.write(SLIDE, tile=(128, 128), photometric="rgb", compression="zlib", metadata=None)
        writer.write(SLIDE[::4, ::4], tile=(128, 128), photometric="rgb", metadata=None)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SlideError) as caught:
        resolve(path)
    return str(caught.value)


def make_socket(path: Path) -> None:
    # A path of a socket must be short, and tmp_path is not.
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def make_bad(folder: Path) -> dict[str, Path]:
    """Make one of each kind of path that is no slide file."""
    bad = {
        name: folder / f"{name}.svs"
        for name in ("missing", "empty", "folder", "loop", "broken", "fifo", "socket", "pointer")
    }
    bad["empty"].touch()
    bad["folder"].mkdir()
    (bad["folder"] / "notes.txt").write_text("no DICOM here", encoding="utf-8")
    bad["loop"].symlink_to(bad["loop"])
    bad["broken"].symlink_to(folder / "nowhere.svs")
    os.mkfifo(bad["fifo"])
    make_socket(bad["socket"])
    bad["pointer"].write_bytes(LFS_POINTER)
    bad["device"] = Path(os.devnull)
    bad["below a file"] = bad["empty"] / "x.svs"
    bad["too long"] = folder / ("x" * 300 + ".svs")
    return bad


REASONS = {
    "missing": "no such file. Check",
    "empty": "empty (0 bytes)",
    "folder": "no DICOM files",
    "loop": "link that leads back to itself",
    "broken": "link to a file that does not exist",
    "fifo": "named pipe",
    "socket": "socket",
    "pointer": "Git LFS pointer",
    "device": "device",
    "below a file": "part of the path is not a folder",
    "too long": "path is too long",
}


@pytest.mark.parametrize("kind", REASONS)
@pytest.mark.timeout(5)
def test_what_is_no_slide_is_refused_at_once_by_name_and_reason(tmp_path: Path, kind: str) -> None:
    path = make_bad(tmp_path)[kind]
    began = time.process_time()

    message = refusal(path)

    assert time.process_time() - began < 2
    assert message.startswith(f"{path.name}: ")
    assert REASONS[kind] in message


def test_every_refusal_has_its_own_words(tmp_path: Path) -> None:
    messages = {refusal(path).split(": ", 1)[1] for path in make_bad(tmp_path).values()}

    assert len(messages) == len(REASONS)


def verdict(path: Path) -> None:
    """Inspect a file that may be refused or not, but nothing else may happen."""
    try:
        report = inspect_tiff(path)
    except SlideError as error:
        message = str(error)
    else:
        message = f"{path.name}: "
        assert report is None or report.size_bytes == path.stat().st_size
    assert message.startswith(f"{path.name}: ")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can change the user")
@pytest.mark.parametrize("locked", ["file", "folder"])
def test_file_without_permission_is_refused_as_such(tmp_path: Path, locked: str) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    path = folder / "slide.svs"
    path.write_bytes(b"II*\0")
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from idc_desktop.errors import SlideError\n"
        "from idc_desktop.slides.preflight import resolve\n"
        "folder, name = sys.argv[1:]\n"
        "os.chdir(folder)\n"
        "os.setuid(65534)\n"
        "try:\n"
        "    resolve(Path(name))\n"
        "except SlideError as error:\n"
        "    print(error)\n"
    )
    # The child enters while it may: the folders above belong to root, too.
    os.chmod(path if locked == "file" else folder, 0)  # noqa: PTH101 - either of two
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path, "locked/slide.svs"],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip

    assert done.stdout.startswith("slide.svs: No permission to read it.")


def test_sound_file_is_taken_as_it_is(sound: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.svs"
    link.symlink_to(sound)

    assert resolve(sound) == sound
    assert resolve(link) == link


def test_folder_stands_for_its_first_dicom_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("not me", encoding="utf-8")
    for name in ("c.dcm", "b.dcm"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM")

    assert resolve(tmp_path) == tmp_path / "b.dcm"


def test_folder_scan_does_not_open_pipes_and_links_to_nowhere(tmp_path: Path) -> None:
    bad = make_bad(tmp_path)

    assert regular_files(tmp_path) == [bad["empty"], bad["pointer"]]
    assert "no DICOM files" in refusal(tmp_path)


def test_sound_tiff_has_nothing_to_report(sound: Path, sound_big: Path) -> None:
    for path in (sound, sound_big):
        report = inspect_tiff(path)
        assert report is not None
        assert report.directories == 2
        assert report.truncation is None
        assert report.problems == []
        assert report.needed_bytes <= report.size_bytes == path.stat().st_size


@pytest.mark.parametrize(
    "data",
    [b"", b"II", b"plain text, named .svs", b"II\x2b\0", b"\xff\xd8\xff\xe0", b"MM\0\x01abcd"],
)
def test_other_kinds_of_file_are_left_to_the_decoder(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.svs"
    path.write_bytes(data)

    assert inspect_tiff(path) is None
    assert not is_dicom_slide(path)


def test_file_with_the_heads_of_dicom_and_tiff_goes_by_its_name(tmp_path: Path) -> None:
    data = b"II*\0\x08\0\0\0".ljust(128, b"\0") + b"DICM" + bytes(64)
    for name, is_dicom in (("dual.dcm", True), ("dual", True), ("dual.tif", False)):
        path = tmp_path / name
        path.write_bytes(data)

        assert is_dicom_slide(path) == is_dicom
        assert (inspect_tiff(path) is None) == is_dicom


@pytest.mark.parametrize("big", [False, True])
def test_truncation_is_noticed_wherever_the_file_is_cut(
    sound: Path, sound_big: Path, tmp_path: Path, big: bool
) -> None:
    """Cut at every tile's start and end, beside it, and in the directories."""
    source = sound_big if big else sound
    data = source.read_bytes()
    cuts = {len(data) - 1, len(data) // 2, len(data) // 20, 20}
    with tifffile.TiffFile(source) as file:
        for page in file.pages:
            assert isinstance(page, tifffile.TiffPage)
            cuts |= {page.offset, page.offset + 1, page.offset + 30}
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                cuts |= {offset - 1, offset, offset + 1, offset + count - 1}
    path = tmp_path / "cut.tiff"
    for cut in sorted(cut for cut in cuts if 16 <= cut < len(data)):
        path.write_bytes(data[:cut])
        report = inspect_tiff(path)
        assert report is not None
        assert report.truncation is not None, cut
        assert f"ends at byte {cut:,} but" in report.truncation
        assert f"to byte {report.needed_bytes:,}:" in report.truncation
        assert cut < report.needed_bytes


def patched(source: Path, path: Path, page: int, tag: int, value: int) -> Path:
    """Copy a TIFF with another value of a tag of one value (LONG where it was SHORT)."""
    data = bytearray(source.read_bytes())
    with tifffile.TiffFile(source) as file:
        entry = file.pages[page].tags[tag]  # type: ignore[union-attr]
        assert entry.count == 1
        struct.pack_into("<HI", data, entry.offset + 2, 4, 1)
        struct.pack_into("<I", data, entry.offset + 8, value)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("side", [1 << 20, 1 << 24, (1 << 32) - 1])
def test_giant_tile_is_refused_with_its_size(sound: Path, tmp_path: Path, side: int) -> None:
    path = patched(sound, tmp_path / "giant.tiff", 1, 322, side)
    path = patched(path, tmp_path / "giant2.tiff", 1, 323, side)

    with pytest.raises(SlideError, match=rf"giant2.tiff: .* {side:,} x {side:,} px"):
        inspect_tiff(path)


def test_tile_of_256_mib_is_the_largest_accepted(sound: Path, tmp_path: Path) -> None:
    width, limit = 128, (256 << 20) // (128 * 3)
    path = tmp_path / "limit.tiff"

    assert inspect_tiff(patched(sound, path, 0, 323, limit)) is not None
    with pytest.raises(SlideError, match=f"{width} x {limit + 1:,} px"):
        inspect_tiff(patched(sound, path, 0, 323, limit + 1))


def test_directories_in_a_loop_are_refused(sound: Path, tmp_path: Path) -> None:
    data = bytearray(sound.read_bytes())
    with tifffile.TiffFile(sound) as file:
        first, last = file.pages.first.offset, file.pages[1].offset
        assert isinstance(file.pages[1], tifffile.TiffPage)
        entries = len(file.pages[1].tags)
    struct.pack_into("<I", data, last + 2 + 12 * entries, first)
    path = tmp_path / "loop.tiff"
    path.write_bytes(data)

    with pytest.raises(SlideError, match=r"loop\.tiff: .* loop"):
        inspect_tiff(path)


def test_ten_thousand_tiny_directories_are_refused(tmp_path: Path) -> None:
    count = 10_000
    data = b"II*\0" + struct.pack("<I", 8)
    data += b"".join(struct.pack("<HI", 0, 8 + 6 * (index + 1)) for index in range(count))
    path = tmp_path / "many.tiff"
    path.write_bytes(data + bytes(6))

    with pytest.raises(SlideError, match=r"many\.tiff"):
        inspect_tiff(path)


@pytest.mark.timeout(20)
def test_overlapping_directories_cost_seconds_at_most(tmp_path: Path) -> None:
    """4,090 directories of 4,096 tags each, all in 80 kB."""
    count, tags = 4090, 4096
    data = bytearray(8 + 4 * count + 2 + 12 * tags + 64)
    struct.pack_into("<2sHI", data, 0, b"II", 42, 8)
    for index in range(count):
        at = 8 + 4 * index
        struct.pack_into("<H", data, at, tags)
        struct.pack_into("<I", data, at + 2 + 12 * tags, at + 4 if index < count - 1 else 0)
    path = tmp_path / "overlap.tiff"
    path.write_bytes(data)
    began = time.process_time()

    # Refused or reported: either will do, at once.
    verdict(path)
    assert time.process_time() - began < 5


def directory(count: int, entries: list[tuple[int, int, int, int]], following: int) -> bytes:
    """Return a directory: (tag, type, count, value or place) each, then the place of the next."""
    assert len(entries) == count
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<H", count) + packed + struct.pack("<I", following)


@pytest.mark.timeout(20)
def test_directories_that_share_their_tables_are_refused_at_once(tmp_path: Path) -> None:
    """4,000 directories, each with the same four tables of 2 million tiles, in 2.2 MB."""
    count, tiles = 4000, 2_000_000
    tables = [(tag, 1, tiles, 8) for tag in (273, 279, 324, 325)]
    size = 2 + 12 * len(tables) + 4
    first = 8 + tiles
    data = b"".join(
        directory(len(tables), tables, first + (k + 1) * size if k < count - 1 else 0)
        for k in range(count)
    )
    path = tmp_path / "shared.tiff"
    path.write_bytes(b"II*\0" + struct.pack("<I", first) + bytes(tiles) + data)
    began = time.process_time()

    with pytest.raises(SlideError, match=r"^shared\.tiff: .* more tiles than the file can hold"):
        inspect_tiff(path)
    assert time.process_time() - began < 5


def one_tile_in_many_places(path: Path, places: int) -> Path:
    """Write a directory of tiles that are all the same 64 KiB."""
    size, tile = 2 + 12 * 2 + 4, 1 << 16
    tables = 8 + size
    entries = [(324, 4, places, tables), (325, 4, places, tables + 4 * places)]
    head = b"II*\0" + struct.pack("<I", 8) + directory(2, entries, 0)
    body = np.full(places, tables + 8 * places, "<u4"), np.full(places, tile, "<u4")
    path.write_bytes(head + body[0].tobytes() + body[1].tobytes() + bytes(tile))
    return path


def test_tile_that_is_in_a_thousand_places_is_refused(tmp_path: Path) -> None:
    blank = one_tile_in_many_places(tmp_path / "blank.tiff", 1000)
    alias = one_tile_in_many_places(tmp_path / "alias.tiff", 2000)

    assert inspect_tiff(blank) is not None
    with pytest.raises(SlideError, match=r"^alias\.tiff: .* claim 125 MiB together, .* has 0\.1:"):
        inspect_tiff(alias)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (15, 256), (256, 8)])
def test_tiles_smaller_than_a_tiff_may_have_are_refused(
    tmp_path: Path, width: int, height: int
) -> None:
    path = tmp_path / "dust.tiff"
    entries = [(322, 4, 1, width), (323, 4, 1, height)]
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory(2, entries, 0))

    with pytest.raises(SlideError, match=rf"^dust\.tiff: It has tiles of {width} x {height} px;"):
        inspect_tiff(path)


def test_tiles_beyond_the_end_are_truncation_and_not_too_many(tmp_path: Path) -> None:
    alias = one_tile_in_many_places(tmp_path / "alias.tiff", 2000)
    os.truncate(alias, alias.stat().st_size - 1)

    report = inspect_tiff(alias)

    assert report is not None
    assert report.truncation is not None


def test_samples_that_nothing_decodes_are_refused_at_once(sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "deep.tiff"
    data = bytearray(sound.read_bytes())
    with tifffile.TiffFile(sound) as file:
        struct.pack_into("<3H", data, file.pages.first.tags[258].valueoffset, 64, 64, 64)
    path.write_bytes(data)

    with pytest.raises(SlideError, match=r"^deep\.tiff: Its samples have 64 bits; slides have 8\."):
        inspect_tiff(path)


def test_tag_that_a_decoder_would_take_into_memory_is_refused(tmp_path: Path) -> None:
    """A colour profile of 500 MB; the file takes no room on the disk."""
    path = tmp_path / "profile.tiff"
    tags = [(34675, 7, 500_000_000, 4096)]
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory(1, tags, 0))
    os.truncate(path, 500_010_000)

    with pytest.raises(SlideError, match=r"^profile\.tiff: .* \(34675\) claims 476 MiB"):
        inspect_tiff(path)


def test_directories_that_share_one_large_tag_are_refused(tmp_path: Path) -> None:
    """Each may have a profile of 60 MB, but a decoder reads it for each of them."""
    path, count = tmp_path / "profile.tiff", 500
    profile, size = (34675, 7, 60 << 20, 8 + count * 18), 2 + 12 + 4
    head = b"II*\0" + struct.pack("<I", 8)
    path.write_bytes(
        head
        + b"".join(
            directory(1, [profile], 8 + (k + 1) * size if k < count - 1 else 0)
            for k in range(count)
        )
    )
    os.truncate(path, 61 << 20)

    with pytest.raises(SlideError, match=r"^profile\.tiff: .* claim more than 256 MiB together"):
        inspect_tiff(path)


def test_ends_of_tiles_are_not_small_because_their_sum_overflows(tmp_path: Path) -> None:
    entries = [(324, 16, 1, (1 << 64) - 8), (325, 16, 1, 16)]
    packed = b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
    path = tmp_path / "sum.tiff"
    head = b"II" + struct.pack("<HHHQ", 43, 8, 0, 16)
    path.write_bytes(head + struct.pack("<Q", len(entries)) + packed + bytes(8))

    report = inspect_tiff(path)

    assert report is not None
    assert report.truncation is not None


@pytest.mark.parametrize("offset", [1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_directory_far_beyond_the_end_is_truncation(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "far.tiff"
    path.write_bytes(b"II" + struct.pack("<HHHQ", 43, 8, 0, offset) + bytes(64))

    report = inspect_tiff(path)

    assert report is not None
    assert report.truncation is not None
    assert report.directories == 0


MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["set", "value", "cut", "move"]),
        st.integers(0, 2**20),
        st.one_of(
            st.integers(0, 255),
            st.sampled_from([0x7FFF, 0xFFFF, 2**31, 2**32 - 1, 2**63, 2**64 - 1]),
        ),
    ),
    min_size=1,
    max_size=8,
)


def mutate(data: bytes, mutations: list[tuple[str, int, int]], directories: list[int]) -> bytes:
    """Change bytes, mostly in the header and the directories: elsewhere are only pixels."""
    out = bytearray(data)
    for kind, where, value in mutations:
        if len(out) < 20:
            break
        at = where % len(out)
        if kind != "cut" and where % 4:
            at = (directories[where % len(directories)] + where // 8 % 260) % (len(out) - 8)
        if kind == "set":
            out[at] = value & 0xFF
        elif kind == "value":
            size = 8 if value >= 2**32 else 4 if value > 0xFFFF else 2
            out[at : at + size] = value.to_bytes(size, "little")
        elif kind == "move":
            out[at : at + 12] = out[at + 12 : at + 24]
        elif where % 16 == 0:
            del out[at:]
    return bytes(out)


@given(mutations=MUTATIONS, big=st.booleans())
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_directories_raise_nothing_but_slide_errors(
    sound: Path,
    sound_big: Path,
    tmp_path: Path,
    mutations: list[tuple[str, int, int]],
    big: bool,
) -> None:
    source = sound_big if big else sound
    with tifffile.TiffFile(source) as file:
        directories = [0, *(page.offset for page in file.pages)]
    path = tmp_path / "mutant.tiff"
    path.write_bytes(mutate(source.read_bytes(), mutations, directories))
    began = time.process_time()

    verdict(path)

    assert time.process_time() - began < 2


@given(data=st.binary(max_size=400), head=st.sampled_from([b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0"]))
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_random_bytes_behind_a_tiff_header_raise_nothing_but_slide_errors(
    tmp_path: Path, data: bytes, head: bytes
) -> None:
    path = tmp_path / "random.tiff"
    path.write_bytes(head + data)

    verdict(path)


@pytest.mark.skipif(sys.platform != "linux", reason="reads a file of /proc that gives EIO")
def test_read_error_is_a_refusal_with_the_reason_of_the_system(tmp_path: Path) -> None:
    path = tmp_path / "s.svs"
    path.symlink_to("/proc/self/mem")  # a regular file; nothing lies at address 0

    with pytest.raises(SlideError, match=r"^s\.svs: It cannot be read \(Input/output error\)"):
        inspect_tiff(path)
