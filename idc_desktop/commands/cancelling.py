"""Ctrl-C and SIGTERM: they cancel the jobs of this process instead of tearing it down."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from idc_desktop.processes.supervisor import Job


class Cancel:
    """Whether Ctrl-C or SIGTERM came, and what is cancelled by it.

    Attributes
    ----------
    is_asked_for : bool
    """

    def __init__(self) -> None:
        self.is_asked_for = False
        self._jobs: dict[int, Job] = {}  # by the thread that follows it

    def take(self, job: Job) -> None:
        """Cancel this engine, the only one of this thread, when it is asked for, or now if it was.

        Safe from any thread.
        """
        self._jobs[threading.get_ident()] = job
        if self.is_asked_for:
            job.cancel()

    def ask(self) -> None:
        """Cancel."""
        # Noted here, too: a job may have ended already while its files are being written.
        self.is_asked_for = True
        for job in list(self._jobs.values()):
            job.cancel()


@contextlib.contextmanager
def cancelling() -> Iterator[Cancel]:
    """Let Ctrl-C and SIGTERM cancel."""
    cancel = Cancel()

    def on_signal(number: int, frame: FrameType | None) -> None:
        cancel.ask()
        # A second signal is taken by the usual handler.
        for name, handler in before.items():
            signal.signal(name, handler)

    before = {name: signal.signal(name, on_signal) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
