"""Starts child processes, watches them, and keeps a job going when they die.

A damaged slide can abort the decoder in C, where no exception helps, and a model can be endless;
so both are only ever used in a child. This module knows nothing of either: it starts a module as a
child, hands it a job, and passes its messages on.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeVar

from idc_desktop.closing import Closing
from idc_desktop.errors import (
    AnalysisCancelledError,
    GarbledMessageError,
    IdcError,
    ModelError,
    SlideError,
    cancelled,
    from_name,
    no_room_for_temporary_files,
    reader_lost,
)
from idc_desktop.processes.cut_messages import BlockCut, GridLaid
from idc_desktop.processes.engine_messages import BlockDone, Plan, Tried, Trying
from idc_desktop.processes.memory import MEMORY_VARIABLE, MemoryWatch, memory_limit
from idc_desktop.processes.message import (
    Cancel,
    Command,
    Event,
    Failure,
    JobMessage,
    Started,
    receive,
    send,
)

_DEADLINE_S = 300.0
"""A child that says nothing for so long hangs (a block takes well under a minute)."""

_TRIAL_DEADLINE_S = {"cpu": 25.0, "cuda": 120.0}
"""A model that is tried for so long is endless: VGG-16 takes a second on two busy cores, and CUDA
some tens of seconds where its libraries, 2 GB, come from a slow disk."""

_TIMES_THE_MEMORY_ON_CUDA = 8  # its libraries alone take two to three gigabytes

_CRASHES_PER_BLOCK = 2
_CRASHES_WITHOUT_PROGRESS = 8
_MAX_DEADLY_BLOCKS = 32
_MAX_THREADS = 8
_BLAME_FOR_KILL = 0.5  # who kills from outside is rarely the block; but it may exhaust the memory
_END_WITHIN_S = 5.0
_LOOK_EVERY_S = 0.25  # whether a cancelled child is past its time
_STDERR_KEPT = 2000

Answer = TypeVar("Answer", bound=Event)


class ChildCrashedError(IdcError):
    """A child died or hung without saying why.

    Attributes
    ----------
    killed_from_outside : bool
        It got SIGKILL or SIGTERM: by a person, or by the system because memory ran out.
    is_excessive : bool
        It was killed since it took more memory than it may.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, killed_from_outside: bool = False, is_excessive: bool = False
    ) -> None:
        super().__init__(message)
        self.killed_from_outside = killed_from_outside
        self.is_excessive = is_excessive

    def lost(self, subject: str) -> SlideError:
        """Return the error that ends the work on a file, given by its name, for this reason."""
        if self.is_excessive:
            return SlideError(
                f"{subject}: The reader process {self}. The file is damaged, or made to exhaust "
                f"memory; if you trust it, allow more with {MEMORY_VARIABLE}."
            )
        return reader_lost(subject, self)


