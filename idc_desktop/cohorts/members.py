"""Which slides a cohort has, and where the results of each go."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from idc_desktop.arguments import decimal
from idc_desktop.cohorts.states import STATES_FOLDER, TABLES
from idc_desktop.errors import IdcError, SlideError, UsageError, cause_of
from idc_desktop.export.results import as_one_folder, results_name
from idc_desktop.plain_files import open_text
from idc_desktop.slides.slide_finder import slides_below
from idc_desktop.storage.project_files import is_project, read_project

_LIST_COLUMNS = ("slide", "mpp", "regions", "group")
_LIST_CHARS = 64 << 20
_RESULTS = ("provenance.json", "probability.ome.tiff")  # whichever was written first
_REGIONS_SUFFIXES = (".geojson", ".geojson.gz", ".json", ".json.gz", ".xml", ".xml.gz")


@dataclass(frozen=True)
class Member:
    """A slide of a cohort.

    Attributes
    ----------
    name : str
        By which the cohort knows it: its path below the folder that was given, with ``/``.
    slide : Path
        Absolute.
    folder : str
        Of its results, below that of the cohort, with ``/``.
    mpp : float or None
        Resolution given for this slide, µm per pixel.
    regions : Path or None
        File of regions for this slide.
    group : str
    """

    name: str
    slide: Path
    folder: str = ""
    mpp: float | None = None
    regions: Path | None = None
    group: str = ""

    @property
    def id(self) -> str:
        """Names the slide's state file; says nothing of its name to who does not know it."""
        return hashlib.sha256(self.name.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    @property
    def stamp(self) -> str:
        """Another text when the slide's file, or one in its folder, was changed; empty if gone."""
        try:
            of_folder = self.slide.is_dir()
            files = sorted(self.slide.iterdir()) if of_folder else [self.slide]
            about = [(it.name, it.stat().st_size, it.stat().st_mtime_ns) for it in files]
        except (OSError, ValueError):
            return ""
        return hashlib.sha256(repr(about).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def holds_results(folder: Path) -> bool:
    """Whether a folder is one of results: what lies in it are no slides."""
    return (folder / STATES_FOLDER).is_dir() or any((folder / it).is_file() for it in _RESULTS)


def find_members(
    given: Sequence[str], out: Path, regions_folder: Path | None = None
) -> tuple[list[Member], list[str]]:
    """Return the slides that arguments name, by their names, and what to know of the search.

    Of a single folder, names begin below it; of several arguments, with the folder's own name.

    Parameters
    ----------
    given : sequence of str
        Slides, folders (which are looked through to the last), lists (``.csv``), and projects of
        the window (``.idcproject``).
    out : Path
        Folder of the results, which is not looked into.
    regions_folder : Path or None
        Has a file of regions for each slide, or for some, with the slide's name.

    Raises
    ------
    UsageError
        Two slides would have one name.
    IdcError
        A list or a folder cannot be read, or there is no slide at all.
    """
    members, notes = dict[str, Member](), list[str]()
    for text in given:
        place = Path(os.path.abspath(text))  # noqa: PTH100 - as `console.absolute`
        if place.suffix.lower() == ".csv" and not place.is_dir():
            found: Iterable[Member] = _listed(place)
        elif is_project(place) and not place.is_dir():
            found = [Member(_name_below(place.parent, it), it) for it in read_project(place)]
        elif place.is_dir():
            found = _below(place, out, notes, is_alone=len(given) == 1)
        else:
            found = [Member(place.name, place)]
        for member in found:
            other = members.setdefault(member.name, member)
            if other.slide != member.slide:
                raise UsageError(
                    f"{other.slide} and {member.slide}: Both would be {member.name} in the cohort. "
                    "Give the folder that holds both."
                )
    if not members:
        raise SlideError(f"{', '.join(given)}: There is no slide. Give slides, folders or a list.")
    ordered = _placed([members[it] for it in sorted(members)])
    if regions_folder is not None:
        ordered = [it if it.regions else _with_regions(it, regions_folder) for it in ordered]
    return ordered, notes


def _below(root: Path, out: Path, notes: list[str], *, is_alone: bool) -> Iterator[Member]:
    def is_left_out(folder: Path) -> bool:
        if holds_results(folder):
            return True
        return out.exists() and folder.samefile(out)

    try:
        found = slides_below(root, is_left_out)
    except OSError as error:
        raise SlideError(f"{root}: The folder cannot be read ({cause_of(error)}).") from error
    notes += found.notes
    for slide in found.slides:
        start = root if is_alone and slide != root else root.parent
        yield Member(slide.relative_to(start).as_posix(), slide)


def _listed(path: Path) -> Iterator[Member]:
    """Yield the slides of a list, whose paths count from its folder."""
    try:
        with open_text(path, "utf-8-sig") as file:
            text = file.read(_LIST_CHARS + 1)
    except (OSError, UnicodeDecodeError) as error:
        cause = cause_of(error) if isinstance(error, OSError) else "it is no UTF-8"
        raise SlideError(f"{path}: The list cannot be read ({cause}).") from error
    if len(text) > _LIST_CHARS:
        raise SlideError(
            f"{path.name}: The list is longer than {_LIST_CHARS:,} characters. Give several lists."
        )
    head = text.partition("\n")[0]
    separator = ";" if ";" in head else ","
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        columns = [it.strip().lower() for it in rows.fieldnames or ()]
        rows.fieldnames = columns
        unknown = [it for it in columns if it not in _LIST_COLUMNS]
        if "slide" not in columns or unknown or len(set(columns)) < len(columns):
            odd = f"unknown: {', '.join(map(repr, unknown))}" if unknown else "no column slide"
            raise _bad_list(path, 1, f"{odd}; the columns are {', '.join(_LIST_COLUMNS)}")
        for row in rows:
            yield _member_of(row, path, rows.line_num)
    except csv.Error as error:
        raise _bad_list(path, rows.line_num, str(error)) from error


def _member_of(row: dict[str | None, str | None], path: Path, line: int) -> Member:
    if None in row or None in row.values():
        raise _bad_list(path, line, "it has another number of cells than the first line")
    cells = {name: (value or "").strip() for name, value in row.items()}
    if any("\0" in it for it in cells.values()):
        raise _bad_list(path, line, "it holds a NUL, which no name can")
    if not cells["slide"]:
        raise _bad_list(path, line, "no slide is named")
    slide = Path(os.path.abspath(path.parent / cells["slide"]))  # noqa: PTH100
    regions = cells.get("regions")
    try:
        mpp = decimal(cells["mpp"]) if cells.get("mpp") else None
    except ArgumentTypeError as error:
        raise _bad_list(path, line, f"mpp: {error}") from error
    return Member(
        _name_below(path.parent, slide),
        slide,
        mpp=mpp,
        regions=Path(os.path.abspath(path.parent / regions)) if regions else None,  # noqa: PTH100
        group=cells.get("group", ""),
    )


def _name_below(folder: Path, slide: Path) -> str:
    """Return the name of a slide that was listed by a file in this folder."""
    is_inside = slide.is_relative_to(folder)
    return slide.relative_to(folder).as_posix() if is_inside else slide.name


def _bad_list(path: Path, line: int, what: str) -> IdcError:
    return SlideError(f"{path.name}, line {line}: The list cannot be used: {what}.")


def _placed(members: list[Member]) -> list[Member]:
    """Say where the results of each go: as the slides lie, and no two into one folder.

    Where slides of one folder differ in their suffix only, the folders are named with it.
    """
    short = [_folder(it, results_name(it.slide)) for it in members]
    taken = Counter(map(as_one_folder, short))
    folders = [
        it if taken[as_one_folder(it)] == 1 else _folder(member, results_name(member.slide, True))
        for it, member in zip(short, members, strict=True)
    ]
    placed: dict[str, Member] = {}
    for folder, member in zip(folders, members, strict=True):
        other = placed.setdefault(as_one_folder(folder), member)
        if other is not member:
            raise UsageError(
                f"{other.name} and {member.name}: Both results would go to the folder {folder}, "
                "at least on some systems. Rename one of them."
            )
    return [replace(it, folder=folder) for it, folder in zip(members, folders, strict=True)]


def _folder(member: Member, name: str) -> str:
    *parents, _ = PurePosixPath(member.name).parts
    first, *others = (*(results_name(Path(it), True) for it in parents), name)
    if as_one_folder(first) in TABLES:  # which lie there
        first = f"_{first}"
    return "/".join([first, *others])


def _with_regions(member: Member, folder: Path) -> Member:
    """Give a slide the file that is named after it: where the slide lies, else at the top."""
    place = folder / PurePosixPath(member.name)
    for parent in dict.fromkeys((place.parent, folder)):
        for stem in dict.fromkeys((member.slide.name, results_name(member.slide))):
            for suffix in _REGIONS_SUFFIXES:
                file = parent / f"{stem}{suffix}"
                if file.is_file():
                    return replace(member, regions=file)
    return member
