"""The slides at hand: those of a project, or of the list that is in none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QUndoCommand

from idc_desktop.cohorts.members import holds_results
from idc_desktop.cohorts.states import CohortFolder
from idc_desktop.errors import ProjectError
from idc_desktop.plain_text import counted, one_line
from idc_desktop.slides.slide_finder import slides_below
from idc_desktop.storage.project_files import (
    MAX_SLIDES,
    Change,
    added,
    change_project,
    create_project,
    found_again,
    is_project,
    moved,
    own_list,
    put_back,
    rename_project,
    without,
)
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.outcome import Outcome
from idc_desktop.ui.project import OpenedProject, Project, own_slides, read_soon
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.slide_status import SlideStatuses
from idc_desktop.ui.task import Task

_AT_ONCE = 200  # so many slides are looked at before what was found is told


@dataclass
class _Found:
    """What paths stand for: slides, cohorts, a project, and what to say of the search."""

    slides: list[Path] = field(default_factory=list)
    cohorts: list[Path] = field(default_factory=list)
    project: OpenedProject | None = None
    notes: list[str] = field(default_factory=list)


def _find(paths: list[Path]) -> _Found:
    """Return what paths stand for; of several projects, the last."""
    whole, slides = _Found(), dict[Path, None]()
    for path in paths:
        try:
            if is_project(path) and not path.is_dir():
                whole.project = OpenedProject.read(path)
            elif CohortFolder(path).is_one:
                whole.cohorts.append(path)
            elif not path.is_dir():
                slides[path] = None
            else:
                found = slides_below(path, holds_results)
                slides.update(dict.fromkeys(found.slides))
                whole.notes += found.notes
                if not found.slides:
                    whole.notes.append(f"{path.name}: There is no slide in this folder.")
        except ProjectError as error:
            whole.notes.append(str(error))
        except OSError as error:
            whole.notes.append(f"{path.name}: The folder cannot be read ({error.strerror}).")
    whole.slides = list(slides)
    return whole


@dataclass(frozen=True)
class _Facts:
    """What a look at a slide's file, and at what is stored of it, finds."""

    path: Path
    exists: bool
    outcomes: dict[str, Outcome]


def _look_at(paths: Iterator[Path], settle: Callable[[], object]) -> list[_Facts]:
    settle()  # what is about to be kept of them is what is wanted
    return [
        _Facts(
            path,
            os.access(path, os.F_OK),  # unlike `Path.exists` it never raises
            Outcome.all_stored(path),
        )
        for path in islice(paths, _AT_ONCE)
    ]


class _Step(QUndoCommand):
    """A change of the list: a step of the history."""

    def __init__(
        self, text: str, take: Callable[[], object], take_back: Callable[[], object]
    ) -> None:
        super().__init__(text)
        self._take, self._take_back = take, take_back

    def undo(self) -> None:
        self._take_back()

    def redo(self) -> None:
        self._take()


