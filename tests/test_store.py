"""The store of runs: what was committed survives, and damage is never taken for a result."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idc_desktop.errors import OutputError
from idc_desktop.maps.grid import Block
from idc_desktop.maps.layers import NO_VALUE, PATCH
from idc_desktop.maps.probability_map import BlockResult, PatchState
from idc_desktop.storage.run_files import APPLICATION_ID, FORMAT_VERSION, RunStore, run_key
from tests.support.command import run_cli
from tests.support.models import TinyModel
from tests.support.scenes import Scene

IDENTITY = "5" * 64
SETTINGS: dict[str, Any] = {"slide": IDENTITY, "model": "a" * 64, "mpp": [0.25, 0.25]}
BLOCKS = 12


def result(number: int) -> BlockResult:
    """Return a block's result with every state in it."""
    rng = np.random.default_rng(number)
    block = Block(number, 8 * number, 3, 4, 5)
    states = rng.choice([1, 1, 1, 2, 3, 4], (4, 5)).astype(np.uint8)
    values = rng.integers(0, 1_000_001, (4, 5))
    stored = np.where(states == PatchState.OK, values, NO_VALUE).astype(np.int32)
    failed = np.argwhere(np.isin(states, (3, 4))).tolist()
    reasons = {(block.row + row, block.col + col): f"why {row}µ" for row, col in failed}
    return BlockResult(block, states, {PATCH: stored}, reasons)


def open_store(folder: Path, *, restart: bool = False, **changed: Any) -> RunStore:
    return RunStore(folder, IDENTITY, {**SETTINGS, **changed}, restart)


def filled(folder: Path, blocks: int = BLOCKS) -> Path:
    with open_store(folder) as store:
        store.commit([result(number) for number in range(blocks)])
        return store.path


def same(one: BlockResult, other: BlockResult) -> bool:
    return (
        one.block == other.block
        and np.array_equal(one.states, other.states)
        and list(one.layers) == list(other.layers)
        and all(np.array_equal(one.layers[it], other.layers[it]) for it in one.layers)
        and one.reasons == other.reasons
    )


