"""The common frame of the child processes: messages in, messages out, an end with the parent."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, NoReturn

from idc_desktop.errors import IdcError
from idc_desktop.wire import Message, receive, send

Listen = Callable[[Callable[[Message], None]], None]
"""Starts to pass the parent's further messages to a function, in a thread of its own."""


class Outbox:
    """Sends messages from several threads, one at a time."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: Message, payload: bytes | memoryview = b"") -> None:
        """Send one message; end this process if the parent is gone."""
        try:
            with self._lock:
                send(self._stream, message, payload)
        except BrokenPipeError:
            _end_orphaned()


def serve(work: Callable[[Message, Outbox, Listen], None]) -> None:
    """Run `work` on the job that arrives on stdin, report how it fails, and end the process.

    Once `work` listens, the process ends as soon as stdin closes: the parent is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    # Native libraries may print to stdout; keep the pipe to ourselves and give them stderr.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        outbox = Outbox(answers)
        received = receive(sys.stdin.buffer)
        if received is None:
            return
        try:
            work(received[0], outbox, _listen)
        except IdcError as error:
            outbox.send({"event": "error", "kind": type(error).__name__, "message": str(error)})
        except Exception:  # noqa: BLE001 - the edge of the process: the parent reports the defect
            text = traceback.format_exc()
            outbox.send({"event": "error", "kind": "DefectError", "message": text})
    # Skip the interpreter's and the libraries' tear-down: everything is committed and said.
    sys.stderr.flush()
    os._exit(0)


def _listen(on_message: Callable[[Message], None]) -> None:
    def follow() -> None:
        while (received := receive(sys.stdin.buffer)) is not None:
            on_message(received[0])
        _end_orphaned()

    threading.Thread(target=follow, daemon=True).start()


def _end_orphaned() -> NoReturn:
    """End this process; the parent, which would have removed the folder that we are in, is gone."""
    with contextlib.suppress(OSError):
        Path.cwd().rmdir()  # it is empty
    os._exit(1)
