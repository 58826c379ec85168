"""What each model says of the slide: a table of models and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from idc_desktop.models.model_file import ModelFile, bundled_models, read_model
from idc_desktop.regions.foci import find_foci
from idc_desktop.regions.measures import mm2_text
from idc_desktop.regions.statistics import whole_slide
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.plain import Label, plain_tip
from idc_desktop.ui.run import Run, RunState
from idc_desktop.ui.scene import SlideScene
from idc_desktop.ui.screen import resize_within_screen
from idc_desktop.ui.task import Task

_COLUMNS = {
    "Model": "Of the models that come with the program, and the one that is chosen",
    "Map": "The map that is shown, where the model has it, else its best",
    "IDC %": "Of the analyzed area",
    "IDC mm²": "Area of the patches at or above the threshold",
    "Mean": "Mean probability",
    "Foci": "Connected areas at or above the threshold",
    "Largest mm²": "Area of the largest focus",
    "Threshold": "The one that is set for this slide and model",
    "Failed": "Patches without a probability",
    "Agrees %": "Of the patches that both judged, those where it says the same as the chosen model",
}
_UNDEFINED = "–"
_WORDS = {
    RunState.RECALLING: "is looked for …",
    RunState.READY: "not analyzed",
    RunState.PAUSED: "analyzed in part",
    RunState.RUNNING: "is being analyzed …",
}


class ModelTable(QDialog):
    """A row for each model, filled in from what is stored; nothing is analyzed for it.

    Deleted when closed.
    """

    chosen = Signal(str)
    """A model is to be shown beside the slide; carries what finds it."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Models on this slide")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._document = document
        self._runs: dict[str, Run] = {}
        self._waiting: list[ModelFile] = []
        self._models: list[ModelFile] = []
        self.table = QTableWidget(0, len(_COLUMNS))
        for column, (title, tip) in enumerate(_COLUMNS.items()):
            header = QTableWidgetItem(title)
            header.setToolTip(plain_tip(tip))
            self.table.setHorizontalHeaderItem(column, header)
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.horizontalHeader().setStretchLastSection(True)
        self.table.setAccessibleName("Figures of each model")
        self.table.itemSelectionChanged.connect(self._on_selected)
        name = document.path.name if document.path is not None else ""
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.beside = buttons.addButton("Show beside", QDialogButtonBox.ButtonRole.ActionRole)
        self.beside.setEnabled(False)
        self.beside.clicked.connect(self._show_beside)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(Label(f"{name}: the whole slide."))
        layout.addWidget(self.table, 1)
        layout.addWidget(buttons)
        resize_within_screen(self, 860, 320)
        document.slide_changed.connect(self.reject)
        self.finished.connect(self._stop)
        reading = Task(self)
        reading.succeeded.connect(self._take_models)
        chosen, bundled = document.model, list(bundled_models().values())
        reading.start(lambda: _read(chosen, bundled))

    def _take_models(self, models: Sequence[ModelFile]) -> None:
        self._models, self._waiting = list(models), list(models)
        self.table.setRowCount(len(models))
        for row, model in enumerate(models):
            self._fill(row, [model.card.name, "waits …"])
        self._go_on()

    def _go_on(self) -> None:
        """Recall the next one: one engine at a time has the slide."""
        document = self._document
        if not self._waiting or document.slide is None or document.path is None:
            return
        model = self._waiting.pop(0)
        slide, path = document.slide, document.path
        if model.sha256 == document.model.sha256 or slide.mpp_xy is None:
            self._show()
            self._go_on()
            return
        mpp = slide.mpp_xy[0] if slide.mpp_source == "user" else None
        run = document.runs.stored(path, model, mpp, slide.identity)
        self._runs[model.sha256] = run
        run.changed.connect(self._on_run)
        run.recall()
        self._show()

    def _on_run(self, run: Run) -> None:
        self._show()
        if run.state is not RunState.RECALLING:
            self._go_on()

    def _show(self) -> None:
        document = self._document
        for row, model in enumerate(self._models):
            is_chosen = model.sha256 == document.model.sha256
            run = document.run if is_chosen else self._runs.get(model.sha256)
            if run is None:
                continue
            said = _Said(document, model, run)
            if run.state is RunState.DONE and said.meter is not None:
                self._fill(row, [model.card.name, *_figures(said, document)])
            else:
                words = run.message if run.state is RunState.FAILED else _WORDS.get(run.state, "")
                self._fill(row, [model.card.name, words])
        self.table.resizeColumnsToContents()

    def _fill(self, row: int, texts: Sequence[str]) -> None:
        is_told = len(texts) < len(_COLUMNS)
        span = len(_COLUMNS) - 1 if is_told else 1
        if span != self.table.columnSpan(row, 1):
            self.table.setSpan(row, 1, 1, span)
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            if column and not is_told:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.table.setItem(row, column, item)

    def _on_selected(self) -> None:
        self.beside.setEnabled(bool(self.table.selectedItems()))

    def _show_beside(self) -> None:
        model = self._models[self.table.currentRow()]
        self.chosen.emit(str(model.path))
        self.accept()

    def _stop(self) -> None:
        self._waiting.clear()
        for run in self._runs.values():
            run.stop()
        self._runs.clear()


def _read(chosen: ModelFile, bundled: Sequence[Path]) -> list[ModelFile]:
    """Return the chosen model and the bundled ones, each once."""
    models = [chosen, *(read_model(path) for path in bundled)]
    return list({it.sha256: it for it in models}.values())


class _Said(SlideScene):
    """What one model says of the document's slide, as the document would show it."""

    def __init__(self, document: SlideDocument, model: ModelFile, run: Run) -> None:
        super().__init__(document.regions, document.display)
        self.slide = document.slide
        self._model, self._run = model, run
        self._apply_shield()

    @property
    def model(self) -> ModelFile:
        return self._model

    @property
    def run(self) -> Run:
        return self._run


def _figures(said: SlideScene, reference: SlideScene) -> list[str]:
    """Return the cells of a finished run; the reference is what it agrees with."""
    layer, other, threshold = said.measured, reference.measured, said.threshold
    assert layer is not None
    assert said.meter is not None
    assert said.mpp_xy is not None
    (found,) = said.meter.measure([whole_slide(layer.grid).shape], threshold)
    foci = find_foci(layer, said.mpp_xy, threshold)
    agrees = _UNDEFINED
    if other is not None and other.grid == layer.grid:
        both = layer.analyzed & other.analyzed
        if both.any():
            same = layer.positive(threshold) == other.positive(reference.threshold)
            agrees = f"{100 * np.mean(same[both]):.1f}"
    fraction, mean = found.idc_fraction, found.mean_probability
    return [
        layer.name,
        _UNDEFINED if fraction is None else f"{100 * fraction:.1f}",
        mm2_text(found.idc_area_um2),
        _UNDEFINED if mean is None else f"{mean:.3f}",
        f"{len(foci):,}",
        mm2_text(foci[0].area_um2 if foci else None),
        f"{threshold:.3f}",
        f"{layer.map.failed_patches:,}",
        agrees,
    ]
