"""The engines of the window: one at a time on a slide; what they say arrives in its thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from PySide6.QtCore import QObject, QRectF, QTimer, Signal

from idc_desktop.errors import GarbledMessageError, cancelled
from idc_desktop.models.model_file import ModelFile
from idc_desktop.models.provider import Provider
from idc_desktop.processes.engine_messages import AnalyzeJob, BlockDone, Plan
from idc_desktop.processes.message import Event, SlideOpened
from idc_desktop.processes.record import RunRecord, require_model
from idc_desktop.processes.supervisor import Job, usable_threads
from idc_desktop.regions.mask import MaskArea, Outline
from idc_desktop.slides.description import SlideDescription
from idc_desktop.storage.user_data import data_folder
from idc_desktop.ui.hand_over import HandOver

GivenMpp = float | Callable[[], float | None] | None
"""A resolution that the user gave, µm per pixel, or what returns it and may take long."""

_PORTION_S = 0.01


@dataclass(frozen=True)
class _End:
    """Comes after the last event: what ended the job, if it failed."""

    failure: Exception | None


class _Waits:
    """The job waits for one on a copy of its slide."""


_Said = Event | _Waits | _End


class _Claims:
    """Which follower has the run files of a slide: the one whose engine was the first to open it.

    Copies of a slide have the same run files, and that they are copies is only known once they
    were opened. Safe from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[str, _Follower] = {}

    def claim(self, identity: str, follower: _Follower) -> _Follower:
        """Claim the run files of a slide; return who has them."""
        with self._lock:
            return self._of.setdefault(identity, follower)

    def give_up(self, follower: _Follower) -> None:
        """Give free whatever a follower has."""
        with self._lock:
            self._of = {key: it for key, it in self._of.items() if it is not follower}


class _Follower(threading.Thread):
    """Runs one job once others are over, and hands over what it says.

    An engine that finds another one at a copy of its slide is ended, and the job is begun again
    after that. It holds nothing of the window's.

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
        claims: _Claims,
        inbox: deque[_Said],
        woken: HandOver[None],
        find_mpp: Callable[[], float | None] | None,
    ) -> None:
        super().__init__(daemon=True)
        self.slide = job.slide
        self.identity = identity
        self._what, self._model = job, model
        self._after, self._claims = after, claims
        self._inbox, self._woken, self._find_mpp = inbox, woken, find_mpp
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
        try:
            while not self._follow():
                pass
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is over
            failure = error
        self._claims.give_up(self)
        self._put(_End(failure))

    def _follow(self) -> bool:
        """Run the job; False if it gave way to another, after which it is to be begun again."""
        while self._after:
            self._after.pop().join()
        name = Path(self.slide).name
        if self._find_mpp is not None:
            self._what = replace(self._what, mpp=self._find_mpp())
        if self._is_cancelled:
            raise cancelled(name)
        job = Job(self._what, name)
        with self._lock:
            self._job, is_cancelled = job, self._is_cancelled
        if is_cancelled:
            job.cancel()
        try:
            for event in job.events():
                if not self._after and self._may_go_on(event):
                    self._put(event)
        except Exception:
            job.close()
            if not self._after:  # else it is begun again, however it ended
                raise
        return not self._after

    def _may_go_on(self, event: Event) -> bool:
        """Whether the run files are those of this job; else it is ended."""
        require_model(event, self._model.path.name, self._model.sha256)
        if isinstance(event, SlideOpened):
            self.identity = event.slide.identity
            holder = self._claims.claim(self.identity, self)
            if holder is not self:
                self._claims.give_up(self)  # of what the file held before it was replaced
                self._after.append(holder)
                self._put(_Waits())
                assert self._job is not None
                self._job.cancel()
        return not self._after

    def _put(self, said: _Said) -> None:
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
        self._claims = _Claims()

    def start(
        self,
        slide: Path,
        model: ModelFile,
        mpp: GivenMpp,
        *,
        identity: str | None = None,
        restart: bool = False,
        recall: bool = False,
        first: QRectF | None = None,
        inside: tuple[Outline, ...] = (),
        mask: tuple[MaskArea, ...] | None = None,
        parent: QObject | None = None,
    ) -> EngineRun:
        """Analyze a slide, or recall what is stored of it.

        Parameters
        ----------
        mpp : float, None, or callable
            Resolution given by the user, µm per pixel; or what returns it, called in the engine's
            thread: the slide's share may not answer.
        identity : str or None
            The slide's, if it is known.
        first : QRectF or None
            The part of level 0 to analyze before all else.
        inside, mask
            As of an `AnalyzeJob`.
        """
        job = AnalyzeJob(
            slide=str(slide.absolute()),
            model=str(model.path),
            mpp=None if callable(mpp) else mpp,
            provider=self.provider,
            threads=usable_threads(),
            data_folder=str(data_folder()),
            restart=restart,
            recall=recall,
            first=(first.x(), first.y(), first.width(), first.height()) if first else None,
            inside=inside,
            mask=mask,
        )
        self._followers = [it for it in self._followers if it.is_alive()]
        after = [
            it
            for it in self._followers
            if it.slide == job.slide or (identity is not None and it.identity == identity)
        ]
        find_mpp = mpp if callable(mpp) else None
        engine = EngineRun(job, model, identity, after, self._claims, parent, find_mpp=find_mpp)
        self._followers.append(engine.follower)
        return engine


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
    waits = Signal()
    """An engine is at a copy of the slide; this one begins after it."""
    ended = Signal(object)
    """The job is over; carries the error that ended it, or None."""

    def __init__(
        self,
        job: AnalyzeJob,
        model: ModelFile,
        identity: str | None,
        after: list[_Follower],
        claims: _Claims,
        parent: QObject | None = None,
        *,
        find_mpp: Callable[[], float | None] | None = None,
    ) -> None:
        super().__init__(parent)
        self.record = RunRecord(model.card)
        self._inbox: deque[_Said] = deque()
        self._abandoned = False
        woken: HandOver[None] = HandOver(self._take_portion)
        self.follower = _Follower(job, model, identity, after, claims, self._inbox, woken, find_mpp)
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
            elif isinstance(event, _Waits):
                self.waits.emit()
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
