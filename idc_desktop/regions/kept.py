"""What is kept of a slide, and how its file holds it: values as rows, and back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import VERDICTS, Region, shape_of
from idc_desktop.regions.sheet import Sheet
from idc_desktop.storage.database import (
    FACTS,
    FileKind,
    OpenedFile,
    Rows,
    Version,
    fact,
    facts_of,
    is_sealed,
    read_copy,
    sealed,
)
from idc_desktop.storage.salvage import Row, Table

_Entry = TypeVar("_Entry", Region, Mark)

FILE = "regions.sqlite"
"""Its name in the slide's folder."""

_REGIONS = Table(
    "CREATE TABLE region (id TEXT PRIMARY KEY, place INTEGER NOT NULL, text TEXT NOT NULL, "
    "crc INTEGER NOT NULL)",
    is_sealed,
)
_VIEW = Table(
    "CREATE TABLE view (name TEXT PRIMARY KEY, text TEXT NOT NULL, crc INTEGER NOT NULL)", is_sealed
)
_MARKS = Table(
    "CREATE TABLE mark (id TEXT PRIMARY KEY, place INTEGER NOT NULL, text TEXT NOT NULL, "
    "crc INTEGER NOT NULL)",
    lambda row: _sealed_mark(*row[:3]) == row,
)


def _sealed_mark(*row: object) -> Row:
    # Sealed with a word of its own: a region has the same columns.
    return (*row, sealed(_MARKS.name, *row)[-1])


def _with_verdicts(rows: Rows) -> Rows:
    """Return the rows of version 3 as those of version 4: nothing was judged or marked yet."""
    regions = []
    for key, place, text, _ in rows.get(_REGIONS.name, []):
        try:
            entry = {"verdict": "", "note": "", "is_focus": False, **json.loads(text)}
        except (ValueError, TypeError):  # of a kind that we do not know: it stays as it is
            entry = None
        regions.append(sealed(key, place, text if entry is None else _compact(entry)))
    return {**rows, _REGIONS.name: regions, _MARKS.name: rows.get(_MARKS.name, [])}


def _compact(entry: object) -> str:
    return json.dumps(entry, separators=(",", ":"))


KIND = FileKind(
    "regions file",
    "region",
    0x49444332,  # IDC2
    {
        1: Version((_REGIONS, _VIEW)),
        3: Version((FACTS, _REGIONS, _VIEW)),
        4: Version((FACTS, _REGIONS, _MARKS, _VIEW), _with_verdicts),
    },
)
_COUNTS = {_REGIONS.name: "regions", _MARKS.name: "marks"}
"""The facts that tell how many rows each table has: so it is known how many are lost."""
_SHEET = "sheet"


@dataclass(frozen=True)
class Kept:
    """What is drawn and written on a slide at one moment.

    Attributes
    ----------
    regions : tuple of Region
        In the order in which they are painted.
    marks : tuple of Mark
    sheet : Sheet
    """

    regions: tuple[Region, ...] = ()
    marks: tuple[Mark, ...] = ()
    sheet: Sheet = field(default_factory=Sheet)


@dataclass(frozen=True)
class Change:
    """What of a table is to be written: rows, the keys of those that go, and facts about it."""

    table: Table
    rows: list[Row]
    gone: Collection[str] = ()
    facts: list[Row] = field(default_factory=list)


def changes(
    before: Kept, now: Kept, former_view: Mapping[str, Any], view: Mapping[str, Any]
) -> Iterator[Change]:
    """Yield for each table what differs between two moments."""
    yield _change(_REGIONS, before.regions, now.regions, _region_row)
    yield _change(_MARKS, before.marks, now.marks, _mark_row)
    if now.sheet != before.sheet:
        yield Change(FACTS, [fact(_SHEET, asdict(now.sheet))])
    if view is not former_view:
        rows = [sealed(name, json.dumps(value)) for name, value in view.items()]
        yield Change(_VIEW, rows, former_view.keys() - view.keys())


def read(rows: Rows) -> tuple[Kept, dict[str, Any], int]:
    """Return what is kept, how the slide is looked at, and how many rows are not understood."""
    regions, no_regions = _read_table(rows[_REGIONS.name], _region)
    marks, no_marks = _read_table(rows[_MARKS.name], _mark)
    sheet = Sheet.from_dict(facts_of(rows).get(_SHEET))
    view = {name: json.loads(text) for name, text, _ in rows[_VIEW.name]}
    return Kept(regions, marks, sheet), view, no_regions + no_marks


