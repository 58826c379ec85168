"""The patches that have no probability though they were tried, each with its reason."""

from __future__ import annotations

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

from idc_desktop.maps.probability_map import ProbabilityMap
from idc_desktop.ui.screen import resize_within_screen


class FailuresDialog(QDialog):
    """A list of failed patches; choosing one takes the view there. Deleted when closed."""

    chosen = Signal(int, int)
    """The (row, col) of the patch that the user chose."""

    def __init__(self, current: ProbabilityMap, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Patches that failed")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._cells = [(int(row), int(col)) for row, col in np.argwhere(current.failed)]
        self.table = QTableWidget(len(self._cells), 3)
        self.table.setHorizontalHeaderLabels(["Row", "Column", "Why"])
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.horizontalHeader().setStretchLastSection(True)
        for line, (row, col) in enumerate(self._cells):
            for column, text in enumerate((str(row), str(col), current.state_text(row, col))):
                self.table.setItem(line, column, QTableWidgetItem(text))
        self.table.currentCellChanged.connect(lambda line, *_: self.chosen.emit(*self._cells[line]))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table)
        layout.addWidget(buttons)
        resize_within_screen(self, 560, 420)
