"""How far each slide is: what the list says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from idc_desktop.cohorts.states import Status
from idc_desktop.errors import IdcError, ResolutionError, SlideError
from idc_desktop.export.content import Analysis
from idc_desktop.models.model_file import ModelFile
from idc_desktop.plain_text import counted
from idc_desktop.processes.record import RunRecord
from idc_desktop.regions.kept import Kept
from idc_desktop.regions.measures import area_text
from idc_desktop.ui.display import threshold_key
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.outcome import Outcome, keep_given_mpp
from idc_desktop.ui.run import Run, RunState
from idc_desktop.ui.slide_details import details_of
from idc_desktop.ui.task import Errands, Task

_MEASURE_AFTER_MS = 300
_PATIENCE_S = 5.0
_REFUSED = SlideError.exit_code
_UNKNOWN_RESOLUTION = "The resolution is unknown: open the slide and give it."


@dataclass(frozen=True)
class SlideStatus:
    """How far a slide is: a few words, and what more there is to say.

    Attributes
    ----------
    words : str
        For a list: with the share of IDC.
    detail : str
        For a tip.
    state : str
        How far it is, without figures.
    outcome : Outcome or None
        What the current model found.
    models : tuple of str
        Names of all models that have analyzed it.
    status : str
        As ``cohort.csv`` calls it.
    reason : str
        Why it failed.
    """

    words: str
    detail: str = ""
    state: str = ""
    outcome: Outcome | None = None
    models: tuple[str, ...] = ()
    status: Status = "pending"
    reason: str = ""


@dataclass(frozen=True)
class _Due:
    """What is to be measured: a run, at which threshold, and which of its maps.

    `kept` is what is drawn on the slide; None if it is not open.
    """

    run: Run
    threshold: float
    map: str
    kept: Kept | None


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
        self._failures: dict[Path, SlideStatus] = {}
        self._unreadable: dict[Path, str] = {}
        self._missing: set[Path] = set()
        # By the SHA-256 of models; None: whatever is stored is no longer so.
        self._outcomes: dict[Path, dict[str, Outcome | None]] = {}
        self._due: _Due | None = None
        self._errands = Errands()
        self._asked: dict[tuple[Path, str], object] = {}  # the latest details by each model
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_MEASURE_AFTER_MS)
        self._rest.timeout.connect(self._measure)
        document.slide_changed.connect(self._on_slide_changed)
        document.display_changed.connect(self._on_display_changed)
        document.regions.changed.connect(self._on_regions_changed)
        document.unreadable.connect(self.take_unreadable)
        document.model_changed.connect(self._on_model_changed)
        document.runs.changed.connect(self._on_run_changed)
        document.runs.map_changed.connect(self._on_map_changed)

    def of(self, slide: Path) -> SlideStatus:
        """Say how far a slide is."""
        if slide in self._missing:
            return _failed("not found", "The file is not there.")
        document, run = self._document, self._document.runs.of(slide)
        state = RunState.NONE if run is None else run.state
        outcomes = self._outcomes.get(slide, {})
        known = {sha256: it for sha256, it in outcomes.items() if it is not None}
        models = tuple(it.model for it in known.values())
        if run is not None and state is RunState.RUNNING:
            return replace(_progress(run.record), models=models)
        if document.runs.is_waiting(slide):
            return SlideStatus("waiting", "", "waiting", models=models)
        if slide in self._failures:
            return replace(self._failures[slide], models=models)
        if run is not None and state is RunState.PAUSED:
            words = "partial: inside regions" if run.is_partial else "partly analyzed"
            return SlideStatus(words, run.message, words, models=models)
        if slide in self._unreadable:
            return _failed("cannot be read", self._unreadable[slide])
        if slide not in self._outcomes:
            return SlideStatus("…")
        model = document.model
        outcome = known.get(model.sha256)
        if outcome is not None:
            return SlideStatus(
                outcome.text(model.card),
                _detail(outcome),
                "analyzed",
                outcome,
                models,
                "partial" if outcome.failed_patches else "done",
            )
        missing, words = f"Not analyzed with {model.card.name}", "not analyzed"
        if not known:
            return SlideStatus(words, missing, words)
        detail = "; ".join([missing, *map(_detail, known.values())])
        return SlideStatus(f"analyzed with {', '.join(models)}", detail, words, None, models)

    def settle(self, patience_s: float = _PATIENCE_S) -> bool:
        """Wait until what is known of slides is kept; return whether it is. From any thread."""
        return self._errands.settle(patience_s)

    def learn(
        self, slide: Path, outcomes: Mapping[str, Outcome], *, is_missing: bool = False
    ) -> None:
        """Take what is stored of a slide, by the SHA-256 of models; what is known here is newer."""
        (self._missing.add if is_missing else self._missing.discard)(slide)
        known = self._outcomes.setdefault(slide, {})
        known.update({**outcomes, **known})
        self.changed.emit(slide)

    def is_missing(self, slide: Path) -> bool:
        """Whether there is no such file, as far as is known."""
        return slide in self._missing

    def take_unreadable(self, slide: Path, reason: str) -> None:
        """Take that a slide cannot be read, and why."""
        self._unreadable[slide] = reason
        self.changed.emit(slide)

    def left_to_do(self, slides: Iterable[Path]) -> list[Path]:
        """Return the slides that the current model has not analyzed, or not measured as is wanted.

        If all slides have one threshold, those that were measured at another are to be read again.
        """
        model = self._document.model

        def is_done(slide: Path) -> bool:
            outcome = self._outcomes.get(slide, {}).get(model.sha256)
            if outcome is None:
                return False
            is_shared = self._document.display.common is not None
            return not is_shared or outcome.threshold == self._threshold(model, outcome.map)

        return [it for it in slides if not is_done(it)]

    def _on_run_changed(self, run: Run) -> None:
        slide = run.slide
        self._failures.pop(slide, None)
        if run.state is RunState.DONE:
            self._measure()
            self._due = self._how_to_measure(run)
            self._measure()
            self._unreadable.pop(slide, None)
        elif run.state in (RunState.RUNNING, RunState.PAUSED):
            # It would outlive a restart that is cancelled; and paused by a changed tissue mask, the
            # run was complete before.
            if self._due is not None and self._due.run is run:
                self._due = None
            self._measure()
            self._forget(run)
        elif run.state is RunState.FAILED:
            is_unknown = isinstance(run.failure, ResolutionError)
            failed = _failed("failed", _UNKNOWN_RESOLUTION if is_unknown else run.message)
            is_refused = isinstance(run.failure, IdcError) and run.failure.exit_code == _REFUSED
            self._failures[slide] = replace(failed, status="refused" if is_refused else "failed")
        self.changed.emit(slide)

    def _forget(self, run: Run) -> None:
        outcomes = self._outcomes.setdefault(run.slide, {})
        if outcomes.get(run.model.sha256, True) is not None:
            outcomes[run.model.sha256] = None
            self._errands.ask(partial(Outcome.forget, run.slide, run.model))

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
                self._errands.ask(partial(keep_given_mpp, path, slide.mpp_x))
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
        is_shielded = self._document.display.shielded
        wanted = (due.threshold, due.map, is_shielded)
        if known is None or (known.threshold, known.map, known.is_shielded) != wanted:
            self._due = due
            self._rest.start()

    def _on_regions_changed(self) -> None:
        """Measure the open slide with the verdicts that are given by now."""
        run = self._document.run
        if run is not None and run.state is RunState.DONE and self._document.slide is not None:
            self._due = self._how_to_measure(run)
            self._rest.start()

    def _how_to_measure(self, run: Run) -> _Due:
        document = self._document
        if run is document.run:
            regions = document.regions
            kept = Kept(regions.all, (), regions.sheet) if regions.can_edit else None
            return _Due(run, document.threshold, document.measured_map, kept)
        name = run.model.card.best_map
        return _Due(run, self._threshold(run.model, name), name, None)

    def _threshold(self, model: ModelFile, name: str) -> float:
        """Return the threshold of a slide that is not open."""
        own = model.card.operation(name).threshold
        shared = self._document.display.common
        return own if shared is None else shared.get(threshold_key(model.sha256, name), own)

    def _measure(self) -> None:
        """Take the figures of the run that is due, and keep them; details follow."""
        self._rest.stop()
        if self._due is None:
            return
        due, self._due = self._due, None
        run = due.run
        outcome = Outcome.of(run.record, run.model, due.threshold, due.map)
        outcomes = self._outcomes.setdefault(run.slide, {})
        known = outcomes.get(run.model.sha256)
        if known is None or known.bare != outcome:
            outcomes[run.model.sha256] = outcome
            self._errands.ask(partial(outcome.store, run.slide, run.model))
            self.changed.emit(run.slide)
        self._measure_details(due, outcome)

    def _measure_details(self, due: _Due, outcome: Outcome) -> None:
        run, record = due.run, due.run.record
        assert record.map is not None
        analysis = replace(
            Analysis.of(record, run.model, run.slide.name, due.threshold, due.map),
            map=record.map.copy(),
        )
        slide, model, kept, errands = run.slide, run.model, due.kept, self._errands
        latest, of = self._asked, (slide, model.sha256)
        asked = latest[of] = object()

        def work() -> tuple[Path, str, object, Outcome]:
            whole = replace(outcome, details=details_of(analysis, kept))
            # From here, since the window may be closed by now; not over those of a later change,
            # which can be measured sooner.
            if latest[of] is asked:
                errands.ask(partial(whole.complete, slide, model))
            return slide, model.sha256, asked, whole

        measuring = Task(self)
        measuring.succeeded.connect(self._take_details)
        measuring.ended.connect(measuring.deleteLater)
        measuring.start(work)

    def _take_details(self, found: tuple[Path, str, object, Outcome]) -> None:
        slide, sha256, asked, outcome = found
        known = self._outcomes.get(slide, {}).get(sha256)
        latest = self._asked[slide, sha256] is asked
        if latest and known is not None and known.bare == outcome.bare:
            self._outcomes[slide][sha256] = outcome
            self.changed.emit(slide)


def _failed(words: str, reason: str) -> SlideStatus:
    return SlideStatus(words, reason, words, status="refused", reason=reason)


def _detail(outcome: Outcome) -> str:
    detail = (
        f"{area_text(outcome.idc_area_um2)} of IDC at the threshold "
        f"{outcome.threshold:.3f} of {outcome.model}"
    )
    if outcome.failed_patches:
        detail += f"; {counted(outcome.failed_patches, 'patch')} failed"
    if outcome.excluded_patches:
        detail += f"; {counted(outcome.excluded_patches, 'patch')} excluded"
    if outcome.caution:
        detail += f". {outcome.caution}"
    return detail


def _progress(record: RunRecord) -> SlideStatus:
    words = "starting …"
    if record.map is not None:
        words = f"analyzing, {100 * record.done_patches // record.map.states.size} %"
    return SlideStatus(words, "", words)
