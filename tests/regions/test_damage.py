"""Damaged and older files of regions: what is sound is never lost, and never hidden."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.errors import OutputError
from idc_desktop.regions.book import RegionBook
from idc_desktop.regions.kept import Kept
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import Region, rectangle, shape_of
from idc_desktop.regions.sheet import Sheet
from idc_desktop.storage.database import FACTS, fact, put, sealed
from tests.support.command import environment
from tests.support.damage import DAMAGES, PAGE, flip, overwrite
from tests.support.older_files import write_regions_1, write_regions_3

REPOSITORY = Path(__file__).resolve().parents[2]
FILE = "regions.sqlite"
KEPT = "regions.damaged-1.sqlite"
VIEW = {"threshold": 0.25}
USER_VERSION, APPLICATION_ID = 60, 68  # offsets in the file's header


def region(number: int) -> Region:
    """Return a region that fills a small part of a page; of every 20, one fills several pages."""
    if number % 20 != 7:
        shape = rectangle(number, number * 10, number + 10.5, number * 10 + 20)
    else:
        angles = np.linspace(0, 2 * np.pi, 300, endpoint=False)
        ring = np.stack([(5000 + number) * np.cos(angles), 5000 * np.sin(angles)], axis=1)
        shape = shape_of([[ring.tolist()]])
    return Region(f"Region {number}", shape, "Tumor", id=f"the region of number {number}")


REGIONS = tuple(region(number) for number in range(60))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file that has been worked on: edited, and with regions that are gone."""
    folder = tmp_path_factory.mktemp("sound")
    with RegionBook(folder) as book:
        book.edit(put=[replace(it, name="other") for it in REGIONS])
        book.edit(put=[region(number) for number in range(100, 140)])
        book.flush()
        for start in range(0, 60, 6):
            book.edit(put=REGIONS[start : start + 6])
            book.flush()
        book.edit(remove=[region(number).id for number in range(100, 140)])
        book.save_view(VIEW)
    return (folder / FILE).read_bytes()


