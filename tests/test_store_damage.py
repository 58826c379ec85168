"""Damaged and older run files: blocks that are sound are not computed again."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from idc_desktop.errors import OutputError
from idc_desktop.maps.layers import pack
from idc_desktop.storage.run_files import FORMAT_VERSION
from tests.support.damage import DAMAGES, PAGE, flip, overwrite
from tests.support.older_files import write_run_1, write_run_3, write_run_4
from tests.test_store import SETTINGS, open_store, result, same

BLOCKS = 60
RUN_PAGE = b'"model": "aaaa'


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """The path of a run file in its data folder, and its bytes."""
    folder = tmp_path_factory.mktemp("intact")
    with open_store(folder) as store:
        for number in range(BLOCKS):
            store.commit([result(number)])
    return store.path.relative_to(folder), store.path.read_bytes()


def put_file(folder: Path, name: Path, data: bytes) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


def page_of(data: bytes, number: int) -> set[int]:
    """Return the pages on which a block's values are."""
    body = result(number).states.tobytes() + b'["patch"]' + pack(result(number).layers)
    at = data.find(body)
    assert at > 0
    return {at // PAGE, (at + len(body)) // PAGE}


@pytest.mark.parametrize("kind", DAMAGES)
def test_sound_blocks_of_a_damaged_file_are_kept(
    tmp_path: Path, intact: tuple[Path, bytes], kind: str
) -> None:
    name, sound = intact
    for seed in range(10):
        data, touched = DAMAGES[kind](sound, random.Random(f"{kind} {seed}"))
        path = put_file(tmp_path, name, data)
        with open_store(tmp_path) as store:
            lost = set(range(BLOCKS)) - set(store.restored)
            assert all(same(it, result(it.block.number)) for it in store.results())
            notes = store.notes
        assert len(lost) <= 1 or len(touched) > 1
        assert all(page_of(sound, it) & {at // PAGE for at in touched} for it in lost)
        if lost:
            assert f"{BLOCKS - len(lost)} block(s) were saved" in notes[0]
        shutil.rmtree(path.parent)


def test_blocks_outlive_the_row_that_names_their_run(
    tmp_path: Path, intact: tuple[Path, bytes]
) -> None:
    name, sound = intact
    page = sound.find(RUN_PAGE) // PAGE
    put_file(tmp_path, name, overwrite(sound, PAGE * page, PAGE, bytes(PAGE))[0])

    with open_store(tmp_path) as store:
        assert store.restored == tuple(range(BLOCKS))


def test_blocks_of_another_run_are_not_believed(tmp_path: Path, intact: tuple[Path, bytes]) -> None:
    _, sound = intact
    with open_store(tmp_path, model="b" * 64) as other:
        pass
    other.path.write_bytes(flip(sound, 3)[0])

    with open_store(tmp_path, model="b" * 64) as other:
        assert other.restored == ()


WRITERS = pytest.mark.parametrize("write", [write_run_1, write_run_3, write_run_4])


@WRITERS
def test_older_version_is_upgraded_and_kept(
    tmp_path: Path, intact: tuple[Path, bytes], write: Callable[..., None]
) -> None:
    path = tmp_path / intact[0]
    write(path, SETTINGS, map(result, range(BLOCKS)))
    older = path.read_bytes()

    with open_store(tmp_path) as store:
        assert (store.restored, store.notes) == (tuple(range(BLOCKS)), ())
        store.commit([result(BLOCKS)])
    with open_store(tmp_path) as store:
        assert (store.restored, store.notes) == (tuple(range(BLOCKS + 1)), ())
        assert all(same(it, result(it.block.number)) for it in store.results())

    (kept,) = (it for it in path.parent.iterdir() if it != path)
    assert (kept.name, kept.read_bytes()) == (f"{path.stem}.older-1.sqlite", older)
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (FORMAT_VERSION,)


@WRITERS
def test_sound_blocks_of_a_damaged_file_of_an_older_version_are_kept(
    tmp_path: Path, intact: tuple[Path, bytes], write: Callable[..., None]
) -> None:
    path = tmp_path / intact[0]
    write(path, SETTINGS, map(result, range(BLOCKS)))
    path.write_bytes(flip(path.read_bytes(), 3)[0])

    with open_store(tmp_path) as store:
        assert store.restored == tuple(range(BLOCKS))
        assert "damaged" in store.notes[0]


def test_full_disk_while_a_damaged_file_is_put_together_again_costs_nothing(
    tmp_path: Path, intact: tuple[Path, bytes]
) -> None:
    resource = pytest.importorskip("resource")
    name, sound = intact
    path = put_file(tmp_path, name, flip(sound, 3)[0])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(sound) // 2, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            open_store(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {it.name: it.read_bytes() for it in path.parent.iterdir()} == {
        path.name: flip(sound, 3)[0]
    }

    with open_store(tmp_path) as store:
        assert store.restored == tuple(range(BLOCKS))
