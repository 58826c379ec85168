from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest

from idc_desktop.errors import OutputError
from trainer.files import make_folder, replacing, scratch_folder


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
