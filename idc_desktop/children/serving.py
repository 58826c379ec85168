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
from typing import IO, NoReturn

from idc_desktop.errors import IdcError
from idc_desktop.processes.message import (
    MAX_TEXT,
    Command,
    Event,
    Failure,
    JobMessage,
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

    `jobs` are those that this process can do.

    Once `work` listens, the process ends as soon as stdin closes: the parent is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    # Native libraries may print to stdout; keep the pipe to ourselves and give them stderr.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        outbox = Outbox(answers)
        job = receive(sys.stdin.buffer, jobs)
        if job is None:
            return
        try:
            work(job, outbox, partial(_listen, job.COMMANDS))
        except Exception as error:  # noqa: BLE001 - the edge of the process: the parent reports it
            outbox.send(failure_of(error))
    # Skip the interpreter's and the libraries' tear-down: everything is committed and said.
    sys.stderr.flush()
    os._exit(0)


def failure_of(error: Exception) -> Failure:
    """Return the event that tells how a child ends; to be called where `error` is handled."""
    if isinstance(error, IdcError):
        return Failure(type(error).__name__, str(error)[:MAX_TEXT])
    return Failure("DefectError", traceback.format_exc()[-MAX_TEXT:])


def _listen(commands: tuple[type[Command], ...], on_command: Callable[[Command], None]) -> None:
    def follow() -> None:
        while (command := receive(sys.stdin.buffer, commands)) is not None:
            on_command(command)
        _end_orphaned()

    threading.Thread(target=follow, daemon=True).start()


def _end_orphaned() -> NoReturn:
    """End this process; the parent, which would have removed the folder that we are in, is gone."""
    with contextlib.suppress(OSError):
        Path.cwd().rmdir()  # it is empty
    os._exit(1)
