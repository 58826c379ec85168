"""What is shown beside the document: the same slide by another model or layer, or another slide."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoStack

from idc_desktop.models.model_file import ModelFile, find_model, read_model
from idc_desktop.slides.description import SlideDescription
from idc_desktop.storage.user_data import data_folder, slide_folder
from idc_desktop.ui.camera_link import CameraLink
from idc_desktop.ui.display import Display
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.outcome import given_mpp
from idc_desktop.ui.region_model import RegionModel
from idc_desktop.ui.run import Run, RunState
from idc_desktop.ui.scene import SlideScene
from idc_desktop.ui.task import Task
from idc_desktop.ui.tiles.loader import TileLoader
from idc_desktop.ui.tiles.pyramid import TilePyramid
from idc_desktop.ui.viewport import Viewport

_CACHED_TILES = 240  # of 256 KiB: it has half a window


class Beside(SlideScene):
    """Shows what is stored; it analyzes nothing and edits nothing.

    Of the document's slide it shares tiles, regions and the selected patch, and has the map of a
    model and a layer of its own. Another slide has a decoder of its own and its regions as they
    were kept last. Colours, opacity and the like are the document's; threshold and shield are the
    slide's own.

    Parameters
    ----------
    document : SlideDocument
        A slide is open in it.
    path : Path or None
        Another slide than the document's.
    like : Beside or None
        What stood here before: its model and layer are taken.

    Attributes
    ----------
    link : CameraLink
        Joins its camera with the document's.
    refusal : str
        Why it cannot be shown; empty if it can.
    """

    changed = Signal()
    """Another thing is to be said of it: run, model, layer, or refusal."""
    noted = Signal(str)
    """Something that the user should know: a model, the slide or its regions cannot be read."""

    def __init__(
        self,
        document: SlideDocument,
        path: Path | None = None,
        like: Beside | None = None,
        parent: QObject | None = None,
    ) -> None:
        is_other = path is not None and path != document.path
        history = QUndoStack()
        regions = RegionModel(history) if is_other else document.regions
        super().__init__(regions, document.display, parent)
        history.setParent(self)
        self._document = document
        self._is_other = is_other
        self._model = like.model if like is not None else document.model
        self._layer = like.display.layer if like is not None else _other_layer(document)
        self._kept = Display()
        self._run: Run | None = None
        self._reading: Task | None = None
        self.refusal = ""
        self.regions.changed.connect(self._change_mask)
        document.display_changed.connect(self._follow_display)
        document.bared.connect(self._follow_bare)
        self.bared.connect(self._lead_bare)
        if path is not None and is_other:
            regions.setParent(self)
            regions.warned.connect(self.noted)
            self.path = path
            looking = Task(self)
            looking.succeeded.connect(self._open)
            looking.ended.connect(looking.deleteLater)
            looking.start(partial(given_mpp, path), may_hang=True)  # its share may not answer
        else:
            self._share_slide()
        self.link = CameraLink(document.camera, self.camera, self)
        if not is_other:
            self.link.join()

    @property
    def model(self) -> ModelFile:
        """The model whose map is shown."""
        return self._model

    @property
    def run(self) -> Run | None:
        """What is stored by the model; of the document's slide and model, the document's run."""
        return self._document.run if self._shares_run else self._run

    @property
    def is_other_slide(self) -> bool:
        """Whether it is another slide than the document's."""
        return self._is_other

    @property
    def message(self) -> str:
        """What there is to say of it, for people."""
        if self.refusal:
            return self.refusal
        if self.slide is None:
            return "Reading the slide …"
        if self.run is None:
            return "Its resolution is unknown: open it once and give it."
        if self.state in (RunState.READY, RunState.PAUSED) and not self._shares_run:
            part = "In part analyzed" if self.state is RunState.PAUSED else "Not analyzed"
            how = "Open the slide and choose" if self.is_other_slide else "Choose"
            return f"{part} by {self.card.name}. {how} this model under Analysis, then analyze."
        return self.run.message

    def choose_model(self, name: str) -> None:
        """Show what another model says; `noted` tells if that cannot be read."""
        reading = self._reading = Task(self)

        def take(model: ModelFile) -> None:
            if reading is self._reading:
                self._model = model
                self._take_run()

        reading.succeeded.connect(take)
        reading.failed.connect(lambda error: self.noted.emit(str(error)))
        reading.ended.connect(reading.deleteLater)
        reading.start(lambda: read_model(find_model(name)))

    def choose_layer(self, name: str) -> None:
        """Show another layer of the map."""
        self._layer = name
        self._follow_display()
        self.map_changed.emit()
        self.changed.emit()

    def select(self, cell: tuple[int, int] | None) -> None:
        """Select a patch; of the same grid as the document's, there as well."""
        if not self._is_other and self.grid == self._document.grid:
            self._document.select(cell)
        else:
            super().select(cell)

    def close(self) -> None:
        """End what serves it."""
        self._drop_run()
        if self._is_other and self.tiles is not None:
            self.tiles.close()
        self.deleteLater()

    @property
    def _shares_run(self) -> bool:
        return not self._is_other and self._model.sha256 == self._document.model.sha256

    def _share_slide(self) -> None:
        """Show the document's slide, now and whatever model the document takes."""
        document = self._document
        assert document.pyramid is not None
        self.path, self.slide = document.path, document.slide
        self.tiles, self.pyramid = document.tiles, document.pyramid
        self.camera.aim(document.pyramid.extent_l0, document.mpp_xy, document.camera.viewport)
        document.map_changed.connect(self._follow_map)
        document.state_changed.connect(self.changed)
        document.model_changed.connect(self._take_run)
        document.selection_changed.connect(self._follow_selection)
        self._follow_display()
        self._take_run()
        self._follow_selection()

    def _open(self, mpp: float | None) -> None:
        assert self.path is not None
        tiles = TileLoader(str(self.path.absolute()), mpp, self, cached_tiles=_CACHED_TILES)
        self.tiles = tiles
        tiles.opened.connect(self._on_opened)
        tiles.refused.connect(self._on_refused)

    def _on_opened(self, description: SlideDescription) -> None:
        self.slide, self.pyramid = description, TilePyramid(description)
        self.regions.glance(slide_folder(data_folder(), description.identity))
        if self.regions.refusal:
            self.noted.emit(self.regions.refusal)
        self._kept = Display.from_dict(self.regions.view.get("display")) or Display()
        looked = Viewport.from_dict(self.regions.view.get("viewport"))
        self.camera.aim(self.pyramid.extent_l0, description.mpp_xy, looked)
        self._follow_display()
        self._take_run()
        self.slide_changed.emit()

    def _on_refused(self, reason: str) -> None:
        self.is_outdated, self.refusal = True, reason
        self.noted.emit(reason)
        self.changed.emit()

    def _take_run(self) -> None:
        self._drop_run()
        slide, path = self.slide, self.path
        if slide is not None and path is not None and slide.mpp_xy and not self._shares_run:
            mpp = slide.mpp_xy[0] if slide.mpp_source == "user" else None
            runs = self._document.runs
            run = self._run = runs.stored(path, self._model, mpp, slide.identity)
            run.changed.connect(lambda _: self.changed.emit())
            run.map_changed.connect(self._on_run_grown)
            run.change_mask(self.regions.all)
            run.recall()
        self.map_changed.emit()
        self.changed.emit()

    def _on_run_grown(self) -> None:
        self._apply_shield()
        self.map_changed.emit()

    def _change_mask(self) -> None:
        if self._run is not None:
            self._run.change_mask(self.regions.all)

    def _drop_run(self) -> None:
        if self._run is not None:
            self._run.stop()
            self._run = None

    def _follow_map(self) -> None:
        if self._shares_run:
            self.map_changed.emit()

    def _follow_display(self) -> None:
        shown, before = self._document.display, self._display
        of = self._kept if self._is_other else shown  # what decides the figures is the slide's own
        self._display = replace(
            shown, layer=self._layer, thresholds=of.thresholds, shielded=of.shielded
        )
        self._apply_shield()
        self.display_changed.emit()
        if self._display.shielded != before.shielded:
            self.map_changed.emit()

    def _follow_selection(self) -> None:
        is_same = self.grid is not None and self.grid == self._document.grid
        super().select(self._document.selected if is_same else None)

    def _follow_bare(self) -> None:
        self.bare(self._document.is_bare)

    def _lead_bare(self) -> None:
        self._document.bare(self.is_bare)


