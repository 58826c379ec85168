"""The right-hand panel: model, analysis, map, statistics."""

from __future__ import annotations

import time

import numpy as np
from PySide6.QtCore import QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from idc_desktop.colormap import lookup_table
from idc_desktop.errors import ModelError
from idc_desktop.grid import MILLIONTHS
from idc_desktop.model_file import bundled_models
from idc_desktop.regions import measure, whole_slide
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.patch_panel import PatchPanel

_STEPS = 1000
_MPP_RANGE_UM = (0.05, 10.0)  # what can be typed as the resolution of a slide
_STATISTICS_EVERY_MS = 300
_OTHER_FILE = "Open a model file …"


class Histogram(QWidget):
    """The distribution of the probabilities over the colour bar, with the threshold."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._counts = np.zeros(50, np.int64)
        self._is_stale = False
        self.setMinimumHeight(74)
        document.map_changed.connect(self._on_map_changed)
        document.view_changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw bars (square root of counts), the colour bar below, and the threshold."""
        if self._is_stale:
            self._count()
        painter = QPainter(self)
        margin, bar = 6, 12
        width, height = self.width() - 2 * margin, self.height() - bar - 4
        peak = max(1.0, float(np.sqrt(self._counts.max())))
        step = width / len(self._counts)
        painter.setPen(Qt.PenStyle.NoPen)
        colour = self.palette().color(self.foregroundRole())
        colour.setAlpha(150)
        for number, count in enumerate(np.sqrt(self._counts)):
            tall = height * float(count) / peak
            painter.fillRect(
                QRectF(margin + number * step, height - tall, step * 0.9, tall), colour
            )
        table = np.ascontiguousarray(lookup_table())
        image = QImage(table.tobytes(), 256, 1, 768, QImage.Format.Format_RGB888)
        painter.drawImage(QRectF(margin, height + 2, width, bar), image)
        at = margin + self._document.threshold * width
        painter.fillRect(QRectF(at - 1, 0, 2, self.height()), QColor(220, 40, 40))
        painter.end()

    def _on_map_changed(self) -> None:
        self._is_stale = True
        self.update()

    def _count(self) -> None:
        current = self._document.map
        self._is_stale = False
        if current is None:
            self._counts[:] = 0
        else:
            values = current.millionths[current.analyzed] / MILLIONTHS
            self._counts, _ = np.histogram(values, bins=50, range=(0, 1))


