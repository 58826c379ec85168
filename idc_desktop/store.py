"""The store: what was computed, on local disk, safe against kills at any moment.

A folder per slide identity, in it one SQLite file per run. Only one process opens a run file.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from idc_desktop.closing import Closing
from idc_desktop.database import (
    FileKind,
    is_held,
    open_file,
    reason_of,
    slide_folder,
    transaction,
)
from idc_desktop.errors import OutputError
from idc_desktop.grid import Block
from idc_desktop.probability_map import BlockResult

APPLICATION_ID = 0x49444331
"""``IDC1``: says to SQLite tools whose file this is."""

FORMAT_VERSION = 1

_SCHEMA = (
    "CREATE TABLE run (key TEXT NOT NULL, settings TEXT NOT NULL)",
    "CREATE TABLE block (number INTEGER PRIMARY KEY, first_row INTEGER NOT NULL, "
    "first_col INTEGER NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, "
    "states BLOB NOT NULL, millionths BLOB NOT NULL, reasons TEXT NOT NULL, crc INTEGER NOT NULL)",
)
# An engine that was just cancelled ends its block before it gives the file free.
_RUN = FileKind("run file", APPLICATION_ID, FORMAT_VERSION, _SCHEMA, patience_s=3.0)


def data_folder() -> Path:
    """Return the user's data folder (``IDC_DESKTOP_DATA_DIR`` overrides it); not created here."""
    override = os.environ.get("IDC_DESKTOP_DATA_DIR")
    folder = override or platformdirs.user_data_dir("idc-desktop", False)
    return Path(folder).absolute()  # the engine, which is told of it, stands elsewhere


def run_key(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything that decides a run's numbers."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def run_path(folder: Path, slide_identity: str, settings: Mapping[str, Any]) -> Path:
    """Return where the run of these settings is, or would be."""
    return slide_folder(folder, slide_identity) / f"run-{run_key(settings)[:32]}.sqlite"


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
        self._key = run_key(settings)
        self.path = run_path(folder, slide_identity, settings)
        self.notes: tuple[str, ...] = ()

        def fill(database: sqlite3.Connection) -> None:
            text = json.dumps(settings, sort_keys=True)
            database.execute("INSERT INTO run (key, settings) VALUES (?, ?)", (self._key, text))

        def check(database: sqlite3.Connection) -> str | None:
            is_ours = database.execute("SELECT key FROM run").fetchall() == [(self._key,)]
            return None if is_ours else "it belongs to another run"

        try:
            opened = open_file(self.path, _RUN, fill, check)
            self._database = opened.database
            if opened.note:
                self.notes = (f"{opened.note} and computed again.",)
            if restart:
                self._write("DELETE FROM block WHERE number >= ?", [(0,)])
            self.restored = self._verified_blocks()
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
            raise self._failure(error) from error

    def commit(self, results: list[BlockResult]) -> None:
        """Make results durable in one transaction; they survive any kill after this returns."""
        rows = [_to_row(result) for result in results]
        self._write("INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def results(self) -> Iterator[BlockResult]:
        """Yield the committed results in the order of their numbers."""
        for row in self._database.execute("SELECT * FROM block ORDER BY number"):
            yield _from_row(row)

    def close(self) -> None:
        """Close the file and give it free."""
        self._database.close()

    def _verified_blocks(self) -> tuple[int, ...]:
        """Return the sound blocks' numbers; a damaged one is dropped, to be computed again."""
        sound: list[int] = []
        damaged: list[int] = []
        for row in self._database.execute("SELECT * FROM block ORDER BY number").fetchall():
            (sound if _is_sound(row) else damaged).append(row[0])
        if damaged:
            self._write("DELETE FROM block WHERE number = ?", [(it,) for it in damaged])
            self.notes += (f"{len(damaged)} stored block(s) were damaged and are computed again.",)
        return tuple(sound)

    def _write(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        try:
            with transaction(self._database):
                self._database.executemany(statement, rows)
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


def _is_sound(row: tuple[Any, ...]) -> bool:
    try:
        return bool(_crc(row[:5], row[5:8]) == row[8]) and _from_row(row) is not None
    except (TypeError, ValueError, AttributeError):
        return False


def _crc(head: tuple[Any, ...], body: tuple[Any, ...]) -> int:
    states, millionths, reasons = body
    return zlib.crc32(repr(head).encode() + states + millionths + reasons.encode())