class ListedSlides(QObject):
    """Which slides are in the list; adding, opening, and taking off; and which project it is of.

    Files are looked at in other threads: on a share that does not answer this can take for ever.

    Attributes
    ----------
    project : Path or None
        The project whose slides are listed; None is the list that is in none.
    """

    changed = Signal()
    """Other slides are in the list, or in another order."""
    project_changed = Signal()
    """The list is another project's, or has another name."""
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
        self.project: Path | None = None
        slides = own_slides(settings.slides)
        if settings.slides:
            settings.slides = []
            settings.save()
        if settings.project:
            try:
                slides = read_soon(Path(settings.project))
                self.project = Path(settings.project)
            except ProjectError as error:
                QTimer.singleShot(0, self, partial(self.noted.emit, str(error)))
        self._kept = self._keep(slides)
        document.slide_changed.connect(self._on_slide_changed)
        self._follow()

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
        opening = self._opening = self._task()

        def on_found(found: _Found) -> None:
            is_latest = opening is self._opening  # of several the last one counts
            for cohort in found.cohorts:
                self.cohort_found.emit(cohort)
            for note in found.notes:
                (self.noted if found.slides or found.project else self.refused).emit(note)
            if found.project is not None and is_latest:
                project = found.project
                if found.slides:  # one of them is opened
                    project = replace(project, first=None)
                self._switch(project, partial(take, found.slides))
            else:
                take(found.slides, is_latest)

        def take(slides: list[Path], is_latest: bool = True) -> None:
            if slides and (slides != paths or len(paths) > 1):
                self.add(slides)
            if slides and is_latest:
                self._document.open(slides[0], mpp)

        opening.succeeded.connect(on_found)
        opening.start(partial(_find, paths), may_hang=True)

    def add(self, paths: list[Path]) -> None:
        """Put slides at the head of the list."""
        new = [path.absolute() for path in paths]
        whole = len({*new, *self._kept.slides})
        self._change(partial(added, new=new))
        dropped = whole - len(self)
        if dropped:
            self.noted.emit(
                f"The list has room for {MAX_SLIDES:,} slides: the last {dropped:,} left it."
            )

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
            document.leave()
        slides = [path for _, path in places]
        text = f"Take {_named(slides)} off the list"
        take = partial(self._take_off, slides)
        document.history.push(_Step(text, take, partial(self._put_back, places, opens)))
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
        self._change(partial(without, gone=slides))

    def _put_back(self, places: Sequence[tuple[int, Path]], opens: Path | None) -> None:
        self._change(partial(put_back, places=places))
        if opens is not None and self.front is None:  # else another one was wanted meanwhile
            self._document.open(opens)

    def point_to(self, missing: Path, found: Path) -> None:
        """Say where a slide is by now; others that moved along with it are found, too."""
        gone = [it for it in self.paths() if self.statuses.is_missing(it)]
        finding = self._task()

        def on_found(places: tuple[tuple[Path, Path], ...]) -> None:
            back = tuple((new, old) for old, new in places)
            text = f"Find {_named([new for _, new in places])}"
            take, take_back = (
                partial(self._change, partial(moved, places=it)) for it in (places, back)
            )
            self._document.history.push(_Step(text, take, take_back))
            if len(places) > 1:
                self._document.noted.emit(f"{len(places):,} slides were found there.")

        finding.succeeded.connect(on_found)
        finding.start(partial(found_again, missing, found.absolute(), gone), may_hang=True)

    def open_project(self, path: Path) -> None:
        """List the slides of a project, and open the first one that is there."""
        self._open([path], None)

    def leave_project(self) -> None:
        """List the slides that are in no project."""
        self._switch(None)

    def start_project(self, path: Path) -> None:
        """Make a project without slides, and list that; what is open is closed."""
        making = self._task()
        making.succeeded.connect(lambda _: self._switch(OpenedProject(path, [], None)))
        making.start(partial(create_project, path, ()), may_hang=True)

    def create_project(self, path: Path, slides: Sequence[Path]) -> None:
        """Make a project of slides that are listed, and list that; what is open stays so."""
        slides = list(slides)
        making = self._task()
        making.succeeded.connect(lambda _: self._take_project(path, slides))
        making.start(partial(create_project, path, slides), may_hang=True)

    def rename_project(self, name: str) -> None:
        """Give the project that is listed, and its file, another name."""
        former, kept = self.project, self._kept
        if former is None or name == former.stem:
            return
        kept.close()
        renaming = self._task()

        def on_renamed(path: Path) -> None:
            self._settings.forget_project(former)
            self._take_project(path, kept.slides)
            for change in kept.unwritten:
                self._kept.change(change)

        renaming.succeeded.connect(on_renamed)
        renaming.failed.connect(lambda _: kept.open())
        renaming.start(partial(rename_project, former, name), may_hang=True)

    def put_into_project(self, slides: Sequence[Path], path: Path) -> None:
        """Add slides to a project that is not listed, or make one of them."""

        def work() -> str:
            if path.exists():
                change_project(path, [partial(added, new=list(slides))])
            else:
                create_project(path, slides)
            is_one = len(slides) == 1
            return f"{_named(slides)} {'is' if is_one else 'are'} in {path.stem} now."

        putting = self._task()
        putting.succeeded.connect(lambda said: self._document.noted.emit(said))
        putting.start(work, may_hang=True)

    def close(self) -> None:
        """Have everything written."""
        self._kept.close()

    def _task(self) -> Task:
        """Return a task of which what fails is told."""
        task = Task(self)
        task.failed.connect(lambda error: self.noted.emit(str(error)))
        task.ended.connect(task.deleteLater)
        return task

    def _switch(
        self, project: OpenedProject | None, then: Callable[[], object] = lambda: None
    ) -> None:
        """List another project, None for none; what is open is closed."""
        document = self._document
        problem = document.regions.settle()
        if problem:
            document.unsaved.emit(problem, partial(self._switch, project, then), lambda: None)
            return
        document.close()
        if project is None:
            self._take_project(None, own_slides(()))
        else:
            self._take_project(project.path, project.slides)
            if project.first is not None:
                document.open(project.first)
        then()

    def _take_project(self, path: Path | None, slides: list[Path]) -> None:
        self._kept.close()
        self._kept.deleteLater()
        self.project = path
        self._settings.remember_project(path)
        self._settings.save()
        self._kept = self._keep(slides)
        self._follow()
        self.project_changed.emit()

    def _keep(self, slides: list[Path]) -> Project:
        kept = Project(self.project or own_list(), slides, self)
        kept.changed.connect(self._follow)
        if self.project is not None:  # what is not kept of the other is no reason to disturb
            kept.failed.connect(self.noted)
        return kept

    def _change(self, change: Change) -> None:
        self._kept.change(change)
        self._follow()

    def _follow(self) -> None:
        """Show what is listed by now; what is known of slides stays known."""
        before = self._paths
        self._paths = {str(it): it for it in self._kept.slides}
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
        looking.start(partial(_look_at, left, self.statuses.settle), may_hang=True)

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
