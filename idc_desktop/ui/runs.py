"""All runs of the window: that of the slide that is open, and those of the list."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from idc_desktop.models.model_file import ModelFile
from idc_desktop.models.provider import Provider
from idc_desktop.ui.engines import Engines, GivenMpp
from idc_desktop.ui.outcome import given_mpp
from idc_desktop.ui.run import Run, RunState


class Runs(QObject):
    """Owns the runs: one of a slide at most, and one engine of a run.

    The slides of the list are analyzed one after the other while the window goes on. What is
    computed is stored as it comes, so nothing is lost by a pause, and a slide that fails does not
    stop the others. A slide that is opened while it is its turn shows the run that is under way,
    and when it is left the run goes on; any other run ends when its slide is left.

    Attributes
    ----------
    model : ModelFile
        The one that new runs take.
    shown : Run or None
        That of the slide that is open.
    total, finished : int
        How many slides of the list there were to do, and how many of them are over.
    is_paused : bool
        Whether the list waits.
    """

    changed = Signal(object)
    """A run has another state; carries it."""
    map_changed = Signal(object)
    """A run has another map, or more of it; carries it."""
    list_changed = Signal()
    """The analysis of the list began, went on to the next slide, was paused, or is over."""
    noted = Signal(str)
    """Something that the user should know."""

    def __init__(self, model: ModelFile, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.model = model
        self.shown: Run | None = None
        self.total = self.finished = self._failed = 0
        self.is_paused = False
        self._engines = Engines()
        self._waiting: dict[Path, None] = {}  # in their order; looked up for each row of a list
        self._current: Run | None = None
        self._pauses = False  # the current run stops since the list was paused

    @property
    def provider(self) -> Provider:
        """What the next engine is asked to run on."""
        return self._engines.provider

    @provider.setter
    def provider(self, value: Provider) -> None:
        self._engines.provider = value

    @property
    def is_active(self) -> bool:
        """Whether there is something left to do of the list, paused or not."""
        return self._current is not None or bool(self._waiting)

    @property
    def done(self) -> float:
        """How many slides of the list are over, with the part of the current one that is."""
        record = None if self._current is None else self._current.record
        if record is None or record.map is None:
            return float(self.finished)
        return self.finished + record.done_patches / record.map.states.size

    def of(self, slide: Path) -> Run | None:
        """Return the run of a slide that is open or whose turn it is."""
        return next((it for it in (self._current, self.shown) if it and it.slide == slide), None)

    def is_waiting(self, slide: Path) -> bool:
        """Whether a slide's turn is to come."""
        return slide in self._waiting

    def show(self, slide: Path, mpp: float | None, identity: str) -> None:
        """Take the run of a slide that is opened; the one before it was left.

        Parameters
        ----------
        mpp : float or None
            Resolution given by the user, µm per pixel.
        identity : str
            The slide's.
        """
        current = self._current
        if current is not None and current.slide == slide:
            read = current.record.slide
            if current.is_at(mpp) and (read is None or read.identity == identity):
                current.mpp = mpp
                current.identity = identity
                self._show(current)
                return
        run = self._new(slide, mpp, recalls=True)
        run.identity = identity
        self._show(run)
        if current is not None and current.slide == slide:  # what was begun is of another file
            self._current = run
            current.stop()
            run.analyze()

    def leave(self) -> None:
        """Let go of the slide that is open; if it is its turn, its run goes on."""
        run, self.shown = self.shown, None
        if run is not None:
            run.noted.disconnect(self.noted)
            if run is not self._current:
                run.stop()

    def take_model(self, model: ModelFile) -> None:
        """Take another model; runs of the former one end."""
        self.model = model
        if self.is_active:
            self.cancel_all()
            self.noted.emit("Another model was chosen: the list is no longer analyzed.")
        self.leave()

    def analyze_all(self, slides: list[Path]) -> None:
        """Analyze slides, one after the other."""
        self.cancel_all()
        if not slides:
            self.noted.emit("There is nothing left to analyze in the list.")
            return
        self._waiting = dict.fromkeys(slides)
        self.total, self.finished, self._failed = len(self._waiting), 0, 0
        self._next()

    def drop(self, slide: Path) -> None:
        """Analyze a slide of the list no more: it left that."""
        if slide in self._waiting:
            del self._waiting[slide]
            self.total -= 1
            self.list_changed.emit()
        elif self._current is not None and self._current.slide == slide:
            self.total -= 1
            self._end_turn()

    def pause_all(self) -> None:
        """Stop after what has begun; `resume_all` goes on from there."""
        self.is_paused = True
        if self._current is not None:
            self._pauses = True
            self._current.pause()
        self.list_changed.emit()

    def resume_all(self) -> None:
        """Go on."""
        self.is_paused = False
        self._next()

    def cancel_all(self) -> None:
        """Forget what is left to do of the list; what was analyzed is kept."""
        run, self._current, self._pauses = self._current, None, False
        self._waiting.clear()
        self.is_paused = False
        if run is not None and run is self.shown:
            run.pause()
        elif run is not None:
            run.stop()
        self.list_changed.emit()

    def stored(self, slide: Path, model: ModelFile, mpp: float | None, identity: str) -> Run:
        """Return a run that tells what is stored of a slide, whatever model is chosen here.

        Whoever asks for it has it recalled, and stops it. Parameters as of `show`.
        """
        run = Run(slide, model, mpp, self._engines, recalls=True, parent=self)
        run.identity = identity
        return run

    def _new(self, slide: Path, mpp: GivenMpp, *, recalls: bool = False) -> Run:
        run = Run(slide, self.model, mpp, self._engines, recalls=recalls, parent=self)
        run.changed.connect(self._on_changed)
        run.map_changed.connect(self.map_changed)
        return run

    def _show(self, run: Run) -> None:
        self.shown = run
        run.noted.connect(self.noted)

    def _on_changed(self, run: Run) -> None:
        self.changed.emit(run)
        if run is not self._current:
            return
        if run.state is RunState.PAUSED:
            self.is_paused |= not self._pauses  # else by who looks at it; ours may be over by now
            self._waiting = {run.slide: None, **self._waiting}
            self._end_turn()
        elif run.state in (RunState.DONE, RunState.FAILED, RunState.READY):  # READY: cancelled
            self._finish()

    def _next(self) -> None:
        if self._current is None and self._waiting and not self.is_paused:
            slide = next(iter(self._waiting))
            del self._waiting[slide]
            is_open = self.shown is not None and self.shown.slide == slide
            run = self._current = (
                self.shown if is_open else self._new(slide, partial(given_mpp, slide))
            )
            assert run is not None
            if run.state is RunState.DONE:
                self._finish()
            else:
                run.analyze()
        self.list_changed.emit()

    def _finish(self) -> None:
        self.finished += 1
        self._failed += self._current is not None and self._current.state is RunState.FAILED
        if not self._waiting:
            text = "All slides of the list were tried; each says what came out."
            if self._failed:
                text = (
                    f"All slides were tried; {self._failed:,} failed. Slides, What failed says why."
                )
            self.noted.emit(text)
        self._end_turn()

    def _end_turn(self) -> None:
        run, self._current, self._pauses = self._current, None, False
        assert run is not None
        if run is not self.shown:
            run.stop()
        self._next()
