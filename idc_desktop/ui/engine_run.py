"""A run of the engine as the window has it: its messages arrive in the window's thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QRectF, QTimer, Signal

from idc_desktop.description import SlideDescription
from idc_desktop.engine_messages import AnalyzeJob, BlockDone, Plan
from idc_desktop.errors import GarbledMessageError
from idc_desktop.message import Event, SlideOpened
from idc_desktop.model_file import ModelFile
from idc_desktop.provider import Provider
from idc_desktop.record import RunRecord, require_model
from idc_desktop.supervisor import Job, usable_threads
from idc_desktop.ui.hand_over import HandOver
from idc_desktop.user_data import data_folder

_PORTION_S = 0.01


def analysis_job(
    slide: Path,
    model: Path,
    mpp: float | None,
    provider: Provider,
    *,
    restart: bool = False,
    recall: bool = False,
    first: QRectF | None = None,
) -> AnalyzeJob:
    """Return the job of analyzing a slide.

    Parameters
    ----------
    first : QRectF or None
        The part of level 0 to analyze before all else.
    """
    return AnalyzeJob(
        slide=str(slide.absolute()),
        model=str(model),
        mpp=mpp,
        provider=provider,
        threads=usable_threads(),
        data_folder=str(data_folder()),
        restart=restart,
        recall=recall,
        first=(first.x(), first.y(), first.width(), first.height()) if first else None,
    )


@dataclass(frozen=True)
class _End:
    """Comes after the last event: what ended the job, if it failed."""

    failure: Exception | None


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

    def __init__(
        self, job: AnalyzeJob, model: ModelFile, subject: str, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.record = RunRecord()
        self._model = model
        self._inbox: deque[Event | _End] = deque()
        self._abandoned = False
        self._job = Job(job, subject)
        woken: HandOver[None] = HandOver(self._take_portion)
        follow = partial(_follow, self._job, model, self._inbox, woken)
        threading.Thread(target=follow, daemon=True).start()

    def cancel(self) -> None:
        """Stop after what has begun; what was committed is kept."""
        self._job.cancel()

    def abandon(self) -> None:
        """Stop, and say nothing more."""
        self._abandoned = True
        self._job.cancel()

    def _take_portion(self, _: None = None) -> None:
        until = time.monotonic() + _PORTION_S
        has_grown, end = False, None
        while self._inbox and not self._abandoned and time.monotonic() < until:
            event = self._inbox[0]
            if isinstance(event, _End):
                end = event
            else:
                has_grown |= isinstance(event, Plan | BlockDone)
                try:
                    self._take(event)
                except GarbledMessageError as error:
                    self.abandon()
                    end = _End(error)
            self._inbox.popleft()  # last, so that the other thread wakes us only for a new pile
        if has_grown:
            self.grown.emit()
        if end is not None:
            self.ended.emit(end.failure)
        elif self._inbox and not self._abandoned:
            QTimer.singleShot(0, self._take_portion)

    def _take(self, event: Event) -> None:
        known = len(self.record.notes)
        self.record.take(event)
        if isinstance(event, SlideOpened):
            self.opened.emit(event.slide)
        for note in self.record.notes[known:]:
            self.noted.emit(note)


def _follow(job: Job, model: ModelFile, inbox: deque[Event | _End], woken: HandOver[None]) -> None:
    """Put what the engine says into the inbox; in a thread that holds nothing of the window's."""

    def put(event: Event | _End) -> None:
        inbox.append(event)
        if len(inbox) == 1:
            woken.put(None)

    failure: Exception | None = None
    try:
        for event in job.events():
            require_model(event, model.path.name, model.sha256)
            put(event)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run is over
        failure = error
        job.close()
    put(_End(failure))
