"""What lies in a results folder already: whose it is, and what of it is outdated."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from idc_desktop.errors import ExportError, ForeignResultsError, SlideError, not_written
from idc_desktop.export.formats import FILES, FORMATS
from idc_desktop.export.verify import PROVENANCE, files_of_formats, name_of, read_provenance
from idc_desktop.slides.description import SlideDescription
from idc_desktop.slides.preflight import resolve
from idc_desktop.slides.slide_files import SlideFiles

_TO_WRITE = os.W_OK | os.X_OK


def require_replaceable(
    folder: Path,
    slide: SlideDescription,
    formats: Sequence[str] = (),
    source: Path | None = None,
) -> list[str]:
    """See to it that results of a slide replace nothing that is of others.

    Parameters
    ----------
    formats : sequence of str
        Of `FORMATS`: what is to be written beside the six files.
    source : Path or None
        The slide itself, to recognise what was exported when another rule gave its identity.

    Returns
    -------
    list of str
        Files that nothing is known of and that will be replaced. They lie beside one of the six,
        as an export leaves them that was interrupted before it wrote its provenance.

    Raises
    ------
    ForeignResultsError
        The folder holds results of another slide, or may hold them: its provenance cannot be
        read, or there is none and files have the names of ours.
    OutputError
        The folder can be neither read nor written.
    """
    where = name_of(folder)
    try:
        identity = read_provenance(folder)["slide"]["identity"]
    except ExportError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return _ownerless(folder, formats)
        if isinstance(error.__cause__, PermissionError) and not os.access(folder, _TO_WRITE):
            # Nobody's results are in danger, and asking to replace them would be of no help.
            what = f"{where}: The results cannot be written"
            raise not_written(what, error.__cause__) from error
        raise ForeignResultsError(
            f"{where}: It cannot be told whose results this folder holds: its {PROVENANCE} cannot "
            "be read."
        ) from error
    if identity != slide.identity and not _was_known_as(identity, source):
        raise ForeignResultsError(f"{where}: This folder holds results of another slide.")
    return []


def outdated(folder: Path, files: Collection[str]) -> list[str]:
    """Return the files of known formats that belong to an earlier export.

    Parameters
    ----------
    files : collection of str
        Names of the files of the present one.
    """
    found: list[str] = []
    with contextlib.suppress(ExportError):  # more than can be listed
        found += (name for name in files_of_formats(folder, FORMATS) if name not in files)
    return found


def _ownerless(folder: Path, formats: Sequence[str]) -> list[str]:
    """Return the files that would be replaced in a folder without provenance."""
    six = [name for name in FILES if (folder / name).is_file()]
    further = list(files_of_formats(folder, formats))
    if further and not six:  # an export begins with the six
        raise ForeignResultsError(
            f"{name_of(folder)}: This folder holds {', '.join(further)}, and no {PROVENANCE} that "
            "says of what slide."
        )
    return six + further


def _was_known_as(identity: str, source: Path | None) -> bool:
    if source is None:
        return False
    try:
        return identity in SlideFiles(resolve(source)).former_identities()
    except SlideError:
        return False
