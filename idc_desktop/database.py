"""A SQLite file of ours: opened by one process at a time, checked, and never blanked.

What is damaged is kept aside under another name and said; what a newer version wrote is refused.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from idc_desktop.errors import OutputError

# Primary result codes that say nothing of the file's own state; any other means damage.
_NOT_DAMAGE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
)


def slide_folder(data_folder: Path, slide_identity: str) -> Path:
    """Return where everything of one slide is kept; not made here."""
    return data_folder / "slides" / slide_identity[:32]


@dataclass(frozen=True)
class FileKind:
    """What tells one kind of our files from another.

    Attributes
    ----------
    name : str
        For messages, such as ``run file``.
    application_id, version : int
        Stand in the file's header.
    schema : tuple of str
        The statements that make its tables.
    patience_s : float
        How long to wait for a file that another process holds.
    """

    name: str
    application_id: int
    version: int
    schema: tuple[str, ...]
    patience_s: float = 0.2


@dataclass(frozen=True)
class OpenedFile:
    """An open file, and what became of a damaged one that was there (a sentence, or nothing)."""

    database: sqlite3.Connection
    note: str


def open_file(
    path: Path,
    kind: FileKind,
    fill: Callable[[sqlite3.Connection], object],
    check: Callable[[sqlite3.Connection], str | None],
) -> OpenedFile:
    """Open a file, or make it, and hold it exclusively until the connection is closed.

    Parameters
    ----------
    fill : callable
        Writes the first rows of a new file, in the transaction that makes its tables.
    check : callable
        Says what is wrong with the content of a file that is there, if anything.

    Raises
    ------
    OutputError
        A newer version wrote the file.
    OSError, sqlite3.Error
        The file cannot be read or written, or another process holds it (`is_held`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return OpenedFile(_open(path, kind, fill, check), "")
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        # The latter is sqlite3 failing on its own message about a damaged schema.
        if not _is_damage(path, error):
            raise
        aside = free_name(path)
        path.rename(aside)
        note = f"The stored {kind.name} was damaged ({error}); it is kept as {aside.name}"
        return OpenedFile(_open(path, kind, fill, check), note)


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Make what is written inside durable as a whole, or nothing of it."""
    try:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise


def is_held(error: Exception) -> bool:
    """Whether opening failed because another process has the file open."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def reason_of(error: Exception) -> str:
    """Return the cause of a failure without any path."""
    return str(error.strerror) if isinstance(error, OSError) else str(error)


def free_name(path: Path) -> Path:
    """Return the name under which a damaged file is kept: one that is not taken."""
    number = 1
    while (aside := path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")).exists():
        number += 1
    return aside


def _open(
    path: Path,
    kind: FileKind,
    fill: Callable[[sqlite3.Connection], object],
    check: Callable[[sqlite3.Connection], str | None],
) -> sqlite3.Connection:
    # One thread at a time uses it, but not always the one that opened it.
    database = sqlite3.connect(
        path, timeout=kind.patience_s, isolation_level=None, check_same_thread=False
    )
    # Damaged text must reach our own checks instead of failing inside sqlite3.
    database.text_factory = lambda data: data.decode("utf-8", "replace")
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN EXCLUSIVE")
        (application_id,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables == 0 and application_id == 0:
            for statement in kind.schema:
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {kind.application_id}")
            database.execute(f"PRAGMA user_version = {kind.version}")
            fill(database)
        elif application_id != kind.application_id:
            raise sqlite3.DatabaseError(f"it is not a {kind.name}")
        elif version > kind.version:
            raise OutputError(
                f"{path.name}: A newer version of IDC Desktop wrote this {kind.name} (format "
                f"{version}). Update, or use another data folder."
            )
        elif _schema_of(database) != sorted(it.encode() for it in kind.schema):
            raise sqlite3.DatabaseError("its tables are damaged")
        elif wrong := check(database):
            raise sqlite3.DatabaseError(wrong)
        elif database.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("its pages are damaged")
        database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database


def _is_damage(path: Path, error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by our own checks, or text that cannot be decoded
        return True
    if code & 0xFF == sqlite3.SQLITE_READONLY:  # also said of a damaged header
        return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    return code & 0xFF not in _NOT_DAMAGE


def _schema_of(database: sqlite3.Connection) -> list[bytes]:
    rows = database.execute(
        "SELECT CAST(sql AS BLOB) FROM sqlite_master WHERE sql IS NOT NULL"
    ).fetchall()
    return sorted(row[0] or b"" for row in rows)
