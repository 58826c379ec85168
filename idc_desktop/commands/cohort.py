"""The ``cohort`` command: many slides, each as `analyze` does it, and the tables of all."""

from __future__ import annotations

import argparse
import contextlib
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.cohorts.members import Member, find_members
from idc_desktop.cohorts.states import STATUSES, CohortFolder, Listed, SlideState
from idc_desktop.commands.batch import job_options
from idc_desktop.commands.cancelling import Cancel, cancelling
from idc_desktop.commands.cohort_progress import Progress
from idc_desktop.commands.cohort_work import CohortListener, CohortWork
from idc_desktop.commands.slide_job import JobOptions, read_inputs
from idc_desktop.console import absolute, complain, print_json, print_line, severest
from idc_desktop.errors import UsageError
from idc_desktop.processes.engine_messages import Doctor, DoctorJob
from idc_desktop.processes.supervisor import Job, ask

_TABLES_EVERY_S = 30.0
_LOOK_EVERY_S = 0.25


@dataclass(frozen=True)
class Cohort:
    """What a command was asked to do.

    Attributes
    ----------
    members : list of Member
    options : JobOptions
    """

    members: list[Member]
    options: JobOptions

    @property
    def folder(self) -> CohortFolder:
        """Where the results go."""
        return CohortFolder(self.options.out)


