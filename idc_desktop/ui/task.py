"""Work that leaves the window's thread."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from PySide6.QtCore import QObject, QThreadPool, Signal

from idc_desktop.errors import IdcError
from idc_desktop.ui.hand_over import HandOver

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Outcome:
    """How a task ended; `work` comes along so that it is let go of where it was made."""

    work: Callable[[], object]
    result: object
    error: Exception | None


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

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.is_running = False
        self._done: HandOver[list[_Outcome]] = HandOver(self._on_done)

    def start(self, work: Callable[[], object], *, may_hang: bool = False) -> None:
        """Run `work`.

        Parameters
        ----------
        may_hang : bool
            It looks at files of the user's, on a share that may not answer: it neither takes a
            thread from the pool nor is it waited for when the window is closed.
        """
        self.is_running = True
        run = partial(_run, [work], self._done)
        if may_hang:
            threading.Thread(target=run, daemon=True).start()
        else:
            QThreadPool.globalInstance().start(run)

    def _on_done(self, told: list[_Outcome]) -> None:
        self.is_running = False
        outcome = told.pop()
        error = outcome.error
        if error is None:
            self.succeeded.emit(outcome.result)
        else:
            self.failed.emit(error)
        self.ended.emit()
        if error is not None and not isinstance(error, IdcError):
            raise error  # a defect of ours: it is reported as any other


class Errands:
    """Does things one after the other, in the order in which they were asked for.

    For small files about slides: to know a slide, its share is asked, which may not answer for a
    while. So the window does not wait, and what belongs together stays in order. Safe from any
    thread; what fails is reported as any defect.
    """

    def __init__(self) -> None:
        self._asked: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def ask(self, work: Callable[[], object]) -> None:
        """Have something done; it looks after failures of the disk itself."""
        with self._changed:
            self._asked.append(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="errands", daemon=True)
                self._thread.start()

    def settle(self, patience_s: float) -> bool:
        """Wait until all is done, not longer than so; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, patience_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._asked:
                    self._thread = None
                    self._changed.notify_all()
                    return
                work = self._asked.popleft()
            try:
                work()
            except Exception:  # noqa: BLE001 - a defect of one errand costs no other
                threading.excepthook(threading.ExceptHookArgs([*sys.exc_info(), self._thread]))
            del work


def answer_within(seconds: float, ask: Callable[[], _T]) -> _T:
    """Return or raise what `ask` does, in a thread that a dead share may keep for ever.

    Raises `TimeoutError` if there is no answer in time.
    """
    answer: Future[_T] = Future()

    def work() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:  # noqa: BLE001 - it is raised by `result`
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return answer.result(timeout=seconds)
    except TimeoutError:
        raise TimeoutError(f"no answer within {seconds:g} s") from None


def _run(asked: list[Callable[[], object]], done: HandOver[list[_Outcome]]) -> None:
    """Do the work and hand over how it ended; in a thread that holds nothing of the window's.

    What is asked and told travels in lists, which whoever receives it empties: the thread may still
    hold the list while the window's is through with what was in it.
    """
    work = asked.pop()
    try:
        told = [_Outcome(work, work(), None)]
    except Exception as error:  # noqa: BLE001 - it is handed over to the window's thread
        told = [_Outcome(work, None, error)]
    del work
    done.put(told)
