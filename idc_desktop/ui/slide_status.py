"""How far each slide is: what the list says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from idc_desktop.errors import ResolutionError
from idc_desktop.processes.record import RunRecord
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.numbers import number_text
from idc_desktop.ui.outcome import Outcome, keep_given_mpp
from idc_desktop.ui.run import Run, RunState

_MEASURE_AFTER_MS = 300
_UNKNOWN_RESOLUTION = "The resolution is unknown: open the slide and give it."


@dataclass(frozen=True)
class SlideStatus:
    """How far a slide is: a few words, and what more there is to say."""

    words: str
    detail: str = ""


class SlideStatuses(QObject):
    """Knows how far each slide is by the current model, else what another one said of it.

    The share of a slide is at the threshold that is set for it, as in the panel. What earlier
    analyses found is told to it (`learn`): to look at a file can take for ever.
    """

    changed = Signal(Path)
    """Another thing is to be said of this slide."""

    def __init__(self, document: SlideDocument, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._failures: dict[Path, str] = {}
        self._unreadable: dict[Path, str] = {}
        # By the SHA-256 of models; None: whatever is stored is no longer so.
        self._outcomes: dict[Path, dict[str, Outcome | None]] = {}
        # A run to measure, at which threshold, and which of its maps.
        self._due: tuple[Run, float, str] | None = None
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_MEASURE_AFTER_MS)
        self._rest.timeout.connect(self._measure)
        document.slide_changed.connect(self._on_slide_changed)
        document.display_changed.connect(self._on_display_changed)
        document.unreadable.connect(self.take_unreadable)
        document.model_changed.connect(self._on_model_changed)
        document.runs.changed.connect(self._on_run_changed)
        document.runs.map_changed.connect(self._on_map_changed)

    def of(self, slide: Path) -> SlideStatus:
        """Say how far a slide is."""
        document, run = self._document, self._document.runs.of(slide)
        state = RunState.NONE if run is None else run.state
        if run is not None and state is RunState.RUNNING:
            return _progress(run.record)
        if document.runs.is_waiting(slide):
            return SlideStatus("waiting")
        if slide in self._failures:
            return SlideStatus("failed", self._failures[slide])
        if run is not None and state is RunState.PAUSED:
            return SlideStatus("partly analyzed", run.message)
        if slide in self._unreadable:
            return SlideStatus("cannot be read", self._unreadable[slide])
        if slide not in self._outcomes:
            return SlideStatus("…")
        model, outcomes = document.model, self._outcomes[slide]
        outcome = outcomes.get(model.sha256)
        if outcome is not None:
            return SlideStatus(outcome.text(model.card), _detail(outcome))
        missing = f"Not analyzed with {model.card.name}"
        others = [it for it in outcomes.values() if it is not None]
        if not others:
            return SlideStatus("not analyzed", missing)
        names = ", ".join(it.model for it in others)
        return SlideStatus(f"analyzed with {names}", "; ".join([missing, *map(_detail, others)]))

    def learn(self, slide: Path, outcomes: Mapping[str, Outcome]) -> None:
        """Take what is stored of a slide, by the SHA-256 of models; what is known here is newer."""
        known = self._outcomes.setdefault(slide, {})
        known.update({**outcomes, **known})

    def take_unreadable(self, slide: Path, reason: str) -> None:
        """Take that a slide cannot be read, and why."""
        self._unreadable[slide] = reason
        self.changed.emit(slide)

    def left_to_do(self, slides: Iterable[Path]) -> list[Path]:
        """Return the slides that the current model has not analyzed yet."""
        sha256 = self._document.model.sha256
        return [it for it in slides if self._outcomes.get(it, {}).get(sha256) is None]

    def _on_run_changed(self, run: Run) -> None:
        slide = run.slide
        self._failures.pop(slide, None)
        if run.state is RunState.DONE:
            self._measure()
            self._due = self._how_to_measure(run)
            self._measure()
            self._unreadable.pop(slide, None)
        elif run.state is RunState.RUNNING:  # it would outlive a restart that is cancelled
            self._measure()
            self._outcomes.setdefault(slide, {})[run.model.sha256] = None
            Outcome.forget(slide, run.model)
        elif run.state is RunState.FAILED:
            is_unknown = isinstance(run.failure, ResolutionError)
            self._failures[slide] = _UNKNOWN_RESOLUTION if is_unknown else run.message
        self.changed.emit(slide)

    def _on_map_changed(self, run: Run) -> None:
        self.changed.emit(run.slide)

    def _on_slide_changed(self) -> None:
        """Keep what the user says of the open slide: it may be left when its turn comes."""
        self._measure()
        path, slide = self._document.path, self._document.slide
        if path is not None and slide is not None:
            self._unreadable.pop(path, None)
            self._outcomes.pop(path, None)  # the file, or the resolution, may be another one
            if slide.mpp_source == "user":
                assert slide.mpp_x is not None
                keep_given_mpp(path, slide.mpp_x)
            self.changed.emit(path)

    def _on_model_changed(self) -> None:
        self._failures.clear()

    def _on_display_changed(self) -> None:
        """Measure the open slide at the threshold that is set by now."""
        run = self._document.run
        if run is None or run.state is not RunState.DONE:
            return
        known = self._outcomes.get(run.slide, {}).get(run.model.sha256)
        due = self._how_to_measure(run)
        if known is None or (known.threshold, known.map) != due[1:]:
            self._due = due
            self._rest.start()

    def _how_to_measure(self, run: Run) -> tuple[Run, float, str]:
        if run is self._document.run:
            return run, self._document.threshold, self._document.measured_map
        name = run.model.card.best_map
        return run, run.model.card.operation(name).threshold, name

    def _measure(self) -> None:
        """Take the figures of the run that is due, and keep them."""
        self._rest.stop()
        if self._due is not None:
            (run, threshold, name), self._due = self._due, None
            outcome = Outcome.of(run.record, run.model, threshold, name)
            self._outcomes.setdefault(run.slide, {})[run.model.sha256] = outcome
            outcome.store(run.slide, run.model)
            self.changed.emit(run.slide)


def _detail(outcome: Outcome) -> str:
    detail = (
        f"{number_text(outcome.idc_area_um2 / 1e6)} mm² of IDC at the threshold "
        f"{outcome.threshold:.3f} of {outcome.model}"
    )
    if outcome.failed_patches:
        detail += f"; {outcome.failed_patches:,} patches failed"
    if outcome.excluded_patches:
        detail += f"; {outcome.excluded_patches:,} patches excluded"
    if outcome.caution:
        detail += f". {outcome.caution}"
    return detail


def _progress(record: RunRecord) -> SlideStatus:
    if record.map is None:
        return SlideStatus("starting …")
    return SlideStatus(f"analyzing, {100 * record.done_patches // record.map.states.size} %")