def analyze_cohort(given: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    cohort, notes = _cohort(given)
    for note in notes:
        complain(f"note: {note}")
    slides = [it.slide for it in cohort.members]
    inputs = read_inputs(cohort.options, slides, lambda text: complain(f"note: {text}"))
    work = CohortWork(cohort.options, inputs, retries=given.retry is not None)
    _list(cohort, work)
    if given.restart:
        for member in cohort.members:
            cohort.folder.forget(member.id)
    known = {it.id: state for it in cohort.members if (state := work.finished(it)) is not None}
    todo = [it for it in cohort.members if it.id not in known]
    progress = Progress(len(cohort.members), len(known), is_silent=given.json)
    with cancelling() as cancel:
        try:
            _Local(work, todo, progress, cancel, cohort.options).run()
        finally:
            progress.end()
            _write_tables(cohort.options.out)
    return _tell(cohort, cancel, is_json=given.json)


def _cohort(given: argparse.Namespace) -> tuple[Cohort, list[str]]:
    options = job_options(given)
    options = replace(options, out=absolute(given.out))
    regions_folder = None
    if options.regions is not None and options.regions.is_dir():
        regions_folder, options = options.regions, replace(options, regions=None)
    members, notes = find_members(given.slides, options.out, regions_folder)
    if options.regions is not None and len(members) > 1 and not given.regions_for_all:
        raise UsageError(
            f"{given.regions}: One file of regions for {len(members)} slides. Give a folder with a "
            "file for each, or a list with a column regions, or add --regions-for-all to lay this "
            "one on each of them."
        )
    return Cohort(members, options), notes


def _list(cohort: Cohort, work: CohortWork) -> None:
    folder = cohort.folder
    folder.list(
        Listed(
            it.id,
            work.image(it),
            it.group,
            None if cohort.options.is_anonymous else folder.place_of(it.slide),
        )
        for it in cohort.members
    )


class _Local:
    """Does slides in this process, several at a time, each with an engine of its own.

    On two cores two slides overlap: one is read while the other is classified.
    """

    def __init__(
        self,
        work: CohortWork,
        todo: Sequence[Member],
        progress: Progress,
        cancel: Cancel,
        options: JobOptions,
    ) -> None:
        self._work = work
        self._todo = list(reversed(todo))
        self._progress = progress
        self._cancel = cancel
        self._options = options
        # Only the main thread prints: the others say what it is to do.
        self._told: queue.Queue[Callable[[], None]] = queue.Queue()

    def run(self) -> None:
        """Do all of them; raise what ends the whole."""
        count = self._slots()
        threads = max(1, self._options.threads // max(count, 1))
        slots = [
            threading.Thread(target=self._work_on, args=(threads,), daemon=True)
            for _ in range(count)
        ]
        for slot in slots:
            slot.start()
        written = time.monotonic()
        try:
            while any(it.is_alive() for it in slots) or not self._told.empty():
                with contextlib.suppress(queue.Empty):
                    self._told.get(timeout=_LOOK_EVERY_S)()
                if time.monotonic() - written >= _TABLES_EVERY_S:
                    _write_tables(self._options.out)
                    written = time.monotonic()
        except BaseException:
            self._cancel.ask()
            for slot in slots:
                slot.join()
            raise

    def _slots(self) -> int:
        most = min(self._options.threads, len(self._todo))
        if most <= 1 or self._options.provider == "cpu":
            return most
        # Slides that share a graphics card would only share its memory, too.
        return most if ask(DoctorJob(), Doctor, "doctor").cuda_problem else 1

    def _work_on(self, threads: int) -> None:
        while not self._cancel.is_asked_for:
            try:
                member = self._todo.pop()
            except IndexError:
                return
            listener = _Listener(member, self._options.is_anonymous, self._cancel, self._tell)
            try:
                state = self._work.do(member, threads, listener)
            except Exception as error:  # noqa: BLE001 - raised again where the others are ended
                self._told.put(partial(_raise, error))
                return
            if state is not None:
                self._told.put(partial(self._progress.finish, state))

    def _tell(self, say: Callable[[Progress], None]) -> None:
        self._told.put(lambda: say(self._progress))


class _Listener(CohortListener):
    """Passes on what is heard of one slide."""

    def __init__(
        self,
        member: Member,
        is_anonymous: bool,
        cancel: Cancel,
        tell: Callable[[Callable[[Progress], None]], None],
    ) -> None:
        super().__init__(member, is_anonymous=is_anonymous)
        self._cancel = cancel
        self._say = tell
        self._reached: int | None = None

    def started(self, job: Job) -> None:
        self._cancel.take(job)

    def note(self, text: str) -> None:
        self._say(lambda progress: progress.note(text))

    def reach(self, done: int) -> None:
        if self._reached is not None and done > self._reached:
            more = done - self._reached
            self._say(lambda progress: progress.add_patches(more))
        self._reached = done


def _raise(error: Exception) -> None:
    raise error


def _write_tables(out: Path) -> None:
    from idc_desktop.cohorts.tables import write_tables

    write_tables(out)


def _tell(cohort: Cohort, cancel: Cancel, *, is_json: bool) -> int:
    """Say what became of all slides; return the exit code."""
    out, folder = cohort.options.out, cohort.folder
    states = folder.states()
    found = [(it, states.get(it.id)) for it in cohort.members]
    counts = Counter("pending" if state is None else state.status for _, state in found)
    if is_json:
        print_json(
            {
                "slides": [_as_dict(out, member, state) for member, state in found],
                "counts": {it: counts[it] for it in STATUSES},
            }
        )
    else:
        summary = ", ".join(f"{counts[it]:,} {it}" for it in STATUSES if counts[it])
        print_line(f"{len(found):,} {'slide' if len(found) == 1 else 'slides'}: {summary}")
        print_line(
            f"  results in {out}, tables cohort.csv and cohort.html   ({RESEARCH_USE_NOTICE})"
        )
    if counts["refused"] + counts["failed"]:
        complain("note: Slides that were refused or failed are tried again with --retry failed.")
    if cancel.is_asked_for:
        complain("Cancelled. What was done is kept: run the same command to go on.")
    codes = {state.exit_code for _, state in found if state is not None}
    return severest(codes, is_cancelled=cancel.is_asked_for)


def _as_dict(out: Path, member: Member, state: SlideState | None) -> dict[str, str | None]:
    has_results = state is not None and state.folder
    return {
        "slide": str(member.slide),
        "status": "pending" if state is None else state.status,
        "out": str(out / state.folder) if state is not None and has_results else None,
        "error": (state.error or None) if state is not None else None,
    }
