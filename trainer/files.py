"""Writing files so that a crash or a full disk never leaves half of one."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from idc_desktop.errors import no_room_for_temporary_files, not_written
from idc_desktop.plain_files import no_wait
from idc_desktop.storage import atomic
from trainer.errors import BusyError

LOCK = ".idc-trainer.lock"
"""In a folder while it is written to."""

_ELSEWHERE = "choose another folder, then run the same command again"


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends well.

    As `idc_desktop.storage.atomic.replacing`, but what cannot be written is an `OutputError`.
    """
    try:
        with atomic.replacing(path) as file:
            yield file
    except OSError as error:
        raise not_written(f"{path.name}: It cannot be written", error, _ELSEWHERE) from error


def write_csv(path: Path, rows: Iterable[Iterable[object]], before: bytes = b"") -> None:
    """Write rows as CSV, in UTF-8; `before` is what stands above them already.

    Raises what `replacing` does.
    """
    with replacing(path) as file:
        file.write(before)
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        text.flush()
        text.detach()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for temporary files, which is removed at the end of the block.

    Raises
    ------
    OutputError
        There is no room for it.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    except OSError as error:
        raise no_room_for_temporary_files(error) from error


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Let no other process train in, or write to, a folder for as long as the block runs.

    The system frees the folder when its holder dies. Where it has no locks for files, as some
    network drives, nothing is kept off.

    Raises
    ------
    BusyError
        Another process has it.
    OutputError
        Nothing can be written there.
    """
    with _locked(folder) as file:
        try:
            yield
        finally:
            # While it is locked: whoever opened it meanwhile finds it gone, and makes another.
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink()
            file.close()


def _locked(folder: Path) -> BinaryIO:
    path = folder / LOCK
    while True:
        try:
            file = open(path, "ab", opener=no_wait)  # noqa: SIM115 - it is returned
        except OSError as error:
            raise not_written(f"{folder}: It cannot be written to", error, _ELSEWHERE) from error
        if atomic.try_lock(file.fileno()) is False:
            file.close()
            raise BusyError(
                f"{folder}: Another idc-trainer is at work in this folder. Wait until it has "
                "ended, or choose another folder with --out."
            )
        with contextlib.suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        file.close()


def make_folder(path: Path, option: str = "--out") -> None:
    """Create `path`, which came from `option`, and its parents; `OutputError` where it cannot."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        elsewhere = f"choose another folder with {option}"
        raise not_written(f"{path}: The folder cannot be made", error, elsewhere) from error
