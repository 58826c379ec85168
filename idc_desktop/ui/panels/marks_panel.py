"""What was measured and marked, as a list."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QRectF, Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from idc_desktop.regions.diameter import Diameter, diameter_of
from idc_desktop.regions.marks import Mark
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.verb_row import lay_out_below_verbs
from idc_desktop.ui.panels.verdict_bar import REVIEW
from idc_desktop.ui.verbs import Verb
from idc_desktop.ui.view.mark_layer import figure_text

_COLUMNS = ("Name", "What", "Length, angle")
_LEAST_PX = 400.0  # around a point, so that there is something to see


class MarksPanel(QWidget):
    """Lists, names and removes measurements and marks; a key brings the chosen into sight."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document, self._regions = document, document.regions
        self._marks: tuple[Mark, ...] = ()
        self.list = QTableWidget(0, len(_COLUMNS))
        self.list.setHorizontalHeaderLabels(_COLUMNS)
        self.list.verticalHeader().hide()
        self.list.verticalHeader().setDefaultSectionSize(24)
        self.list.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.list.setAlternatingRowColors(True)
        self.list.setAccessibleName("Measurements")
        for column, width in enumerate((260, 90, 130)):
            self.list.setColumnWidth(column, width)
        self.list.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.list.itemChanged.connect(self._on_renamed)
        self.list.itemSelectionChanged.connect(self._on_selected)
        hint = "Double click a name to change it; Del removes what is chosen."
        lay_out_below_verbs(self, self.verbs(), hint, self.list)
        self._regions.changed.connect(self._show)
        self._regions.choice_changed.connect(self._on_choice)
        document.slide_changed.connect(self._show_anew)  # the resolution may be another

    def verbs(self) -> list[Verb]:
        """Return the verbs for the menu."""
        return [
            Verb(REVIEW, "Keep the &longest diameter", self.keep_diameter, "Ctrl+L"),
            Verb(REVIEW, "&Zoom to the measurement", self.zoom_to, "Shift+Z"),
        ]

    def keep_diameter(self) -> None:
        """Keep the longest diameter of the focus, else of the chosen regions, as a measurement.

        Where there is neither, it is that of the accepted tumour as a whole.
        """
        name, longest = self._diameter()
        if longest is None:
            missing = (
                "choose a region, step to a focus, or judge one IDC"
                if self._document.map is not None
                else "there is no map yet; analyze the slide, or choose a region"
            )
            self._document.noted.emit(f"There is nothing to measure: {missing}.")
        else:
            self._regions.add_mark("line", longest.ends, f"Longest diameter of {name}")

    def zoom_to(self) -> None:
        """Bring the chosen measurements into sight."""
        points = [point for mark in self._regions.chosen_marks for point in mark.points]
        if points:
            left, top = map(min, zip(*points, strict=True))
            right, bottom = map(max, zip(*points, strict=True))
            area = QRectF(left, top, right - left, bottom - top)
            wanting = max(0.0, _LEAST_PX - max(area.width(), area.height())) / 2
            self._document.look_at(area.adjusted(-wanting, -wanting, wanting, wanting))

    def _diameter(self) -> tuple[str, Diameter | None]:
        document, regions = self._document, self._regions
        mpp, chosen = document.mpp_xy, regions.chosen
        if mpp is None:
            return "", None
        if regions.focus is not None:
            name, shape = regions.focus
            return name, diameter_of([shape], mpp)
        if chosen:
            name = chosen[0].name if len(chosen) == 1 else f"{len(chosen)} regions"
            return name, diameter_of([it.shape for it in chosen], mpp)
        if document.measured is None:
            return "", None
        longest = regions.accepted.diameter(document.measured, mpp, document.threshold)
        return "the accepted tumour", longest

    def _show(self) -> None:
        if self._regions.marks != self._marks:
            self._show_anew()

    def _show_anew(self) -> None:
        self._marks = self._regions.marks
        self.list.blockSignals(True)
        self.list.setRowCount(len(self._marks))
        for row, mark in enumerate(self._marks):
            figure = figure_text(mark, self._document.mpp_xy)
            for column, text in enumerate((mark.name, mark.kind, figure)):
                item = QTableWidgetItem(text)
                if column > 0:
                    item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                if column == 2:
                    right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    item.setTextAlignment(right)
                self.list.setItem(row, column, item)
        self.list.blockSignals(False)
        self._on_choice()

    def _on_renamed(self, item: QTableWidgetItem) -> None:
        mark, name = self._marks[item.row()], item.text().strip()
        if name and name != mark.name:
            self._regions.edit_marks("Rename measurement", put=[replace(mark, name=name)])
        else:
            self._show_anew()

    def _on_selected(self) -> None:
        rows = sorted({index.row() for index in self.list.selectedIndexes()})
        self._regions.choose_marks(self._marks[row].id for row in rows)

    def _on_choice(self) -> None:
        """Select in the list what is chosen."""
        chosen = {it.id for it in self._regions.chosen_marks}
        self.list.blockSignals(True)
        self.list.clearSelection()
        mode = self.list.selectionMode()
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.MultiSelection)
        for row, mark in enumerate(self._marks):
            if mark.id in chosen:
                self.list.selectRow(row)
        self.list.setSelectionMode(mode)
        self.list.blockSignals(False)
