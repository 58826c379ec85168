"""One child process: started, handed jobs, listened to, watched, and ended by force if need be."""

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
from typing import IO

from idc_desktop.closing import Closing
from idc_desktop.errors import (
    GarbledMessageError,
    IdcError,
    SlideError,
    from_name,
    no_room_for_temporary_files,
    reader_lost,
)
from idc_desktop.processes.memory import MEMORY_VARIABLE, MemoryWatch, memory_limit
from idc_desktop.processes.message import (
    Cancel,
    Command,
    Event,
    Failure,
    JobMessage,
    JobOver,
    receive,
    send,
)

DEADLINE_S = 300.0
"""A child that says nothing for so long hangs (a block takes well under a minute)."""

_TIMES_THE_MEMORY_ON_CUDA = 8  # its libraries alone take two to three gigabytes
_END_WITHIN_S = 5.0
_LOOK_EVERY_S = 0.25  # whether a cancelled child is past its time
_STDERR_KEPT = 2000


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
    """A child process that runs one job, or several where each says that it stays for another.

    Parameters
    ----------
    module : str
        What to run, as with ``python -m``.
    job : JobMessage
        What to do first; it says what the child may answer.
    deadline_s : float
        Longest silence before it is taken to hang and is killed.
    share_of_memory : float
        Of what a child may take (`memory_limit`).

    Attributes
    ----------
    deadline_s : float
        May be changed at any time, for the silence that follows.
    is_idle : bool
        It ended its job and waits for the next.
    is_abandoned : bool
        It did not even end when it was killed: it waits for a disk or network drive that does not
        answer. Nobody waits for it any more.
    """

    def __init__(
        self,
        module: str,
        job: JobMessage,
        deadline_s: float = DEADLINE_S,
        *,
        share_of_memory: float = 1.0,
    ) -> None:
        most_bytes = int(memory_limit() * share_of_memory)
        self.deadline_s = deadline_s
        self._module, self._kind = module, type(job)
        self._answers = (*job.ANSWERS, Failure, JobOver) if job.stays else (*job.ANSWERS, Failure)
        self._end_by: float | None = None
        self.is_idle = self.is_abandoned = self._is_closed = False
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

    def can_do(self, module: str, job: JobMessage) -> bool:
        """Whether it could be given a job, instead of a new child of this module."""
        return self.is_idle and (module, type(job)) == (self._module, self._kind)

    def give(self, job: JobMessage, deadline_s: float = DEADLINE_S) -> None:
        """Hand it the next job, which it can do; one that died meanwhile tells in `events`."""
        self.deadline_s = deadline_s
        self.is_idle = False
        self._send(job)

    def events(self, wait_forever: bool = False) -> Iterator[Event]:
        """Yield the child's messages until it ends, or is idle.

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
                self.is_idle = JobOver in self._answers and isinstance(self._next(), JobOver)
                raise from_name(event.kind, event.message)
            if isinstance(event, JobOver):
                self.is_idle = True
                return
            yield event
        if self._is_closed:  # its end is no news
            return
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
        """End the child, by force if need be, and free what belongs to it.

        Who waits in `events`, in another thread, is told that nothing more will come.
        """
        self._is_closed = True
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
        # The end may have been among what was taken: who waits in `events` would do so for ever.
        with contextlib.suppress(queue.Full):
            self._inbox.put_nowait(None)
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


class IdleChildren(Closing):
    """Children that ended their jobs and wait for others; safe to use from several threads."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._changing = threading.Lock()

    def start(self, module: str, job: JobMessage, deadline_s: float = DEADLINE_S) -> Child:
        """Have one of them, or a new child, begin with a job that stays for another."""
        with self._changing:
            child = next((it for it in self._children if it.can_do(module, job)), None)
            if child is not None:
                self._children.remove(child)
        if child is None:
            return Child(module, job, deadline_s)
        child.give(job, deadline_s)
        return child

    def keep(self, child: Child) -> None:
        """Take an idle child."""
        with self._changing:
            self._children.append(child)

    def close(self) -> None:
        """End them all."""
        with self._changing:
            children, self._children = self._children, []
        for child in children:
            child.close()
