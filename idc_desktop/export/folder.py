"""A folder of exported files: complete or untouched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from idc_desktop.errors import FormatError, not_written
from idc_desktop.export.content import Analysis, Content
from idc_desktop.export.earlier import outdated, require_replaceable
from idc_desktop.export.formats import FORMATS, six_files
from idc_desktop.export.results import refuse_scan_folder
from idc_desktop.export.verify import PROVENANCE, name_of
from idc_desktop.export.writers import Writer, text_writer
from idc_desktop.regions.geojson import write
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import Region
from idc_desktop.regions.sheet import Sheet
from idc_desktop.storage.atomic import FileGroup, replacing


def write_folder(
    folder: Path,
    analysis: Analysis,
    regions: Iterable[Region],
    formats: Sequence[str] = (),
    *,
    marks: Iterable[Mark] = (),
    sheet: Sheet | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write the six files, and those of further formats.

    Each is written to a temporary name, fsynced and renamed; ``provenance.json``, which names the
    hashes of the others, comes last. A kill at any moment leaves no file that looks complete and
    is not. Of several processes that write into one folder, one has written all of its files.

    Parameters
    ----------
    formats : sequence of str
        Of `FORMATS`.
    marks : iterable of Mark
    sheet : Sheet, optional
        What was written about the slide.
    overwrite : bool
        Results of another slide may be replaced.

    Returns
    -------
    list of str
        Files of an earlier export in further formats that were not written again.

    Raises
    ------
    FormatError
        A format cannot hold this analysis; nothing was written.
    ExportError
        The folder is of the scan itself; nothing was written.
    ForeignResultsError
        The folder holds results of another slide; nothing was written.
    OutputError
        The folder or a file cannot be written; the folder is as it was before.
    """

    def check() -> None:
        refuse_scan_folder(folder, [] if analysis.source is None else [analysis.source])
        if not overwrite:
            require_replaceable(folder, analysis.slide, formats, analysis.source)

    check()
    for name in formats:
        reason = FORMATS[name].refusal(analysis.slide, analysis.is_nameless)
        if reason is not None:
            source = analysis.source
            raise FormatError(source.name if source else analysis.slide.file, name, reason)
    content = Content(analysis, tuple(regions), folder.name, tuple(marks), sheet or Sheet())
    writers = six_files(content)
    for name in formats:
        writers |= FORMATS[name].files(content)
    try:
        with FileGroup(folder, before=check) as group:
            hashes = {name: _write(group, name, write) for name, write in writers.items()}
            document = {**analysis.provenance(), "files": hashes}
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
            _write(group, PROVENANCE, text_writer(lambda put: put(text)))
    except OSError as error:
        blamed, name = Path(error.filename or folder), name_of(folder)
        where = name if blamed == folder else f"{name}/{blamed.name}"
        raise not_written(
            f"{where}: The results cannot be written",
            error,
            "choose another folder",
            "the analysis itself is kept, and the folder is as it was",
        ) from error
    return outdated(folder, hashes)


def write_regions(
    path: Path,
    regions: Iterable[Region],
    origin_l0: tuple[float, float] = (0, 0),
    marks: Iterable[Mark] = (),
    mpp: tuple[float, float] | None = None,
) -> None:
    """Write regions as GeoJSON for QuPath, gzipped if the name ends in ``.gz``.

    Parameters
    ----------
    origin_l0 : (x, y)
        What becomes (0, 0): the corner of the slide's bounds where QuPath crops to them.
    marks : iterable of Mark
        Written as points and lines, with their figures where the resolution is given.
    mpp : (x, y), optional

    Raises
    ------
    OutputError
        The file cannot be written; one that was there before is untouched.
    """
    packed = path.name.endswith(".gz")
    writer = text_writer(
        lambda put: write(put, regions, origin_l0, None, marks, mpp), packed=packed
    )
    try:
        with replacing(path) as file:
            writer(file)
    except OSError as error:
        raise not_written(f"{path.name}: The regions cannot be written", error) from error


def _write(group: FileGroup, name: str, write: Writer) -> str:
    """Write a file of the group; return its SHA-256."""
    with group.open(name) as file:
        write(file)
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()