class Inspector(QWidget):
    """Controls of the document; holds no state of its own."""

    smooth_toggled = Signal(bool)
    export_asked = Signal()

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._began: tuple[float, int] | None = None
        layout = QVBoxLayout(self)
        layout.addWidget(self._model_group())
        layout.addWidget(self._map_group())
        layout.addWidget(self._statistics_group())
        self.patch = PatchPanel(document)
        layout.addWidget(self.patch)
        layout.addStretch(1)
        self._refresh = QTimer(self)
        self._refresh.setSingleShot(True)
        self._refresh.setInterval(_STATISTICS_EVERY_MS)
        self._refresh.timeout.connect(self._show_statistics)
        document.state_changed.connect(self._show_state)
        document.map_changed.connect(self._on_map_changed)
        document.view_changed.connect(self._on_view_changed)
        self._show_state()
        self._on_view_changed()
        self._show_statistics()

    def _model_group(self) -> QGroupBox:
        group = QGroupBox("Analysis")
        form = QFormLayout(group)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._models = QComboBox()
        self._models.addItems([*bundled_models(), _OTHER_FILE])
        self._models.setCurrentText(self._document.card.name)
        self._models.activated.connect(self._on_model_chosen)
        form.addRow("Model", self._models)
        self._card_line = QLabel()
        self._card_line.setWordWrap(True)
        form.addRow(self._card_line)
        self._providers = QComboBox()
        self._providers.addItems(["auto", "cpu", "cuda"])
        self._providers.currentTextChanged.connect(self._on_provider_chosen)
        form.addRow("Provider", self._providers)
        self._mpp_row = QWidget()
        row = QHBoxLayout(self._mpp_row)
        row.setContentsMargins(0, 0, 0, 0)
        self._mpp = QDoubleSpinBox()
        self._mpp.setRange(0.0, _MPP_RANGE_UM[1])
        self._mpp.setDecimals(4)
        self._mpp.setSingleStep(0.05)
        self._mpp.setSpecialValueText("µm per pixel?")  # shown at 0: no value is suggested
        self._mpp.setSuffix(" µm/px")
        use = QPushButton("Use")
        use.setEnabled(False)
        self._mpp.valueChanged.connect(lambda value: use.setEnabled(value >= _MPP_RANGE_UM[0]))
        use.clicked.connect(self._on_mpp_given)
        row.addWidget(self._mpp, 1)
        row.addWidget(use)
        form.addRow("Resolution", self._mpp_row)
        self._mpp_label = form.labelForField(self._mpp_row)
        self._run = QPushButton("Analyze")
        self._run.clicked.connect(self._on_run)
        self._export = QPushButton("Export …")
        self._export.clicked.connect(self.export_asked)
        buttons = QHBoxLayout()
        buttons.addWidget(self._run, 1)
        buttons.addWidget(self._export, 1)
        form.addRow(buttons)
        self._progress = QProgressBar()
        self._progress.setTextVisible(False)
        form.addRow(self._progress)
        self._status = QLabel()
        self._status.setWordWrap(True)
        self._status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        form.addRow(self._status)
        return group

    def _map_group(self) -> QGroupBox:
        group = QGroupBox("Map: probability of IDC")
        form = QFormLayout(group)
        self._visible = QCheckBox("Show the map (M)")
        self._visible.toggled.connect(lambda on: setattr(self._document, "map_visible", on))
        self._smooth = QCheckBox("Smooth")
        self._smooth.toggled.connect(self.smooth_toggled)
        checks = QHBoxLayout()
        checks.addWidget(self._visible)
        checks.addWidget(self._smooth)
        form.addRow(checks)
        self._opacity = QSlider(Qt.Orientation.Horizontal)
        self._opacity.setRange(0, 100)
        self._opacity.valueChanged.connect(
            lambda value: setattr(self._document, "opacity", value / 100)
        )
        form.addRow("Opacity", self._opacity)
        form.addRow(Histogram(self._document))
        self._threshold = QSlider(Qt.Orientation.Horizontal)
        self._threshold.setRange(0, _STEPS)
        self._threshold.valueChanged.connect(self._on_threshold_moved)
        form.addRow(self._threshold)
        row = QHBoxLayout()
        self._threshold_line = QLabel()
        reset = QPushButton("Reset")
        reset.setToolTip("Go back to the model's own threshold")
        reset.clicked.connect(lambda: setattr(self._document, "threshold", None))
        row.addWidget(self._threshold_line, 1)
        row.addWidget(reset)
        form.addRow(row)
        return group

    def _statistics_group(self) -> QGroupBox:
        group = QGroupBox("Whole slide")
        form = QFormLayout(group)
        self._figures = {
            name: QLabel("–")
            for name in (
                "IDC area",
                "IDC, of analyzed area",
                "Mean probability",
                "Patches analyzed",
                "Background",
                "Failed",
            )
        }
        for name, label in self._figures.items():
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            form.addRow(name, label)
        return group

    def _on_model_chosen(self, _: int) -> None:
        name = self._models.currentText()
        if name == _OTHER_FILE:
            name, _filter = QFileDialog.getOpenFileName(self, "Model", "", "ONNX models (*.onnx)")
        try:
            if name:
                self._document.choose_model(name)
        except ModelError as error:
            QMessageBox.warning(self, "Model", str(error))
        current = self._document.card.name
        if self._models.findText(current) < 0:
            self._models.insertItem(0, current, str(self._document.model.path))
        self._models.setCurrentText(current)
        self._show_state()

    def _on_provider_chosen(self, name: str) -> None:
        self._document.provider = name

    def _on_mpp_given(self) -> None:
        path = self._document.path
        if path is not None:
            self._document.open(path, self._mpp.value())

    def _on_run(self) -> None:
        if self._document.state == "running":
            self._document.pause()
        else:
            self._document.analyze()

    def _on_threshold_moved(self, value: int) -> None:
        if round(self._document.threshold * _STEPS) != value:
            self._document.threshold = value / _STEPS

    def _on_view_changed(self) -> None:
        document = self._document
        self._visible.setChecked(document.map_visible)
        self._opacity.setValue(round(document.opacity * 100))
        self._threshold.setValue(round(document.threshold * _STEPS))
        whose = "the model's" if document.threshold == document.card.threshold else "yours"
        self._threshold_line.setText(f"Threshold {document.threshold:.3f} ({whose})")
        self._refresh.start()

    def _on_map_changed(self) -> None:
        self._show_progress()
        if not self._refresh.isActive():
            self._refresh.start()

    def _show_state(self) -> None:
        document = self._document
        card, sha256 = document.card, document.model.sha256
        self._card_line.setText(
            f"version {card.version}, {card.spacing_um_px:g} µm/px, SHA-256 {sha256[:12]}"
        )
        running = document.state == "running"
        labels = {"running": "Pause", "paused": "Resume", "done": "Analyze again"}
        self._run.setText(labels.get(document.state, "Analyze"))
        known = document.mpp_xy is not None
        self._run.setEnabled(bool(document.slide) and known and document.state != "recalling")
        self._export.setEnabled(document.state == "done")
        self._models.setEnabled(not running)
        self._providers.setEnabled(not running)
        asks = bool(document.slide) and not known
        self._mpp_row.setVisible(asks)
        if self._mpp_label is not None:
            self._mpp_label.setVisible(asks)
        if running and self._began is None:
            self._began = (time.monotonic(), -1)
        if not running:
            self._began = None
        self._show_progress()

    def _show_progress(self) -> None:
        document = self._document
        total = document.map.states.size if document.map is not None else 0
        done = document.run.done_patches
        self._progress.setMaximum(max(1, total))
        self._progress.setValue(done)
        text = document.message
        if document.state == "running" and self._began is not None and total:
            start, first = self._began
            if first < 0:
                self._began = (time.monotonic(), done)
            elif done > first:
                rate = (done - first) / max(1e-3, time.monotonic() - start)
                text = (
                    f"{done:,} of {total:,} patches, {rate:,.0f}/s, "
                    f"{(total - done) / rate:.0f} s left"
                )
        if document.run.plan:
            provider = document.run.plan["provider"]
            text += f"\nRunning on {provider['used']}"
            if provider["fallback_reason"]:
                text += f": {provider['fallback_reason']}"
        self._status.setText(text)

    def _show_statistics(self) -> None:
        document = self._document
        if document.map is None or document.mpp_xy is None:
            for label in self._figures.values():
                label.setText("–")
            return
        region = whole_slide(document.map.grid)
        figures = measure(region, document.map, document.mpp_xy, document.threshold)
        counts = document.map.counts()
        fraction, mean = figures.idc_fraction, figures.mean_probability
        texts = {
            "IDC area": f"{figures.idc_area_um2 / 1e6:.2f} mm²",
            "IDC, of analyzed area": "–" if fraction is None else f"{100 * fraction:.1f} %",
            "Mean probability": "–" if mean is None else f"{mean:.3f}",
            "Patches analyzed": f"{counts['ok']:,}",
            "Background": f"{counts['background']:,}",
            "Failed": f"{counts['failed'] + counts['invalid_output']:,}",
        }
        for name, text in texts.items():
            self._figures[name].setText(text)
