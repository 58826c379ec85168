"""The classes that regions may have, and their colours."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from idc_desktop.regions.shape import MASK_ADDED, MASK_REMOVED, Rgb, class_rgb
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.verdict_bar import swatch
from idc_desktop.ui.panels.wrapped_label import WrappedLabel

_NEW = "New class"


@dataclass
class _Class:
    """A row: what the class was called before, if it was there, its name and colour."""

    before: str
    name: str
    rgb: Rgb


class ClassesDialog(QDialog):
    """Renames, colours, adds and removes classes; regions of the open slide follow."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Classes and colours")
        self._regions = document.regions
        self._rows = [_Class(it, it, rgb) for it, rgb in document.regions.classes.items()]
        self.list = QTableWidget(0, 1)
        self.list.horizontalHeader().hide()
        self.list.horizontalHeader().setStretchLastSection(True)
        self.list.verticalHeader().hide()
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setAccessibleName("Classes")
        self.list.itemChanged.connect(self._on_named)
        row = QHBoxLayout()
        for words, run in (
            ("&Add", self.add),
            ("&Remove", self.remove),
            ("&Colour …", self._ask_colour),
        ):
            button = QPushButton(words)
            button.setAutoDefault(False)
            button.clicked.connect(lambda _checked=False, run=run: run())
            row.addWidget(button)
        row.addStretch(1)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.list, 1)
        layout.addLayout(row)
        layout.addWidget(
            WrappedLabel(
                "Double click a name to change it. Regions of this slide follow, those of other "
                "slides stay as they are; a region that is judged has the colour of its verdict."
            )
        )
        layout.addWidget(buttons)
        self.resize(380, 420)
        self._show(0)

    def add(self) -> None:
        """Add a class, to be named."""
        self._rows.append(_Class("", _NEW, class_rgb(_NEW)))
        self._show(len(self._rows) - 1)
        self.list.edit(self.list.currentIndex())

    def remove(self) -> None:
        """Remove the chosen class from the menu; regions keep it."""
        row = self.list.currentRow()
        if row >= 0:
            del self._rows[row]
            self._show(min(row, len(self._rows) - 1))

    def colour(self, rgb: Rgb) -> None:
        """Give the chosen class a colour."""
        row = self.list.currentRow()
        if row >= 0:
            self._rows[row].rgb = rgb
            self._show(row)

    def accept(self) -> None:
        """Take them, and have the regions follow."""
        renamed = {it.before: it.name for it in self._rows if it.before}
        self._regions.edit_classes({it.name: it.rgb for it in self._rows}, renamed)
        super().accept()

    def _show(self, current: int) -> None:
        self.list.blockSignals(True)
        self.list.setRowCount(len(self._rows))
        for row, entry in enumerate(self._rows):
            self.list.setItem(row, 0, QTableWidgetItem(swatch(entry.rgb), entry.name))
        self.list.blockSignals(False)
        self.list.setCurrentCell(current, 0)

    def _on_named(self, item: QTableWidgetItem) -> None:
        entry, name = self._rows[item.row()], item.text().strip()
        others = {it.name.casefold() for it in self._rows if it is not entry}
        others |= {MASK_ADDED.casefold(), MASK_REMOVED.casefold()}  # else regions become the mask's
        if name and name.casefold() not in others:
            if entry.rgb == class_rgb(entry.name) and not entry.before:
                entry.rgb = class_rgb(name)
            entry.name = name
        self._show(item.row())

    def _ask_colour(self) -> None:
        row = self.list.currentRow()
        if row >= 0:
            found = QColorDialog.getColor(QColor(*self._rows[row].rgb), self, "Colour of the class")
            if found.isValid():
                self.colour((found.red(), found.green(), found.blue()))
