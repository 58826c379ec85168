"""What lies in a results folder already: whose it is, and what of it is outdated."""

from __future__ import annotations

import errno
import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from idc_desktop.description import SlideDescription
from idc_desktop.errors import ExportError, ForeignResultsError
from idc_desktop.export.formats import FILES, FORMATS

PROVENANCE = "provenance.json"
"""Written last; names the SHA-256 of each of the other files."""

_LARGEST_BYTES = 64 << 20


def read_provenance(folder: Path) -> dict[str, Any]:
    """Read what a results folder says of its origin.

    The identity of its slide, the model's SHA-256 and the table of files are there, and are text.

    Raises
    ------
    OSError
        It says nothing, or that cannot be read.
    ExportError
        It is damaged.
    """
    path = folder / PROVENANCE
    if path.exists() and not path.is_file():  # reading a pipe would never end
        raise OSError(errno.EINVAL, "it is no file")
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_BYTES + 1)
        if len(text) > _LARGEST_BYTES:
            raise ValueError("it is too large")
        document = json.loads(text)
        files = dict(document["files"])
        said = (document["slide"]["identity"], document["model"]["sha256"], *files.values())
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ExportError(f"{folder.name}: {PROVENANCE} is damaged ({error!r}).") from error
    if not all(isinstance(it, str) for it in said):
        raise ExportError(f"{folder.name}: {PROVENANCE} is damaged.")
    return {**document, "files": files}


def require_replaceable(
    folder: Path, slide: SlideDescription, formats: Sequence[str] = ()
) -> list[str]:
    """See to it that results of a slide replace nothing that is of others.

    Parameters
    ----------
    formats : sequence of str
        Of `FORMATS`: what is to be written beside the six files.

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
    """
    try:
        identity = read_provenance(folder)["slide"]["identity"]
    except (FileNotFoundError, NotADirectoryError):
        return _ownerless(folder, formats)
    except (OSError, ExportError) as error:
        why = getattr(error, "strerror", None) or "it is damaged"
        raise ForeignResultsError(
            f"{folder.name}: It cannot be told whose results this folder holds: its {PROVENANCE} "
            f"cannot be read ({why})."
        ) from error
    if identity != slide.identity:
        raise ForeignResultsError(f"{folder.name}: This folder holds results of another slide.")
    return []


def outdated(folder: Path, files: Collection[str]) -> list[str]:
    """Return the files of known formats that belong to an earlier export.

    Parameters
    ----------
    files : collection of str
        Names of the files of the present one.
    """
    return [name for name in _files_of(folder, FORMATS) if name not in files]


def _ownerless(folder: Path, formats: Iterable[str]) -> list[str]:
    """Return the files that would be replaced in a folder without provenance."""
    six = [name for name in FILES if (folder / name).exists()]
    further = _files_of(folder, formats)
    if further and not six:  # an export begins with the six
        raise ForeignResultsError(
            f"{folder.name}: This folder holds {', '.join(further)}, and no {PROVENANCE} that says "
            "of what slide."
        )
    return six + further


def _files_of(folder: Path, formats: Iterable[str]) -> list[str]:
    """Return the files of some formats that a folder holds, without hidden ones."""
    places = [folder / name for it in formats for name in FORMATS[it].names]
    found = [it for place in places for it in (place, *sorted(place.rglob("*"))) if it.is_file()]
    return [it.relative_to(folder).as_posix() for it in found if not it.name.startswith(".")]