def put_file(folder: Path, data: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_bytes(data)


def opened(folder: Path) -> tuple[dict[str, Region], tuple[str, ...]]:
    """Return the regions that a window finds in a file, and what it is told of it."""
    with RegionBook(folder) as book:
        return {it.id: it for it in book.regions}, book.notes


def pages_of(data: bytes, one: Region) -> set[int]:
    """Return the pages on which a region's bytes are, found by what it says."""
    rings = [ring for polygon in one.shape.polygons for ring in polygon]
    pieces = [json.dumps(ring.tolist(), separators=(",", ":")) for ring in rings]
    text = "".join(pieces).encode()
    places = [data.find(text[at : at + 40]) for at in range(0, max(1, len(text) - 40), 40)]
    return {at // PAGE for at in [*places, data.find(f"{one.id}".encode())] if at >= 0}


def check_damage(folder: Path, sound: bytes, kind: str, seed: int) -> str:
    """Damage a file and open it twice; return what became of it."""
    data, touched = DAMAGES[kind](sound, random.Random(f"{kind} {seed}"))
    put_file(folder, data)
    found, notes = opened(folder)
    lost = [it for it in REGIONS if it.id not in found]
    assert all(found[it.id] == it for it in REGIONS if it not in lost)
    assert len(found) == len(REGIONS) - len(lost), "a region came back that was deleted"
    if len(touched) == 1:
        assert len(lost) <= 1, [it.name for it in lost]
    for one in lost:
        assert pages_of(sound, one) & {at // PAGE for at in touched}, one.name
    again, said = opened(folder)
    assert (list(again.values()), said) == (list(found.values()), ())
    if not notes:
        assert not lost
        return "nothing"
    assert KEPT in notes[0]
    assert f"Regions saved: {len(found)}" in notes[0]
    assert f"lost: {len(lost)}." in notes[0] or "not known" in notes[0]
    assert (folder / KEPT).read_bytes() == data
    assert sorted(it.name for it in folder.iterdir()) == [KEPT, FILE]
    return "some lost" if lost else "all saved"


@pytest.mark.parametrize("kind", DAMAGES)
def test_no_sound_region_is_lost(tmp_path: Path, sound: bytes, kind: str) -> None:
    for seed in range(15):
        check_damage(tmp_path / str(seed), sound, kind, seed)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", DAMAGES)
def test_no_sound_region_of_two_hundred_files_is_lost(
    tmp_path: Path, sound: bytes, kind: str
) -> None:
    outcomes = {check_damage(tmp_path / str(seed), sound, kind, seed) for seed in range(15, 215)}

    # Whether a cut can miss all regions depends on where SQLite put the pages.
    assert ("some lost" if kind == "cut" else "all saved") in outcomes


@pytest.mark.parametrize("offset", [0, 16, 18, 19, 28, 36, 52, 56, *range(60, 64), *range(68, 72)])
def test_flipped_bit_of_the_header_locks_and_blanks_nothing(
    tmp_path: Path, sound: bytes, offset: int
) -> None:
    for bit in range(8 * offset, 8 * offset + 8):
        folder = tmp_path / str(bit)
        put_file(folder, flip(sound, bit)[0])
        found, _ = opened(folder)
        assert tuple(found.values()) == REGIONS


def test_two_kinds_of_damage_at_once(tmp_path: Path, sound: bytes) -> None:
    last = sound.find(b'"name":"Region 59"') // PAGE
    data, _ = overwrite(sound, PAGE * last, PAGE, bytes(PAGE))
    for offset in (0, USER_VERSION + 3, APPLICATION_ID):
        data, _ = flip(data, 8 * offset)
    put_file(tmp_path, data)
    found, notes = opened(tmp_path)

    lost = [it for it in REGIONS if it.id not in found]
    assert REGIONS[59] in lost
    assert all(last in pages_of(sound, it) for it in lost)
    assert f"Regions saved: {len(found)}, lost: {len(lost)}." in notes[0]


def test_deleted_regions_leave_nothing_in_the_file(sound: bytes) -> None:
    assert b"the region of number 59" in sound
    assert b"the region of number 139" not in sound


def write_version(path: Path, header: int, says: int | None) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"PRAGMA user_version = {header}")
        if says is not None:
            put(database, FACTS, [fact("format", says)])


@pytest.mark.parametrize(
    ("header", "says", "damaged_bit"),
    [
        (8, None, None),
        (99, None, None),
        (8, 8, None),
        (5, 5, None),  # one bit away from 1
        (7, 7, None),  # and from 3
        (7, 7, 8 * 0 + 2),
        (7, 7, 8 * (USER_VERSION + 3) + 2),  # now 3
        (7, 7, 8 * APPLICATION_ID),
        (7, 7, 8 * 110),  # the schema
    ],
)
def test_newer_version_is_refused_by_name_and_left_alone(
    tmp_path: Path, sound: bytes, header: int, says: int | None, damaged_bit: int | None
) -> None:
    put_file(tmp_path, sound)
    write_version(tmp_path / FILE, header, says)
    data = (tmp_path / FILE).read_bytes()
    if damaged_bit is not None:
        data, _ = flip(data, damaged_bit)
    put_file(tmp_path, data)

    with pytest.raises(OutputError, match=rf"^{FILE}: A newer version .*\(format {header}\)"):
        RegionBook(tmp_path)

    assert {it.name: it.read_bytes() for it in tmp_path.iterdir()} == {FILE: data}


@pytest.mark.parametrize("write_older", [write_regions_1, write_regions_3])
def test_older_version_is_upgraded_and_kept(
    tmp_path: Path, write_older: Callable[[Path, tuple[Region, ...], dict[str, float]], None]
) -> None:
    write_older(tmp_path / FILE, REGIONS, VIEW)
    older = (tmp_path / FILE).read_bytes()

    with RegionBook(tmp_path) as book:
        assert (book.regions, book.view, book.notes) == (REGIONS, VIEW, ())
        book.edit(remove=[REGIONS[0].id])
    with RegionBook(tmp_path) as book:
        assert (book.regions, book.view, book.notes) == (REGIONS[1:], VIEW, ())

    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (4,)
    names = sorted(it.name for it in tmp_path.iterdir())
    assert names == ["regions.older-1.sqlite", FILE]
    assert (tmp_path / "regions.older-1.sqlite").read_bytes() == older


@pytest.mark.parametrize("kind", DAMAGES)
def test_no_sound_region_of_an_older_version_is_lost(tmp_path: Path, kind: str) -> None:
    write_regions_1(tmp_path / FILE, REGIONS, VIEW)
    sound = (tmp_path / FILE).read_bytes()
    for seed in range(4):
        folder = tmp_path / str(seed)
        data, touched = DAMAGES[kind](sound, random.Random(f"{kind} {seed}"))
        put_file(folder, data)
        found, notes = opened(folder)
        lost = [it for it in REGIONS if it.id not in found]
        for one in lost:
            assert pages_of(sound, one) & {at // PAGE for at in touched}, one.name
        assert not lost or "whether there were more is not known" in notes[0]


def test_row_that_this_version_does_not_understand_stays(tmp_path: Path) -> None:
    write_regions_1(tmp_path / FILE, REGIONS[:2], VIEW)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        database.execute("UPDATE region SET text = '[]' WHERE place = 1")
        row = database.execute("SELECT id, place, text FROM region WHERE place = 1").fetchone()
        database.execute("UPDATE region SET crc = ? WHERE place = 1", sealed(*row)[-1:])

    with RegionBook(tmp_path) as book:
        assert book.regions == REGIONS[:1]
        assert "1 stored region(s) are of a kind" in book.notes[0]
        book.edit(put=[REGIONS[5]])
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as database:
        assert database.execute("SELECT COUNT(*) FROM region").fetchone() == (3,)


def test_marks_and_what_was_written_survive_damage(tmp_path: Path) -> None:
    marks = (Mark("line", ((0, 0), (30, 40)), "A"), Mark("text", ((5, 5.5),), "here"))
    sheet = Sheet("C 7", "Dr. Who", "first\nsecond", "benign")
    judged = replace(REGIONS[0], verdict="DCIS", note="necrosis", is_focus=True)
    with RegionBook(tmp_path) as book:
        book.edit(put=[judged])
        book.edit_marks(put=marks)
        book.write_sheet(sheet)
    put_file(tmp_path, flip((tmp_path / FILE).read_bytes(), 3)[0])

    with RegionBook(tmp_path) as book:
        assert book.kept == Kept((judged,), marks, sheet)
        assert "Regions saved: 1, lost: 0. Marks saved: 2, lost: 0." in book.notes[0]


SECOND = """
import sys
from pathlib import Path
from idc_desktop.regions.book import RegionBook
try:
    RegionBook(Path(sys.argv[1])).close()
except Exception as error:
    print(error)
else:
    print("opened")
"""


def run_script(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True,
        cwd=REPOSITORY, check=False, timeout=60, env=environment(Path("unused")),
    )  # fmt: skip


def test_file_that_was_damaged_is_still_held_by_one_window(tmp_path: Path, sound: bytes) -> None:
    at = sound.find(b"Region 30")
    put_file(tmp_path, overwrite(sound, at, 1, b"r")[0])

    with RegionBook(tmp_path) as book:
        assert len(book.regions) == 59
        assert "Another window has this slide open" in run_script(SECOND, tmp_path).stdout
    assert run_script(SECOND, tmp_path).stdout == "opened\n"


def test_damage_beside_a_transaction_that_was_cut_short(tmp_path: Path, sound: bytes) -> None:
    put_file(tmp_path / "work", sound)
    put_file(tmp_path, sound)
    with contextlib.closing(sqlite3.connect(tmp_path / "work" / FILE)) as database:
        database.isolation_level = None
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN EXCLUSIVE")
        database.execute("UPDATE region SET text = text || ' ', crc = 0")
        for name in (FILE, f"{FILE}-journal"):
            (tmp_path / name).write_bytes((tmp_path / "work" / name).read_bytes())
    assert (tmp_path / FILE).read_bytes() != sound
    put_file(tmp_path, flip((tmp_path / FILE).read_bytes(), 3)[0])

    found, _ = opened(tmp_path)

    assert tuple(found.values()) == REGIONS
    assert not (tmp_path / f"{FILE}-journal").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from idc_desktop.storage import atomic, database, salvage
from idc_desktop.regions import book
at, files = int(sys.argv[2]), {it.__file__ for it in (atomic, database, book)}
count = 0
def step(frame, event, argument):
    global count
    if frame.f_code.co_filename in files:
        count += 1
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
sys.setprofile(step)
opened = book.RegionBook(Path(sys.argv[1]))
sys.setprofile(None)
opened.close()
print(count)
"""


def check_kill(folder: Path, data: bytes, at: int) -> str:
    """Kill a process at a step of mending or upgrading a file; return what it said."""
    put_file(folder, data)
    said = run_script(KILLED, folder, at).stdout
    found, _ = opened(folder)
    assert tuple(found.values()) == REGIONS
    names = [it.name for it in folder.iterdir() if it.suffix == ".sqlite"]
    assert len(names) == 2, names
    assert not list(folder.glob(".*"))
    (kept,) = (it for it in names if it != FILE)
    assert (folder / kept).read_bytes() == data
    return said


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory, sound: bytes) -> dict[str, bytes]:
    """Files that are put together again when they are opened."""
    path = tmp_path_factory.mktemp("older") / FILE
    write_regions_1(path, REGIONS, VIEW)
    return {"damaged": flip(sound, 3)[0], "older": path.read_bytes()}


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
@pytest.mark.parametrize("kind", ["damaged", "older"])
def test_kill_while_a_file_is_put_together_again(
    tmp_path: Path, broken: dict[str, bytes], kind: str
) -> None:
    steps = int(check_kill(tmp_path / "whole", broken[kind], -1))
    for number, at in enumerate(random.Random(kind).sample(range(1, steps), 4)):
        assert check_kill(tmp_path / str(number), broken[kind], at) == ""


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["damaged", "older"])
def test_kill_at_many_steps_of_putting_a_file_together_again(
    tmp_path: Path, broken: dict[str, bytes], kind: str
) -> None:
    steps = int(check_kill(tmp_path / "whole", broken[kind], -1))
    for at in range(1, steps, 15):
        check_kill(tmp_path / str(at), broken[kind], at)


@pytest.mark.parametrize("offset", [18, 19])
def test_file_that_sqlite_would_only_read_can_be_drawn_in_again(
    sound: bytes, tmp_path: Path, offset: int
) -> None:
    """The write and read versions in the header: one bit of them locked the regions for ever."""
    data = bytearray(sound)
    data[offset] ^= 0x04
    put_file(tmp_path, bytes(data))

    with RegionBook(tmp_path) as book:
        assert len(book.regions) == len(REGIONS)
        book.edit(put=[region(500)])
        assert book.flush()
        assert book.problem == ""

    assert region(500).id in opened(tmp_path)[0]
    assert (tmp_path / KEPT).read_bytes() == bytes(data)