def wrong_counts(rows: Rows) -> list[Row]:
    """Return the facts that tell how many rows there are, if one of them is wrong or missing."""
    counts = [fact(name, len(rows[table])) for table, name in _COUNTS.items()]
    return counts if any(it not in rows[FACTS.name] for it in counts) else []


def read_kept(folder: Path) -> Kept:
    """Return what is kept of a slide, and change nothing; nothing is kept where there is no file.

    Parameters
    ----------
    folder : Path
        The slide's (`idc_desktop.storage.user_data.slide_folder`).

    Raises
    ------
    OutputError
        A newer version wrote the file.
    OSError, sqlite3.Error
        The file cannot be read, or a window has it open (`database.is_held`).
    """
    rows = read_copy(folder / FILE, KIND)
    return Kept() if rows is None else read(rows)[0]


def account(opened: OpenedFile) -> str:
    """Say what a damaged file has cost."""
    assert opened.damage is not None
    facts, texts = facts_of(opened.rows), []
    for table, name in _COUNTS.items():
        saved, count = len(opened.rows[table]), facts.get(name)
        lost = (
            f", lost: {max(0, count - saved):,}"
            if isinstance(count, int)
            else "; whether there were more is not known"
        )
        if table == _REGIONS.name or saved or count:
            texts.append(f"{name.capitalize()} saved: {saved:,}{lost}.")
    return (
        f"{FILE}: The stored regions were damaged ({opened.damage.reason}). {' '.join(texts)} "
        f"The file as it was is kept as {opened.damage.kept} in the slide's data folder."
    )


def _change(
    table: Table,
    before: Sequence[_Entry],
    now: Sequence[_Entry],
    row_of: Callable[[int, _Entry], Row],
) -> Change:
    old = {it.id: (place, it) for place, it in enumerate(before)}
    new = {it.id: (place, it) for place, it in enumerate(now)}
    rows = [row_of(*entry) for key, entry in new.items() if old.get(key) != entry]
    counted = [] if len(new) == len(old) else [fact(_COUNTS[table.name], len(new))]
    return Change(table, rows, old.keys() - new.keys(), counted)


def _read_table(
    rows: list[Row], entry_of: Callable[[str, str], _Entry]
) -> tuple[tuple[_Entry, ...], int]:
    """Return what stands in the rows of a table, in its order, and how many are not understood."""
    found = []
    for key, _, text, _ in sorted(rows, key=lambda row: row[1]):
        with contextlib.suppress(ValueError, TypeError, KeyError, IndexError):
            found.append(entry_of(key, text))
    return tuple(found), len(rows) - len(found)


def _region_row(place: int, region: Region) -> Row:
    entry = {
        "name": region.name,
        "classification": region.classification,
        "color": region.color,
        "is_locked": region.is_locked,
        "is_hidden": region.is_hidden,
        "verdict": region.verdict,
        "note": region.note,
        "is_focus": region.is_focus,
        "roi": region.shape.roi,
        "polygons": [[ring.tolist() for ring in polygon] for polygon in region.shape.polygons],
    }
    return sealed(region.id, place, _compact(entry))


def _region(identifier: str, text: str) -> Region:
    entry = json.loads(text)
    if entry["verdict"] not in ("", *VERDICTS):
        raise ValueError(entry["verdict"])
    return Region(
        entry["name"],
        shape_of(entry["polygons"], entry["roi"]),
        entry["classification"],
        tuple(entry["color"]) if entry["color"] else None,
        identifier,
        entry["is_locked"],
        entry["is_hidden"],
        entry["verdict"],
        entry["note"],
        entry["is_focus"],
    )


def _mark_row(place: int, mark: Mark) -> Row:
    entry = {"kind": mark.kind, "points": mark.points, "name": mark.name}
    return _sealed_mark(mark.id, place, _compact(entry))


def _mark(identifier: str, text: str) -> Mark:
    entry = json.loads(text)
    points = tuple((float(x), float(y)) for x, y in entry["points"])
    return Mark(entry["kind"], points, str(entry["name"]), identifier)
