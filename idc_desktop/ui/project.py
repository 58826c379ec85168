"""A list of slides that is kept in a file, which other windows may change as well."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from idc_desktop.errors import IdcError, ProjectError
from idc_desktop.storage.project_files import (
    MAX_SLIDES,
    Change,
    change_project,
    create_project,
    own_list,
    read_project,
)
from idc_desktop.storage.user_data import PRIVATE_FILE, keep_aside, make_folder
from idc_desktop.ui.hand_over import HandOver
from idc_desktop.ui.task import answer_within

_LOOK_EVERY_MS = 2_000
_LONGEST_LOOK_S = 2.0
_PATIENCE_S = 10.0


class Project(QObject):
    """The slides of a project as they are, changes that are not written yet included.

    A change is shown at once and written in another thread, onto what the file holds by then. What
    cannot be written is tried again as long as the project is open.

    Attributes
    ----------
    path : Path
    slides : list of Path
    """

    changed = Signal()
    """Another window has changed it."""
    failed = Signal(str)
    """It cannot be read or written, for another reason than before; carries the reason."""

    def __init__(self, path: Path, slides: list[Path], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.path = path
        self.slides = slides
        self._changes: list[Change] = []  # not written yet, as far as is known
        self._problem = ""
        self._keeper = _Keeper(path, HandOver(self._on_told))
        self._clock = QTimer(self, interval=_LOOK_EVERY_MS)
        self._clock.timeout.connect(self._keeper.look)
        self.open()

    @property
    def unwritten(self) -> list[Change]:
        """What was changed and is not written, as far as is known."""
        return list(self._changes)

    def open(self) -> None:
        """Follow the file."""
        self._clock.start()

    def change(self, change: Change) -> None:
        """Change the list."""
        self._changes.append(change)
        self.slides = change(self.slides)
        self._keeper.put(change)

    def close(self) -> None:
        """Wait until what was changed is written, and follow the file no longer."""
        self._clock.stop()
        self._keeper.wait()

    def _on_told(self, told: _Told) -> None:
        if isinstance(told.problem, IdcError):
            if str(told.problem) != self._problem:
                self._problem = str(told.problem)
                self.failed.emit(self._problem)
            return
        if told.problem is not None:
            raise told.problem  # a defect of ours
        self._problem = ""
        del self._changes[: told.count]
        slides = told.slides
        for change in self._changes:
            slides = change(slides)
        if slides != self.slides:
            self.slides = slides
            self.changed.emit()


@dataclass(frozen=True)
class OpenedProject:
    """A project as it was read.

    Attributes
    ----------
    path : Path
    slides : list of Path
    first : Path or None
        The first one of them that is there.
    """

    path: Path
    slides: list[Path]
    first: Path | None

    @classmethod
    def read(cls, path: Path) -> OpenedProject:
        """Read a project, and look for its slides; errors as of `read_project`."""
        path = Path(os.path.realpath(path))  # else a file would replace what is a link
        slides = read_project(path)
        return cls(path, slides, next((it for it in slides if os.access(it, os.F_OK)), None))


@dataclass(frozen=True)
class _Told:
    """What the file holds after so many changes, or why that is not known."""

    slides: list[Path]
    count: int = 0
    problem: Exception | None = None


class _Keeper:
    """Reads and writes the file, in a thread that ends when there is nothing to do."""

    def __init__(self, path: Path, told: HandOver[_Told]) -> None:
        self._path, self._told = path, told
        self._lock = threading.Lock()
        self._changes: list[Change] = []
        self._thread: threading.Thread | None = None
        self._stamp: tuple[int, ...] | None = None

    def put(self, change: Change) -> None:
        """Have a change written, after those before it."""
        with self._lock:
            self._changes.append(change)
        self.look()

    def look(self) -> None:
        """Find out what is in the file, and write what is to be written."""
        with self._lock:
            if self._thread is None:  # else it looks for more before it ends
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Wait until it rests."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(_PATIENCE_S)

    def _work(self) -> None:
        is_left = True
        while is_left:
            with self._lock:
                changes = list(self._changes)
            told = self._read_or_write(changes)
            with self._lock:
                del self._changes[: told.count if told else 0]
                is_left = bool(self._changes) and (told is None or told.problem is None)
                if not is_left:
                    self._thread = None
            if told is not None:
                self._told.put(told)

    def _read_or_write(self, changes: list[Change]) -> _Told | None:
        """Return None if nothing is new."""
        try:
            if changes:
                self._stamp = None  # another process may have written since
                return _Told(change_project(self._path, changes), len(changes))
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return None
            told = _Told(read_project(self._path))
            self._stamp = stamp
        except Exception as problem:  # noqa: BLE001 - it is raised in the window's thread
            return _Told([], problem=problem)
        return told


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Return what differs once the file is another one; None if there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns


def read_soon(path: Path) -> list[Path]:
    """Return the slides of a project, asked for in a thread that a dead share may keep for ever."""
    try:
        return answer_within(_LONGEST_LOOK_S, lambda: read_project(path))
    except TimeoutError:
        raise ProjectError(f"{path.name}: The disk of the project does not answer.") from None


def own_slides(former: Sequence[str]) -> list[Path]:
    """Return the list that is in no project; a damaged one is kept aside.

    Parameters
    ----------
    former : sequence of str
        Its slides if it has no file yet.
    """
    path = own_list()
    try:
        return read_project(path)
    except ProjectError:
        slides = [] if path.exists() else [Path(it) for it in former[:MAX_SLIDES]]
        keep_aside(path)
        with contextlib.suppress(OSError, IdcError):  # what is not kept is no reason to disturb
            make_folder(path.parent)
            create_project(path, slides, PRIVATE_FILE)
        return slides
