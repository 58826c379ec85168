"""A folder of exported files: complete or untouched, and the proof that it is."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from idc_desktop.errors import ExportError, OutputError
from idc_desktop.export.analysis import Analysis, Content
from idc_desktop.export.formats import FILES, FORMATS, six_files
from idc_desktop.export.writers import text_writer
from idc_desktop.regions import Region
from idc_desktop.regions.geojson import write

PROVENANCE = "provenance.json"
"""Written last; names the SHA-256 of each of the other files."""


def write_folder(
    folder: Path, analysis: Analysis, regions: Iterable[Region], formats: Sequence[str] = ()
) -> None:
    """Write the six files, and those of further formats.

    Each is written to a temporary name, fsynced and renamed; ``provenance.json``, which names the
    hashes of the others, comes last. A kill at any moment leaves no file that looks complete and
    is not.

    Parameters
    ----------
    formats : sequence of str
        Of `FORMATS`.

    Raises
    ------
    ExportError
        A format cannot hold this analysis; nothing was written.
    OutputError
        The folder or a file cannot be written; files that were there before are untouched.
    """
    content = Content(analysis, tuple(regions), folder.name)
    writers = six_files(content)
    for name in formats:
        writers |= FORMATS[name].files(content)
    try:
        with contextlib.ExitStack() as cleanup:
            temporary = {name: _temporary(folder / name, cleanup) for name in writers}
            hashes = {name: _write(temporary[name], write) for name, write in writers.items()}
            document = {**analysis.provenance(), "files": hashes}
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
            temporary[PROVENANCE] = _temporary(folder / PROVENANCE, cleanup)
            _write(temporary[PROVENANCE], text_writer(lambda put: put(text)))
            for name in temporary:
                if (folder / name).is_dir():  # found before the first file is replaced
                    raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
            for name, path in temporary.items():
                path.replace(folder / name)
        for place in {(folder / name).parent for name in temporary}:
            _sync_folder(place)
    except OSError as error:
        raise OutputError(
            f"{folder}: The results cannot be written ({error.strerror or error}). Choose "
            "another folder with --out, or free some space; the analysis itself is kept."
        ) from error


def write_regions(
    path: Path, regions: Iterable[Region], origin_l0: tuple[float, float] = (0, 0)
) -> None:
    """Write regions as GeoJSON for QuPath, gzipped if the name ends in ``.gz``.

    Parameters
    ----------
    origin_l0 : (x, y)
        What becomes (0, 0): the corner of the slide's bounds where QuPath crops to them.

    Raises
    ------
    OutputError
        The file cannot be written; one that was there before is untouched.
    """
    packed = path.name.endswith(".gz")
    writer = text_writer(lambda put: write(put, regions, origin_l0), packed=packed)
    try:
        with contextlib.ExitStack() as cleanup:
            temporary = _temporary(path, cleanup)
            _write(temporary, writer)
            temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(
            f"{path.name}: The regions cannot be written ({error.strerror or error}). Choose "
            "another folder, or free some space."
        ) from error


def verify_folder(folder: Path) -> dict[str, Any]:
    """Prove an exported folder intact and return its provenance.

    Raises
    ------
    ExportError
        A file is missing or was changed, or the provenance is unreadable.
    """
    try:
        document = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        hashes = dict(document["files"])
        subject = (document["slide"]["identity"], document["model"]["sha256"])
    except OSError as error:
        raise ExportError(
            f"{folder.name}: There is no readable {PROVENANCE} ({error.strerror}). Give the folder "
            "of one slide; if this is one, the export is incomplete: analyze the slide again."
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ExportError(f"{folder.name}: {PROVENANCE} is damaged ({error!r}).") from error
    if not all(isinstance(part, str) for part in subject):
        raise ExportError(f"{folder.name}: {PROVENANCE} is damaged.")
    missing = sorted(set(FILES) - hashes.keys())
    if missing:
        raise ExportError(f"{folder.name}: {PROVENANCE} does not name {', '.join(missing)}.")
    for name, expected in hashes.items():
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or "\\" in name or ":" in name:
            raise ExportError(f"{folder.name}: {PROVENANCE} names a file outside the folder.")
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ExportError(f"{folder.name}: {name} is missing ({error.strerror}).") from error
        if found != expected:
            raise ExportError(f"{folder.name}: {name} is not the file that was exported.")
    for name in (name for known in FORMATS.values() for name in known.names):
        for file in (folder / name, *sorted((folder / name).rglob("*"))):
            found_name = file.relative_to(folder).as_posix()
            if file.is_file() and found_name not in hashes:
                raise ExportError(
                    f"{folder.name}: {found_name} belongs to another export than {PROVENANCE}. "
                    "Delete it, or export again with all formats."
                )
    return dict(document)


def _temporary(path: Path, cleanup: contextlib.ExitStack) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")  # fixed: what a kill leaves is used again
    cleanup.callback(temporary.unlink, missing_ok=True)
    return temporary


def _write(path: Path, write: Callable[[BinaryIO], None]) -> str:
    """Write and fsync a file; return its SHA-256."""
    with path.open("w+b") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder, and needs no such call
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
