"""Analyzes one slide after the other while the window goes on."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from idc_desktop.errors import AnalysisCancelledError, ResolutionError
from idc_desktop.model_file import ModelFile
from idc_desktop.plain_text import in_a_line
from idc_desktop.record import RunRecord
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.engine_run import EngineRun, analysis_job
from idc_desktop.ui.numbers import number_text
from idc_desktop.ui.outcome import Outcome, given_mpp, keep_given_mpp

_UNKNOWN_RESOLUTION = "The resolution is unknown: open the slide and give it."


@dataclass(frozen=True)
class SlideStatus:
    """How far a slide is: a few words, and what more there is to say."""

    words: str
    detail: str = ""


class AnalysisQueue(QObject):
    """Runs the current model on slides, in their order, and knows how far each slide is.

    A run file has one engine at most: the slide that is open is left to the document, and a slide
    that is opened or left meanwhile is handed over. What is computed is stored as it comes, so
    nothing is lost by a pause, and a slide that fails does not stop the others.

    What earlier analyses found is told to it (`learn`): to look at a file can take for ever.

    Attributes
    ----------
    total, finished : int
        How many slides there were to do, and how many of them are over.
    is_paused : bool
    """

    slide_changed = Signal(Path)
    """Another thing is to be said of this slide."""
    changed = Signal()
    """It began, went on to the next slide, was paused, or is over."""

    def __init__(self, document: SlideDocument, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.total = self.finished = 0
        self.is_paused = False
        self._document = document
        self._model: ModelFile = document.model
        self._waiting: deque[Path] = deque()
        self._current: Path | None = None
        self._run: EngineRun | None = None
        self._failures: dict[Path, str] = {}
        self._outcomes: dict[Path, Outcome | None] = {}
        document.slide_changed.connect(self._keep_resolution)
        document.slide_changed.connect(self._on_slide_changed)
        document.state_changed.connect(self._on_document_state)
        document.map_changed.connect(self._tell_open_slide)
        document.display_changed.connect(self._tell_open_slide)
        document.model_changed.connect(self._on_model_changed)

    @property
    def is_active(self) -> bool:
        """Whether there is something left to do, paused or not."""
        return self._current is not None or bool(self._waiting)

    def status(self, slide: Path) -> SlideStatus:
        """Say how far a slide is."""
        document = self._document
        if self._run is not None and slide == self._current:
            return _progress(self._run.record)
        is_open = slide == document.path
        if is_open and document.state == "running":
            return _progress(document.run)
        if slide in self._waiting:
            return SlideStatus("waiting")
        if is_open and document.state == "failed":
            return SlideStatus("failed", document.message)
        if slide in self._failures:
            return SlideStatus("failed", self._failures[slide])
        if is_open and document.state == "paused":
            return SlideStatus("partly analyzed", document.message)
        if slide not in self._outcomes:
            return SlideStatus("…")
        card, outcome = document.card, self._outcomes[slide]
        if outcome is None:
            return SlideStatus("not analyzed", f"Not analyzed with {card.name}")
        area_mm2 = outcome.idc_area_um2 / 1e6
        detail = (
            f"{number_text(area_mm2)} mm² of IDC at the threshold of {card.name}, "
            f"{card.threshold:.3f}"
        )
        if outcome.failed_patches:
            detail += f"; {outcome.failed_patches:,} patches failed"
        # The figures beside it are at another threshold.
        is_elsewhere = is_open and document.threshold != card.threshold
        return SlideStatus(outcome.text(card.threshold if is_elsewhere else None), detail)

    def learn(self, slide: Path, outcome: Outcome | None) -> None:
        """Take what is stored of a slide and the current model; what is known here is newer."""
        self._outcomes.setdefault(slide, outcome)

    def start(self, slides: list[Path]) -> None:
        """Analyze those that the current model has not analyzed yet."""
        self.cancel()
        self._model = self._document.model
        todo = [it for it in slides if self._outcomes.get(it) is None]
        if not todo:
            self._document.noted.emit("There is nothing left to analyze in the list.")
            return
        for slide in todo:
            self._failures.pop(slide, None)
        self._waiting.extend(todo)
        self.total, self.finished, self.is_paused = len(todo), 0, False
        for slide in todo:
            self.slide_changed.emit(slide)
        self._next()

    def pause(self) -> None:
        """Stop after what has begun; `resume` goes on from there."""
        self.is_paused = True
        if self._run is not None:
            self._run.cancel()
        elif self._current is not None:
            self._document.pause()
        self.changed.emit()

    def resume(self) -> None:
        """Go on."""
        self.is_paused = False
        self._next()

    def cancel(self) -> None:
        """Forget what is left to do; what was analyzed is kept."""
        left = [*self._waiting, *([self._current] if self._current is not None else [])]
        is_documents = self._current is not None and self._run is None
        self._waiting.clear()
        self._current, self.is_paused = None, False
        self._drop_run()
        if is_documents:
            self._document.pause()
        for slide in left:
            self.slide_changed.emit(slide)
        self.changed.emit()

    def _next(self) -> None:
        if self._current is None and self._waiting and not self.is_paused:
            self._current = self._waiting.popleft()
            self._begin()
        self.changed.emit()

    def _begin(self) -> None:
        """Have the current slide analyzed: by the document if it is open there."""
        document, slide = self._document, self._current
        assert slide is not None
        if slide != document.path:
            mpp = given_mpp(slide)
            job = analysis_job(slide, self._model.path, mpp, document.provider)
            self._run = EngineRun(job, self._model, slide.name, self)
            self._run.grown.connect(lambda: self.slide_changed.emit(slide))
            self._run.ended.connect(self._on_ended)
        elif document.mpp_xy is None:
            self._fail(_UNKNOWN_RESOLUTION)
        elif document.state in ("done", "running"):
            self._on_document_state()
        else:
            document.analyze()
        self.slide_changed.emit(slide)

    def _on_ended(self, failure: Exception | None) -> None:
        """Take the end of a run of our own."""
        assert self._run is not None
        assert self._current is not None
        slide, record = self._current, self._run.record
        self._drop_run()
        if isinstance(failure, AnalysisCancelledError):
            self._put_back()
        elif failure is None:
            self._keep(slide, Outcome.of(record, self._model))
            self._finish()
        elif isinstance(failure, ResolutionError):
            self._fail(_UNKNOWN_RESOLUTION)
        else:
            self._fail(in_a_line(failure, slide.name))

    def _on_document_state(self) -> None:
        document = self._document
        if document.state == "done" and document.path is not None:
            self._keep(document.path, Outcome.of(document.run, document.model))
            self._failures.pop(document.path, None)
        elif document.state == "running" and document.path is not None:
            self._outcomes[document.path] = None  # it would outlive a restart that is cancelled
            Outcome.forget(document.path, document.model)
        self._tell_open_slide()
        # Later: at the end of a recall the document says "paused" just before it goes on.
        QTimer.singleShot(0, self, self._follow_document)

    def _follow_document(self) -> None:
        """Take the end of a run that the document has for us."""
        document = self._document
        if self._current is None or self._run is not None or document.path != self._current:
            return
        if document.state == "done":
            self._finish()
        elif document.state == "failed":
            self._fail(document.message)
        elif document.state == "paused":
            self.is_paused = True  # by us, or by who looks at it
            self._put_back()
        elif document.state == "ready":  # cancelled there
            self._finish()

    def _keep(self, slide: Path, outcome: Outcome) -> None:
        self._outcomes[slide] = outcome
        outcome.store(slide, self._document.model)

    def _keep_resolution(self) -> None:
        """Keep what the user says of the open slide: it may be left when its turn comes."""
        path, slide = self._document.path, self._document.slide
        if path is not None:
            self._outcomes.pop(path, None)  # the file, or the resolution, may be another one
        if path is not None and slide is not None and slide.mpp_source == "user":
            assert slide.mpp_x is not None
            keep_given_mpp(path, slide.mpp_x)

    def _on_slide_changed(self) -> None:
        """Hand a slide over that was opened, or take one back that was left."""
        if self._current is None:
            return
        is_open = self._current == self._document.path
        if is_open == (self._run is not None):
            self._drop_run()
            self._begin()

    def _on_model_changed(self) -> None:
        if self.is_active and self._document.model.sha256 != self._model.sha256:
            self.cancel()
            self._document.noted.emit("Another model was chosen: the list is no longer analyzed.")
        self._failures.clear()
        self._outcomes.clear()

    def _tell_open_slide(self) -> None:
        if self._document.path is not None:
            self.slide_changed.emit(self._document.path)

    def _drop_run(self) -> None:
        if self._run is not None:
            self._run.abandon()
            self._run.deleteLater()
            self._run = None

    def _put_back(self) -> None:
        assert self._current is not None
        slide, self._current = self._current, None
        self._waiting.appendleft(slide)
        self.slide_changed.emit(slide)
        self._next()

    def _fail(self, reason: str) -> None:
        assert self._current is not None
        self._failures[self._current] = reason
        self._finish()

    def _finish(self) -> None:
        assert self._current is not None
        slide, self._current = self._current, None
        self.finished += 1
        self.slide_changed.emit(slide)
        if not self._waiting:
            self._document.noted.emit("All slides of the list were tried; each says what came out.")
        self._next()


def _progress(record: RunRecord) -> SlideStatus:
    if record.map is None:
        return SlideStatus("starting …")
    return SlideStatus(f"analyzing, {100 * record.done_patches // record.map.states.size} %")
