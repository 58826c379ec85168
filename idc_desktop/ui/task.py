"""Work that leaves the window's thread."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QThreadPool, Signal

from idc_desktop.errors import IdcError


class Task(QObject):
    """Runs a function in a thread of the pool and tells how it ended, in the window's thread."""

    succeeded = Signal(object)
    """Carries what the function returned."""
    failed = Signal(object)
    """Carries the `IdcError` that it raised."""

    def start(self, work: Callable[[], object]) -> None:
        """Run `work`; its expected errors become `failed`."""

        def run() -> None:
            try:
                result = work()
            except IdcError as error:
                self.failed.emit(error)
            else:
                self.succeeded.emit(result)

        QThreadPool.globalInstance().start(run)