def _other_layer(document: SlideDocument) -> str | None:
    """Return the layer after the one that the document shows; that one where there is no other."""
    if document.map is None or document.layer is None:
        return document.display.layer
    names = [it.name for it in document.map.layers]
    return names[(names.index(document.layer.name) + 1) % len(names)]


class SideBySide(QObject):
    """Whether something is shown beside the document, and what.

    Attributes
    ----------
    document : SlideDocument
    beside : Beside or None
    """

    changed = Signal()
    """Something else is shown beside the document, or nothing."""

    def __init__(self, document: SlideDocument, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.document = document
        self.beside: Beside | None = None
        document.slide_changed.connect(self._on_slide_changed)

    def show(self, path: Path | None = None) -> None:
        """Show another slide beside the document's, or without a path the same once more."""
        is_open = self.document.slide is not None
        self._replace(Beside(self.document, path, self.beside, self) if is_open else None)

    def hide(self) -> None:
        """Show the document alone."""
        self._replace(None)

    def show_or_hide(self) -> None:
        """Show the document's slide beside itself, or hide what is there."""
        if self.beside is None:
            self.show()
        else:
            self.hide()

    def join_or_free(self) -> None:
        """Move the two together, or each alone."""
        if self.beside is not None:
            link = self.beside.link
            (link.set_free if link.is_joined else link.join)()

    def show_model(self, name: str) -> None:
        """Show the document's slide by another model beside it."""
        if self.beside is None or self.beside.is_other_slide:
            self.show()
        if self.beside is not None:
            self.beside.choose_model(name)

    def _replace(self, beside: Beside | None) -> None:
        former, self.beside = self.beside, beside
        self.changed.emit()
        if former is not None:
            former.close()

    def _on_slide_changed(self) -> None:
        beside = self.beside
        if beside is None:
            return
        if self.document.slide is None:
            self.hide()
        elif not beside.is_other_slide or beside.path == self.document.path:
            self.show()
