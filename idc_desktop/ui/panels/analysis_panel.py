"""The model, what it runs on, and the run."""

from __future__ import annotations

import time

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QWidget,
)

from idc_desktop.models.model_file import bundled_models
from idc_desktop.plain_text import counted
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.wrapped_label import WrappedLabel
from idc_desktop.ui.plain import MessageBox, plain_tip
from idc_desktop.ui.run import RunState

_OTHER_FILE = "Open a model file …"
_PROVIDERS = {"auto": "auto (CUDA if it works)", "cpu": "CPU", "cuda": "CUDA"}
_RATE_AFTER_S = 0.4
_LEAST_LETTERS = 10


class AnalysisPanel(QWidget):
    """Chooses the model, starts and stops the run, and tells how it goes."""

    card_asked = Signal()
    """The user wants to read the model's card."""
    export_asked = Signal()
    """The user wants to write files."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._began: tuple[float, int] | None = None
        form = QFormLayout(self)
        form.setContentsMargins(8, 0, 8, 8)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._models = _narrow_box()
        self._models.setAccessibleName("Model")
        for name in bundled_models():
            self._models.addItem(name, name)
        self._models.addItem(_OTHER_FILE)
        self._models.activated.connect(self._on_model_chosen)
        card = QPushButton("Card …")
        card.setToolTip("What the model was trained on, how good it is, and its limits")
        card.clicked.connect(self.card_asked)
        row = QHBoxLayout()
        row.addWidget(self._models, 1)
        row.addWidget(card)
        form.addRow("Model", row)
        self._card_line = WrappedLabel()
        form.addRow(self._card_line)
        self._providers = _narrow_box()
        for name, text in _PROVIDERS.items():
            self._providers.addItem(text, name)
        self._providers.currentIndexChanged.connect(self._on_provider_chosen)
        form.addRow("Run on", self._providers)
        self.run_button = QPushButton()
        self.run_button.setObjectName("primary")
        self.run_button.clicked.connect(document.analyze_or_pause)
        self._cancel = QPushButton("Cancel")
        self._cancel.setToolTip("Stop and take the map off the slide; what was analyzed is kept")
        self._cancel.clicked.connect(document.cancel)
        self.export_button = QPushButton("Export …")
        self.export_button.clicked.connect(self.export_asked)
        buttons = QGridLayout()
        buttons.addWidget(self.run_button, 0, 0)
        buttons.addWidget(self._cancel, 0, 1)
        buttons.addWidget(self.export_button, 0, 1)
        buttons.setColumnStretch(0, 1)
        buttons.setColumnStretch(1, 1)
        form.addRow(buttons)
        self._progress = QProgressBar()
        self._progress.setTextVisible(False)
        self._progress.setFixedHeight(6)
        form.addRow(self._progress)
        self._status = WrappedLabel()
        form.addRow(self._status)
        document.state_changed.connect(self._show_state)
        document.model_changed.connect(self._show_model)
        document.model_refused.connect(self._on_model_refused)
        document.map_changed.connect(self._show_progress)
        self._show_model()
        self._show_state()

    def _on_model_chosen(self, index: int) -> None:
        name = self._models.itemData(index)
        if name is None:
            name, _filter = QFileDialog.getOpenFileName(self, "Model", "", "ONNX models (*.onnx)")
        if name:
            self._document.choose_model(name)
        else:
            self._show_model()

    def _on_model_refused(self, reason: str) -> None:
        self._show_model()
        box = MessageBox(QMessageBox.Icon.Warning, "Model", reason, parent=self)
        box.open()

    def _on_provider_chosen(self, index: int) -> None:
        self._document.runs.provider = self._providers.itemData(index)

    def _show_model(self) -> None:
        model, card = self._document.model, self._document.card
        known = [str(path) for path in bundled_models().values()]
        data = card.name if str(model.path) in known else str(model.path)
        index = self._models.findData(data)
        if index < 0:
            index = self._models.count() - 1
            self._models.insertItem(index, f"{card.name} ({model.path.name})", data)
        self._models.setCurrentIndex(index)
        self._card_line.setText(f"version {card.version}, {card.spacing_um_px:g} µm/px")
        self._card_line.setToolTip(plain_tip(f"SHA-256 {model.sha256}"))

    def _show_state(self) -> None:
        document = self._document
        running = document.state is RunState.RUNNING
        labels = {
            RunState.RUNNING: "Pause",
            RunState.PAUSED: "Resume",
            RunState.DONE: "Analyze again …",
        }
        if document.run is not None and document.run.is_partial:
            labels[RunState.PAUSED] = "Analyze the rest"
        self.run_button.setText(labels.get(document.state, "Analyze"))
        self.run_button.setEnabled(running or document.can_analyze)
        self._cancel.setVisible(document.state.is_begun)
        self.export_button.setVisible(not document.state.is_begun)
        self.export_button.setEnabled(document.can_export)
        self._models.setEnabled(not running)
        self._providers.setEnabled(not running)
        if not running:
            self._began = None
        self._show_progress()

    def _show_progress(self) -> None:
        document = self._document
        running, record = document.state is RunState.RUNNING, document.record
        total = record.map.states.size if record.map is not None else 0
        done = record.done_patches
        self._progress.setVisible(document.state.is_begun)
        self._progress.setMaximum(max(1, total))
        self._progress.setValue(done)
        text, why = document.message, ""
        if running and total:
            text = f"{done:,} of {counted(total, 'patch')}{self._rate_text(done, total)}"
        if record.plan and (running or done):
            provider = record.plan.provider
            verb = "Running" if running else "Ran"
            text += f"\n{verb} on {provider.used.upper()}"
            if provider.fallback_reason:
                why = f"{verb} on {provider.used.upper()}: {provider.fallback_reason}"
        self._status.setText(text)
        self._providers.setToolTip(plain_tip(why))

    def _rate_text(self, done: int, total: int) -> str:
        """Tell rate and time left; what an earlier run had stored does not count as speed."""
        now = time.monotonic()
        if self._began is None:
            self._began = (now, done)
        start, first = self._began
        if done == first or now - start < _RATE_AFTER_S:
            return ""
        rate = (done - first) / (now - start)
        return f", {rate:,.0f}/s, {(total - done) / rate:.0f} s left"


def _narrow_box() -> QComboBox:
    """Return a box that no name in it makes wider than its dock."""
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(_LEAST_LETTERS)
    return box
