"""The analysis of one slide as the window has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject, QRectF, Signal

from idc_desktop.errors import AnalysisCancelledError, slide_replaced
from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.mask import MaskEdits
from idc_desktop.maps.probability_map import PatchState
from idc_desktop.models.model_file import ModelFile
from idc_desktop.plain_text import counted, in_a_line
from idc_desktop.processes.record import RunRecord
from idc_desktop.regions.mask import mask_areas, mask_edits, outline
from idc_desktop.regions.shape import Region, Shape
from idc_desktop.slides.description import SlideDescription
from idc_desktop.ui.engines import EngineRun, Engines, GivenMpp

_FOUND = "There is an earlier analysis; it is being read …"


class RunState(Enum):
    """How far a run is."""

    NONE = "none"
    """There is no run: no slide is open, or its resolution is unknown."""
    RECALLING = "recalling"
    """What is stored of it is looked for."""
    READY = "ready"
    """Nothing is analyzed, as far as is known."""
    RUNNING = "running"
    PAUSED = "paused"
    """It is analyzed in part."""
    DONE = "done"
    FAILED = "failed"

    @property
    def is_begun(self) -> bool:
        """Whether there is something under way that can be cancelled."""
        return self in (RunState.RUNNING, RunState.PAUSED)


class Run(QObject):
    """What one model says of one slide, whatever number of engines it takes to find out.

    Parameters
    ----------
    slide : Path
    model : ModelFile
    mpp : float, None, or callable
        Resolution given by the user, µm per pixel, or what returns it and may take long.
    engines : Engines
    recalls : bool
        It begins with what is stored, as soon as `recall` or `analyze` is called.

    Attributes
    ----------
    identity : str or None
        Of the slide that is shown: what is read from another one is not taken.
    state : RunState
    message : str
        What the state means, for people; the reason if it is ``FAILED``.
    failure : Exception or None
        What ended it.
    record : RunRecord
        What was found so far; another one once it is begun again.
    """

    changed = Signal(object)
    """It has another state, or another thing is to be said of it; carries the run."""
    map_changed = Signal(object)
    """There is another map, or more of it; carries the run."""
    noted = Signal(str)
    """Something that the user should know."""

    def __init__(
        self,
        slide: Path,
        model: ModelFile,
        mpp: GivenMpp,
        engines: Engines,
        *,
        recalls: bool = False,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.slide, self.model, self.mpp = slide, model, mpp
        self.identity: str | None = None
        self.state, self.message = RunState.READY, "Ready to analyze."
        if recalls:
            self.state, self.message = RunState.RECALLING, "Looking for an earlier analysis …"
        self.failure: Exception | None = None
        self.record = RunRecord()
        self._engines = engines
        self._engine: EngineRun | None = None
        self._regions: tuple[Region, ...] | None = None
        self._edits: tuple[PatchGrid, MaskEdits | None] | None = None
        self._then: Callable[[], None] | None = None
        self._is_cancelling = False

    def recall(self) -> None:
        """Show what is stored of it, unless that is done or under way."""
        if self.state is RunState.RECALLING and self._engine is None:
            self._start(recall=True)

    def is_at(self, mpp: float | None) -> bool:
        """Whether it has a resolution that the user gave, as far as that is known."""
        if not callable(self.mpp):
            return self.mpp == mpp
        read = self.record.slide
        return read is None or (read.mpp_x if read.mpp_source == "user" else None) == mpp

    @property
    def is_partial(self) -> bool:
        """Whether only the insides of some regions were asked for, so far."""
        return self.record.plan is not None and self.record.plan.is_partial

    def change_mask(self, regions: Sequence[Region]) -> None:
        """Have the tissue mask as the regions of the slide change it.

        A run of which nobody tells takes it as it is kept of the slide.
        """
        changes = tuple(it for it in regions if it.changes_mask)
        if changes == self._regions:
            return
        self._regions, self._edits = changes, None
        if self.record.map is not None:
            self._apply_mask()
            if self._engine is None and self.state in (RunState.DONE, RunState.PAUSED):
                self._conclude(self.message)
            self.map_changed.emit(self)

    def _apply_mask(self) -> None:
        current = self.record.map
        if self._regions is None or current is None:
            return
        if self._edits is None or self._edits[0] != current.grid:
            self._edits = current.grid, mask_edits(self._regions, current.grid)
        current.mask = self._edits[1]

    def analyze(self, first: QRectF | None = None, inside: Sequence[Shape] = ()) -> None:
        """Start or resume it; what is complete stays as it is.

        Parameters
        ----------
        first : QRectF or None
            The part of level 0 to analyze before all else.
        inside : sequence of Shape
            Analyze only patches that touch one of them; none: all patches.
        """
        if self.state is RunState.RECALLING:  # what is stored shows first what there is to do
            self._then = partial(self._analyze, first, inside)
            self.recall()
        elif self.state in (RunState.READY, RunState.PAUSED, RunState.FAILED):
            self._analyze(first, inside)

    def analyze_again(self, first: QRectF | None = None) -> None:
        """Begin it anew if it is complete; what is stored of it goes."""
        if self.state is RunState.DONE:
            self._analyze(first, restart=True)

    def pause(self) -> None:
        """Stop after what has begun; it can be resumed."""
        if self._engine is not None:
            self._engine.cancel()

    def cancel(self) -> None:
        """Stop, and forget what was found; that stays stored."""
        if self.state is RunState.RUNNING:
            self._is_cancelling = True
            self.pause()
        elif self.state is RunState.PAUSED:
            self._forget()

    def stop(self) -> None:
        """End it for good, keeping what is stored; it says nothing more."""
        self._drop_engine()
        self.deleteLater()

    def _analyze(
        self, first: QRectF | None, inside: Sequence[Shape] = (), *, restart: bool = False
    ) -> None:
        self._start(first=first, inside=inside, restart=restart)
        self._set(RunState.RUNNING, "Starting the analysis …")

    def _start(
        self,
        *,
        recall: bool = False,
        restart: bool = False,
        first: QRectF | None = None,
        inside: Sequence[Shape] = (),
    ) -> None:
        self._drop_engine()
        self.failure, self._is_cancelling = None, False
        engine = self._engine = self._engines.start(
            self.slide,
            self.model,
            self.mpp,
            identity=self.identity,
            recall=recall,
            restart=restart,
            first=first,
            inside=tuple(map(outline, inside)),
            mask=None if self._regions is None else mask_areas(self._regions),
            parent=self,
        )
        self.record = engine.record
        engine.opened.connect(self._on_opened)
        engine.grown.connect(self._on_grown)
        engine.noted.connect(self.noted)
        engine.waits.connect(self._on_waits)
        engine.ended.connect(self._on_ended)

    def _drop_engine(self) -> None:
        if self._engine is not None:
            self._engine.abandon()
            self._engine.deleteLater()
            self._engine = None

    def _on_opened(self, description: SlideDescription) -> None:
        assert self._engine is not None
        if self.identity not in (None, description.identity):
            # It would lay the map of another slide over the one that is shown.
            self._drop_engine()
            self.record, self._then = RunRecord(), None
            self._fail(slide_replaced(self.slide.name))
            self.map_changed.emit(self)

    def _on_waits(self) -> None:
        self._set(self.state, "A copy of this slide is being analyzed; this one waits for it.")

    def _on_grown(self) -> None:
        self._apply_mask()
        is_found = self.state is RunState.RECALLING and self.record.done_patches > 0
        if is_found and self.message != _FOUND:
            self._set(self.state, _FOUND)
        self.map_changed.emit(self)

    def _on_ended(self, failure: Exception | None) -> None:
        assert self._engine is not None
        self._engine.deleteLater()
        self._engine = None
        then, self._then = self._then, None
        is_complete = self.record.map is not None and bool(self.record.map.states.all())
        if failure is None and then is not None and not is_complete:
            then()
        elif failure is None:
            self._conclude("An earlier analysis was not finished; it can be resumed.")
        elif not isinstance(failure, AnalysisCancelledError):
            self._fail(failure)
        elif self._is_cancelling:
            self._forget()
            return
        else:
            self._set(RunState.PAUSED, "Paused; what was analyzed is kept.")
        self.map_changed.emit(self)

    def _conclude(self, unfinished: str) -> None:
        """Take the state that what was found comes to; `unfinished` is said of any other part."""
        current = self.record.map
        states = None if current is None else current.states
        if states is None or not states.any():
            self._set(RunState.READY, "Ready to analyze.")
            return
        missing = int(np.count_nonzero(states == PatchState.PENDING))
        if not missing:
            self._set(RunState.DONE, self._done_message())
        elif self.is_partial:
            self._set(RunState.PAUSED, "Analyzed inside regions only; Analyze computes the rest.")
        elif self._is_missing_of_mask():
            patches = counted(missing, "patch")
            verb = "is" if missing == 1 else "are"
            self._set(
                RunState.PAUSED,
                f"The tissue mask was changed: {patches} more {verb} tissue. Analyze computes "
                f"{'it' if missing == 1 else 'them'}.",
            )
        else:
            self._set(RunState.PAUSED, unfinished)

    def _is_missing_of_mask(self) -> bool:
        current = self.record.map
        if current is None or current.mask is None:
            return False
        return not ((current.states == PatchState.PENDING) & ~current.mask.added).any()

    def _forget(self) -> None:
        self._is_cancelling, self.record = False, RunRecord()
        words = "Cancelled. What this run analyzed is kept and not computed again."
        self._set(RunState.READY, words)
        self.map_changed.emit(self)

    def _fail(self, failure: Exception) -> None:
        self.failure = failure
        self._set(RunState.FAILED, in_a_line(failure, self.slide.name))

    def _done_message(self) -> str:
        assert self.record.map is not None
        failed = self.record.map.failed_patches
        if not failed:
            return "The analysis is complete."
        counts = self.record.map.counts()
        tried = failed + counts["ok"] + counts["excluded"]
        return (
            f"Complete, but {failed:,} of {counted(tried, 'patch')} could not be analyzed; the "
            "figures are of the others."
        )

    def _set(self, state: RunState, message: str) -> None:
        self.state, self.message = state, message
        self.changed.emit(self)
