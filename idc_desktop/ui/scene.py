"""What a view shows: a slide, a layer of a map over it, its regions, and where it looks."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, QRectF, Signal

from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.layers import KINDS, PATCH
from idc_desktop.maps.probability_map import MapLayer, ProbabilityMap
from idc_desktop.models.card import ModelCard
from idc_desktop.models.model_file import ModelFile
from idc_desktop.models.operation import Operation
from idc_desktop.processes.record import RunRecord
from idc_desktop.regions.measures import area_text
from idc_desktop.regions.shape import Shape
from idc_desktop.regions.statistics import RegionMeter
from idc_desktop.slides.description import SlideDescription
from idc_desktop.ui.camera import Camera
from idc_desktop.ui.display import Display, threshold_key
from idc_desktop.ui.region_model import RegionModel
from idc_desktop.ui.run import Run, RunState
from idc_desktop.ui.tiles.loader import TileLoader
from idc_desktop.ui.tiles.pyramid import TilePyramid


class SlideScene(QObject):
    """One view's subject. Several scenes may be of one slide, and share its tiles and regions.

    Parameters
    ----------
    regions : RegionModel
    display : Display

    Attributes
    ----------
    path : Path or None
        The slide.
    slide : SlideDescription or None
        None until the slide is open.
    tiles : TileLoader or None
    pyramid : TilePyramid or None
    is_outdated : bool
        Whether the file is no longer the one that was opened, or cannot be read any more.
    selected : (row, col) or None
        The patch that was clicked.
    regions : RegionModel
    camera : Camera
    is_bare : bool
        Whether the slide is seen with nothing over it, as long as a key is held.
    """

    slide_changed = Signal()
    map_changed = Signal()
    display_changed = Signal()
    """How the map is shown."""
    selection_changed = Signal()
    bared = Signal()
    """What lies over the slide was taken off it for a moment, or is back."""
    pointed = Signal(object)
    """The level-0 point under the mouse (QPointF), or None."""

    def __init__(
        self, regions: RegionModel, display: Display, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.path: Path | None = None
        self.slide: SlideDescription | None = None
        self.tiles: TileLoader | None = None
        self.pyramid: TilePyramid | None = None
        self.is_outdated = self.is_bare = False
        self.selected: tuple[int, int] | None = None
        self.regions = regions
        self.camera = Camera(self)
        self._display = display
        self._meter: RegionMeter | None = None
        self._shown_meter: RegionMeter | None = None

    @property
    def model(self) -> ModelFile:
        """The model whose map is shown."""
        raise NotImplementedError

    @property
    def run(self) -> Run | None:
        """The run that the map is of; None without a slide of known resolution."""
        raise NotImplementedError

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.model.card

    @property
    def state(self) -> RunState:
        """How far the run is."""
        return RunState.NONE if self.run is None else self.run.state

    @property
    def record(self) -> RunRecord:
        """What the run has found; empty if there is none."""
        return RunRecord() if self.run is None else self.run.record

    @property
    def map(self) -> ProbabilityMap | None:
        """The map as far as it is computed."""
        return self.record.map

    @property
    def layer(self) -> MapLayer | None:
        """The layer of the map that is shown."""
        if self.map is None:
            return None
        layers = {it.name: it for it in self.map.layers}
        return layers.get(self._display.layer or "") or layers[self.measured_map]

    @property
    def measured(self) -> MapLayer | None:
        """The layer that threshold and figures are of: the one that is shown, if they can be."""
        return None if self.map is None else self.map.layer(self.measured_map)

    @property
    def measured_map(self) -> str:
        """Its name, that of the best map unless another one is shown."""
        best = self.card.best_map
        known = {PATCH, best} if self.map is None else {it.name for it in self.map.layers}
        chosen = self._display.layer
        if chosen in known and KINDS[chosen].is_of_idc:
            return chosen
        return best if best in known else PATCH

    @property
    def grid(self) -> PatchGrid | None:
        """The grid of the map."""
        return self.map.grid if self.map is not None else None

    @property
    def mpp_xy(self) -> tuple[float, float] | None:
        """Level-0 resolution, µm per pixel, if known."""
        return None if self.slide is None else self.slide.mpp_xy

    @property
    def display(self) -> Display:
        """How the map is shown."""
        return self._display

    @property
    def threshold(self) -> float:
        """The operating point: the user's for slide (or all), model and map, else the model's."""
        key = threshold_key(self.model.sha256, self.measured_map)
        return self._display.threshold(key, self.operation.threshold)

    @property
    def operation(self) -> Operation:
        """The model's own threshold, and what others mean."""
        return self.card.operation(self.measured_map)

    @property
    def meter(self) -> RegionMeter | None:
        """What measures regions on the map; None without one."""
        self._meter = self._meter_of(self.measured, self._meter)
        return self._meter

    @property
    def shown_meter(self) -> RegionMeter | None:
        """What measures regions on the layer that is shown, be it of IDC or not."""
        layer, measured = self.layer, self.measured
        if layer is None or measured is None or layer.name == measured.name:
            self._shown_meter = None
            return self.meter
        self._shown_meter = self._meter_of(layer, self._shown_meter)
        return self._shown_meter

    def _apply_shield(self) -> None:
        """Have the map leave out what the shield found something on, or count it."""
        if self.map is not None:
            self.map.is_shielded = self._display.shielded

    def _meter_of(self, layer: MapLayer | None, kept: RegionMeter | None) -> RegionMeter | None:
        """Return a meter of a layer: the one that is at hand, as long as it is of it."""
        if layer is None or self.mpp_xy is None:
            return None
        if kept is not None and kept.layer.stored is layer.stored:
            return kept
        return RegionMeter(layer, self.mpp_xy)

    def figures_text(self, shape: Shape) -> str:
        """Say in a line how large a shape is and what the map says of it."""
        if self.mpp_xy is None:
            return f"{shape.moments().area:,.0f} px²"
        text = area_text(shape.moments(self.mpp_xy).area)
        if self.meter is not None:
            (found,) = self.meter.measure([shape], self.threshold)
            if found.idc_fraction is not None:
                text += f", IDC {100 * found.idc_fraction:.0f} %"
        return text

    def look_at(self, area_l0: QRectF) -> None:
        """Bring a part of the slide into sight; whoever asks needs to know of no view."""
        self.camera.show_area(area_l0)

    def bare(self, is_bare: bool) -> None:
        """Take off the slide what lies over it, for a moment, or put it back."""
        if is_bare != self.is_bare:
            self.is_bare = is_bare
            self.bared.emit()

    def select(self, cell: tuple[int, int] | None) -> None:
        """Select a patch (row, col) of the map, or none."""
        self.selected = cell
        self.selection_changed.emit()
