from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest

from idc_desktop.errors import OutputError
from idc_desktop.storage import atomic
from trainer.errors import BusyError
from trainer.files import LOCK, make_folder, replacing, scratch_folder, sole_user


def _write_and_fail(path: Path, failure: BaseException) -> None:
    with replacing(path) as file:
        file.write(b"half")
        raise failure


def test_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"checkpoint\.npz"):
        _write_and_fail(path, OSError(errno.ENOSPC, "No space left on device"))
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_any_other_failure_leaves_no_partial_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _write_and_fail(tmp_path / "file", KeyboardInterrupt())
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="--out"):
        make_folder(tmp_path / "file" / "sub")


def test_no_room_for_temporary_files_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match="TMPDIR"), scratch_folder():
        pass


def test_folder_has_one_user_at_a_time(tmp_path: Path) -> None:
    with sole_user(tmp_path):
        with pytest.raises(BusyError, match="Another idc-trainer") as busy, sole_user(tmp_path):
            pytest.fail("two at once")
        # What is written there as a whole has a lock of its own.
        with replacing(tmp_path / "file") as file:
            file.write(b"whole")
    assert busy.value.exit_code == 5
    assert "--out" in str(busy.value)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    with sole_user(tmp_path):
        pass


def test_folder_of_a_user_that_was_killed_is_free(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_bytes(b"")
    with sole_user(tmp_path):
        assert (tmp_path / LOCK).exists()
    assert not list(tmp_path.iterdir())


def test_lock_that_goes_while_it_is_opened_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, tries = atomic.try_lock, 0

    def lock(descriptor: int) -> bool | None:
        nonlocal tries
        tries += 1
        if tries == 1:  # its user has ended since it was opened
            (tmp_path / LOCK).unlink()
        return honest(descriptor)

    monkeypatch.setattr(atomic, "try_lock", lock)
    with sole_user(tmp_path):
        assert (tmp_path / LOCK).exists()
    assert tries == 2


def test_folder_without_locks_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "try_lock", lambda descriptor: None)
    with sole_user(tmp_path), sole_user(tmp_path):
        pass
    with pytest.raises(OutputError, match="cannot be written to"), sole_user(tmp_path / "none"):
        pass
