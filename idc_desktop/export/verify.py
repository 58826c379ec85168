"""The proof that an exported folder is what was exported, whatever lies in it.

A folder that comes from somebody else may be made to do harm: nothing but regular files inside it
is opened, and the time that it takes is bounded.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

from idc_desktop.errors import ExportError, cause_of
from idc_desktop.export.formats import FILES, FORMATS
from idc_desktop.storage.atomic import locked
from idc_desktop.strict_json import load_strictly

PROVENANCE = "provenance.json"
"""Written last; names the SHA-256 of each of the other files."""

_MOST_BYTES = 8 << 30  # of all files: ten million patches need less, and it is read within a minute
_MOST_FILES = 10_000
_MOST_PROVENANCE_BYTES = 4 << 20
_MOST_VALUES = 200_000  # the model's card has at most half of it
_LONGEST_TEXT = 1_000  # characters of a name, version or path
_NO_WAIT: int = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)


def verify_folder(folder: Path) -> dict[str, Any]:
    """Prove an exported folder intact and return its provenance.

    Raises
    ------
    ExportError
        A file is missing or was changed, or the provenance is unreadable.
    """
    changed_ns = _changed_ns(folder)
    try:
        return _prove(folder)
    except ExportError:
        if changed_ns is None:
            raise
        # Another process may be replacing the files: look again while none can.
        with contextlib.suppress(BlockingIOError), locked(folder):
            if _changed_ns(folder) != changed_ns:
                return _prove(folder)
        raise


def read_provenance(folder: Path) -> dict[str, Any]:
    """Return what an exported folder says of itself, its form checked and nothing else.

    ``files`` is a dictionary; ``slide`` has an ``identity``, and ``model`` a ``sha256``, a ``name``
    and a ``version``.

    Raises
    ------
    ExportError
        There is none, or it is damaged.
    """
    where = name_of(folder)
    try:
        with _opened(folder, PROVENANCE) as file:
            data = file.read(_MOST_PROVENANCE_BYTES + 1)
    except OSError as error:
        raise ExportError(
            f"{where}: There is no readable {PROVENANCE} ({cause_of(error)}). Give the folder of "
            "one slide; if this is one, the export is incomplete: analyze the slide again."
        ) from error
    try:
        if len(data) > _MOST_PROVENANCE_BYTES:
            raise ValueError(f"more than {_MOST_PROVENANCE_BYTES >> 20} MB")
        document = load_strictly(
            data.decode("utf-8"), most_chars=_MOST_PROVENANCE_BYTES, most_values=_MOST_VALUES
        )
        _check_form(document)
    except ValueError as error:
        raise ExportError(f"{where}: {PROVENANCE} is damaged ({error}).") from error
    return dict(document)


def _check_form(document: object) -> None:
    """Raise `ValueError` unless a document has what everything else relies on."""
    texts = {"slide": ("identity",), "model": ("sha256", "name", "version")}
    for part in ("files", *texts):
        if not isinstance(document, dict) or not isinstance(document.get(part), dict):
            raise ValueError(f"no {part!r}")
        for key in texts.get(part, ()):
            value = document[part].get(key)
            if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
                raise ValueError(f"no {key!r} of the {part}")


def _prove(folder: Path) -> dict[str, Any]:
    document = read_provenance(folder)
    where, hashes = name_of(folder), document["files"]
    missing = sorted(set(FILES) - hashes.keys())
    if missing:
        raise ExportError(f"{where}: {PROVENANCE} does not name {', '.join(missing)}.")
    if len(hashes) > _MOST_FILES:
        raise ExportError(f"{where}: {PROVENANCE} names {len(hashes):,} files: it is damaged.")
    size_bytes = 0
    for name, expected in hashes.items():
        shown = name if len(name) <= _LONGEST_TEXT else f"{name[:_LONGEST_TEXT]} …"
        if not _is_inside(name):
            raise ExportError(f"{where}: {PROVENANCE} names a file outside the folder ({shown}).")
        try:
            with _opened(folder, name) as file:
                size_bytes += os.fstat(file.fileno()).st_size
                if size_bytes > _MOST_BYTES:
                    raise ExportError(
                        f"{where}: {shown} is larger than any file that is exported: it is damaged."
                    )
                found = _sha256(file)
        except FileNotFoundError as error:
            raise ExportError(f"{where}: {shown} is missing.") from error
        except OSError as error:
            raise ExportError(f"{where}: {shown} cannot be read ({cause_of(error)}).") from error
        if found != expected:
            raise ExportError(f"{where}: {shown} is not the file that was exported.")
    for name in files_of_formats(folder, FORMATS):
        if name not in hashes:
            raise ExportError(
                f"{where}: {name} belongs to another export than {PROVENANCE}. Delete it, or "
                "export again with all formats."
            )
    return document


def _is_inside(name: str) -> bool:
    """Whether a name means a file below the folder on every system."""
    place = PurePosixPath(name)
    leads_out = place.is_absolute() or ".." in place.parts or "\\" in name or ":" in name
    return not leads_out and len(name) <= _LONGEST_TEXT


@contextlib.contextmanager
def _opened(folder: Path, name: str) -> Iterator[BufferedReader]:
    """Open a file of the folder; `OSError` also for what is no file, or lies elsewhere by a link.

    Pipes and devices are not opened: they may wait, never end, or do something.
    """
    try:
        root, place = os.path.realpath(folder), os.path.realpath(folder / name)
        inside = Path(place).is_relative_to(root)
        mode = Path(place).stat().st_mode
    except ValueError as error:  # no name that a system can have
        raise FileNotFoundError(str(error)) from error
    if not inside:
        raise OSError("it is a link to somewhere else")
    if not stat.S_ISREG(mode):
        raise OSError("it is no file")
    # It may have been replaced since, by something that would wait.
    with open(place, "rb", opener=lambda path, flags: os.open(path, flags | _NO_WAIT)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("it is no file")
        yield file


def _sha256(file: BufferedReader) -> str:
    """Return the hash of a file as large as it is now, also if somebody goes on writing it."""
    digest, left = hashlib.sha256(), os.fstat(file.fileno()).st_size + 1
    while left > 0 and (data := file.read(min(left, 1 << 20))):
        digest.update(data)
        left -= len(data)
    return digest.hexdigest()


def files_of_formats(folder: Path, formats: Iterable[str]) -> Iterator[str]:
    """Yield what is there under the names of formats: files, and those in their folders.

    Hidden ones are none of ours, or temporary.

    Raises
    ------
    ExportError
        They are more than an export has, or cannot be listed.
    """
    where = name_of(folder)
    waiting = [name for it in formats for name in FORMATS[it].names]
    for name in waiting:  # which grows meanwhile
        path = folder / name
        try:
            if not os.path.lexists(path):
                continue
            if not stat.S_ISDIR(path.lstat().st_mode):
                yield name
                continue
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    waiting.append(f"{name}/{entry.name}")
                    if len(waiting) > _MOST_FILES:
                        raise ExportError(f"{where}: {name} holds more than an export does.")
        except OSError as error:
            raise ExportError(f"{where}: {name} cannot be read ({cause_of(error)}).") from error


def _changed_ns(folder: Path) -> int | None:
    """Return when a name in a folder changed last; None if there is no such folder."""
    try:
        return folder.stat().st_mtime_ns
    except (OSError, ValueError):
        return None


def name_of(folder: Path) -> str:
    """Return what a folder goes by in messages, also where it was given as ``.``."""
    is_named = folder.name not in ("", "..")
    return folder.name if is_named else Path(os.path.realpath(folder)).name or str(folder)
