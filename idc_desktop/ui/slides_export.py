"""Exports several slides of the list, one after the other, each as the command would write it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from idc_desktop.cohorts.report import Listener
from idc_desktop.cohorts.slide_job import JobOptions, analyze_one, read_inputs
from idc_desktop.console import report_defect
from idc_desktop.errors import (
    AnalysisCancelledError,
    DefectError,
    ForeignResultsError,
    FormatError,
    IdcError,
)
from idc_desktop.export.results import as_one_folder, results_name
from idc_desktop.processes.child import IdleChildren
from idc_desktop.processes.supervisor import Job
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.exporting import Export
from idc_desktop.ui.hand_over import HandOver
from idc_desktop.ui.outcome import given_mpp
from idc_desktop.ui.run import RunState
from idc_desktop.ui.slide_status import SlideStatuses
from idc_desktop.ui.task import Task

_SAME_FOLDER = (
    "A slide of the same name is exported with it: both would go to one folder. Export this one "
    "into another."
)


@dataclass
class ExportedSlides:
    """What became of them.

    Attributes
    ----------
    folder : Path
        Has a folder of each slide.
    total : int
        How many slides were asked for.
    written : list of Path
        Those whose files were written.
    failures : list of (Path, str)
        Slides that were not exported, and why.
    notes : list of str
        What to know of those that were.
    is_cancelled : bool
    """

    folder: Path
    total: int
    written: list[Path] = field(default_factory=list)
    failures: list[tuple[Path, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_cancelled: bool = False


@dataclass(frozen=True)
class _Progress:
    number: int
    slide: Path


@dataclass(frozen=True)
class _Order:
    """A slide, and how it is exported: as it is open, else from what is stored of it."""

    slide: Path
    options: JobOptions
    open: Export | None = None


class SlidesExport(QObject):
    """Exports slides with the figures of the table: at its threshold, of its map, shield or not."""

    progressed = Signal(int, int, str)
    """A slide is begun; carries its number from 1, how many there are, and its name."""
    ended = Signal(object)
    """Carries the `ExportedSlides`."""
    failed = Signal(str)
    """Nothing could be exported; carries the reason."""

    def __init__(
        self, document: SlideDocument, statuses: SlideStatuses, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._document, self._statuses = document, statuses
        self._cancel = _Cancel()
        self._total = 0
        self._progress: HandOver[_Progress] = HandOver(self._on_progress)
        self._task = Task(self)
        self._task.succeeded.connect(self.ended)
        self._task.failed.connect(lambda error: self.failed.emit(str(error)))

    @property
    def is_running(self) -> bool:
        """Whether it is at work."""
        return self._task.is_running

    def start(
        self, slides: Sequence[Path], folder: Path, formats: Sequence[str], anonymous: bool
    ) -> None:
        """Export slides into folders of their own.

        Parameters
        ----------
        formats : sequence of str
            Of `idc_desktop.export.formats.FORMATS`, beside the six files.
        anonymous : bool
            Put a part of each slide's identity in the place of its file name.
        """
        if self.is_running or not slides:
            return
        self._cancel, self._total = _Cancel(), len(slides)
        whole = ExportedSlides(folder, len(slides))
        options = JobOptions(
            folder,
            str(self._document.model.path),
            is_anonymous=anonymous,
            formats=tuple(formats),
            recalls=True,
        )
        orders = self._orders(slides, options, whole)
        work = partial(_export_all, orders, options, whole, self._cancel, self._progress)
        self._task.start(work)

    def cancel(self) -> None:
        """Export no further slide; the one that is being written is finished or left untouched."""
        self._cancel.ask()

    def _orders(
        self, slides: Sequence[Path], options: JobOptions, whole: ExportedSlides
    ) -> list[_Order]:
        """Return what is to be done; what cannot be done is noted as failed."""
        orders = []
        document, folders = self._document, _folders(slides, options)
        for slide in slides:
            folder, status = folders[slide], self._statuses.of(slide)
            if folder == "":
                whole.failures.append((slide, _SAME_FOLDER))
            elif slide == document.path and document.state is RunState.DONE:
                export = Export.of(document, options.out, options.formats, options.is_anonymous)
                if folder is not None:
                    export = replace(export, folder=options.out / folder)
                orders.append(_Order(slide, options, export))
            elif status.outcome is None:
                words = f"It is not analyzed with {document.card.name} ({status.words})."
                whole.failures.append((slide, status.reason or words))
            else:
                shown = status.outcome
                at = replace(
                    options,
                    threshold=shown.threshold,
                    map=shown.map,
                    has_shield=shown.is_shielded,
                    folder=folder,
                )
                orders.append(_Order(slide, at))
        return orders

    def _on_progress(self, progress: _Progress) -> None:
        self.progressed.emit(progress.number, self._total, progress.slide.name)


class _Cancel(Listener):
    """Stops the engine that is at work, and lets no other begin; hears what is to be noted."""

    def __init__(self) -> None:
        self.is_asked_for = False
        self.notes: list[str] = []
        self._lock = threading.Lock()
        self._job: Job | None = None

    def ask(self) -> None:
        with self._lock:
            self.is_asked_for, job = True, self._job
        if job is not None:
            job.cancel()

    def started(self, job: Job) -> None:
        with self._lock:
            self._job = job
        if self.is_asked_for:
            job.cancel()

    def note(self, text: str) -> None:
        self.notes.append(text)


def _export_all(
    orders: Sequence[_Order],
    options: JobOptions,
    whole: ExportedSlides,
    cancel: _Cancel,
    progress: HandOver[_Progress],
) -> ExportedSlides:
    """Do what was ordered; in another thread."""
    inputs = read_inputs(options, [it.slide for it in orders], cancel.note)
    first = whole.total - len(orders) + 1
    with IdleChildren() as idle:
        for number, order in enumerate(orders, start=first):
            if cancel.is_asked_for:
                break
            progress.put(_Progress(number, order.slide))
            failure: IdcError | None = None
            if order.open is not None:
                try:
                    _write_open(order.slide, order.open, whole)
                except IdcError as error:
                    failure = error
            else:
                at = replace(order.options, mpp=given_mpp(order.slide))
                report = analyze_one(order.slide, at, inputs, idle=idle, listener=cancel)
                failure = report.failure
                whole.notes += [*report.shortfall, *report.remarks]
            if failure is None:
                whole.written.append(order.slide)
            elif not isinstance(failure, AnalysisCancelledError):
                whole.failures.append((order.slide, _why(order.slide, failure)))
    whole.notes += cancel.notes
    whole.is_cancelled = cancel.is_asked_for
    return whole


def _write_open(slide: Path, export: Export, whole: ExportedSlides) -> None:
    """Write what is open, but for the formats that cannot hold it."""
    while True:
        try:
            outdated = export.write().outdated
            break
        except FormatError as error:
            whole.notes.append(str(error))
            left = tuple(it for it in export.formats if it != error.format)
            export = replace(export, formats=left)
    if outdated:
        names = ", ".join(outdated)
        whole.notes.append(f"{slide.name}: Of an earlier export, and not written again: {names}.")


def _why(slide: Path, failure: IdcError) -> str:
    """Return why a slide was not exported, without its name."""
    if isinstance(failure, DefectError):
        report_defect(str(failure))
        return f"A defect of ours: {failure.summary}"
    if isinstance(failure, ForeignResultsError):
        text = f"{failure.finding} Choose another folder."
    else:
        text = str(failure)
    return text.removeprefix(f"{slide.name}: ")


def _folders(slides: Sequence[Path], options: JobOptions) -> dict[Path, str | None]:
    """Return the folder of each slide; None is its own, an empty one that of another slide.

    Slides that differ in their suffix only have folders that are named with it.
    """
    if options.is_anonymous:  # each has another identity
        return dict.fromkeys(slides)
    short = Counter(as_one_folder(results_name(it)) for it in slides)
    folders: dict[Path, str | None] = {}
    taken = set()
    for slide in slides:
        is_alone = short[as_one_folder(results_name(slide))] == 1
        name = results_name(slide, not is_alone)
        folders[slide] = (None if is_alone else name) if as_one_folder(name) not in taken else ""
        taken.add(as_one_folder(name))
    return folders
