"""The engines of the window: one at a time on a slide; what they say arrives in its thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from PySide6.QtCore import QObject, QRectF, QTimer, Signal

from idc_desktop.errors import GarbledMessageError, cancelled
from idc_desktop.models.model_file import ModelFile
from idc_desktop.models.provider import Provider
from idc_desktop.processes.engine_messages import AnalyzeJob, BlockDone, Plan
from idc_desktop.processes.message import Event, SlideOpened
from idc_desktop.processes.record import RunRecord, require_model
from idc_desktop.processes.supervisor import Job, usable_threads
from idc_desktop.slides.description import SlideDescription
from idc_desktop.storage.user_data import data_folder
from idc_desktop.ui.hand_over import HandOver

_PORTION_S = 0.01


@dataclass(frozen=True)
class _End:
    """Comes after the last event: what ended the job, if it failed."""

    failure: Exception | None


class _Follower(threading.Thread):
    """Runs one job once others are over, and hands over what it says.

    It holds nothing of the window's.

    Parameters
    ----------
    after : list of _Follower
        They may still write the file that this job writes.

    Attributes
    ----------
    slide : str
        Path of the slide.
    identity : str or None
        None until it is known: at last when the engine has opened the slide.
    """

    def __init__(
        self,
        job: AnalyzeJob,
        model: ModelFile,
        identity: str | None,
        after: list[_Follower],
        inbox: deque[Event | _End],
        woken: HandOver[None],
    ) -> None:
        super().__init__(daemon=True)
        self.slide = job.slide
        self.identity = identity
        self._what, self._model, self._after = job, model, after
        self._inbox, self._woken = inbox, woken
        self._lock = threading.Lock()
        self._job: Job | None = None
        self._is_cancelled = False

    def cancel(self) -> None:
        """Stop the job, or never begin it; from any thread."""
        with self._lock:
            self._is_cancelled, job = True, self._job
        if job is not None:
            job.cancel()

    def run(self) -> None:
        failure: Exception | None = None
        while self._after:
            self._after.pop().join()
        try:
            self._follow()
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is over
            failure = error
            if self._job is not None:
                self._job.close()
        self._put(_End(failure))

    def _follow(self) -> None:
        name = Path(self.slide).name
        if self._is_cancelled:
            raise cancelled(name)
        job = Job(self._what, name)
        with self._lock:
            self._job, is_cancelled = job, self._is_cancelled
        if is_cancelled:
            job.cancel()
        for event in job.events():
            require_model(event, self._model.path.name, self._model.sha256)
            if isinstance(event, SlideOpened):
                self.identity = event.slide.identity
            self._put(event)

    def _put(self, said: Event | _End) -> None:
        self._inbox.append(said)
        if len(self._inbox) == 1:
            self._woken.put(None)


class Engines:
    """Starts engines; one on a slide begins when those before it have given its run file free.

    Attributes
    ----------
    provider : {"auto", "cpu", "cuda"}
        What the next one is asked to run on.
    """

    def __init__(self) -> None:
        self.provider: Provider = "auto"
        self._followers: list[_Follower] = []

    def start(
        self,
        slide: Path,
        model: ModelFile,
        mpp: float | None,
        *,
        identity: str | None = None,
        restart: bool = False,
        recall: bool = False,
        first: QRectF | None = None,
        parent: QObject | None = None,
    ) -> EngineRun:
        """Analyze a slide, or recall what is stored of it.

        Parameters
        ----------
        mpp : float or None
            Resolution given by the user, µm per pixel.
        identity : str or None
            The slide's, if it is known.
        first : QRectF or None
            The part of level 0 to analyze before all else.
        """
        job = AnalyzeJob(
            slide=str(slide.absolute()),
            model=str(model.path),
            mpp=mpp,
            provider=self.provider,
            threads=usable_threads(),
            data_folder=str(data_folder()),
            restart=restart,
            recall=recall,
            first=(first.x(), first.y(), first.width(), first.height()) if first else None,
        )
        self._followers = [it for it in self._followers if it.is_alive()]
        after = [it for it in self._followers if it.slide == job.slide or _is_same(it, identity)]
        engine = EngineRun(job, model, identity, after, parent)
        self._followers.append(engine.follower)
        return engine

    def must_wait(self, engine: EngineRun) -> bool:
        """Whether an engine that has opened its slide finds one before it on a copy of that."""
        before = takewhile(lambda it: it is not engine.follower, self._followers)
        return any(it.is_alive() and _is_same(it, engine.follower.identity) for it in before)


def _is_same(follower: _Follower, identity: str | None) -> bool:
    return identity is not None and follower.identity == identity


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
        self,
        job: AnalyzeJob,
        model: ModelFile,
        identity: str | None,
        after: list[_Follower],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.record = RunRecord(model.card)
        self._inbox: deque[Event | _End] = deque()
        self._abandoned = False
        woken: HandOver[None] = HandOver(self._take_portion)
        self.follower = _Follower(job, model, identity, after, self._inbox, woken)
        self.follower.start()

    def cancel(self) -> None:
        """Stop after what has begun; what was committed is kept."""
        self.follower.cancel()

    def abandon(self) -> None:
        """Stop, and say nothing more."""
        self._abandoned = True
        self.follower.cancel()

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
