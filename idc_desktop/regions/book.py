"""What is drawn and written on one slide, and its file.

All of it is kept as it happens, in the slide's folder of the user's data folder.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from idc_desktop.closing import Closing
from idc_desktop.errors import OutputError, RegionsError, not_written
from idc_desktop.regions.kept import FILE, KIND, Kept, account, changes, read, wrong_counts
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import Region
from idc_desktop.regions.sheet import Sheet
from idc_desktop.storage.database import (
    FACTS,
    OpenedFile,
    as_os_error,
    is_held,
    open_file,
    put,
    transaction,
)

_RETRY_S = 2.0
_PATIENCE_S = 2.0
_SLOW = f"{FILE}: The regions are not written yet: the disk does not answer."


class RegionBook(Closing):
    """The regions of a slide, its marks and sheet, their file, and how the slide is looked at.

    Edits are values: each replaces what is `kept` by another, so that whoever has the former one
    can go back to it. The file follows in a thread of its own, within milliseconds, so
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
    ...     before = book.kept
    ...     book.edit(put=[replace(one, shape=united)], remove=[other.id])
    ...     book.go_back(before)
    """

    def __init__(
        self, folder: Path, on_problem: Callable[[str], object] = lambda problem: None
    ) -> None:
        self._path = folder / FILE
        try:
            opened = open_file(self._path, KIND, {}, lambda rows: None)
            _count(opened)
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
            raise self._failure(error) from error
        self._kept, self._view, unread = read(opened.rows)
        self.notes: tuple[str, ...] = ()
        if opened.damage is not None:
            self.notes += (account(opened),)
        if unread:
            self.notes += (
                f"{FILE}: {unread} stored region(s) are of a kind that this version does not "
                "know; they stay in the file.",
            )
        self._saver = _Saver(opened.database, self._kept, self._view, self._failure, on_problem)

    @property
    def kept(self) -> Kept:
        """All that is drawn and written now."""
        return self._kept

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions, in the order in which they are painted."""
        return self._kept.regions

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
        return self._change(regions=tuple(regions.values()))

    def edit_marks(self, put: Iterable[Mark] = (), remove: Iterable[str] = ()) -> bool:
        """Change the marks, as `edit` does the regions."""
        gone = set(remove)
        marks = {it.id: it for it in (*self._kept.marks, *put) if it.id not in gone}
        return self._change(marks=tuple(marks.values()))

    def write_sheet(self, sheet: Sheet) -> bool:
        """Keep what is written about the slide; return whether it is new."""
        return self._change(sheet=sheet)

    def _change(self, **changes: Any) -> bool:  # noqa: ANN401 - the fields of `Kept`
        changed = replace(self._kept, **changes)
        if changed == self._kept:
            return False
        self.go_back(changed)
        return True

    def go_back(self, kept: Kept) -> None:
        """Have all as it was at another moment: what `kept` was then, locked or not."""
        self._kept = kept
        self._saver.save(kept, self._view)

    def save_view(self, view: Mapping[str, Any]) -> None:
        """Keep how the slide is looked at: any JSON values, by name; not a step to undo."""
        self._view = dict(view)
        self._saver.save(self._kept, self._view)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all is in the file; return whether it is."""
        return self._saver.flush(timeout_s)

    def settle(self) -> str:
        """Save at once what is not in the file yet, also after a failure.

        Returns
        -------
        str
            Why what is drawn or written is not in it; empty if all is. How the slide is looked at
            is no loss.
        """
        return self._saver.settle(_PATIENCE_S)

    def close(self) -> None:
        """Save what is left to save and give the file free."""
        self._saver.close()

    def _failure(self, error: Exception) -> OutputError:
        if is_held(error):
            return OutputError(
                f"{FILE}: Another window has this slide open, and its regions can be drawn in "
                "one window only. Close the other one."
            )
        return not_written(
            f"{FILE}: The regions cannot be saved",
            as_os_error(error),
            "use another data folder",
            "nothing that was saved before is lost",
        )


class _Saver:
    """Brings the file up to the newest state, in its own thread; older states are skipped."""

    def __init__(
        self,
        database: sqlite3.Connection,
        kept: Kept,
        view: Mapping[str, Any],
        failure: Callable[[Exception], OutputError],
        on_problem: Callable[[str], object],
    ) -> None:
        self.problem = ""
        self._database = database
        self._failure = failure
        self._on_problem = on_problem
        self._wanted = self._saved = (kept, view)
        self._is_closing = self._is_hurried = False
        self._tries = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="regions", daemon=True)
        self._thread.start()

    def save(self, kept: Kept, view: Mapping[str, Any]) -> None:
        with self._changed:
            self._wanted = kept, view
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

    def _write(self, wanted: tuple[Kept, Mapping[str, Any]]) -> str:
        """Write what differs from the file; return what went wrong."""
        (kept, view), (before, former_view) = wanted, self._saved
        try:
            with transaction(self._database):
                for it in changes(before, kept, former_view, view):
                    key = it.table.statement.partition("(")[2].split()[0]
                    self._database.executemany(
                        f"DELETE FROM {it.table.name} WHERE {key} = ?",
                        [(gone,) for gone in it.gone],
                    )
                    put(self._database, it.table, it.rows)
                    put(self._database, FACTS, it.facts)
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


def _count(opened: OpenedFile) -> None:
    """Say in the file how many rows its tables hold, where it says something else or nothing."""
    if counts := wrong_counts(opened.rows):
        try:
            with transaction(opened.database):
                put(opened.database, FACTS, counts)
        except BaseException:
            opened.database.close()
            raise
