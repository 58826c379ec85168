"""The common frame of the child processes: messages in, messages out, an end with the parent."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import IO, NoReturn

from idc_desktop.errors import IdcError
from idc_desktop.processes.message import (
    MAX_TEXT,
    Command,
    Event,
    Failure,
    JobMessage,
    JobOver,
    receive,
    send,
)
from idc_desktop.streams import is_broken_pipe

Listen = Callable[[Callable[[Command], None]], None]
"""Starts to pass the parent's commands to a function, in a thread of its own."""


class Outbox:
    """Sends events from several threads, one at a time."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, event: Event) -> None:
        """Send one event; end this process if the parent is gone."""
        try:
            with self._lock:
                send(self._stream, event)
        except OSError as error:
            if not is_broken_pipe(error):
                raise
            _end_orphaned()

    def give_up(self, error: Exception) -> NoReturn:
        """Report why this process cannot go on, and end it whatever its other threads do."""
        self.send(failure_of(error))
        os._exit(0)


def serve(
    work: Callable[[JobMessage, Outbox, Listen], None], jobs: tuple[type[JobMessage], ...]
) -> None:
    """Run `work` on the job that arrives on stdin, report how it fails, and end the process.

    `jobs` are those that this process can do. One that says so is followed by another.

    Once `work` listens, the process ends as soon as stdin closes: the parent is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    # Native libraries may print to stdout; keep the pipe to ourselves and give them stderr.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        outbox, inbox = Outbox(answers), _Inbox(jobs)
        while (job := inbox.next_job()) is not None:
            try:
                work(job, outbox, partial(inbox.listen, job.COMMANDS))
            except Exception as error:  # noqa: BLE001 - the edge of the process: the parent reports it
                outbox.send(failure_of(error))
            if not job.stays:
                break
            outbox.send(JobOver())
    # Skip the interpreter's and the libraries' tear-down: everything is committed and said.
    sys.stderr.flush()
    os._exit(0)


def failure_of(error: Exception) -> Failure:
    """Return the event that tells how a child ends; to be called where `error` is handled."""
    if isinstance(error, IdcError):
        return Failure(type(error).__name__, str(error)[:MAX_TEXT])
    return Failure("DefectError", traceback.format_exc()[-MAX_TEXT:])


class _Inbox:
    """Takes what the parent says: jobs one after the other, and commands for the one under way."""

    def __init__(self, jobs: tuple[type[JobMessage], ...]) -> None:
        self._kinds = jobs
        self._jobs: SimpleQueue[JobMessage] | None = None  # once a thread reads
        self._changing = threading.Lock()
        self._on_command: Callable[[Command], None] | None = None
        self._early: list[Command] = []  # for a job that does not listen yet

    def next_job(self) -> JobMessage | None:
        """Wait for a job; None if the parent is gone."""
        if self._jobs is not None:
            return self._jobs.get()
        return receive(sys.stdin.buffer, self._kinds)

    def listen(
        self, commands: tuple[type[Command], ...], on_command: Callable[[Command], None]
    ) -> None:
        """Pass commands for the present job on from now, also those that came already."""
        with self._changing:
            self._on_command = on_command
            early, self._early = self._early, []
        for command in early:
            on_command(command)
        if self._jobs is None:
            self._jobs = SimpleQueue()
            kinds = (*commands, *self._kinds)
            threading.Thread(target=self._follow, args=(kinds, self._jobs), daemon=True).start()

    def _follow(
        self, kinds: tuple[type[Command | JobMessage], ...], jobs: SimpleQueue[JobMessage]
    ) -> None:
        while (message := receive(sys.stdin.buffer, kinds)) is not None:
            if isinstance(message, JobMessage):
                with self._changing:
                    self._on_command = None
                jobs.put(message)
                continue
            with self._changing:
                on_command = self._on_command
                if on_command is None:
                    self._early.append(message)
            if on_command is not None:
                on_command(message)
        _end_orphaned()


def _end_orphaned() -> NoReturn:
    """End this process; the parent, which would have removed the folder that we are in, is gone."""
    with contextlib.suppress(OSError):
        Path.cwd().rmdir()  # it is empty
    os._exit(1)
