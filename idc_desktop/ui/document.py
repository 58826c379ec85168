"""The one observable state of the window; widgets watch it and never each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QUndoStack

from idc_desktop.errors import SlideChangedError
from idc_desktop.models.model_file import ModelFile, find_model, read_model
from idc_desktop.regions.shape import Region
from idc_desktop.regions.statistics import whole_slide
from idc_desktop.slides.description import SlideDescription
from idc_desktop.storage.user_data import data_folder, slide_folder
from idc_desktop.ui.display import Display, DisplayStep, threshold_key
from idc_desktop.ui.numbers import number_text
from idc_desktop.ui.places import Places
from idc_desktop.ui.region_model import RegionModel
from idc_desktop.ui.run import Run, RunState
from idc_desktop.ui.runs import Runs
from idc_desktop.ui.scene import SlideScene
from idc_desktop.ui.task import Task
from idc_desktop.ui.tiles.loader import TileLoader
from idc_desktop.ui.tiles.pyramid import TilePyramid
from idc_desktop.ui.viewport import Viewport

_RECALL_AFTER_MS = 1_000
_SAVE_AFTER_MS = 300
_MAX_STEPS = 2_000
_INVITATION = "Open a slide, or drop one here."


class SlideDocument(SlideScene):
    """The slide that is open, the run on it, and how it is shown.

    Attributes
    ----------
    runs : Runs
        All runs of the window.
    history : QUndoStack
        What can be undone: edits of regions, of places, and changes of the display.
    places : Places
    refusal : str
        Why the slide that was asked for last could not be opened.
    """

    opening_changed = Signal()
    """A slide is on its way, or no longer."""
    state_changed = Signal()
    model_changed = Signal()
    model_refused = Signal(str)
    """The model that was chosen cannot be used; carries the reason. The former one stays."""
    noted = Signal(str)
    refused = Signal(str)
    """A slide could not be opened; carries the reason. What was open stays."""
    unreadable = Signal(Path, str)
    """A slide cannot be read; carries the reason."""
    again_asked = Signal()
    """A complete analysis was asked for once more; `analyze_again` begins it."""
    unsaved = Signal(str, object, object)
    """A slide is open and waits, since regions of the one that is shown cannot be saved; carries
    the reason, a function that takes the new slide all the same, and one that stays here."""

    def __init__(
        self, model: str, display: Display | None = None, parent: QObject | None = None
    ) -> None:
        history = QUndoStack()
        regions = RegionModel(history)
        super().__init__(regions, Display() if display is None else display, parent)
        self.history = history
        history.setParent(self)
        self.history.setUndoLimit(_MAX_STEPS)
        regions.setParent(self)
        regions.noted.connect(self.noted)
        regions.recovered.connect(self._take_what_is_kept)
        regions.changed.connect(self._change_mask)
        self.places = Places(history, self.camera, self)
        self.runs = Runs(read_model(find_model(model)), self)
        self.runs.changed.connect(self._on_run_changed)
        self.runs.map_changed.connect(self._on_run_grown)
        self.runs.noted.connect(self.noted)
        self.refusal = ""
        self._mpp: float | None = None
        self._reading_model: Task | None = None
        self._saving = QTimer(self, singleShot=True, interval=_SAVE_AFTER_MS)
        self._saving.timeout.connect(self._save_view)
        self.display_changed.connect(self._saving.start)
        self.camera.moved.connect(self._saving.start)
        self.places.changed.connect(self._save_view)
        self._candidate: tuple[TileLoader, Path, float | None] | None = None

    @property
    def model(self) -> ModelFile:
        """The model that is chosen."""
        return self.runs.model

    @property
    def run(self) -> Run | None:
        """The run on the slide; None without a slide of known resolution."""
        return self.runs.shown

    @property
    def opening(self) -> Path | None:
        """The slide that will be shown in the place of the one that is open."""
        return None if self._candidate is None else self._candidate[1]

    @property
    def is_leaving(self) -> bool:
        """Whether another slide is about to take the place of the one that is open."""
        return self.path is not None and self.opening not in (None, self.path)

    @property
    def message(self) -> str:
        """What there is to say of slide and run, for people."""
        if self.run is not None:
            return self.run.message
        if self.slide is not None:
            return "The resolution is unknown: give it to analyze."
        if self.opening is not None:
            return f"Opening {self.opening.name} …"
        return self.refusal or _INVITATION

    @property
    def subject(self) -> Region | None:
        """What figures are shown of: the chosen region if it is one, else the whole slide."""
        chosen = self.regions.chosen
        if len(chosen) == 1:
            return chosen[0]
        return whole_slide(self.grid) if self.grid is not None else None

    @property
    def can_analyze(self) -> bool:
        """Whether an analysis can be started, resumed or begun anew."""
        return not self.is_leaving and self.state not in (RunState.NONE, RunState.RUNNING)

    @property
    def can_export(self) -> bool:
        """Whether there are results of the slide that is named and shown."""
        return not self.is_leaving and self.state is RunState.DONE

    def show(self, **changes: Any) -> None:  # noqa: ANN401 - the fields of `Display`
        """Change how the map is shown; names and values as in `Display`.

        ``threshold`` is that of the current model and map; None is the model's own.
        """
        if "threshold" in changes:
            key = threshold_key(self.model.sha256, self.measured_map)
            name = "thresholds" if self._display.common is None else "common"
            chosen = {**getattr(self._display, name), key: changes.pop("threshold")}
            changes[name] = {it: at for it, at in chosen.items() if at is not None}
        self._step(changes)

    def share_threshold(self, is_shared: bool) -> None:
        """Have all slides at the threshold that is set now, or each at its own again."""
        if is_shared != (self._display.common is not None):
            key = threshold_key(self.model.sha256, self.measured_map)
            self.show(common={key: self.threshold} if is_shared else None)

    def _step(self, changes: Mapping[str, Any]) -> None:
        changed = replace(self._display, **changes)
        if changed != self._display:
            before = {name: getattr(self._display, name) for name in changes}
            step = DisplayStep(before, changes, self._set_display)
            take = self.history.push if self.slide else DisplayStep.redo
            take(step)

    def _set_display(self, changes: Mapping[str, Any]) -> None:
        self._display = replace(self._display, **changes)
        self._apply_shield()
        self.display_changed.emit()
        if {"layer", "shielded"} & changes.keys():
            self.map_changed.emit()

    def show_next_layer(self) -> None:
        """Show the layer that follows in the list, after the last the first."""
        if self.map is not None and self.layer is not None:
            names = [it.name for it in self.map.layers]
            self.show(layer=names[(names.index(self.layer.name) + 1) % len(names)])

    def open(self, path: Path, mpp: float | None = None) -> None:
        """Open a slide; what is open now stays until the new one can be shown."""
        if self._candidate is not None and self._candidate[1:] == (path, mpp):
            return  # it is being opened: the second half of a double click
        self._drop_candidate()
        self.refusal = ""
        tiles = TileLoader(str(path.absolute()), mpp, self)
        self._candidate = (tiles, path, mpp)
        tiles.opened.connect(lambda description: self._on_opened(tiles, description))
        tiles.refused.connect(lambda reason: self._on_refused(tiles, reason))
        self._announce_opening()

    def stay(self) -> None:
        """Open no other slide: the one that is open is wanted."""
        if self._candidate is not None:
            self._drop_candidate()
            self._announce_opening()

    def give_resolution(self, mpp: float) -> None:
        """Open the slide again with the resolution that the user gives, µm per pixel."""
        if self.path is not None:
            self.noted.emit(f"Resolution given by hand: {number_text(mpp, 6)} µm per pixel.")
            self.open(self.path, mpp)

    def close(self) -> None:
        """Close the slide and end the processes that serve it; no other one opens."""
        self._drop_candidate()
        self.leave()

    def leave(self) -> None:
        """Close the slide that is open; one that is on its way still opens."""
        self._leave()
        self.refusal = ""
        self._announce_slide()
        self._announce_opening()

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
        self.selected = None  # the grid may be another
        self.runs.take_model(model)
        self._show_run()
        if self.run is not None:
            self.run.recall()
        self.model_changed.emit()
        self.state_changed.emit()
        self.map_changed.emit()
        self.selection_changed.emit()
        self.display_changed.emit()  # the threshold is another

    def analyze(self) -> None:
        """Start or resume the analysis, what is in view first; a complete one stays as it is."""
        if self.run is not None and not self.is_leaving:
            self.run.analyze(self.camera.seen_l0)

    def analyze_inside(self) -> None:
        """Analyze only patches that touch the chosen regions; the rest can follow at any time."""
        shapes = [it.shape for it in self.regions.chosen if not it.changes_mask]
        if not shapes and self.regions.focus is not None:
            shapes = [self.regions.focus[1]]
        if self.run is None or self.is_leaving:
            return
        if not shapes:
            self.noted.emit("Choose a region first: only what it touches is analyzed.")
        elif self.state is RunState.RUNNING:
            self.noted.emit("The analysis is at work: pause it, then analyze inside the region.")
        elif self.state is RunState.DONE:
            self.noted.emit("All of the slide is analyzed already.")
        else:
            self.run.analyze(self.camera.seen_l0, shapes)

    def analyze_again(self) -> None:
        """Begin a complete analysis anew; what is stored of it with this model goes."""
        if self.run is not None and not self.is_leaving:
            self.run.analyze_again(self.camera.seen_l0)

    def analyze_or_pause(self) -> None:
        """Pause the analysis if it runs, else start or resume it; of a complete one, ask."""
        if self.state is RunState.RUNNING:
            self.pause()
        elif self.state is RunState.DONE:
            self.again_asked.emit()
        else:
            self.analyze()

    def pause(self) -> None:
        """Stop the analysis after what it has begun; it can be resumed."""
        if self.run is not None:
            self.run.pause()

    def cancel(self) -> None:
        """Stop the analysis and take its map off the slide; what was analyzed stays stored."""
        if self.run is not None:
            self.run.cancel()

    def _drop_candidate(self) -> None:
        if self._candidate is not None:
            self._candidate[0].close()
            self._candidate[0].deleteLater()
            self._candidate = None

    def _leave(self) -> None:
        """Let go of the slide."""
        self.runs.leave()
        if self._saving.isActive():
            self._save_view()
        self.history.clear()
        self.regions.close()
        if self.tiles is not None:
            self.tiles.close()
            self.tiles.deleteLater()
        self.tiles = self.pyramid = self.path = self.slide = None
        self.selected = None
        self.places.take(None)
        self._display = self._display.for_another_slide()

    def _save_view(self) -> None:
        """Keep where the view looks and how the map is shown."""
        self._saving.stop()
        if self.slide:
            look = {"viewport": asdict(self.camera.viewport), "display": asdict(self._display)}
            self.regions.save_view({**look, "mpp": self._mpp, "places": self.places.kept()})

    def _restore_view(self) -> None:
        """Look where the user looked last; what makes no sense is left as it is."""
        assert self.pyramid is not None
        view = self.regions.view
        kept = Viewport.from_dict(view.get("viewport"))
        self.camera.aim(self.pyramid.extent_l0, self.mpp_xy, kept)
        kept_display = Display.from_dict(view.get("display"))
        if kept_display is not None:
            self._display = replace(kept_display, common=self._display.common)
        self.places.take(view.get("places"))
        mpp = view.get("mpp")
        if self.mpp_xy is None and isinstance(mpp, float) and mpp > 0:
            QTimer.singleShot(0, self, lambda: self.give_resolution(mpp))

    def _take_what_is_kept(self) -> None:
        """Take what was kept with regions that come late; what was set here meanwhile is newer."""
        kept = Display.from_dict(self.regions.view.get("display"))
        before = self.threshold
        if kept is not None:
            thresholds = {**kept.thresholds, **self._display.thresholds}
            self._step({"thresholds": thresholds})
        self.places.take_late(self.regions.view.get("places"))
        if self.threshold != before:
            self.noted.emit(f"The threshold is {self.threshold:.3f}, as it was kept of this slide.")

    def _announce_opening(self) -> None:
        self.opening_changed.emit()
        self.state_changed.emit()

    def _announce_slide(self) -> None:
        self._apply_shield()
        self.slide_changed.emit()
        self.state_changed.emit()
        self.map_changed.emit()
        self.selection_changed.emit()
        self.display_changed.emit()

    def _show_run(self) -> None:
        """Take the run of the slide and the model."""
        if self.path is not None and self.slide is not None and self.slide.mpp_xy is not None:
            self.runs.show(self.path, self._mpp, self.slide.identity)
            self._change_mask()

    def _change_mask(self) -> None:
        # Regions that cannot be had (another window has them) change nothing that is known here.
        if self.run is not None and self.regions.can_edit:
            self.run.change_mask(self.regions.all)

    def _recall_soon(self, tiles: TileLoader) -> None:
        """Recall once there is something to see: starting the engine would delay the picture."""

        def recall() -> None:
            if self.run is not None and self.tiles is tiles:
                self.run.recall()

        tiles.loaded.connect(recall)
        QTimer.singleShot(_RECALL_AFTER_MS, self, recall)

    def _on_run_changed(self, run: Run) -> None:
        if run is self.run:
            self.is_outdated |= isinstance(run.failure, SlideChangedError)
            self.state_changed.emit()

    def _on_run_grown(self, run: Run) -> None:
        if run is self.run:
            self._apply_shield()
            self.map_changed.emit()

    def _on_opened(self, tiles: TileLoader, description: SlideDescription) -> None:
        if self._candidate is None or self._candidate[0] is not tiles:
            return
        problem = self.regions.settle()
        if problem:
            go_on = partial(self._on_opened, tiles, description)
            self.unsaved.emit(problem, go_on, self.stay)
            return
        candidate, self._candidate = self._candidate, None
        if self.tiles is not None:
            tiles.take_over(self.tiles)  # the same slide with another resolution: not read again
        self._leave()
        self.tiles, self.path, self._mpp = candidate
        self.slide, self.pyramid = description, TilePyramid(description)
        self.is_outdated = False
        self.regions.open(slide_folder(data_folder(), description.identity))
        self._restore_view()
        for warning in description.warnings:
            self.noted.emit(warning)
        self._show_run()
        self._recall_soon(self.tiles)
        self._announce_slide()
        self._announce_opening()

    def _on_refused(self, tiles: TileLoader, reason: str) -> None:
        if self._candidate is not None and self._candidate[0] is tiles:
            self.unreadable.emit(self._candidate[1], reason)
            self._drop_candidate()
            self.refusal = reason
            self._announce_opening()
        else:  # the slide that is open can no longer be read; a run on it is not concerned
            self.is_outdated = True
        self.refused.emit(reason)
