"""Keeps a job going when the child processes that do it die.

A damaged slide can abort the decoder in C, where no exception helps, and a model can be endless;
so both are only ever used in a child. This module knows nothing of either: it starts a module as a
child, hands it a job, and passes its messages on.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

from idc_desktop.errors import (
    AnalysisCancelledError,
    GarbledMessageError,
    ModelError,
    SlideError,
    cancelled,
)
from idc_desktop.processes.child import DEADLINE_S, Child, ChildCrashedError, IdleChildren
from idc_desktop.processes.cut_messages import BlockCut, GridLaid
from idc_desktop.processes.engine_messages import BlockDone, Plan, Tried, Trying
from idc_desktop.processes.memory import MEMORY_VARIABLE
from idc_desktop.processes.message import SURVEY, Command, Event, JobMessage, Started

_TRIAL_DEADLINE_S = {"cpu": 25.0, "cuda": 120.0}
"""A model that is tried for so long is endless: VGG-16 takes a second on two busy cores, and CUDA
some tens of seconds where its libraries, 2 GB, come from a slow disk."""

_CRASHES_PER_BLOCK = 2
_CRASHES_WITHOUT_PROGRESS = 8
_MAX_DEADLY_BLOCKS = 32
_MAX_THREADS = 8
_BLAME_FOR_KILL = 0.5  # who kills from outside is rarely the block; but it may exhaust the memory

Answer = TypeVar("Answer", bound=Event)


class Job:
    """A job of the engine that survives the engine's death.

    Parameters
    ----------
    job : JobMessage
    subject : str
        Name of the slide or model, for messages.
    module : str
        What to run as the engine.
    deadline_s : float
        Longest silence before an engine is taken to hang.
    idle : IdleChildren, optional
        Where an engine is taken from, and left after its job: one that was at a slide with nothing
        wrong, since a damaged one may have damaged the engine.
    """

    def __init__(
        self,
        job: JobMessage,
        subject: str,
        module: str = "idc_desktop.children.engine",
        deadline_s: float = DEADLINE_S,
        idle: IdleChildren | None = None,
    ) -> None:
        self._job = job if idle is None else replace(job, stays=True)
        self._idle = idle
        self._is_left = False  # the child may be at another job by now
        self._subject = subject
        self._module = module
        self._deadline_s = deadline_s
        self._cancelled = False
        self._child = self._start()

    def events(self) -> Iterator[Event]:
        """Yield the engine's messages, whatever number of engines it takes.

        When an engine dies it is started again and goes on from what is committed. The blocks
        that were under way are suspects: they run first, alone; one that kills the engine twice
        is marked failed. A block that was only caught in a kill from outside is not blamed. While
        a model is tried nothing else is at work: there one crash or hang is enough.
        After a restart the engine repeats what it said before; messages are states, not
        increments, so that does no harm.

        Raises
        ------
        IdcError
            The engine reported an expected failure, or the file kills every engine.
        ModelError
            Also: the model killed the engine that tried it, or came to no end.
        AnalysisCancelledError
            The job was cancelled; also where the engine died or was killed before it could say so.
        """
        blame: dict[int, float] = {}
        suspects: set[int] = set()
        doubt = 0.0  # about the model, as the blame of blocks
        fruitless = 0
        planned = False
        while True:
            trying: Trying | None = None
            started: set[int] = set()
            try:
                with contextlib.closing(self):
                    child, is_sound = self._child, True
                    for event in child.events():
                        if isinstance(event, Started):
                            started.add(event.number)
                        elif isinstance(event, BlockDone | BlockCut):
                            if event.number in started:
                                fruitless = 0
                            started.discard(event.number)
                            is_sound &= not (isinstance(event, BlockDone) and event.reasons)
                        elif isinstance(event, Trying):
                            trying = event
                            limit_s = _TRIAL_DEADLINE_S[event.provider]
                            child.deadline_s = min(self._deadline_s, limit_s)
                            if event.provider == "cuda":
                                child.allow_memory_of_cuda()
                        elif isinstance(event, Tried):
                            trying, doubt = None, 0.0
                            child.deadline_s = self._deadline_s
                        elif isinstance(event, Plan | GridLaid):
                            planned = True
                            started.discard(SURVEY)
                        yield event
                    if is_sound:
                        self._leave()
                return
            except ChildCrashedError as crash:
                self._check_going_on(crash)
                if trying is not None:
                    outside = crash.killed_from_outside
                    doubt += _BLAME_FOR_KILL if outside else _CRASHES_PER_BLOCK
                    if doubt >= _CRASHES_PER_BLOCK:
                        raise self._model_lost(trying, crash) from crash
                elif crash.is_excessive and not planned and SURVEY not in started:
                    raise crash.lost(self._subject) from crash
                fruitless += 1
                alone = started and started <= suspects
                weight = 1.0
                if crash.killed_from_outside:
                    weight = _BLAME_FOR_KILL if alone else 0.0
                for number in started:
                    blame[number] = blame.get(number, 0.0) + weight
                guilty = {
                    number: f"the reader process {str(crash).splitlines()[0]} on this block twice"
                    for number, count in blame.items()
                    if count >= _CRASHES_PER_BLOCK
                }
                if guilty.keys() & started:  # a conviction is progress
                    fruitless = 0
                suspects = (suspects | started) - guilty.keys()
                patient = planned or SURVEY in started or crash.killed_from_outside
                limit = _CRASHES_WITHOUT_PROGRESS if patient else _CRASHES_PER_BLOCK
                if fruitless >= limit or len(guilty) > _MAX_DEADLY_BLOCKS:
                    raise crash.lost(self._subject) from crash
            self._job = self._job.after_crash(sorted(suspects), guilty, has_planned=planned)
            self._child = self._start()
            if self._cancelled:
                self._child.cancel()

    def cancel(self) -> None:
        """Stop the job; what was committed is kept. Safe from any thread and signal handler.

        An engine that has not ended after 5 s is killed.
        """
        self._cancelled = True
        if not self._is_left:
            self._child.cancel()

    def tell(self, command: Command) -> None:
        """Send a command to the engine that is at work now; one that follows it knows nothing."""
        if not self._is_left:
            self._child.tell(command)

    def close(self) -> None:
        """End the engine if it still runs at this job."""
        if not self._is_left:
            self._child.close()

    def _start(self) -> Child:
        start = Child if self._idle is None else self._idle.start
        return start(self._module, self._job, self._deadline_s)

    def _leave(self) -> None:
        """Leave the engine to another job."""
        if self._idle is not None and self._child.is_idle:
            self._is_left = True
            self._idle.keep(self._child)

    def _check_going_on(self, crash: ChildCrashedError) -> None:
        """Raise what ends the job, if no further engine is to be started."""
        stuck = ""
        if self._child.is_abandoned:
            stuck = (
                f"The reader process ({self._child.pid}) cannot be ended: it waits for a disk or "
                "network drive that does not answer."
            )
        if self._cancelled:
            message = f"{cancelled(self._subject)} {stuck}".rstrip()
            raise AnalysisCancelledError(message) from crash
        if stuck:
            raise SlideError(
                f"{self._subject}: {stuck} Check the drive, then run the same command again."
            ) from crash

    def _model_lost(self, trying: Trying, crash: ChildCrashedError) -> ModelError:
        how = str(crash).splitlines()[0]
        if crash.is_excessive:
            return ModelError(
                f"{trying.model}: The process that tried the model {how}. Choose another one, or "
                f"allow more with {MEMORY_VARIABLE}."
            )
        remedy = "" if trying.provider == "cpu" else ", or run it on the CPU"
        return ModelError(
            f"{trying.model}: The process that tried the model {how}. The model comes to no end, "
            "needs more memory than there is, or makes onnxruntime crash. Choose another "
            f"one{remedy}."
        )


def usable_threads() -> int:
    """Return how many threads an analysis should take on this machine."""
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(_MAX_THREADS, usable)


def ask(job: JobMessage, answer: type[Answer], subject: str) -> Answer:
    """Run a job and return its answer.

    Parameters
    ----------
    answer : class
        The event that is asked for.
    subject : str
        Name of the slide or model, for messages.

    Raises
    ------
    IdcError
        The engine reported an expected failure, or the file kills every engine.
    """
    answers = [event for event in Job(job, subject).events() if isinstance(event, answer)]
    if not answers:
        raise GarbledMessageError("no answer")
    return answers[-1]
