"""A SQLite file of ours: opened by one process at a time, checked, and never blanked.

A damaged file is put together again from its sound rows, and one of an older version is upgraded;
the file as it was is kept under another name. What a newer version wrote is refused.

Both are done alike: from the rows a new file is made, which takes the place of the old one as a
whole. A kill at any moment leaves either of them, and the next opening begins anew.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from idc_desktop.errors import OutputError
from idc_desktop.storage.atomic import locked, replacing, require_file_place
from idc_desktop.storage.salvage import PAGE_SIZE, Row, Table
from idc_desktop.storage.user_data import PRIVATE_FILE, make_file, make_folder

Rows = Mapping[str, list[Row]]
"""The rows of each table, by its name."""

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
_ERRNO = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR_WRITE: errno.ENOSPC,  # also where a quota is used up
    sqlite3.SQLITE_READONLY: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_NOMEM: errno.ENOMEM,
}
_FORMAT = "format"


def sealed(*row: object) -> Row:
    """Return a row with its checksum as a last column."""
    return (*row, zlib.crc32(repr(row).encode("utf-8", "surrogatepass")))


def is_sealed(row: Row) -> bool:
    """Whether the last column of a row is the checksum of the others."""
    return sealed(*row[:-1]) == row


FACTS = Table(
    "CREATE TABLE fact (name TEXT PRIMARY KEY, text TEXT NOT NULL, crc INTEGER NOT NULL)",
    lambda row: _fact_row(*row[:2]) == row,
)
"""What is known of a file as a whole, JSON values by name: in every file since version 3, and
never to be changed, since older programs read there that the file is none of theirs."""


def fact(name: str, value: object) -> Row:
    """Return the row of `FACTS` that says so."""
    return _fact_row(name, json.dumps(value))


def _fact_row(name: str, text: str) -> Row:
    # Sealed with a word of its own: a row of another table with the same columns is no fact.
    return (name, text, sealed(FACTS.name, name, text)[-1])


def facts_of(rows: Rows) -> dict[str, Any]:
    """Return what is known of a file, by name."""
    return {name: json.loads(text) for name, text, _ in rows.get(FACTS.name, [])}


@dataclass(frozen=True)
class Version:
    """What the files of one version hold.

    Attributes
    ----------
    tables : tuple of Table
    upgrade : callable
        Makes its rows from those of the version before.
    """

    tables: tuple[Table, ...]
    upgrade: Callable[[Rows], Rows] = lambda rows: rows

    @property
    def schema(self) -> list[str]:
        """The statements that make its tables, in alphabetical order."""
        return sorted(table.statement for table in self.tables)


@dataclass(frozen=True)
class FileKind:
    """What tells one kind of our files from another.

    Attributes
    ----------
    name, row_name : str
        For messages, such as ``run file`` and ``block``.
    application_id : int
        Stands in the file's header.
    versions : mapping of int to Version
        All that there have been, the newest last; the number stands in the header, too. One that
        a single flipped bit makes of another (such as 3 of 2) is better left out.
    patience_s : float
        How long to wait for a file that another process holds.
    """

    name: str
    row_name: str
    application_id: int
    versions: Mapping[int, Version]
    patience_s: float = 0.2

    @property
    def newest(self) -> int:
        """The version that is written."""
        return max(self.versions)

    def upgraded(self, rows: Rows, version: int) -> Rows:
        """Return rows of a version as the newest one has them."""
        for number in sorted(self.versions):
            if number > version:
                rows = self.versions[number].upgrade(rows)
        return rows


@dataclass(frozen=True)
class Damage:
    """What was wrong with a file, and the name under which it is kept as it was."""

    reason: str
    kept: str


@dataclass(frozen=True)
class OpenedFile:
    """An open file with the rows that it holds, and what was wrong with it."""

    database: sqlite3.Connection
    rows: Rows
    damage: Damage | None = None


class _OlderVersionError(Exception):
    """The file is sound, and of an older version."""

    def __init__(self, version: int, rows: Rows) -> None:
        super().__init__(version)
        self.version, self.rows = version, rows


def open_file(
    path: Path, kind: FileKind, first: Rows, check: Callable[[Rows], str | None]
) -> OpenedFile:
    """Open a file, or make it, and hold it exclusively until the connection is closed.

    Parameters
    ----------
    first : Rows
        What a new file holds, and one in which nothing else of the same key is sound.
    check : callable
        Says of the rows of a file why they are not those of this one, if so.

    Raises
    ------
    OutputError
        A newer version wrote the file.
    OSError, sqlite3.Error
        The file cannot be read or written, or another process holds it (`is_held`).
    """
    make_folder(path.parent)
    try:
        return OpenedFile(*_open(path, kind, first, check))
    except _OlderVersionError:
        return _rebuild(path, kind, first, check)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if not _is_damage(path, error):
            raise
        return _rebuild(path, kind, first, check)


def read_copy(path: Path, kind: FileKind) -> Rows | None:
    """Return the rows of a file as the newest version has them; None if there is no file.

    Nothing is changed: what has to be recovered or upgraded for that is a copy.

    Raises
    ------
    OutputError
        A newer version wrote the file.
    OSError, sqlite3.Error
        The file cannot be read, or another process holds it (`is_held`).
    """
    if not path.exists():
        return None
    names = path.name, f"{path.name}-journal"
    for name in names:
        require_file_place(path.with_name(name))
    with tempfile.TemporaryDirectory() as folder, _shared(path):
        copy = Path(folder, "copy", path.name)
        copy.parent.mkdir()
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                copy.with_name(name).write_bytes(path.with_name(name).read_bytes())
        opened = open_file(copy, kind, {}, lambda rows: None)
        opened.database.close()
        return opened.rows


@contextlib.contextmanager
def _shared(path: Path) -> Iterator[None]:
    """Keep others from writing a file for a moment; `sqlite3.Error` if one holds it."""
    where = f"file:{quote(str(path))}?mode=ro"
    with contextlib.closing(sqlite3.connect(where, timeout=0.2, uri=True)) as database:
        database.isolation_level = None
        try:
            database.execute("BEGIN")
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            if is_held(error):
                raise
            # It is damaged, or a kill left it half written: in a copy that is put right.
        yield


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


def put(database: sqlite3.Connection, table: Table, rows: list[Row]) -> None:
    """Write rows; each takes the place of one with the same key."""
    marks = ", ".join("?" * len(table.columns))
    database.executemany(f"INSERT OR REPLACE INTO {table.name} VALUES ({marks})", rows)


def take_out(database: sqlite3.Connection, table: Table, keys: Iterable[object]) -> None:
    """Delete the rows of these keys."""
    key = table.statement.partition("(")[2].split()[0]
    database.executemany(f"DELETE FROM {table.name} WHERE {key} = ?", [(it,) for it in keys])


def is_held(error: Exception) -> bool:
    """Whether opening failed because another process has the file open."""
    code = getattr(error, "sqlite_errorcode", 0)
    busy = code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return busy or isinstance(error, BlockingIOError)


def as_os_error(error: Exception) -> OSError:
    """Return why a file cannot be opened or written as the system would say it."""
    if isinstance(error, OSError):
        return error
    code = getattr(error, "sqlite_errorcode", 0)
    number = _ERRNO.get(code) or _ERRNO.get(code & 0xFF, errno.EIO)
    return OSError(number, str(error))


def _open(
    path: Path, kind: FileKind, first: Rows, check: Callable[[Rows], str | None]
) -> tuple[sqlite3.Connection, Rows]:
    """Open a sound file of the newest version, or make it."""
    for name in (path.name, f"{path.name}-journal"):
        require_file_place(path.with_name(name))
    make_file(path)
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
        _prepare(database)
        database.execute("BEGIN EXCLUSIVE")
        if path.stat().st_size == 0:
            rows = _fill(database, kind, first)
        else:
            _require_writable(database)
            database.execute("BEGIN EXCLUSIVE")
            version, rows = _checked(database, path, kind)
            if wrong := check(rows):
                raise sqlite3.DatabaseError(wrong)
            if version != kind.newest:
                raise _OlderVersionError(version, rows)
        database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database, rows


def _require_writable(database: sqlite3.Connection) -> None:
    """Fail where SQLite would read the file but never write it: one wrong bit in its header.

    It says so only when something is written, which may be much later. Ends the transaction and
    leaves the file as it is.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    database.execute(f"PRAGMA user_version = {version}")
    database.execute("ROLLBACK")


