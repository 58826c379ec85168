"""A folder of exported files: complete or untouched, and the proof that it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from idc_desktop.atomic import FileGroup, replacing
from idc_desktop.errors import ExportError, not_written
from idc_desktop.export.analysis import Analysis, Content
from idc_desktop.export.formats import FILES, FORMATS, six_files
from idc_desktop.export.writers import Writer, text_writer
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
    is not. Of several processes that write into one folder, one has written all of its files.

    Parameters
    ----------
    formats : sequence of str
        Of `FORMATS`.

    Raises
    ------
    ExportError
        A format cannot hold this analysis; nothing was written.
    OutputError
        The folder or a file cannot be written; the folder is as it was before.
    """
    content = Content(analysis, tuple(regions), folder.name)
    writers = six_files(content)
    for name in formats:
        writers |= FORMATS[name].files(content)
    try:
        with FileGroup(folder) as group:
            hashes = {name: _write(group, name, write) for name, write in writers.items()}
            document = {**analysis.provenance(), "files": hashes}
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
            _write(group, PROVENANCE, text_writer(lambda put: put(text)))
    except OSError as error:
        blamed, name = Path(error.filename or folder), folder.name or str(folder)
        where = name if blamed == folder else f"{name}/{blamed.name}"
        raise not_written(
            f"{where}: The results cannot be written",
            error,
            "choose another folder with --out",
            "the analysis itself is kept, and the folder is as it was",
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
        with replacing(path) as file:
            writer(file)
    except OSError as error:
        raise not_written(f"{path.name}: The regions cannot be written", error) from error


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


def _write(group: FileGroup, name: str, write: Writer) -> str:
    """Write a file of the group; return its SHA-256."""
    with group.open(name) as file:
        write(file)
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()
