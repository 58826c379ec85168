"""The regions of one slide and their file.

All that is drawn is kept as it happens, in the slide's folder of the user's data folder.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from idc_desktop.closing import Closing
from idc_desktop.errors import OutputError, RegionsError, not_written
from idc_desktop.regions.shape import Region, shape_of
from idc_desktop.storage.database import (
    FACTS,
    Damage,
    FileKind,
    OpenedFile,
    Rows,
    Version,
    as_os_error,
    fact,
    facts_of,
    is_held,
    is_sealed,
    open_file,
    put,
    sealed,
    transaction,
)
from idc_desktop.storage.salvage import Table

_FILE = "regions.sqlite"
_REGIONS = Table(
    "CREATE TABLE region (id TEXT PRIMARY KEY, place INTEGER NOT NULL, text TEXT NOT NULL, "
    "crc INTEGER NOT NULL)",
    is_sealed,
)
_VIEW = Table(
    "CREATE TABLE view (name TEXT PRIMARY KEY, text TEXT NOT NULL, crc INTEGER NOT NULL)", is_sealed
)
_KIND = FileKind(
    "regions file",
    "region",
    0x49444332,  # IDC2
    {1: Version((_REGIONS, _VIEW)), 3: Version((FACTS, _REGIONS, _VIEW))},
)
_COUNT = "regions"
"""The fact that tells how many regions there are: so it is known how many are lost."""

_RETRY_S = 2.0
_PATIENCE_S = 2.0
_SLOW = f"{_FILE}: The regions are not written yet: the disk does not answer."


class RegionBook(Closing):
    """The regions of a slide and their file, and how the slide is looked at.

    Edits are values: each replaces the tuple of regions by another, so that whoever keeps the
    former one can go back to it. The file follows in a thread of its own, within milliseconds, so
    that a slow disk never stops the window; what `flush` has seen survives any kill.

    Not for two threads at once, `problem`, `flush` and `settle` apart.

    Parameters
    ----------
    folder : Path
        The slide's (`idc_desktop.storage.user_data.slide_folder`); made if need be.
    on_problem : callable, optional
        Told, from the book's own thread, when saving fails and when it works again.

    Attributes
    ----------
    notes : tuple of str
        What was found wrong with the file, and what was done about it.

    Raises
    ------
    OutputError
        The file cannot be used, or another window has this slide open.

    Examples
    --------
    >>> with RegionBook(slide_folder(data_folder(), identity)) as book:
    ...     book.edit(put=[Region("Region 1", shape)])
    ...     before = book.regions
    ...     book.edit(put=[replace(one, shape=united)], remove=[other.id])
    ...     book.go_back(before)
    """

    def __init__(
        self, folder: Path, on_problem: Callable[[str], object] = lambda problem: None
    ) -> None:
        self._path = folder / _FILE
        try:
            opened = open_file(self._path, _KIND, {}, lambda rows: None)
            _count(opened)
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
            raise self._failure(error) from error
        regions, self._view, unread = _read(opened.rows)
        self.notes: tuple[str, ...] = ()
        if opened.damage is not None:
            self.notes += (_account(opened.damage, opened.rows),)
        if unread:
            self.notes += (
                f"{_FILE}: {unread} stored region(s) are of a kind that this version does not "
                "know; they stay in the file.",
            )
        self._regions = regions
        self._saver = _Saver(opened.database, regions, self._view, self._failure, on_problem)

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions, in the order in which they are painted."""
        return self._regions

    @property
    def view(self) -> Mapping[str, Any]:
        """What was last given to `save_view`."""
        return self._view

    @property
    def problem(self) -> str:
        """Why the latest state is not in the file yet; empty if nothing is wrong."""
        return self._saver.problem

    def find(self, identifier: str) -> Region:
        """Return the region of an id; `KeyError` if there is none."""
        for region in self.regions:
            if region.id == identifier:
                return region
        raise KeyError(identifier)

    def edit(self, put: Iterable[Region] = (), remove: Iterable[str] = ()) -> bool:
        """Change the regions.

        Parameters
        ----------
        put : iterable of Region
            Each takes the place of the region with its id, or comes last.
        remove : iterable of str
            Ids.

        Returns
        -------
        bool
            Whether anything changed.

        Raises
        ------
        RegionsError
            A locked region would be changed; nothing was.
        """
        put = list(put)
        regions = {region.id: region for region in self.regions}
        for region in put:
            _check_lock(regions.get(region.id), region)
            regions[region.id] = region
        for identifier in remove:
            _check_lock(regions.get(identifier), None)
            regions.pop(identifier, None)
        changed = tuple(regions.values())
        if changed == self.regions:
            return False
        self.go_back(changed)
        return True

    def go_back(self, regions: tuple[Region, ...]) -> None:
        """Have the regions of another moment again: what `regions` was then, locked or not."""
        self._regions = regions
        self._saver.save(self.regions, self._view)

    def save_view(self, view: Mapping[str, Any]) -> None:
        """Keep how the slide is looked at: any JSON values, by name; not a step to undo."""
        self._view = dict(view)
        self._saver.save(self.regions, self._view)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all is in the file; return whether it is."""
        return self._saver.flush(timeout_s)

    def settle(self) -> str:
        """Save at once what is not in the file yet, also after a failure.

        Returns
        -------
        str
            Why regions are not in it; empty if all are. How the slide is looked at is no loss.
        """
        return self._saver.settle(_PATIENCE_S)

    def close(self) -> None:
        """Save what is left to save and give the file free."""
        self._saver.close()

    def _failure(self, error: Exception) -> OutputError:
        if is_held(error):
            return OutputError(
                f"{_FILE}: Another window has this slide open, and its regions can be drawn in "
                "one window only. Close the other one."
            )
        return not_written(
            f"{_FILE}: The regions cannot be saved",
            as_os_error(error),
            "use another data folder",
            "nothing that was saved before is lost",
        )


class _Saver:
    """Brings the file up to the newest state, in its own thread; older states are skipped."""

    def __init__(
        self,
        database: sqlite3.Connection,
        regions: tuple[Region, ...],
        view: Mapping[str, Any],
        failure: Callable[[Exception], OutputError],
        on_problem: Callable[[str], object],
    ) -> None:
        self.problem = ""
        self._database = database
        self._failure = failure
        self._on_problem = on_problem
        self._wanted = self._saved = (regions, view)
        self._is_closing = self._is_hurried = False
        self._tries = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="regions", daemon=True)
        self._thread.start()

    def save(self, regions: tuple[Region, ...], view: Mapping[str, Any]) -> None:
        with self._changed:
            self._wanted = regions, view
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._saved is self._wanted, timeout_s)

    def settle(self, timeout_s: float) -> str:
        with self._changed:
            tries, self._is_hurried = self._tries, True
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._saved is self._wanted or (self._tries > tries and self.problem),
                timeout_s,
            )
            is_saved = self._saved[0] == self._wanted[0]
            return "" if is_saved else self.problem or _SLOW

    def close(self) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                # After a failure it is tried again now and then.
                self._changed.wait_for(
                    lambda: (
                        self._is_closing
                        or (
                            self._wanted is not self._saved
                            and (self._is_hurried or not self.problem)
                        )
                    ),
                    _RETRY_S if self.problem else None,
                )
                wanted, is_last = self._wanted, self._is_closing
                self._is_hurried = False
            if wanted is not self._saved:
                problem = self._write(wanted)
                with self._changed:
                    was, self.problem = self.problem, problem
                    self._tries += 1
                    if not problem:
                        self._saved = wanted
                    self._changed.notify_all()
                if problem != was:
                    self._on_problem(problem)
            if is_last and (self.problem or wanted is self._wanted):
                break
        self._database.close()

    def _write(self, wanted: tuple[tuple[Region, ...], Mapping[str, Any]]) -> str:
        """Write what differs from the file; return what went wrong."""
        regions, view = wanted
        before = {region.id: (place, region) for place, region in enumerate(self._saved[0])}
        now = {region.id: (place, region) for place, region in enumerate(regions)}
        changed = [
            sealed(identifier, place, _to_text(region))
            for identifier, (place, region) in now.items()
            if before.get(identifier) != (place, region)
        ]
        gone = [(identifier,) for identifier in before.keys() - now.keys()]
        try:
            with transaction(self._database):
                self._database.executemany("DELETE FROM region WHERE id = ?", gone)
                put(self._database, _REGIONS, changed)
                if len(now) != len(before):
                    put(self._database, FACTS, [fact(_COUNT, len(now))])
                if view is not self._saved[1]:
                    self._database.execute("DELETE FROM view")
                    rows = [sealed(name, json.dumps(value)) for name, value in view.items()]
                    put(self._database, _VIEW, rows)
        except sqlite3.Error as error:
            return str(self._failure(error))
        return ""


def _check_lock(region: Region | None, wanted: Region | None) -> None:
    """Refuse to change a locked region in anything but its lock and its visibility."""
    if region is None or not region.is_locked:
        return
    allowed = wanted and replace(region, is_locked=wanted.is_locked, is_hidden=wanted.is_hidden)
    if wanted != allowed or wanted is None:
        raise RegionsError(f"Nothing was changed: {region.name!r} is locked. Unlock it first.")


def _to_text(region: Region) -> str:
    entry = {
        "name": region.name,
        "classification": region.classification,
        "color": region.color,
        "is_locked": region.is_locked,
        "is_hidden": region.is_hidden,
        "roi": region.shape.roi,
        "polygons": [[ring.tolist() for ring in polygon] for polygon in region.shape.polygons],
    }
    return json.dumps(entry, separators=(",", ":"))


def _from_text(identifier: str, text: str) -> Region:
    entry = json.loads(text)
    shape = shape_of(entry["polygons"], entry["roi"])
    return Region(
        entry["name"],
        shape,
        entry["classification"],
        tuple(entry["color"]) if entry["color"] else None,
        identifier,
        entry["is_locked"],
        entry["is_hidden"],
    )


def _read(rows: Rows) -> tuple[tuple[Region, ...], dict[str, Any], int]:
    """Return the regions in their order, the view, and how many rows cannot be understood."""
    regions, unread = [], 0
    for key, _, text, _ in sorted(rows[_REGIONS.name], key=lambda row: row[1]):
        try:
            regions.append(_from_text(key, text))
        except (ValueError, TypeError, KeyError, IndexError):
            unread += 1
    return tuple(regions), {name: json.loads(text) for name, text, _ in rows[_VIEW.name]}, unread


def _count(opened: OpenedFile) -> None:
    """Say in the file how many regions it holds, where it says something else or nothing."""
    count = fact(_COUNT, len(opened.rows[_REGIONS.name]))
    if count not in opened.rows[FACTS.name]:
        try:
            with transaction(opened.database):
                put(opened.database, FACTS, [count])
        except BaseException:
            opened.database.close()
            raise


def _account(damage: Damage, rows: Rows) -> str:
    """Say what a damaged file has cost."""
    saved, count = len(rows[_REGIONS.name]), facts_of(rows).get(_COUNT)
    lost = (
        f", lost: {max(0, count - saved):,}"
        if isinstance(count, int)
        else "; whether there were more is not known"
    )
    return (
        f"{_FILE}: The stored regions were damaged ({damage.reason}). Regions saved: {saved:,}"
        f"{lost}. The file as it was is kept as {damage.kept} in the slide's data folder."
    )