class Child(Closing):
    """A child process that runs one job.

    Parameters
    ----------
    module : str
        What to run, as with ``python -m``.
    job : JobMessage
        What to do; it says what the child may answer.
    deadline_s : float
        Longest silence before it is taken to hang and is killed.
    share_of_memory : float
        Of what a child may take (`memory_limit`).

    Attributes
    ----------
    deadline_s : float
        May be changed at any time, for the silence that follows.
    is_abandoned : bool
        It did not even end when it was killed: it waits for a disk or network drive that does not
        answer. Nobody waits for it any more.
    """

    def __init__(
        self,
        module: str,
        job: JobMessage,
        deadline_s: float = _DEADLINE_S,
        *,
        share_of_memory: float = 1.0,
    ) -> None:
        most_bytes = int(memory_limit() * share_of_memory)
        self.deadline_s = deadline_s
        self._answers = (*job.ANSWERS, Failure)
        self._end_by: float | None = None
        self.is_abandoned = False
        # A short queue: a child that is faster than its reader waits instead of filling memory.
        self._inbox: queue.Queue[Event | IdcError | None] = queue.Queue(maxsize=64)
        self._scratch = scratch = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._stderr = scratch.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
            folder = scratch.enter_context(
                tempfile.TemporaryDirectory(prefix="idc-desktop-", ignore_cleanup_errors=True)
            )
        except OSError as error:
            self._inbox.put(no_room_for_temporary_files(error))  # told as what a child says
            return
        # The child runs the code that its parent runs, and stands in an empty folder: whatever a
        # hostile file names, relative to where it is, is not there. Jobs name absolute paths.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(str(Path(it).absolute()) for it in sys.path),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        # One that hangs does not see that its parent is gone; nor does `close` in a thread that the
        # end of this process cuts short.
        atexit.register(self._kill)
        self._memory = MemoryWatch(self._process, most_bytes)
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), daemon=True
        )
        self._reader.start()
        self._send(job)

    @property
    def pid(self) -> int | None:
        """Process id of the child; None if it could not be started."""
        return self._process.pid if self._process else None

    def events(self, wait_forever: bool = False) -> Iterator[Event]:
        """Yield the child's messages until it ends.

        Parameters
        ----------
        wait_forever : bool
            The child only speaks when asked: silence is no sign of a hang.

        Raises
        ------
        ChildCrashedError
            It ended by a signal or with an error, said nothing until the deadline, did not end in
            time after `cancel`, or took more memory than it may.
        IdcError
            It reported an expected failure, or could not be started.
        GarbledMessageError
            It sent what is none of the answers to its job.
        """
        while True:
            event = self._inbox.get() if wait_forever else self._next()
            if event is None:
                break
            if isinstance(event, IdcError):
                self._kill()
                raise event
            if isinstance(event, Failure):
                raise from_name(event.kind, event.message)
            yield event
        code = self._end()
        if self._memory.excess is not None:
            raise ChildCrashedError(self._memory.excess, is_excessive=True)
        if code is not None and code != 0:
            outside = code in (-signal.SIGTERM, -getattr(signal, "SIGKILL", signal.SIGTERM))
            raise ChildCrashedError(self._death(code), killed_from_outside=outside)

    def allow_memory_of_cuda(self) -> None:
        """Let the child take from now on what the libraries of CUDA need."""
        self._memory.most_bytes = _TIMES_THE_MEMORY_ON_CUDA * memory_limit()

    def tell(self, command: Command) -> None:
        """Send a command; a child that is already dead reports itself in `events`."""
        self._send(command)

    def cancel(self) -> None:
        """Ask the child to end, and have `events` kill it if it does not.

        Safe from any thread and signal handler; so no timer is started here.
        """
        self._end_by = time.monotonic() + _END_WITHIN_S
        self.tell(Cancel())

    def close(self) -> None:
        """End the child, by force if need be, and free what belongs to it."""
        if self._process is None:
            self._scratch.close()
            return
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._end()
        atexit.unregister(self._kill)
        self._memory.stop()
        # The reader may wait for a place in the inbox; that of an abandoned child, for its end.
        while self._reader.is_alive() and not self.is_abandoned:
            with contextlib.suppress(queue.Empty):
                self._inbox.get(timeout=0.05)
        self._scratch.close()

    def _send(self, message: JobMessage | Command) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError, ValueError):
                send(self._stdin, message)

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process is not None
        assert self._process.stdin is not None
        return self._process.stdin

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _next(self) -> Event | IdcError | None:
        """Return the child's next message, None at its end; kill it where that takes too long."""
        silent_at = time.monotonic() + self.deadline_s
        while True:
            now = time.monotonic()
            if self._end_by is not None and now >= self._end_by:
                reason = f"did not end within {_END_WITHIN_S:g} s"
            elif now >= silent_at:
                reason = f"said nothing for {self.deadline_s:g} s"
            else:
                with contextlib.suppress(queue.Empty):
                    return self._inbox.get(timeout=min(_LOOK_EVERY_S, silent_at - now))
                continue
            self._kill()
            raise ChildCrashedError(reason)

    def _end(self) -> int | None:
        """Wait for the child to end, by force if need be; return its exit code.

        None if it is abandoned.
        """
        assert self._process is not None
        for _ in range(0 if self.is_abandoned else 2):
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.wait(_END_WITHIN_S)
            self._kill()
        self.is_abandoned = True
        return None

    def _read(self, stdout: IO[bytes]) -> None:
        end: GarbledMessageError | None = None
        with stdout:
            try:
                while (event := receive(stdout, self._answers)) is not None:
                    self._inbox.put(event)
            except GarbledMessageError as error:
                end = error
        self._inbox.put(end)

    def _death(self, code: int) -> str:
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"was ended by {signal.Signals(-code).name}"
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - _STDERR_KEPT))
        text = self._stderr.read().decode("utf-8", "replace").strip()
        return f"ended with code {code}: {text}" if text else f"ended with code {code}"


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
    """

    def __init__(
        self,
        job: JobMessage,
        subject: str,
        module: str = "idc_desktop.children.engine",
        deadline_s: float = _DEADLINE_S,
    ) -> None:
        self._job = job
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
                with self._child as child:
                    for event in child.events():
                        if isinstance(event, Started):
                            started.add(event.number)
                        elif isinstance(event, BlockDone | BlockCut):
                            if event.number in started:
                                fruitless = 0
                            started.discard(event.number)
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
                        yield event
                return
            except ChildCrashedError as crash:
                self._check_going_on(crash)
                if trying is not None:
                    outside = crash.killed_from_outside
                    doubt += _BLAME_FOR_KILL if outside else _CRASHES_PER_BLOCK
                    if doubt >= _CRASHES_PER_BLOCK:
                        raise self._model_lost(trying, crash) from crash
                elif crash.is_excessive and not planned:
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
                patient = planned or crash.killed_from_outside
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
        self._child.cancel()

    def tell(self, command: Command) -> None:
        """Send a command to the engine that is at work now; one that follows it knows nothing."""
        self._child.tell(command)

    def close(self) -> None:
        """End the engine if it still runs."""
        self._child.close()

    def _start(self) -> Child:
        return Child(self._module, self._job, self._deadline_s)

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
