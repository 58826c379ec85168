"""The one observable state of the window; widgets watch it and never each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QRectF, QTimer, Signal
from PySide6.QtGui import QUndoStack

from idc_desktop.card import ModelCard
from idc_desktop.description import SlideDescription
from idc_desktop.errors import AnalysisCancelledError, slide_replaced
from idc_desktop.grid import PatchGrid
from idc_desktop.model_file import ModelFile, find_model, read_model
from idc_desktop.plain_text import in_a_line
from idc_desktop.probability_map import MapLayer, ProbabilityMap
from idc_desktop.provider import Provider
from idc_desktop.record import RunRecord
from idc_desktop.regions import Region, RegionMeter, Shape, whole_slide
from idc_desktop.ui.display import Display, DisplayStep
from idc_desktop.ui.engine_run import EngineRun, analysis_job
from idc_desktop.ui.numbers import number_text
from idc_desktop.ui.region_model import RegionModel
from idc_desktop.ui.task import Task
from idc_desktop.ui.tiles.loader import TileLoader
from idc_desktop.ui.tiles.pyramid import TilePyramid
from idc_desktop.ui.viewport import Viewport
from idc_desktop.user_data import data_folder, slide_folder

_RECALL_AFTER_MS = 1_000
_SAVE_AFTER_MS = 300
_MAX_STEPS = 2_000
_INVITATION = "Open a slide, or drop one here."


class SlideDocument(QObject):
    """A slide, the run on it, and how it is shown.

    Attributes
    ----------
    path : Path or None
        The slide that is open.
    slide : SlideDescription or None
        None until the slide is open.
    tiles : TileLoader or None
    pyramid : TilePyramid or None
    model : ModelFile
    provider : {"auto", "cpu", "cuda"}
        What the next analysis is asked to run on.
    selected : (row, col) or None
        The patch that was clicked.
    seen_l0 : QRectF or None
        The level-0 rectangle around what the user sees: it is analyzed first.
    is_outdated : bool
        Whether the file is no longer the one that was opened, or cannot be read any more.
    run : RunRecord
        The run that is shown; empty if there is none.
    kept_viewport : Viewport or None
        Where the view looked when this slide was open last.
    regions : RegionModel
    history : QUndoStack
        What can be undone: edits of regions and changes of the display.
    state : {"empty", "opening", "recalling", "ready", "running", "paused", "done", "failed"}
    message : str
        What the state means, for people; the reason if it is ``failed``.
    failure : Exception or None
        What ended the last run.
    """

    slide_changed = Signal()
    state_changed = Signal()
    model_changed = Signal()
    model_refused = Signal(str)
    """The model that was chosen cannot be used; carries the reason. The former one stays."""
    map_changed = Signal()
    display_changed = Signal()
    """How the map is shown."""
    viewport_changed = Signal()
    """Where the view looks."""
    selection_changed = Signal()
    noted = Signal(str)
    refused = Signal(str)
    """A slide could not be opened; carries the reason. What was open stays."""
    again_asked = Signal()
    """A complete analysis was asked for once more; `analyze_again` begins it."""
    unsaved = Signal(str, object, object)
    """A slide is open and waits, since regions of the one that is shown cannot be saved; carries
    the reason, a function that takes the new slide all the same, and one that stays here."""

    def __init__(
        self, model: str, display: Display | None = None, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.path: Path | None = None
        self.slide: SlideDescription | None = None
        self.tiles: TileLoader | None = None
        self.pyramid: TilePyramid | None = None
        self.model: ModelFile = read_model(find_model(model))
        self.provider: Provider = "auto"
        self.is_outdated = False
        self.run = RunRecord()
        self.state = "empty"
        self.message = _INVITATION
        self.failure: Exception | None = None
        self.seen_l0: QRectF | None = None
        self.selected: tuple[int, int] | None = None
        self.history = QUndoStack(self)
        self.history.setUndoLimit(_MAX_STEPS)
        self.regions = RegionModel(self.history, self)
        self.regions.noted.connect(self.noted)
        self.regions.recovered.connect(self._take_kept_thresholds)
        self._meter: RegionMeter | None = None
        self.kept_viewport: Viewport | None = None
        self._display = Display() if display is None else display
        self._viewport = Viewport()
        self._mpp: float | None = None
        self._running: EngineRun | None = None
        self._reading_model: Task | None = None
        self._is_cancelling = False
        self._recalls_soon = False
        self._analyzes_next = False
        self._saving = QTimer(self)
        self._saving.setSingleShot(True)
        self._saving.setInterval(_SAVE_AFTER_MS)
        self._saving.timeout.connect(self._save_view)
        self.display_changed.connect(self._saving.start)
        self.viewport_changed.connect(self._saving.start)
        self._candidate: tuple[TileLoader, Path, float | None] | None = None

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.model.card

    @property
    def map(self) -> ProbabilityMap | None:
        """The map as far as it is computed."""
        return self.run.map

    @property
    def layer(self) -> MapLayer | None:
        """The layer of the map that is shown."""
        return self.run.map.layer() if self.run.map is not None else None

    @property
    def grid(self) -> PatchGrid | None:
        """The grid of the map."""
        return self.run.map.grid if self.run.map is not None else None

    @property
    def meter(self) -> RegionMeter | None:
        """What measures regions on the layer that is shown; None without a map."""
        layer = self.layer
        if layer is None or self.mpp_xy is None:
            self._meter = None
        elif self._meter is None or self._meter.layer.stored is not layer.stored:
            self._meter = RegionMeter(layer, self.mpp_xy)
        return self._meter

    @property
    def subject(self) -> Region | None:
        """What figures are shown of: the chosen region if it is one, else the whole slide."""
        chosen = self.regions.chosen
        if len(chosen) == 1:
            return chosen[0]
        return whole_slide(self.grid) if self.grid is not None else None

    def figures_text(self, shape: Shape) -> str:
        """Say in a line how large a shape is and what the map says of it."""
        if self.mpp_xy is None:
            return f"{shape.moments().area:,.0f} px²"
        text = f"{number_text(shape.moments(self.mpp_xy).area / 1e6)} mm²"
        if self.meter is not None:
            (found,) = self.meter.measure([shape], self.threshold)
            if found.idc_fraction is not None:
                text += f", IDC {100 * found.idc_fraction:.0f} %"
        return text

    @property
    def mpp_xy(self) -> tuple[float, float] | None:
        """Level-0 resolution, µm per pixel, if known."""
        return None if self.slide is None else self.slide.mpp_xy

    @property
    def can_analyze(self) -> bool:
        """Whether an analysis can be started, resumed or begun anew."""
        return self.mpp_xy is not None and self.state != "running"

    @property
    def threshold(self) -> float:
        """The operating point: the user's for this slide and model, else the model's."""
        return self._display.thresholds.get(self.model.sha256, self.card.threshold)

    @property
    def display(self) -> Display:
        """How the map is shown."""
        return self._display

    def show(self, **changes: Any) -> None:  # noqa: ANN401 - the fields of `Display`
        """Change how the map is shown; names and values as in `Display`.

        ``threshold`` is that of the current model; None is the model's own.
        """
        if "threshold" in changes:
            chosen = {**self._display.thresholds, self.model.sha256: changes.pop("threshold")}
            changes["thresholds"] = {it: at for it, at in chosen.items() if at is not None}
        self._step(changes)

    def _step(self, changes: Mapping[str, Any]) -> None:
        changed = replace(self._display, **changes)
        if changed != self._display:
            before = {name: getattr(self._display, name) for name in changes}
            step = DisplayStep(before, changes, self._set_display)
            if self.slide:
                self.history.push(step)
            else:
                step.redo()

    def _set_display(self, changes: Mapping[str, Any]) -> None:
        self._display = replace(self._display, **changes)
        self.display_changed.emit()

    def show_or_hide_map(self) -> None:
        """Hide the map if it is shown, else show it."""
        self.show(visible=not self._display.visible)

    def show_or_hide_legend(self) -> None:
        """Take the legend off what lies beneath it, or bring it back."""
        self.show(legend=not self._display.legend)

    @property
    def viewport(self) -> Viewport:
        """Where the view looks."""
        return self._viewport

    @viewport.setter
    def viewport(self, value: Viewport) -> None:
        if value != self._viewport:
            self._viewport = value
            self.viewport_changed.emit()

    def select(self, cell: tuple[int, int] | None) -> None:
        """Select a patch (row, col) of the map, or none."""
        self.selected = cell
        self.selection_changed.emit()

    def open(self, path: Path, mpp: float | None = None) -> None:
        """Open a slide; what is open now stays until the new one can be shown."""
        if self._candidate is not None and self._candidate[1:] == (path, mpp):
            return  # it is being opened: the second half of a double click
        self._drop_candidate()
        tiles = TileLoader(str(path.absolute()), mpp, self)
        self._candidate = (tiles, path, mpp)
        tiles.opened.connect(lambda description: self._on_opened(tiles, description))
        tiles.refused.connect(lambda reason: self._on_refused(tiles, reason))
        if self.path is None:
            self._set_state("opening", f"Opening {path.name} …")

    def give_resolution(self, mpp: float) -> None:
        """Open the slide again with the resolution that the user gives, µm per pixel."""
        if self.path is not None:
            self.noted.emit(f"Resolution given by hand: {number_text(mpp, 6)} µm per pixel.")
            self.open(self.path, mpp)

    def close(self) -> None:
        """Close the slide and end the processes that serve it."""
        self._drop_candidate()
        self._leave()
        self._set_state("empty", _INVITATION)
        self._announce_slide()

    def choose_model(self, name: str) -> None:
        """Read another model and take it; `model_refused` tells if it cannot be used.

        The map on screen, of the former one, goes. Reading and hashing 30 MB takes longer than a
        frame, so it is done in the background; of several choices the last one counts.
        """
        reading = self._reading_model = Task(self)
        reading.succeeded.connect(
            lambda model: self._take_model(model) if reading is self._reading_model else None
        )
        reading.failed.connect(lambda error: self.model_refused.emit(str(error)))
        reading.ended.connect(reading.deleteLater)
        reading.start(lambda: read_model(find_model(name)))

    def _take_model(self, model: ModelFile) -> None:
        if model.sha256 == self.model.sha256:
            self.model_changed.emit()  # who chose it wants to see it chosen
            return
        self._drop_run()
        self.model, self.selected = model, None  # the grid may be another
        if self.mpp_xy is not None:
            self._recall()
        self.model_changed.emit()
        self.map_changed.emit()
        self.selection_changed.emit()
        self.display_changed.emit()  # the threshold is another

    def analyze(self) -> None:
        """Start or resume the analysis, what is in view first; a complete one stays as it is."""
        if self.state == "recalling":  # what is stored shows first what there is to do
            self._analyzes_next = True
        elif self.can_analyze and self.state != "done":
            self._run_engine(restart=False)

    def analyze_again(self) -> None:
        """Begin a complete analysis anew; what is stored of it with this model goes."""
        if self.state == "done":
            self._run_engine(restart=True)

    def pause(self) -> None:
        """Stop the analysis after what it has begun; it can be resumed."""
        if self._running is not None:
            self._running.cancel()

    def analyze_or_pause(self) -> None:
        """Pause the analysis if it runs, else start or resume it; of a complete one, ask."""
        if self.state == "running":
            self.pause()
        elif self.state == "done":
            self.again_asked.emit()
        else:
            self.analyze()

    def cancel(self) -> None:
        """Stop the analysis and take its map off the slide; what was analyzed stays stored."""
        if self._running is not None and self.state == "running":
            self._is_cancelling = True
            self._running.cancel()
        elif self.state == "paused":
            self._clear_map()

    def _drop_candidate(self) -> None:
        if self._candidate is not None:
            self._candidate[0].close()
            self._candidate[0].deleteLater()
            self._candidate = None

    def _drop_run(self) -> None:
        """Let go of the run; it stops, keeping what it did."""
        self._is_cancelling = self._recalls_soon = False
        self.failure = None
        if self._running is not None:
            self._running.abandon()
            self._running.deleteLater()
            self._running = None
        self.run = RunRecord()

    def _leave(self) -> None:
        """Let go of the slide."""
        self._analyzes_next = False
        self._drop_run()
        if self._saving.isActive():
            self._save_view()
        self.history.clear()
        self.regions.close()
        if self.tiles is not None:
            self.tiles.close()
            self.tiles.deleteLater()
        self.tiles = self.pyramid = self.path = self.slide = None
        self.selected = None
        self._display = replace(self._display, thresholds={})

    def _clear_map(self) -> None:
        self._drop_run()
        self._set_state(
            "ready", "Cancelled. What this run analyzed is kept and not computed again."
        )
        self.map_changed.emit()

    def _save_view(self) -> None:
        """Keep where the view looks and how the map is shown."""
        self._saving.stop()
        if self.slide:
            self.regions.save_view(
                {
                    "viewport": asdict(self._viewport),
                    "display": asdict(self._display),
                    "mpp": self._mpp,
                }
            )

    def _restore_view(self) -> None:
        """Look where the user looked last; what makes no sense is left as it is."""
        view = self.regions.view
        self.kept_viewport = Viewport.from_dict(view.get("viewport"))
        self._display = Display.from_dict(view.get("display")) or self._display
        mpp = view.get("mpp")
        if self.mpp_xy is None and isinstance(mpp, float) and mpp > 0:
            QTimer.singleShot(0, self, lambda: self.give_resolution(mpp))

    def _take_kept_thresholds(self) -> None:
        """Take what was kept with regions that come late; what was set here meanwhile is newer."""
        kept = Display.from_dict(self.regions.view.get("display"))
        before = self.threshold
        if kept is not None:
            thresholds = {**kept.thresholds, **self._display.thresholds}
            self._step({"thresholds": thresholds})
        if self.threshold != before:
            self.noted.emit(f"The threshold is {self.threshold:.3f}, as it was kept of this slide.")

    def _announce_slide(self) -> None:
        self.slide_changed.emit()
        self.map_changed.emit()
        self.selection_changed.emit()
        self.display_changed.emit()

    def _start(self, *, recall: bool, restart: bool) -> None:
        assert self.path is not None
        self._drop_run()
        job = analysis_job(
            self.path,
            self.model.path,
            self._mpp,
            self.provider,
            restart=restart,
            recall=recall,
            first=self.seen_l0,
        )
        running = EngineRun(job, self.model, self.path.name, self)
        running.opened.connect(self._on_run_opened)
        running.grown.connect(self.map_changed)
        running.noted.connect(self.noted)
        running.ended.connect(self._on_ended)
        self._running, self.run = running, running.record

    def _run_engine(self, *, restart: bool) -> None:
        self._start(recall=False, restart=restart)
        self._set_state("running", "Starting the analysis …")

    def _recall(self) -> None:
        """Show what an earlier analysis of the same slide, model and settings has stored."""
        self._start(recall=True, restart=False)
        self._set_state("recalling", "Looking for an earlier analysis …")

    def _recall_soon(self, tiles: TileLoader) -> None:
        """Recall once there is something to see: starting the engine would delay the picture."""
        self._recalls_soon = True
        self._set_state("recalling", "Looking for an earlier analysis …")

        def recall() -> None:
            if self._recalls_soon and self.tiles is tiles:
                self._recall()

        tiles.loaded.connect(recall)
        QTimer.singleShot(_RECALL_AFTER_MS, self, recall)

    def _on_opened(self, tiles: TileLoader, description: SlideDescription) -> None:
        if self._candidate is None or self._candidate[0] is not tiles:
            return
        problem = self.regions.settle()
        if problem:
            go_on = partial(self._on_opened, tiles, description)
            self.unsaved.emit(problem, go_on, self._drop_candidate)
            return
        candidate, self._candidate = self._candidate, None
        if self.tiles is not None:
            tiles.take_over(self.tiles)  # the same slide with another resolution: not read again
        self._leave()
        self.tiles, self.path, self._mpp = candidate
        self.slide, self.pyramid = description, TilePyramid(description)
        self.seen_l0, self.is_outdated = None, False
        self.regions.open(slide_folder(data_folder(), description.identity))
        self._restore_view()
        for warning in description.warnings:
            self.noted.emit(warning)
        if self.mpp_xy is None:
            self._set_state("ready", "The resolution is unknown: give it to analyze.")
        else:
            self._recall_soon(self.tiles)
        self._announce_slide()

    def _on_refused(self, tiles: TileLoader, reason: str) -> None:
        if self._candidate is not None and self._candidate[0] is tiles:
            self._drop_candidate()
            self.refused.emit(reason)
            if self.path is None:
                self._set_state("failed", reason)
        else:  # the slide that is open can no longer be read; a run on it is not concerned
            self.is_outdated = True
            self.refused.emit(reason)

    def _on_run_opened(self, description: SlideDescription) -> None:
        """End a run that would lay the map of another slide over the one that is shown."""
        assert self.slide is not None
        assert self.path is not None
        if description.identity != self.slide.identity:
            self._drop_run()
            self._analyzes_next, self.is_outdated = False, True
            self.failure = slide_replaced(self.path.name)
            self._set_state("failed", str(self.failure))
            self.map_changed.emit()

    def _on_ended(self, failure: Exception | None) -> None:
        self.failure = failure
        if self._running is not None:
            self._running.deleteLater()
            self._running = None
        states = self.map.states if self.map is not None else None
        analyzes_next, self._analyzes_next = self._analyzes_next, False
        if failure is None and states is not None and states.all():
            self._set_state("done", self._done_message())
        elif failure is None and states is not None and states.any():
            self._set_state("paused", "An earlier analysis was not finished; it can be resumed.")
        elif failure is None:
            self._set_state("ready", "Ready to analyze.")
        elif isinstance(failure, AnalysisCancelledError) and self._is_cancelling:
            self._clear_map()
        elif isinstance(failure, AnalysisCancelledError):
            self._set_state("paused", "Paused; what was analyzed is kept.")
        else:
            assert self.path is not None
            self._set_state("failed", in_a_line(failure, self.path.name))
        self.map_changed.emit()
        if analyzes_next and self.state in ("ready", "paused"):
            self.analyze()

    def _done_message(self) -> str:
        assert self.map is not None
        failed = self.map.failed_patches
        if not failed:
            return "The analysis is complete."
        tried = failed + self.map.counts()["ok"]
        return (
            f"Complete, but {failed:,} of {tried:,} patches could not be analyzed; the figures "
            "are of the others."
        )

    def _set_state(self, state: str, message: str) -> None:
        self.state, self.message = state, message
        self.state_changed.emit()
