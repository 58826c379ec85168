"""How the map is shown: colours, opacity, threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QIcon, QPixmap
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QSlider,
    QWidget,
)

from idc_desktop.maps.colormap import NAMES
from idc_desktop.ui.display import EXTENTS, FADES
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.numbers import NumberField
from idc_desktop.ui.panels.flow_layout import FlowLayout
from idc_desktop.ui.panels.operating_point import OperatingPointPanel
from idc_desktop.ui.panels.threshold_control import ThresholdControl
from idc_desktop.ui.view.guides import colour_bar

_SWATCH = QSize(56, 12)
_HALF_A_STEP = 5.001e-4  # of what the field shows


class MapPanel(QWidget):
    """Controls of the document's display; holds no state of its own."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        form = self._form = QFormLayout(self)
        form.setContentsMargins(8, 0, 8, 8)
        self._boxes = {
            "visible": QCheckBox("Show (M)"),
            "smooth": QCheckBox("Smooth"),
            "outlined": QCheckBox("Outline"),
            "legend": QCheckBox("Legend"),
        }
        shield = QCheckBox("Shield: leave artefacts out")
        shield.setToolTip(
            "Leave patches with pen, ink, blur, folds, bubbles or wrong colours out of the map and "
            "all figures; they are crossed out."
        )
        boxes = QWidget()
        flow = FlowLayout(boxes)
        for box in self._boxes.values():
            flow.addWidget(box)
        form.addRow(boxes)
        form.addRow(shield)  # of its own: it changes the figures, not only what is painted
        mask = QCheckBox("Show the tissue mask (Shift+A)")
        mask.setToolTip(
            "A dashed line around what counts as tissue, a veil over background. Regions of two "
            "classes change it (Regions, Tissue mask)."
        )
        form.addRow(mask)
        self._boxes |= {"shielded": shield, "mask": mask}
        for name, box in self._boxes.items():
            box.toggled.connect(lambda on, name=name: document.show(**{name: on}))
        self._layer = QComboBox()
        self._layer.activated.connect(lambda _: document.show(layer=self._layer.currentData()))
        form.addRow("Layer (Y)", self._layer)
        form.setRowVisible(self._layer, False)
        self._colormap = QComboBox()
        self._colormap.setIconSize(_SWATCH)
        for name in NAMES:
            swatch = QPixmap.fromImage(colour_bar(name)).scaled(_SWATCH)
            self._colormap.addItem(QIcon(swatch), name)
        self._colormap.textActivated.connect(lambda name: document.show(colormap=name))
        form.addRow("Colours", self._colormap)
        self._extent = self._chooser("Paint", "extent", EXTENTS)
        self._opacity = QSlider(Qt.Orientation.Horizontal)
        self._opacity.setRange(0, 100)
        self._opacity.setAccessibleName("Opacity of the map")
        self._opacity.valueChanged.connect(self._on_opacity)
        form.addRow("Opacity", self._opacity)
        fades = {it: f"At {it:g}x" if it else "Never" for it in FADES}
        self._fades_at = self._chooser("Fades away", "fades_at", fades)
        self._fades_at.setToolTip("Enlarged so many times, the slide is seen without the colours.")
        self.threshold_control = ThresholdControl(document)
        form.addRow(self.threshold_control)
        self._threshold = NumberField()
        self._threshold.setAccessibleName("Threshold")
        self._threshold.setRange(0, 1)
        self._threshold.setDecimals(3)
        self._threshold.setSingleStep(0.01)
        self._threshold.setKeyboardTracking(False)
        self._threshold.valueChanged.connect(self._on_threshold)
        self.operating_point = OperatingPointPanel(document)
        row = QHBoxLayout()
        row.addWidget(self._threshold, 1)
        row.addWidget(self.operating_point.buttons["Model's"])
        form.addRow("Threshold", row)
        self._shared = QCheckBox("For all slides")
        self._shared.setToolTip(
            "All slides have this threshold as long as this is on. Analyze all then measures those "
            "that were measured at another one; nothing is computed anew."
        )
        self._shared.toggled.connect(document.share_threshold)
        form.addRow("", self._shared)
        form.addRow(self.operating_point)
        form.addRow(self.operating_point.text)
        document.display_changed.connect(self._refresh)
        document.map_changed.connect(self._offer_layers)
        document.model_changed.connect(self._refresh)
        self._refresh()

    def _chooser(self, label: str, field: str, choices: Mapping[Any, str]) -> QComboBox:
        """Add a row that chooses the value of a field of the display."""
        chooser = QComboBox()
        for value, words in choices.items():
            chooser.addItem(words, value)
        chooser.activated.connect(lambda _: self._document.show(**{field: chooser.currentData()}))
        self._form.addRow(label, chooser)
        return chooser

    def _on_opacity(self, value: int) -> None:
        if round(self._document.display.opacity * 100) != value:
            self._document.show(opacity=value / 100)

    def _on_threshold(self, value: float) -> None:
        if abs(self._document.threshold - value) > _HALF_A_STEP:
            self._document.show(threshold=value)

    def _offer_layers(self) -> None:
        """Let one choose among the layers of the map, where there are several."""
        current, layer = self._document.map, self._document.layer
        kinds = [it.kind for it in current.layers] if current is not None else []
        if len(kinds) != self._layer.count():
            self._layer.clear()
            for kind in kinds:
                self._layer.addItem(kind.title, kind.name)
        if layer is not None:
            self._layer.setCurrentIndex(self._layer.findData(layer.name))
        self._form.setRowVisible(self._layer, len(kinds) > 1)
        self._threshold.setValue(self._document.threshold)  # each map has its own

    def _refresh(self) -> None:
        document = self._document
        for name, box in self._boxes.items():
            box.setChecked(getattr(document.display, name))
        self._colormap.setCurrentText(document.display.colormap)
        self._extent.setCurrentIndex(self._extent.findData(document.display.extent))
        self._fades_at.setCurrentIndex(self._fades_at.findData(document.display.fades_at))
        self._opacity.setValue(round(document.display.opacity * 100))
        self._threshold.setValue(document.threshold)
        self._shared.setChecked(document.display.common is not None)
