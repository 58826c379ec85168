"""How far each slide is: what the list says of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from idc_desktop.errors import ResolutionError
from idc_desktop.record import RunRecord
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.numbers import number_text
from idc_desktop.ui.outcome import Outcome, keep_given_mpp
from idc_desktop.ui.run import Run, RunState

_UNKNOWN_RESOLUTION = "The resolution is unknown: open the slide and give it."


@dataclass(frozen=True)
class SlideStatus:
    """How far a slide is: a few words, and what more there is to say."""

    words: str
    detail: str = ""


class SlideStatuses(QObject):
    """Knows how far each slide is by the current model.

    What earlier analyses found is told to it (`learn`): to look at a file can take for ever.
    """

    changed = Signal(Path)
    """Another thing is to be said of this slide."""

    def __init__(self, document: SlideDocument, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._failures: dict[Path, str] = {}
        self._outcomes: dict[Path, Outcome | None] = {}
        document.slide_changed.connect(self._on_slide_changed)
        document.display_changed.connect(self._tell_open_slide)
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
        is_elsewhere = slide == document.path and document.threshold != card.threshold
        return SlideStatus(outcome.text(card.threshold if is_elsewhere else None), detail)

    def learn(self, slide: Path, outcome: Outcome | None) -> None:
        """Take what is stored of a slide and the current model; what is known here is newer."""
        self._outcomes.setdefault(slide, outcome)

    def left_to_do(self, slides: Iterable[Path]) -> list[Path]:
        """Return the slides that the current model has not analyzed yet."""
        return [it for it in slides if self._outcomes.get(it) is None]

    def _on_run_changed(self, run: Run) -> None:
        slide = run.slide
        self._failures.pop(slide, None)
        if run.state is RunState.DONE:
            outcome = self._outcomes[slide] = Outcome.of(run.record, run.model)
            outcome.store(slide, run.model)
        elif run.state is RunState.RUNNING:
            self._outcomes[slide] = None  # it would outlive a restart that is cancelled
            Outcome.forget(slide, run.model)
        elif run.state is RunState.FAILED:
            is_unknown = isinstance(run.failure, ResolutionError)
            self._failures[slide] = _UNKNOWN_RESOLUTION if is_unknown else run.message
        self.changed.emit(slide)

    def _on_map_changed(self, run: Run) -> None:
        self.changed.emit(run.slide)

    def _on_slide_changed(self) -> None:
        """Keep what the user says of the open slide: it may be left when its turn comes."""
        path, slide = self._document.path, self._document.slide
        if path is not None and slide is not None:
            self._outcomes.pop(path, None)  # the file, or the resolution, may be another one
            if slide.mpp_source == "user":
                assert slide.mpp_x is not None
                keep_given_mpp(path, slide.mpp_x)
            self.changed.emit(path)

    def _on_model_changed(self) -> None:
        self._failures.clear()
        self._outcomes.clear()

    def _tell_open_slide(self) -> None:
        if self._document.path is not None:
            self.changed.emit(self._document.path)


def _progress(record: RunRecord) -> SlideStatus:
    if record.map is None:
        return SlideStatus("starting …")
    return SlideStatus(f"analyzing, {100 * record.done_patches // record.map.states.size} %")