def _checked(database: sqlite3.Connection, path: Path, kind: FileKind) -> tuple[int, Rows]:
    """Return the version and the rows of a file that is sound."""
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application_id != kind.application_id:
        raise sqlite3.DatabaseError(f"it is not a {kind.name}")
    if version > kind.newest and not _is_spoilt(version, kind):
        raise _newer(path, kind, version)
    known = kind.versions.get(version)
    if known is None or _schema_of(database) != [it.encode() for it in known.schema]:
        raise sqlite3.DatabaseError("its tables are damaged")
    rows = {it.name: database.execute(f"SELECT * FROM {it.name}").fetchall() for it in known.tables}
    unsound = sum(not table.is_sound(row) for table in known.tables for row in rows[table.name])
    if unsound:
        raise sqlite3.DatabaseError(f"{unsound} stored {kind.row_name}(s) were damaged")
    if FACTS in known.tables and facts_of(rows).get(_FORMAT) != version:
        raise sqlite3.DatabaseError("its version is damaged")
    if database.execute("PRAGMA quick_check").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("its pages are damaged")
    return version, rows


def _rebuild(
    path: Path, kind: FileKind, first: Rows, check: Callable[[Rows], str | None]
) -> OpenedFile:
    """Put a file that is damaged, or of an older version, together again from its rows."""
    with locked(path.parent.parent, kind.patience_s):  # `replacing` locks the folder itself
        try:
            return OpenedFile(*_open(path, kind, first, check))  # another process was faster
        except _OlderVersionError as older:
            data, rows = path.read_bytes(), kind.upgraded(older.rows, older.version)
            reason = ""
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if not _is_damage(path, error):
                raise
            data, reason = path.read_bytes(), str(error)
            rows = _salvaged(data, path, kind)
        rows = _merged(first, rows)
        if check(rows):
            rows = first
        kept = _keep(data, path, "damaged" if reason else "older")
        with replacing(path, PRIVATE_FILE) as file:
            file.write(_image(kind, rows))
    return OpenedFile(*_open(path, kind, first, check), Damage(reason, kept) if reason else None)


