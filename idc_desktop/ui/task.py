"""Work that leaves the window's thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from PySide6.QtCore import QObject, QThreadPool, Signal

from idc_desktop.errors import IdcError


class Task(QObject):
    """Runs a function in another thread and tells how it ended, in the window's thread.

    Attributes
    ----------
    is_running : bool
    """

    succeeded = Signal(object)
    """Carries what the function returned."""
    failed = Signal(object)
    """Carries the exception that it raised."""
    ended = Signal()
    """Comes after either."""

    _done = Signal(object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.is_running = False
        self._done.connect(self._on_done)

    def start(self, work: Callable[[], object], *, may_hang: bool = False) -> None:
        """Run `work`.

        Parameters
        ----------
        may_hang : bool
            It looks at files of the user's, on a share that may not answer: it neither takes a
            thread from the pool nor is it waited for when the window is closed.
        """
        self.is_running = True

        def run() -> None:
            result, failure = None, None
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - it is handed over to the window's thread
                failure = error
            with contextlib.suppress(RuntimeError):  # the window was closed meanwhile
                self._done.emit(result, failure)

        if may_hang:
            threading.Thread(target=run, daemon=True).start()
        else:
            QThreadPool.globalInstance().start(run)

    def _on_done(self, result: object, error: Exception | None) -> None:
        self.is_running = False
        if error is None:
            self.succeeded.emit(result)
        else:
            self.failed.emit(error)
        self.ended.emit()
        if error is not None and not isinstance(error, IdcError):
            raise error  # a defect of ours: it is reported as any other
