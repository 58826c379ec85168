"""Slides of a cohort in this process: whose turn is next, and several of them at a time."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from idc_desktop.cohorts.claims import Claims
from idc_desktop.cohorts.members import Member
from idc_desktop.cohorts.slide_job import JobOptions
from idc_desktop.cohorts.states import SlideState
from idc_desktop.commands.cancelling import Cancel
from idc_desktop.commands.cohort_progress import Progress
from idc_desktop.commands.cohort_work import CohortListener, CohortWork
from idc_desktop.processes.engine_messages import Doctor, DoctorJob
from idc_desktop.processes.supervisor import ask

_TABLES_EVERY_S = 30.0
_LOOK_EVERY_S = 0.25
_ASK_OTHERS_EVERY_S = 0.5


class Turns:
    """Whose turn is next: what nobody else is at work on. Safe to use from several threads.

    When nothing else is left, it waits for what others have claimed: one that dies leaves it.
    """

    def __init__(
        self, todo: Iterable[Member], claims: Claims, work: CohortWork, cancel: Cancel
    ) -> None:
        self._todo = deque(todo)
        self._others: list[Member] = []
        self._claims = claims
        self._work = work
        self._cancel = cancel
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._todo)

    def next(self) -> tuple[Member, SlideState | None] | None:
        """Return a slide that is claimed now, or what became of one that was another's.

        None if nothing is left, or it was cancelled.
        """
        while not self._cancel.is_asked_for:
            with self._changing:
                member = self._todo.popleft() if self._todo else None
                is_over = member is None and not self._others
            if is_over:
                return None
            if member is None:
                time.sleep(_ASK_OTHERS_EVERY_S)
                with self._changing:
                    self._todo += self._others
                    self._others.clear()
            elif not self._claims.take(member.id):
                with self._changing:
                    self._others.append(member)
            else:
                state = self._work.finished(member)
                if state is not None:
                    self._claims.release(member.id)
                return member, state
        return None

    def done(self, member: Member) -> None:
        """Give a slide free."""
        self._claims.release(member.id)


class LocalRun:
    """Does slides in this process, several at a time, each with an engine of its own.

    On two cores two slides overlap: one is read while the other is classified.
    """

    def __init__(
        self,
        work: CohortWork,
        turns: Turns,
        progress: Progress,
        cancel: Cancel,
        options: JobOptions,
    ) -> None:
        self._work = work
        self._turns = turns
        self._progress = progress
        self._cancel = cancel
        self._options = options
        # Only the main thread prints: the others say what it is to do.
        self._told: queue.Queue[Callable[[], None]] = queue.Queue()

    def run(self) -> None:
        """Do all of them; raise what ends the whole."""
        count = slides_at_once(self._options, len(self._turns))
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
                    self._work.write_tables()
                    written = time.monotonic()
        except BaseException:
            self._cancel.ask()
            for slot in slots:
                slot.join()
            raise

    def _work_on(self, threads: int) -> None:
        try:
            while (turn := self._turns.next()) is not None:
                member, state = turn
                if state is None:
                    state = self._do(member, threads)
                if state is not None:
                    self._told.put(partial(self._progress.finish, state))
        except Exception as error:  # noqa: BLE001 - raised again where the others are ended
            self._told.put(partial(_raise, error))

    def _do(self, member: Member, threads: int) -> SlideState | None:
        listener = _Listener(member, self._options.is_anonymous, self._cancel, self._tell)
        try:
            return self._work.do(member, threads, listener)
        finally:
            self._turns.done(member)

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
        super().__init__(member, is_anonymous, cancel)
        self._say = tell
        self._reached: int | None = None

    def note(self, text: str) -> None:
        self._say(lambda progress: progress.note(text))

    def reach(self, done: int) -> None:
        if self._reached is not None and done > self._reached:
            more = done - self._reached
            self._say(lambda progress: progress.add_patches(more))
        self._reached = done


def _raise(error: Exception) -> None:
    raise error


def slides_at_once(options: JobOptions, todo: int) -> int:
    """Return how many slides are best analyzed at a time on this machine."""
    most = min(options.threads, todo)
    if most <= 1 or options.provider == "cpu":
        return most
    # Slides that share a graphics card would only share its memory, too.
    return most if ask(DoctorJob(), Doctor, "doctor").cuda_problem else 1
