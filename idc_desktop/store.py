"""The store: what was computed, on local disk, safe against kills at any moment.

A folder per slide identity, in it one SQLite file per run. Only one process opens a run file.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from idc_desktop.closing import Closing
from idc_desktop.database import (
    FACTS,
    FileKind,
    Rows,
    Version,
    is_held,
    open_file,
    put,
    reason_of,
    transaction,
)
from idc_desktop.errors import OutputError
from idc_desktop.grid import Block
from idc_desktop.probability_map import BlockResult
from idc_desktop.salvage import Table
from idc_desktop.user_data import slide_folder

APPLICATION_ID = 0x49444331
"""``IDC1``: says to SQLite tools whose file this is."""

_RUN = Table(
    "CREATE TABLE run (key TEXT NOT NULL, settings TEXT NOT NULL)",
    lambda row: _is_own_key(*row),
)
_BLOCKS = Table(
    "CREATE TABLE block (number INTEGER PRIMARY KEY, first_row INTEGER NOT NULL, "
    "first_col INTEGER NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, "
    "states BLOB NOT NULL, millionths BLOB NOT NULL, reasons TEXT NOT NULL, crc INTEGER NOT NULL)",
    lambda row: _is_sound(row),
)
_KIND = FileKind(
    "run file",
    "block",
    APPLICATION_ID,
    {1: Version((_RUN, _BLOCKS)), 3: Version((FACTS, _RUN, _BLOCKS))},
    patience_s=3.0,  # an engine that was just cancelled ends its block before it gives it free
)
FORMAT_VERSION = _KIND.newest

_KEY_DIGITS = 32  # of the run key, in the name of its file


def run_key(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything that decides a run's numbers."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def adopt(folder: Path, slide_identity: str, former: Callable[[], Iterable[str]]) -> None:
    """Take over what is kept of a slide that an earlier version knew by another identity.

    Its folder is renamed as a whole, with the regions and all runs, so that a kill leaves it under
    one name or the other. Where there is a folder of the new identity already, that one counts, and
    the former stays as it is.

    Parameters
    ----------
    folder : Path
        The data folder.
    former : callable
        Returns the identities by older rules, the latest first; only asked if there is need.

    Raises
    ------
    OutputError
        There is something to take over, and it cannot be.
    """
    place = slide_folder(folder, slide_identity)
    try:
        if place.exists() or not place.parent.exists():
            return
        for identity in former():
            with contextlib.suppress(FileNotFoundError):
                slide_folder(folder, identity).rename(place)
                return
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):  # another process was faster
            return
        raise OutputError(
            f"{place.name}: What an earlier version kept of this slide cannot be taken over "
            f"({error.strerror}). Close other windows of IDC Desktop, check the permissions of the "
            "data folder, then try again."
        ) from error


def run_path(folder: Path, slide_identity: str, settings: Mapping[str, Any]) -> Path:
    """Return where the run of these settings is, or would be."""
    return _find_run(folder, slide_identity, settings)[0]


def _find_run(
    folder: Path, slide_identity: str, settings: Mapping[str, Any]
) -> tuple[Path, Mapping[str, Any]]:
    """Return the file of a run, and the settings by which it is known there.

    They name the slide by the identity of their time; all that lies in its folder is of the slide.
    """
    place = slide_folder(folder, slide_identity)
    path = place / _file_name(settings)
    if not path.exists():
        wanted = run_key({**settings, "slide": slide_identity})
        for other in sorted(place.glob(f"run-{_KEY_DIGITS * '?'}.sqlite")):
            with contextlib.suppress(OSError):
                for _, text in _RUN.find(other.read_bytes()):
                    stored = json.loads(text)
                    is_same = run_key({**stored, "slide": slide_identity}) == wanted
                    if is_same and other.name == _file_name(stored):
                        return other, stored
    return path, settings


def _file_name(settings: Mapping[str, Any]) -> str:
    return f"run-{run_key(settings)[:_KEY_DIGITS]}.sqlite"


class RunStore(Closing):
    """One run's file, held exclusively while it is open.

    Parameters
    ----------
    folder : Path
        The data folder.
    slide_identity : str
    settings : mapping
        What decides the run's numbers; its hash is the run key.
    restart : bool
        Forget what an earlier run of the same key computed.

    Attributes
    ----------
    restored : tuple of int
        Numbers of the blocks that an earlier run already committed, all verified.
    notes : tuple of str
        What was found wrong with the file, and what was done about it.

    Raises
    ------
    OutputError
        The file cannot be written, another process holds it, or a newer version wrote it.
    """

    def __init__(
        self, folder: Path, slide_identity: str, settings: Mapping[str, Any], restart: bool
    ) -> None:
        self.path, settings = _find_run(folder, slide_identity, settings)
        self._key = run_key(settings)
        self.notes: tuple[str, ...] = ()

        def check(rows: Rows) -> str | None:
            is_ours = [key for key, _ in rows[_RUN.name]] == [self._key]
            return None if is_ours else "it belongs to another run"

        first = {_RUN.name: [(self._key, json.dumps(settings, sort_keys=True))]}
        try:
            opened = open_file(self.path, _KIND, first, check)
            self._database = opened.database
            self.restored = tuple(sorted(row[0] for row in opened.rows[_BLOCKS.name]))
            if opened.damage is not None:
                self.notes = (
                    f"The stored run file was damaged ({opened.damage.reason}); it is kept as "
                    f"{opened.damage.kept}. {len(self.restored)} block(s) were saved, the others "
                    "are computed again.",
                )
            if restart:
                with self._writing():
                    self._database.execute("DELETE FROM block")
                self.restored = ()
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
            raise self._failure(error) from error

    def commit(self, results: list[BlockResult]) -> None:
        """Make results durable in one transaction; they survive any kill after this returns."""
        with self._writing():
            put(self._database, _BLOCKS, [_to_row(result) for result in results])

    def results(self) -> Iterator[BlockResult]:
        """Yield the committed results in the order of their numbers."""
        for row in self._database.execute("SELECT * FROM block ORDER BY number"):
            yield _from_row(row)

    def close(self) -> None:
        """Close the file and give it free."""
        self._database.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with transaction(self._database):
                yield
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> OutputError:
        if is_held(error):
            return OutputError(
                f"{self.path.name}: Another process is analyzing this slide with the same "
                "settings. Wait for it, or cancel it."
            )
        return OutputError(
            f"{self.path.name}: The data folder cannot be written ({reason_of(error)}). What was "
            "committed is kept; free some space or check the permissions, then run the same "
            "command again."
        )


def _to_row(result: BlockResult) -> tuple[Any, ...]:
    block = result.block
    reasons = json.dumps([[row, col, why] for (row, col), why in sorted(result.reasons.items())])
    head = (block.number, block.row, block.col, block.rows, block.cols)
    body = (result.states.tobytes(), result.millionths.astype("<i4").tobytes(), reasons)
    return (*head, *body, _crc(head, body))


def _from_row(row: tuple[Any, ...]) -> BlockResult:
    block = Block(*row[:5])
    shape = (block.rows, block.cols)
    return BlockResult(
        block,
        np.frombuffer(row[5], np.uint8).reshape(shape),
        np.frombuffer(row[6], "<i4").astype(np.int32).reshape(shape),
        {(r, c): why for r, c, why in json.loads(row[7])},
    )


def _is_own_key(key: object, settings: Any) -> bool:  # noqa: ANN401 - whatever stands there
    try:
        return run_key(json.loads(settings)) == key
    except (ValueError, TypeError, RecursionError):
        return False


def _is_sound(row: tuple[Any, ...]) -> bool:
    try:
        return bool(_crc(row[:5], row[5:8]) == row[8]) and _from_row(row) is not None
    except (TypeError, ValueError, AttributeError):
        return False


def _crc(head: tuple[Any, ...], body: tuple[Any, ...]) -> int:
    states, millionths, reasons = body
    return zlib.crc32(repr(head).encode() + states + millionths + reasons.encode())