def _salvaged(data: bytes, path: Path, kind: FileKind) -> Rows:
    """Return the sound rows of a damaged file, as the newest version has them."""
    written_by = facts_of({FACTS.name: FACTS.find(data)}).get(_FORMAT)
    if isinstance(written_by, int) and written_by > kind.newest:
        raise _newer(path, kind, written_by)
    found = {
        number: {table.name: table.find(data) for table in version.tables}
        for number, version in kind.versions.items()
        if written_by in (None, number)
    }
    # Version 1 did not say so: a file that does not either is of the first that has all its rows.
    number = max(sorted(found), key=lambda it: sum(map(len, found[it].values())))
    return kind.upgraded(found[number], number)


def _merged(first: Rows, rows: Rows) -> Rows:
    """Return all rows; of two with the same key, the latter."""
    return {
        name: list({row[0]: row for row in (*first.get(name, []), *rows.get(name, []))}.values())
        for name in {**first, **rows}
    }


def _keep(data: bytes, path: Path, label: str) -> str:
    """Keep a file as it was; return the name of the copy."""
    number = 1
    while (kept := path.with_name(f"{path.stem}.{label}-{number}{path.suffix}")).exists():
        if kept.read_bytes() == data:  # made before a kill
            return kept.name
        number += 1
    with replacing(kept, PRIVATE_FILE) as file:
        file.write(data)
    return kept.name


def _image(kind: FileKind, rows: Rows) -> bytes:
    """Return a new file with these rows."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        _prepare(database)
        with transaction(database):
            _fill(database, kind, rows)
        return database.serialize()


def _prepare(database: sqlite3.Connection) -> None:
    """Have a file written in the way that `salvage` can read."""
    database.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    database.execute("PRAGMA encoding = 'UTF-8'")
    database.execute("PRAGMA secure_delete = ON")


def _fill(database: sqlite3.Connection, kind: FileKind, rows: Rows) -> Rows:
    """Make the tables of an empty file and write its first rows; return all."""
    tables = kind.versions[kind.newest].tables
    nothing: Rows = {table.name: [] for table in tables}
    rows = _merged({**nothing, **rows}, {FACTS.name: [fact(_FORMAT, kind.newest)]})
    for table in tables:
        database.execute(table.statement)
        put(database, table, rows[table.name])
    database.execute(f"PRAGMA application_id = {kind.application_id}")
    database.execute(f"PRAGMA user_version = {kind.newest}")
    return rows


def _newer(path: Path, kind: FileKind, version: int) -> OutputError:
    return OutputError(
        f"{path.name}: A newer version of IDC Desktop wrote this {kind.name} (format {version}). "
        "Update, or use another data folder."
    )


def _is_damage(path: Path, error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # raised by our own checks, or text that cannot be decoded
        return True
    if code & 0xFF == sqlite3.SQLITE_READONLY:  # also said of a damaged header
        return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    return code & 0xFF not in _NOT_DAMAGE


def _is_spoilt(version: int, kind: FileKind) -> bool:
    """Whether a version may be one that we know, with a flipped bit or another upper byte."""
    return any((version ^ it).bit_count() == 1 or version & 0xFF == it for it in kind.versions)


def _schema_of(database: sqlite3.Connection) -> list[bytes]:
    rows = database.execute(
        "SELECT CAST(sql AS BLOB) FROM sqlite_master WHERE sql IS NOT NULL"
    ).fetchall()
    return sorted(row[0] or b"" for row in rows)