def test_new_run_is_empty_and_private_to_slide_and_settings(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        assert store.restored == ()
        assert store.notes == ()
        assert list(store.results()) == []
        assert store.path.parent.name == IDENTITY[:32]
    with open_store(tmp_path, model="b" * 64) as other:
        assert other.path != store.path


def test_committed_blocks_come_back_as_they_were(tmp_path: Path) -> None:
    filled(tmp_path)

    with open_store(tmp_path) as store:
        assert store.restored == tuple(range(BLOCKS))
        back = list(store.results())

    assert len(back) == BLOCKS
    assert all(same(one, result(number)) for number, one in enumerate(back))


def test_restart_forgets_the_blocks_and_keeps_the_file(tmp_path: Path) -> None:
    path = filled(tmp_path)

    with open_store(tmp_path, restart=True) as store:
        assert (store.restored, store.path) == ((), path)
    with open_store(tmp_path) as store:
        assert store.restored == ()


def test_block_that_is_committed_again_replaces_the_old_one(tmp_path: Path) -> None:
    filled(tmp_path)
    other = BlockResult.failed(result(4).block, "crashed")

    with open_store(tmp_path) as store:
        store.commit([other])
    with open_store(tmp_path) as store:
        back = list(store.results())

    assert len(back) == BLOCKS
    assert back[4].block == other.block
    assert np.array_equal(back[4].states, other.states)
    assert back[4].reasons == other.reasons
    assert np.all(back[4].layers["patch"] == -1)  # no probability is left


def test_file_says_whose_it_is_and_syncs_to_disk(tmp_path: Path) -> None:
    path = filled(tmp_path)

    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert database.execute("PRAGMA user_version").fetchone() == (FORMAT_VERSION,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert {entry.name for entry in path.parent.iterdir()} == {path.name}


@given(
    one=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=4),
    key=st.text(max_size=5),
    value=st.integers(),
)
@settings(max_examples=50, deadline=None)
def test_key_depends_on_every_setting_and_not_on_their_order(
    one: dict[str, Any], key: str, value: int
) -> None:
    other = {**one, key: value}

    assert run_key(dict(reversed(one.items()))) == run_key(one)
    assert (run_key(other) == run_key(one)) == (other == one)


NEWER = 23
"""Two bits from every version that there is: one that is nearer may be damage."""


def test_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {NEWER}")
    before = path.read_bytes()

    with pytest.raises(OutputError, match=rf"newer version .*format {NEWER}"):
        open_store(tmp_path)

    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def foreign_database(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE recipes (name TEXT)")
        database.execute("INSERT INTO recipes VALUES ('plum cake')")
        database.commit()


def other_application(path: Path) -> None:
    foreign_database(path)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA application_id = 42")


def ours_without_tables(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {FORMAT_VERSION}")


def other_run(path: Path) -> None:
    with open_store(path.parents[2], model="other") as store:
        store.commit([result(99)])
    shutil.copy(store.path, path)


SPOILERS = {
    "noise": lambda path: path.write_bytes(random.Random(1).randbytes(9000)),
    "text": lambda path: path.write_text("not a database " * 90, encoding="utf-8"),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
    "header only": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "foreign": lambda path: (path.unlink(), foreign_database(path)),
    "other application": lambda path: (path.unlink(), other_application(path)),
    "no tables": lambda path: (path.unlink(), ours_without_tables(path)),
    "other run": other_run,
}


@pytest.mark.parametrize("kind", SPOILERS)
def test_what_is_no_run_file_is_kept_aside_and_never_believed(tmp_path: Path, kind: str) -> None:
    path = filled(tmp_path)
    SPOILERS[kind](path)
    spoilt = path.read_bytes()

    with open_store(tmp_path) as store:
        assert store.restored == ()
        assert len(store.notes) == 1
        assert "kept as" in store.notes[0]
        store.commit([result(0)])

    kept = [entry for entry in path.parent.iterdir() if "damaged" in entry.name]
    assert [entry.read_bytes() for entry in kept] == [spoilt]
    assert kept[0].name in store.notes[0]
    with open_store(tmp_path) as store:
        assert store.restored == (0,)


def test_second_damaged_file_does_not_replace_the_first(tmp_path: Path) -> None:
    for content in (b"first " * 50, b"second " * 50):
        path = filled(tmp_path)
        path.write_bytes(content)
        open_store(tmp_path).close()

    kept = [entry.read_bytes()[:5] for entry in path.parent.iterdir() if "damaged" in entry.name]
    assert sorted(kept) == [b"first", b"secon"]


def test_changed_number_is_computed_again(tmp_path: Path) -> None:
    path = filled(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as database:
        blob = bytearray(
            database.execute("SELECT layer_values FROM block WHERE number = 5").fetchone()[0]
        )
        blob[0] ^= 1
        database.execute("UPDATE block SET layer_values = ? WHERE number = 5", (bytes(blob),))
        database.commit()

    with open_store(tmp_path) as store:
        assert store.restored == tuple(n for n in range(BLOCKS) if n != 5)
        assert "1 stored block(s) were damaged" in store.notes[0]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM block WHERE number = 3",
        "UPDATE block SET states = NULL WHERE number = 3",
        "UPDATE block SET states = 'text' WHERE number = 3",
        "UPDATE block SET rows = 0 WHERE number = 3",
        "UPDATE block SET rows = -4, cols = -5 WHERE number = 3",
        "UPDATE block SET first_row = first_row + 1 WHERE number = 3",
        "UPDATE block SET reasons = '[' WHERE number = 3",
        "UPDATE block SET crc = crc + 1 WHERE number = 3",
    ],
)
def test_block_that_was_meddled_with_is_not_believed(tmp_path: Path, statement: str) -> None:
    path = filled(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA ignore_check_constraints = 1")
        with contextlib.suppress(sqlite3.IntegrityError):
            database.execute(statement)
        database.execute("UPDATE block SET crc = 0 WHERE number = 3")
        database.commit()

    with open_store(tmp_path) as store:
        assert store.restored == tuple(n for n in range(BLOCKS) if n != 3)


def outcome_of_damage(folder: Path) -> str:
    """Open a damaged store as the engine does; whatever it believes must be true."""
    with open_store(folder) as store:
        believed = list(store.results())
        assert [it.block.number for it in believed] == list(store.restored)
        for one in believed:
            assert same(one, result(one.block.number)), one
        missing = [result(n) for n in range(BLOCKS) if n not in store.restored]
        store.commit(missing)
        notes = bool(store.notes)
    with open_store(folder) as store:
        assert [same(one, result(n)) for n, one in enumerate(store.results())] == [True] * BLOCKS
    return "recomputed" if missing else "noticed" if notes else "identical"


def flip_everywhere(tmp_path: Path, count: int, seed: int) -> set[str]:
    """Flip bytes of a run file, one copy for each; return what came of it."""
    choice = random.Random(seed)
    outcomes = set()
    intact = filled(tmp_path / "intact")
    data = intact.read_bytes()
    # Headers, schema and directories of pages are a small part of the file, and the tender one.
    tender = [*range(140), *range(3500, 4096)]
    tender += [page + k for page in range(4096, len(data), 4096) for k in range(40)]
    for number in range(count):
        offset = choice.choice(tender) if number % 2 else choice.randrange(len(data))
        mask = choice.choice([1, 1 << choice.randrange(8), choice.randrange(1, 256)])
        if offset == 63 and mask.bit_count() > 1:
            continue  # may be the version of a newer file
        folder = tmp_path / "flipped"
        copy = folder / intact.relative_to(tmp_path / "intact")
        copy.parent.mkdir(parents=True)
        damaged = bytearray(data)
        damaged[offset] ^= mask
        copy.write_bytes(damaged)
        try:
            outcomes.add(outcome_of_damage(folder))
        except Exception as error:
            raise AssertionError(f"byte {offset} ^ {mask:#x}: {error!r}") from error
        shutil.rmtree(folder)
    return outcomes


def test_flipped_byte_never_becomes_a_number(tmp_path: Path) -> None:
    outcomes = flip_everywhere(tmp_path, 200, seed=1)

    assert outcomes >= {"recomputed", "identical"}


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [2, 3])
def test_no_flipped_byte_of_a_thousand_becomes_a_number(tmp_path: Path, seed: int) -> None:
    outcomes = flip_everywhere(tmp_path, 1000, seed)

    assert outcomes >= {"recomputed", "identical"}


def test_finished_run_that_lost_its_blocks_is_computed_again(
    tmp_path: Path, data_dir: Path, tiny_slide: Scene, tiny_model: TinyModel
) -> None:
    def analyze(name: str) -> bytes:
        outcome = run_cli(
            "analyze", tiny_slide.path, "--out", tmp_path / name, "--model", tiny_model.path,
            "--provider", "cpu", data_dir=data_dir,
        )  # fmt: skip
        assert outcome.code == 0, outcome
        return (tmp_path / name / "tiny" / "patches.csv").read_bytes()

    whole = analyze("whole")
    (path,) = data_dir.rglob("*.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("DELETE FROM block").rowcount > 0
        database.commit()

    assert analyze("again") == whole


HOLDER = """
import sys
from pathlib import Path
from tests.test_store import open_store, result
with open_store(Path(sys.argv[1])) as store:
    store.commit([result(0)])
    print("held", flush=True)
    sys.stdin.readline()
    store.commit([result(1)])
print("done", flush=True)
"""

FILLER = """
import resource, sys
from pathlib import Path
from idc_desktop.errors import OutputError
from tests.test_store import open_store, result
with open_store(Path(sys.argv[1])) as store:
    store.commit([result(number) for number in range(3)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (store.path.stat().st_size,) * 2)
    committed = 3
    try:
        for number in range(3, 500):
            store.commit([result(number)])
            committed += 1
    except OutputError as error:
        print(committed, error, flush=True)
"""

REPOSITORY = Path(__file__).resolve().parents[1]


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


def test_second_process_is_told_and_does_no_harm(tmp_path: Path) -> None:
    with start(HOLDER, tmp_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        with pytest.raises(OutputError, match="Another process is analyzing this slide"):
            open_store(tmp_path)
        with pytest.raises(OutputError, match="Another process is analyzing this slide"):
            open_store(tmp_path, restart=True)

        said, _ = holder.communicate("\n", timeout=30)
        assert said == "done\n"
    with open_store(tmp_path) as store:
        assert (store.restored, store.notes) == ((0, 1), ())


def test_killed_holder_leaves_no_lock_behind(tmp_path: Path) -> None:
    with start(HOLDER, tmp_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)

    with open_store(tmp_path) as store:
        assert (store.restored, store.notes) == ((0,), ())


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_full_disk_is_told_and_costs_nothing_that_was_committed(tmp_path: Path) -> None:
    with start(FILLER, tmp_path) as filler:
        said, _ = filler.communicate(timeout=60)
    assert filler.returncode == 0
    count, message = said.split(" ", 1)

    assert 3 <= int(count) < 500
    assert "cannot be written" in message
    assert "free some space" in message
    with open_store(tmp_path) as store:
        assert store.restored == tuple(range(int(count)))
        assert all(same(one, result(n)) for n, one in enumerate(store.results()))
        store.commit([result(int(count))])


def test_data_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file is in the way", encoding="utf-8")

    with pytest.raises(OutputError, match="cannot be written"):
        open_store(tmp_path / "data")


KILLED = """
import sys
from pathlib import Path
from tests.test_store import open_store, result
with open_store(Path(sys.argv[1])) as store:
    first = len(store.restored)
    for number in range(first, 100_000):
        store.commit([result(number)])
        print(number, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    choice = random.Random(4)
    acknowledged = -1
    for _ in range(5):
        with start(KILLED, tmp_path) as writer:
            assert writer.stdout is not None
            for _ in range(choice.randrange(1, 40)):
                acknowledged = int(writer.stdout.readline())
            writer.kill()
            rest = writer.stdout.read().split("\n")
        # A line may have been cut in two by the kill.
        acknowledged = max([acknowledged, *map(int, rest[:-1])])
        with open_store(tmp_path) as store:
            assert store.notes == ()
            assert len(store.restored) >= acknowledged + 1
            assert store.restored == tuple(range(len(store.restored)))
            assert all(same(one, result(n)) for n, one in enumerate(store.results()))


def test_folder_whose_name_speaks_of_locks_is_not_taken_for_one_in_use(tmp_path: Path) -> None:
    (tmp_path / "locked").write_bytes(b"a file where a folder should be")
    with pytest.raises(OutputError) as failure:
        open_store(tmp_path / "locked")
    assert "another process" not in str(failure.value).lower()
