"""The book of regions: undo without end, and a file that survives what may come."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.errors import OutputError, RegionsError
from idc_desktop.regions.book import RegionBook
from idc_desktop.regions.editing import draw_ellipse, subtract
from idc_desktop.regions.kept import Kept, read_kept
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import Region, rectangle
from idc_desktop.regions.sheet import Sheet
from tests.support.command import environment

REPOSITORY = Path(__file__).resolve().parents[2]
FILE = "regions.sqlite"


def region(number: int) -> Region:
    return Region(f"Region {number}", rectangle(number, 0, number + 10, 10), id=f"id {number}")


def names(book: RegionBook) -> list[str]:
    return [it.name for it in book.regions]


def test_edits_change_regions_and_a_former_state_is_taken_back(tmp_path: Path) -> None:
    with RegionBook(tmp_path) as book:
        assert book.edit(put=[region(1)])
        assert book.edit(put=[region(2), region(3)])
        before = book.kept
        assert book.edit(put=[replace(region(2), name="both")], remove=["id 3"])
        assert names(book) == ["Region 1", "both"]
        assert not book.edit(put=[region(1)])
        book.go_back(before)
        assert names(book) == ["Region 1", "Region 2", "Region 3"]
        book.edit(remove=["id 1"])
        assert book.find("id 2").name == "Region 2"
        with pytest.raises(KeyError):
            book.find("id 1")


def test_thousand_regions_go_back_a_thousand_steps_fast(tmp_path: Path) -> None:
    angles = np.linspace(0, 6.28, 60)
    outline = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    with RegionBook(tmp_path) as book:
        regions = [
            Region(str(n), draw_ellipse((n, 0), (n + 9, 9)), id=str(n)) for n in range(1_000)
        ]
        book.edit(put=regions)
        steps = [book.kept]
        for step in range(1_000):
            moved = book.regions[step].shape.moved(*outline[step % 60])
            book.edit(put=[replace(book.regions[step], shape=moved)])
            steps.append(book.kept)
        longest = 0.0
        for state in (*reversed(steps), *steps):
            began = time.process_time()
            book.go_back(state)
            longest = max(longest, time.process_time() - began)
        assert book.regions[999].shape != regions[999].shape
        book.go_back(steps[0])
        assert book.regions == tuple(regions)
        assert longest < 0.1


def test_locked_region_only_unlocks_and_hides(tmp_path: Path) -> None:
    locked = replace(region(1), is_locked=True)
    with RegionBook(tmp_path) as book:
        book.edit(put=[locked])
        for put, remove in (
            ([replace(locked, name="x")], []),
            ([replace(locked, shape=rectangle(0, 0, 1, 1), is_locked=False)], []),
            ([region(2)], ["id 1"]),
        ):
            with pytest.raises(RegionsError, match="'Region 1' is locked"):
                book.edit(put=put, remove=remove)
        assert book.regions == (locked,)
        book.edit(put=[replace(locked, is_hidden=True)])
        book.edit(put=[replace(locked, is_locked=False)])
        book.edit(remove=["id 1"])
        assert book.regions == ()


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    hollow = subtract(rectangle(0.1, 0.2, 90, 90), [rectangle(20, 20, 33.3, 40)])
    assert hollow is not None
    regions = (
        Region('Größe "µ"\n\ud800', hollow, "Tumor", (1, 2, 3), is_locked=True),
        Region("", draw_ellipse((0, 0), (10, 1 / 3)), is_hidden=True),
        replace(region(5), verdict="unsure", note="two\nlines", is_focus=True),
    )
    marks = (Mark("angle", ((0, 0), (1 / 3, 4), (5, 6)), "α"), Mark("point", ((7, 8),), ""))
    sheet = Sheet(case="C-1", conclusion="no IDC")
    with RegionBook(tmp_path / "slide") as book:
        book.edit(put=regions)
        book.edit_marks(put=[*marks, Mark("point", ((0, 0),), "", id="gone")])
        book.edit_marks(remove=["gone"])
        book.write_sheet(sheet)
        book.save_view({"threshold": 0.25, "centre": [1.5, 2], "model": None})
        before = book.kept
        book.edit(put=[region(6)])
        book.go_back(before)

    with RegionBook(tmp_path / "slide") as book:
        assert book.kept == Kept(regions, marks, sheet)
        assert book.view == {"threshold": 0.25, "centre": [1.5, 2], "model": None}
        assert book.notes == ()


def test_others_read_it_and_change_nothing_unless_a_window_has_it_open(tmp_path: Path) -> None:
    assert read_kept(tmp_path / "no such slide") == Kept()
    assert not (tmp_path / "no such slide").exists()
    with RegionBook(tmp_path) as book:
        book.edit(put=[replace(region(1), verdict="IDC")])
        book.flush()
        script = (
            "import sys; from pathlib import Path; from idc_desktop.regions.kept import read_kept; "
            "read_kept(Path(sys.argv[1]))"
        )
        found = subprocess.run(
            [sys.executable, "-c", script, tmp_path], cwd=REPOSITORY, env=environment(tmp_path),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "database is locked" in found.stderr
    before = {it.name: it.read_bytes() for it in tmp_path.iterdir()}

    assert read_kept(tmp_path).regions == (replace(region(1), verdict="IDC"),)
    assert {it.name: it.read_bytes() for it in tmp_path.iterdir()} == before


def test_what_a_kill_left_half_written_is_read_as_it_was_before(tmp_path: Path) -> None:
    with RegionBook(tmp_path / "work") as book:
        book.edit(put=[region(n) for n in range(200)])
    sound = (tmp_path / "work" / FILE).read_bytes()
    (tmp_path / "left").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "work" / FILE)) as database:
        database.isolation_level = None
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN EXCLUSIVE")
        database.execute("UPDATE region SET text = text || ' ', crc = 0")
        for name in (FILE, f"{FILE}-journal"):
            data = (tmp_path / "work" / name).read_bytes()
            (tmp_path / "left" / name).write_bytes(data)
    assert (tmp_path / "left" / FILE).read_bytes() != sound

    assert len(read_kept(tmp_path / "left").regions) == 200
    assert (tmp_path / "left" / f"{FILE}-journal").exists()


def test_order_is_kept(tmp_path: Path) -> None:
    with RegionBook(tmp_path) as book:
        book.edit(put=[region(n) for n in range(5)])
        book.edit(remove=["id 1"])
        book.edit(put=[replace(region(3), name="x"), region(9)])

    with RegionBook(tmp_path) as book:
        assert names(book) == ["Region 0", "Region 2", "x", "Region 4", "Region 9"]


def test_second_window_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with RegionBook(tmp_path) as book:
        with pytest.raises(OutputError, match="Another window has this slide open"):
            RegionBook(tmp_path)
        book.edit(put=[region(1)])
        assert book.flush()


@pytest.mark.parametrize("data", [b"", b"not a database, but long enough" * 50, None])
def test_file_that_is_none_of_ours_is_kept_aside(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / FILE
    if data is None:
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE other (x)")
        database.close()
    else:
        path.write_bytes(data)

    with RegionBook(tmp_path) as book:
        assert book.regions == ()
        book.edit(put=[region(1)])
        noted = book.notes

    kept = sorted(it.name for it in tmp_path.iterdir())
    assert kept == ([FILE] if data == b"" else ["regions.damaged-1.sqlite", FILE])
    assert len(noted) == (data != b"")
    with RegionBook(tmp_path) as book:
        assert names(book) == ["Region 1"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE region SET text = replace(text, '10.0', '19.0') WHERE id = 'id 1'",
        "UPDATE region SET text = '{' WHERE id = 'id 1'",
        "UPDATE region SET id = CAST(x'ff' AS TEXT) WHERE id = 'id 1'",
        "UPDATE region SET place = 'x' WHERE id = 'id 1'",
    ],
)
def test_damaged_region_is_left_out_and_the_others_stay(tmp_path: Path, damage: str) -> None:
    with RegionBook(tmp_path) as book:
        book.edit(put=[region(0), region(1), region(2)])
        book.save_view({"threshold": 0.5})
    database = sqlite3.connect(tmp_path / FILE)
    database.execute(damage)
    database.commit()
    database.close()

    with RegionBook(tmp_path) as book:
        assert names(book) == ["Region 0", "Region 2"]
        assert book.view == {"threshold": 0.5}
        assert "regions.damaged-1.sqlite" in book.notes[0]
    with RegionBook(tmp_path) as book:
        assert (names(book), book.notes) == (["Region 0", "Region 2"], ())
    assert (tmp_path / "regions.damaged-1.sqlite").is_file()


def test_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    RegionBook(tmp_path).close()
    database = sqlite3.connect(tmp_path / FILE)
    database.execute("PRAGMA user_version = 99")
    database.close()
    before = (tmp_path / FILE).read_bytes()

    with pytest.raises(OutputError, match="newer version"):
        RegionBook(tmp_path)

    assert (tmp_path / FILE).read_bytes() == before


WRITER = """
import itertools, sys
from dataclasses import replace
from pathlib import Path
from idc_desktop.regions.book import RegionBook
from tests.regions.test_book import region
book = RegionBook(Path(sys.argv[1]))
start = len(book.regions)
for number in itertools.count(start):
    book.edit(put=[region(number), replace(region(0), name=f"{number} drawn")])
    assert book.flush()
    print(number, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_kill_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    choice = random.Random(4)
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "slide")],
            stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=environment(tmp_path),
        ) as process:  # fmt: skip
            assert process.stdout is not None
            acknowledged = int(process.stdout.readline())
            time.sleep(choice.uniform(0, 0.2))
            os.kill(process.pid, signal.SIGKILL)
            acknowledged = max(acknowledged, *map(int, process.stdout.read().split() or ["0"]))
        with RegionBook(tmp_path / "slide") as book:
            count = len(book.regions)
            assert count > acknowledged
            assert [it.id for it in book.regions] == [f"id {n}" for n in range(count)]
            assert book.regions[0].name == f"{count - 1} drawn"
            assert book.notes == ()


FULL = """
import resource, sys
from pathlib import Path
from idc_desktop.regions.book import RegionBook
from tests.regions.test_book import region
told = []
book = RegionBook(Path(sys.argv[1]), told.append)
book.edit(put=[region(1)])
assert book.flush()
size = (Path(sys.argv[1]) / "regions.sqlite").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
book.edit(put=[region(n) for n in range(2, 900)])
assert not book.flush(0.5)
assert book.settle() == book.problem
print(book.problem)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert book.settle() == ""
assert book.problem == ""
assert [bool(it) for it in told] == [True, False]
book.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_full_disk_is_told_and_saved_later(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True, text=True, cwd=REPOSITORY, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "The regions cannot be saved" in done.stdout
    with RegionBook(tmp_path) as book:
        assert len(book.regions) == 899


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can change the user"
)
def test_folder_without_permission_is_refused(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from idc_desktop.regions.book import RegionBook;"
        "os.chdir(sys.argv[1]); os.setuid(65534)\n"
        "try: RegionBook(Path('slide'))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    tmp_path.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True, text=True, cwd=REPOSITORY, check=False, timeout=60,
    )  # fmt: skip

    assert done.stdout.startswith("OutputError regions.sqlite: The regions cannot be saved")
