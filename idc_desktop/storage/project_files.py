"""Projects: lists of slides, each a small file that can be moved together with its slides.

A slide in the folder of the project, or in one below, is named by its path from there; any other
by its absolute path. The list of the window that has no name is a file of the same kind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from idc_desktop.errors import ProjectError, cause_of, not_written
from idc_desktop.plain_files import read_bytes
from idc_desktop.storage.atomic import replacing
from idc_desktop.storage.user_data import data_folder
from idc_desktop.strict_json import load_strictly
from idc_desktop.typed_json import Matching, Sized, Within, build

PROJECT_SUFFIX = ".idcproject"
MAX_SLIDES = 5_000
"""So many a list holds."""

Change = Callable[[list[Path]], list[Path]]
"""Makes another list of one; of which, is only known when it is written."""

_FORMAT: Literal["IDC Desktop project"] = "IDC Desktop project"
_VERSION = 1
_MOST_BYTES = 16 << 20
_MOST_VALUES = 500_000  # names have commas, too
_ANOTHER = "save the list as another project"

_Name = Annotated[str, Sized(1, 4096), Matching(r"[^\0]+")]


@dataclass(frozen=True)
class _Document:
    format: Literal["IDC Desktop project"]
    version: Annotated[int, Within(_VERSION, _VERSION)]
    slides: Annotated[tuple[_Name, ...], Sized(0, MAX_SLIDES)]


def own_list() -> Path:
    """Return where the list that is in no project is kept."""
    return data_folder() / "slides.json"


def is_project(path: Path) -> bool:
    """Whether a file is a project, by its name."""
    return path.suffix.lower() == PROJECT_SUFFIX


def read_project(path: Path) -> list[Path]:
    """Return the slides of a project, absolute, in their order; they need not exist.

    Raises
    ------
    ProjectError
        It cannot be read, is no project, or a newer version wrote it.
    """
    try:
        data = read_bytes(path, _MOST_BYTES)
    except FileNotFoundError as error:
        raise ProjectError(
            f"{path.name}: The project is not there. Open it where it is now, or {_ANOTHER}."
        ) from error
    except OSError as error:
        raise ProjectError(
            f"{path.name}: The project cannot be read ({cause_of(error)})."
        ) from error
    try:
        text = data.decode("utf-8")
        document = load_strictly(
            text, most_chars=_MOST_BYTES, most_values=_MOST_VALUES, names_files=True
        )
        _refuse_newer(path, document)
        slides = build(_Document, document).slides
    except UnicodeDecodeError as error:
        raise _no_project(path, "it is no UTF-8") from error
    except ValueError as error:
        raise _no_project(path, f"{error!s:.200}") from error
    # With texts: to join 5,000 paths takes long.
    names = (os.path.abspath(os.path.join(path.parent, it)) for it in slides)  # noqa: PTH100, PTH118
    return [Path(it) for it in dict.fromkeys(names)]


def create_project(path: Path, slides: Iterable[Path], mode: int = 0o666) -> None:
    """Write a project; what had the name before is replaced.

    Parameters
    ----------
    mode : int
        Permissions, less those that the user's umask takes away.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    try:
        with replacing(path, mode) as file:
            file.write(_encoded(path, slides))
    except OSError as error:
        raise _not_written(path, error) from error


def change_project(path: Path, changes: Sequence[Change]) -> list[Path]:
    """Change what stands in a project by now, whoever wrote it; return what stands there then.

    Raises
    ------
    ProjectError
        It is gone, or no project any more.
    OutputError
        It cannot be written.
    """
    slides = read_project(path)  # what is wrong with it is no failure to write
    try:
        mode = path.stat().st_mode & 0o777
        with replacing(path, mode, is_follow_up=True) as file:
            slides = read_project(path)
            for change in changes:
                slides = change(slides)
            file.write(_encoded(path, slides))
    except OSError as error:
        raise _not_written(path, error) from error
    return slides


