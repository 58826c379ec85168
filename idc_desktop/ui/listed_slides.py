"""The slides at hand: opened before, or added by file and folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoCommand

from idc_desktop.cohorts.members import holds_results
from idc_desktop.cohorts.states import CohortFolder
from idc_desktop.plain_text import counted, one_line
from idc_desktop.slides.slide_finder import slides_below
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.outcome import Outcome
from idc_desktop.ui.settings import MAX_SLIDES, Settings
from idc_desktop.ui.slide_status import SlideStatuses
from idc_desktop.ui.task import Task

_AT_ONCE = 200  # so many slides are looked at before what was found is told


def _all_slides_in(paths: list[Path]) -> tuple[list[Path], list[Path], list[str]]:
    """Return the slides and the cohorts that paths stand for, and what to say of the search."""
    slides: dict[Path, None] = {}
    cohorts: list[Path] = []
    notes: list[str] = []
    for path in paths:
        if CohortFolder(path).is_one:
            cohorts.append(path)
            continue
        if not path.is_dir():
            slides[path] = None
            continue
        try:
            found = slides_below(path, holds_results)
        except OSError as error:
            notes.append(f"{path.name}: The folder cannot be read ({error.strerror}).")
            continue
        slides.update(dict.fromkeys(found.slides))
        notes += found.notes
        if not found.slides:
            notes.append(f"{path.name}: There is no slide in this folder.")
    return list(slides), cohorts, notes


@dataclass(frozen=True)
class _Facts:
    """What a look at a slide's file, and at what is stored of it, finds."""

    path: Path
    exists: bool
    outcomes: dict[str, Outcome]


def _look_at(paths: Iterator[Path]) -> list[_Facts]:
    return [
        _Facts(
            path,
            os.access(path, os.F_OK),  # unlike `Path.exists` it never raises
            Outcome.all_stored(path),
        )
        for path in islice(paths, _AT_ONCE)
    ]


class _Removal(QUndoCommand):
    """Slides left the list: a step of the history."""

    def __init__(
        self,
        slides: Sequence[Path],
        take_off: Callable[[], None],
        put_back: Callable[[], None],
    ) -> None:
        super().__init__(f"Take {_named(slides)} off the list")
        self._take_off, self._put_back = take_off, put_back

    def undo(self) -> None:
        self._put_back()

    def redo(self) -> None:
        self._take_off()


