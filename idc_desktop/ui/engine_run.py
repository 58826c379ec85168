"""A run of the engine as the window has it: its messages arrive in the window's thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from pathlib import Path

from PySide6.QtCore import QObject, QRectF, QTimer, Signal

from idc_desktop.description import SlideDescription
from idc_desktop.model_file import ModelFile
from idc_desktop.record import RunRecord, require_model
from idc_desktop.store import data_folder
from idc_desktop.supervisor import Job, usable_threads
from idc_desktop.wire import Message

_PORTION_S = 0.01


def analysis_job(
    slide: Path,
    model: Path,
    mpp: float | None,
    provider: str,
    *,
    restart: bool = False,
    recall: bool = False,
    first: QRectF | None = None,
) -> Message:
    """Return the job of analyzing a slide; see `idc_desktop.engine.run_job`.

    Parameters
    ----------
    first : QRectF or None
        The part of level 0 to analyze before all else.
    """
    return {
        "job": "analyze",
        "slide": str(slide.absolute()),
        "model": str(model),
        "mpp": mpp,
        "provider": provider,
        "threads": usable_threads(),
        "tissue": True,
        "restart": restart,
        "recall": recall,
        "data_folder": str(data_folder()),
        "first": [first.x(), first.y(), first.width(), first.height()] if first else None,
    }


class EngineRun(QObject):
    """Follows one job of the engine and keeps its record.

    Messages come faster than frames are painted: they pile up in an inbox and are taken in
    portions of 10 ms, so that the window stays alive.

    Attributes
    ----------
    record : RunRecord
    """

    opened = Signal(SlideDescription)
    """The engine has opened the slide; comes again if the engine was started again."""
    grown = Signal()
    """The map is there, or has more patches."""
    noted = Signal(str)
    """Something that the user should know."""
    ended = Signal(object)
    """The job is over; carries the error that ended it, or None."""

    _woken = Signal()

    def __init__(
        self, job: Message, model: ModelFile, subject: str, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.record = RunRecord()
        self._model = model
        self._inbox: deque[tuple[Message | None, bytes | Exception | None]] = deque()
        self._abandoned = False
        self._woken.connect(self._take_portion)
        self._job = Job(job, subject)
        threading.Thread(target=self._follow, daemon=True).start()

    def cancel(self) -> None:
        """Stop after what has begun; what was committed is kept."""
        self._job.cancel()

    def abandon(self) -> None:
        """Stop, and say nothing more."""
        self._abandoned = True
        self._job.cancel()

    def _follow(self) -> None:
        failure: Exception | None = None
        try:
            for message, payload in self._job.events():
                require_model(message, self._model.path.name, self._model.sha256)
                self._hand_over(message, payload)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is over
            failure = error
            self._job.close()
        self._hand_over(None, failure)

    def _hand_over(self, message: Message | None, payload: bytes | Exception | None) -> None:
        """Put a message, or with None the end of the job, into the inbox; from the job's thread."""
        self._inbox.append((message, payload))
        if len(self._inbox) == 1:
            with contextlib.suppress(RuntimeError):  # the window was closed meanwhile
                self._woken.emit()

    def _take_portion(self) -> None:
        until = time.monotonic() + _PORTION_S
        has_grown, is_over, failure = False, False, None
        while self._inbox and not self._abandoned and time.monotonic() < until:
            message, payload = self._inbox[0]
            if message is None:
                is_over, failure = True, payload
            else:
                assert isinstance(payload, bytes)
                has_grown |= message["event"] in ("plan", "block")
                self._take(message, payload)
            self._inbox.popleft()  # last, so that the other thread wakes us only for a new pile
        if has_grown:
            self.grown.emit()
        if is_over:
            self.ended.emit(failure)
        elif self._inbox and not self._abandoned:
            QTimer.singleShot(0, self._take_portion)

    def _take(self, message: Message, payload: bytes) -> None:
        known = len(self.record.notes)
        self.record.take(message, payload)
        if message["event"] == "slide":
            self.opened.emit(self.record.slide)
        for note in self.record.notes[known:]:
            self.noted.emit(note)