def rename_project(path: Path, name: str) -> Path:
    """Give a project, and its file, another name; return its new path.

    Raises
    ------
    ProjectError
        There is a file of this name, or it is no name.
    OutputError
        The file cannot be renamed.
    """
    named = path.with_name(f"{name}{PROJECT_SUFFIX}") if _is_name(name) else None
    if named is None:
        raise ProjectError(f"{name}: This is no name for a project. Leave out / and \\.")
    if os.path.lexists(named) and not (path.exists() and named.samefile(path)):
        raise ProjectError(f"{named.name}: There is a file of this name. Choose another one.")
    try:
        path.rename(named)
    except OSError as error:
        what = f"{path.name}: The project cannot be renamed"
        raise not_written(what, error, _ANOTHER) from error
    return named


def added(slides: list[Path], new: Sequence[Path]) -> list[Path]:
    """Return a list with slides at its head; what has no room leaves it at its end."""
    return list(dict.fromkeys([*new, *slides]))[:MAX_SLIDES]


def without(slides: list[Path], gone: Sequence[Path]) -> list[Path]:
    """Return a list without slides."""
    left_out = set(gone)
    return [it for it in slides if it not in left_out]


def put_back(slides: list[Path], places: Sequence[tuple[int, Path]]) -> list[Path]:
    """Return a list with slides where they were, the first one first."""
    whole = without(slides, [path for _, path in places])
    for place, path in places:
        whole.insert(place, path)
    return whole[:MAX_SLIDES]


def moved(slides: list[Path], places: Sequence[tuple[Path, Path]]) -> list[Path]:
    """Return a list in which slides are elsewhere; a pair is a slide's former place and its new."""
    new = dict(places)
    return list(dict.fromkeys(new.get(it, it) for it in slides))


def found_again(
    missing: Path, found: Path, others: Iterable[Path]
) -> tuple[tuple[Path, Path], ...]:
    """Return the former and the new place of a slide, and of those that moved along with it.

    Parameters
    ----------
    missing, found : Path
        Where the slide was, and is.
    others : iterable of Path
        Further slides that are missing. Such as lay in the folder that moved, and are there now,
        moved along.
    """
    before, now = missing.parts, found.parts
    same = 0  # parts that both paths end with: what stands before them is the folder that moved
    while same < min(len(before), len(now)) - 1 and before[-1 - same] == now[-1 - same]:
        same += 1
    places = [(missing, found)]
    if same:
        root, place = Path(*before[:-same]), Path(*now[:-same])
        for slide in others:
            if slide != missing and slide.is_relative_to(root):
                new = place / slide.relative_to(root)
                if os.access(new, os.F_OK):
                    places.append((slide, new))
    return tuple(places)


def _is_name(name: str) -> bool:
    odd = any(it in name for it in "/\\\0")
    return bool(name) and not odd and name == name.strip() and not name.startswith(".")


def _encoded(path: Path, slides: Iterable[Path]) -> bytes:
    # Links are kept, as of the slides.
    folder = os.path.join(os.path.abspath(path.parent), "")  # noqa: PTH100, PTH118
    names = [
        it.removeprefix(folder).replace(os.sep, "/") if it.startswith(folder) else it
        for it in map(str, slides)
    ]
    document = {"format": _FORMAT, "version": _VERSION, "slides": names}
    return f"{json.dumps(document, indent=1)}\n".encode("ascii")


def _refuse_newer(path: Path, document: object) -> None:
    if isinstance(document, dict) and document.get("format") == _FORMAT:
        version = document.get("version")
        if type(version) is int and version > _VERSION:
            raise ProjectError(
                f"{path.name}: A newer version of IDC Desktop wrote this project. Use that one."
            )


def _no_project(path: Path, why: str) -> ProjectError:
    return ProjectError(f"{path.name}: This is no project of IDC Desktop ({why}).")


def _not_written(path: Path, error: OSError) -> Exception:
    return not_written(f"{path.name}: The project cannot be written", error, _ANOTHER)