class ListedSlides(QObject):
    """Which slides are in the list; adding, opening, and taking off.

    Files are looked at in other threads: on a share that does not answer this can take for ever.
    """

    changed = Signal()
    """Other slides are in the list, or in another order."""
    refused = Signal(str)
    """There is nothing to open; carries the reason."""
    noted = Signal(str)
    """Not all that was asked for is in the list; carries the reason."""
    cohort_found = Signal(Path)
    """A folder that was opened holds the results of a cohort; carries it."""

    def __init__(
        self,
        document: SlideDocument,
        settings: Settings,
        statuses: SlideStatuses,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._document = document
        self._settings = settings
        self.statuses = statuses
        self._paths: dict[str, Path] = {}
        self._opening: Task | None = None
        document.slide_changed.connect(self._on_slide_changed)
        self._take_settings()

    def paths(self) -> list[Path]:
        """Return the slides in the list's order."""
        return list(self._paths.values())

    def present(self) -> list[Path]:
        """Return the slides in the list's order, without those that are known to be gone."""
        return [path for path in self.paths() if not self.statuses.is_missing(path)]

    def __contains__(self, path: Path) -> bool:
        return str(path) in self._paths

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def front(self) -> Path | None:
        """The slide of the list that is open or on its way."""
        path = self._document.opening or self._document.path
        return None if path is None else self._paths.get(str(path.absolute()))

    def open(self, path: Path, mpp: float | None = None) -> None:
        """Open a slide; a folder of slides is added to the list and its first one opened."""
        self._open([path], mpp)

    def open_all(self, paths: list[Path]) -> None:
        """Open the first of some slides and folders; the others join the list."""
        if paths:
            self._open(paths, None)

    def choose(self, path: Path) -> None:
        """Open a slide of the list, at once."""
        document = self._document
        self._opening = None  # whatever is looked for: this was chosen later
        if path != document.path or document.is_outdated:
            document.open(path)
        else:
            document.stay()

    def _open(self, given: list[Path], mpp: float | None) -> None:
        # Without "..", but with symbolic links as they are: the slide keeps the name it was given.
        paths = [Path(os.path.abspath(path)) for path in given]  # noqa: PTH100
        opening = self._opening = Task(self)

        def on_found(found: tuple[list[Path], list[Path], list[str]]) -> None:
            slides, cohorts, notes = found
            for cohort in cohorts:
                self.cohort_found.emit(cohort)
            for note in notes:
                (self.noted if slides else self.refused).emit(note)
            if slides and (slides != paths or len(paths) > 1):
                self.add(slides)
            if slides and opening is self._opening:  # of several the last one counts
                self._document.open(slides[0], mpp)

        opening.succeeded.connect(on_found)
        opening.ended.connect(opening.deleteLater)
        opening.start(partial(_all_slides_in, paths), may_hang=True)

    def add(self, paths: list[Path]) -> None:
        """Put slides at the head of the list."""
        dropped = self._settings.add_slides(paths)
        self._settings.save()
        if dropped:
            self.noted.emit(
                f"The list has room for {MAX_SLIDES:,} slides: the last {dropped:,} left it."
            )
        self._take_settings()

    def remove(self, paths: Sequence[Path]) -> None:
        """Take slides off the list, which can be undone; one that is open is closed."""
        document, gone = self._document, set(paths)
        places = [(place, path) for place, path in enumerate(self.paths()) if path in gone]
        if not places:
            return
        opens = next((it for it in (document.opening, document.path) if it in gone), None)
        problem = document.regions.settle() if document.path in gone else ""
        if problem:
            document.unsaved.emit(problem, partial(self.remove, paths), lambda: None)
            return
        if document.path in gone:
            document.close()
        slides = [path for _, path in places]
        document.history.push(
            _Removal(
                slides, partial(self._take_off, slides), partial(self._put_back, places, opens)
            )
        )
        is_one = len(slides) == 1
        document.noted.emit(
            f"{_named(slides)} {'is' if is_one else 'are'} off the list. Undo puts "
            f"{'it' if is_one else 'them'} back."
        )

    def _take_off(self, slides: Sequence[Path]) -> None:
        if self._document.opening in slides:
            self._document.stay()
        for path in slides:
            self._document.runs.drop(path)
        self._settings.remove_slides(slides)
        self._settings.save()
        self._take_settings()

    def _put_back(self, places: Sequence[tuple[int, Path]], opens: Path | None) -> None:
        self._settings.insert_slides(places)
        self._settings.save()
        self._take_settings()
        if opens is not None:
            self._document.open(opens)

    def _take_settings(self) -> None:
        """Follow the settings; what is known of slides stays known."""
        before = self._paths
        self._paths = {it: before.get(it) or Path(it) for it in self._settings.slides}
        self.changed.emit()
        self._look([path for name, path in self._paths.items() if name not in before])

    def _look(self, paths: list[Path]) -> None:
        """Find out what there is to know of slides; a folder that hangs delays no other."""
        folders: dict[Path, list[Path]] = {}
        for path in paths:
            folders.setdefault(path.parent, []).append(path)
        for beside in folders.values():
            self._look_on(iter(beside))

    def _look_on(self, left: Iterator[Path]) -> None:
        looking = Task(self)

        def on_looked(facts: list[_Facts]) -> None:
            for known in facts:
                self.statuses.learn(known.path, known.outcomes, is_missing=not known.exists)
            if len(facts) == _AT_ONCE:
                self._look_on(left)

        looking.succeeded.connect(on_looked)
        looking.ended.connect(looking.deleteLater)
        looking.start(partial(_look_at, left), may_hang=True)

    def _on_slide_changed(self) -> None:
        path = self._document.path
        if path is None:
            return
        if path.absolute() in self:
            self._look([path.absolute()])
        else:
            self.add([path])


def _named(slides: Sequence[Path]) -> str:
    return one_line(slides[0].name) if len(slides) == 1 else counted(len(slides), "slide")
