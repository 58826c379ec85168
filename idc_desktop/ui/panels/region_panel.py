"""The dock of the regions: the table, the figures per class, and what can be done with regions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import (
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPoint,
    QRectF,
    QSortFilterProxyModel,
    Qt,
)
from PySide6.QtGui import QColor, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QComboBox,
    QFileDialog,
    QInputDialog,
    QMenu,
    QMessageBox,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from idc_desktop.export.folder import write_regions
from idc_desktop.export.results import results_name
from idc_desktop.plain_text import counted
from idc_desktop.processes.region_reading import RegionReading
from idc_desktop.regions import editing
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import (
    MASK_ADDED,
    MASK_REMOVED,
    VERDICTS,
    Point,
    Region,
    class_rgb,
    rectangle,
)
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.class_line import class_text
from idc_desktop.ui.panels.flow_layout import FlowLayout
from idc_desktop.ui.panels.region_table import SORT_ROLE, VERDICT, RegionTable
from idc_desktop.ui.panels.verdict_bar import VerdictBar, swatch
from idc_desktop.ui.panels.verdict_delegate import VerdictDelegate
from idc_desktop.ui.plain import Label, MessageBox, plain_tip
from idc_desktop.ui.task import Task
from idc_desktop.ui.verbs import Verb

_MENU = "&Regions"
_Read = tuple[Path | None, list[Region], tuple[Mark, ...], tuple[str, ...]]
"""Of which slide, its regions and marks, and what should be known of them."""

_SHARE_OF_VIEW = 0.3
_READABLE = "Regions (*.geojson *.json *.geojson.gz *.gz *.xml *.ndpa);;All files (*)"
_WRITABLE = "GeoJSON (*.geojson);;GeoJSON, packed (*.geojson.gz)"


class RegionPanel(QWidget):
    """Lists, chooses, combines, reads and writes regions."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._regions = document.regions
        self.table = RegionTable(document, self)
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self.table)
        self._sorted.setSortRole(SORT_ROLE)
        self.list = QTableView()
        self.list.setModel(self._sorted)
        self.list.setSortingEnabled(True)
        # As they were drawn, until a column is clicked.
        self.list.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self.list.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.list.setAlternatingRowColors(True)
        self.list.verticalHeader().hide()
        self.list.verticalHeader().setDefaultSectionSize(24)
        self.list.setAccessibleName("Regions")
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.customContextMenuRequested.connect(
            lambda at: self.show_menu(self.list.viewport().mapToGlobal(at))
        )
        self.list.selectionModel().selectionChanged.connect(self._on_selected)
        for column, width in enumerate(
            (160, 170, 140, 120, 60, 60, 84, 90, 84, 100, 130, 66, 60, 70, 96)
        ):
            self.list.setColumnWidth(column, width)
        self.list.setItemDelegateForColumn(VERDICT, VerdictDelegate(self.list))
        self._verdict_bar = VerdictBar(document)
        self._classes = QComboBox()
        self._classes.setEditable(True)
        self._classes.setMinimumWidth(100)
        self._classes.setToolTip("Class of what is drawn next")
        self._classes.setAccessibleName("Class of what is drawn next")
        self._offer_classes()
        self._classes.currentTextChanged.connect(self._on_class)
        self._regions.classes_changed.connect(self._offer_classes)
        self._summary = Label()
        self._summary.setMinimumWidth(1)  # a very long one is cut off; its tip is not
        self._summary.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._reading, self._writing = Task(self), Task(self)
        self._readings: set[RegionReading] = set()
        self._reading.succeeded.connect(self._on_read_done)
        self._writing.succeeded.connect(lambda text: document.noted.emit(text))
        for task in (self._reading, self._writing):
            task.failed.connect(lambda error: document.noted.emit(str(error)))
        self._verbs = self._table()
        self._lay_out()
        self._regions.choice_changed.connect(self._on_choice)
        self._regions.changed.connect(self._on_choice)
        self.table.dataChanged.connect(self._show_summary)
        self.table.modelReset.connect(self._show_summary)
        self._on_choice()

    def verbs(self) -> list[Verb]:
        """Return what can be done with regions, for the menu."""
        return self._verbs

    def ask_and_read(self, path: Path) -> None:
        """Read regions from a file; first ask where it counts from, where that makes a difference.

        QuPath crops a slide to the bounds that its file states, other programs do not.
        """
        slide = self._document.slide
        corner = (0, 0) if slide is None else slide.bounds_origin_l0
        if not any(corner):
            self.read(path)
            return
        box = MessageBox(
            QMessageBox.Icon.Question,
            "Import regions",
            f"From which corner does {path.name} count?",
            QMessageBox.StandardButton.Cancel,
            self,
        )
        box.setInformativeText(
            "This slide names a scanned area within the image. QuPath counts from that area, most "
            "other programs from the image. A file that says its own origin is read by that."
        )
        area = box.addButton("Scanned area", QMessageBox.ButtonRole.AcceptRole)
        image = box.addButton("Image", QMessageBox.ButtonRole.AcceptRole)
        area.clicked.connect(lambda: self.read(path, corner))
        image.clicked.connect(lambda: self.read(path))
        box.setDefaultButton(area)
        box.open()

    def read(self, path: Path, origin_l0: Point = (0.0, 0.0)) -> None:
        """Read regions from a file, in the background; all of them or none.

        `origin_l0` is where the file's (0, 0) lies on the slide, if it does not say so itself.
        """
        slide, description = self._document.path, self._document.slide
        reading, running = RegionReading(path), self._readings
        running.add(reading)

        def work() -> _Read:
            try:
                read = reading.result()
            finally:
                running.discard(reading)
            placed = read.placed(description, origin_l0)
            return slide, placed, read.placed_marks(origin_l0), read.notes

        self._reading.start(work, may_hang=True)

    def close_readers(self) -> None:
        """End the reading of files, whatever it is at."""
        for reading in [*self._readings]:
            reading.cancel()

    def write(self, path: Path) -> None:
        """Write the regions as GeoJSON, in the background."""
        regions, marks, mpp = self._regions.all, self._regions.marks, self._document.mpp_xy

        def work() -> str:
            write_regions(path, regions, marks=marks, mpp=mpp)
            said = [counted(len(regions), "region")] if regions else []
            said += [counted(len(marks), "measurement")] if marks else []
            return f"{' and '.join(said)} written to {path}"

        self._writing.start(work)

    def _table(self) -> list[Verb]:
        return [
            Verb(_MENU, "Ne&w rectangle in the view", self._add_rectangle, "Ins"),
            Verb(_MENU, "&Zoom to", self._zoom_to, "Z"),
            Verb(_MENU, "&Delete", self._delete, "Del"),
            Verb(_MENU, "&Unite", self._unite, "U"),
            Verb(_MENU, "Su&btract the others from the first", self._subtract, "Shift+U"),
            Verb(_MENU, "Dupl&icate", self._duplicate, "Ctrl+D"),
            Verb(_MENU, "&Colour …", self._colour),
            Verb(_MENU, "Choose &all", self._choose_all, "Ctrl+A"),
            Verb(_MENU, "Choose &none", lambda: self._regions.choose([]), "Ctrl+Shift+A"),
            *self._mask_verbs(),
            Verb(_MENU, "I&mport regions …", self._on_read, "Ctrl+Shift+I"),
            Verb(_MENU, "Write regions &as GeoJSON …", self._on_write, "Ctrl+Shift+S"),
        ]

    def _mask_verbs(self) -> list[Verb]:
        regions = self._regions

        def can() -> bool:
            return regions.can_edit and bool(regions.chosen)

        menu = f"{_MENU}>&Tissue mask"
        return [
            Verb(_MENU, "Anal&yze here only", self._document.analyze_inside, "Shift+R", can=can),
            *(
                Verb(menu, text, partial(regions.set_mask, said), keys, can=can)
                for text, said, keys in (
                    ("Count as &tissue", MASK_ADDED, "Shift+B"),
                    ("Count as &background", MASK_REMOVED, "Shift+X"),
                )
            ),
        ]

    def _lay_out(self) -> None:
        row = FlowLayout()
        row.add_named("New regions:", self._classes)
        self._buttons: list[QPushButton] = []
        for words in ("Zoom to", "Unite", "Subtract", "Delete", "Import …"):
            verb = next(it for it in self._verbs if it.words.startswith(words.split(" …")[0]))
            self._buttons.append(verb.button(words))
            row.addWidget(self._buttons[-1])
        row.addWidget(self._summary)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 6, 4)
        column.addLayout(row)
        column.addWidget(self._verdict_bar)
        column.addWidget(self.list, 1)

    def _offer_classes(self) -> None:
        chosen = self._classes.currentText()
        self._classes.blockSignals(True)
        self._classes.clear()
        self._classes.addItem("")
        for name, rgb in self._regions.classes.items():
            self._classes.addItem(swatch(rgb), name)
        for name in (MASK_ADDED, MASK_REMOVED):
            self._classes.addItem(swatch(class_rgb(name)), name)
        self._classes.setCurrentText(chosen)
        self._classes.blockSignals(False)

    def _on_class(self, name: str) -> None:
        self._regions.new_class = name.strip()

    def _on_selected(self, _selected: QItemSelection, _deselected: QItemSelection) -> None:
        rows = self.list.selectionModel().selectedRows()
        self._regions.choose(self._region(index).id for index in rows)

    def _region(self, index: QModelIndex) -> Region:
        return self.table.region(self._sorted.mapToSource(index).row())

    def _on_choice(self) -> None:
        """Select in the table what is chosen in the view."""
        selection = QItemSelection()
        for region in self._regions.chosen:
            row = self.table.row_of(region.id)
            if row is not None:
                index = self._sorted.mapFromSource(self.table.index(row, 0))
                selection.select(index, index)
        model = self.list.selectionModel()
        model.blockSignals(True)  # the choice is where this came from
        flags = QItemSelectionModel.SelectionFlag
        model.select(selection, flags.ClearAndSelect | flags.Rows)
        model.blockSignals(False)
        self.list.viewport().update()
        if not selection.isEmpty():
            self.list.scrollTo(selection.indexes()[0])
        count = len(self._regions.chosen)
        for button, least in zip(self._buttons, (1, 2, 2, 1, 0), strict=True):
            button.setEnabled(self._regions.can_edit and count >= least)

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what happened while it was hidden."""
        super().showEvent(event)
        self._show_summary()

    def _show_summary(self) -> None:
        if not self.isVisible():
            return
        text = class_text(self._document)
        self._summary.setText(text)
        self._summary.setToolTip(plain_tip(text))

    def show_menu(self, at: QPoint) -> None:
        """Offer, at a point of the screen, what can be done with the chosen regions."""
        chosen = self._regions.chosen
        if not chosen:
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        classes = menu.addMenu("&Class")
        for name in self._known_classes():
            classes.addAction(name.replace("&", "&&") or "no class", partial(self.set_class, name))
        classes.addAction("Another …", self._ask_class)
        verdicts = menu.addMenu("&Verdict")
        for verdict in (*VERDICTS, ""):
            verdicts.addAction(verdict or "none", partial(self._regions.judge, verdict))
        for label, name, value in (
            ("Hide", "is_hidden", True),
            ("Show", "is_hidden", False),
            ("Lock", "is_locked", True),
            ("Unlock", "is_locked", False),
        ):
            if any(getattr(region, name) != value for region in chosen):
                menu.addAction(label, partial(self._set, f"{label} regions", **{name: value}))
        menu.addSeparator()
        for verb in self._mask_verbs():
            menu.addAction(f"{verb.text}\t{verb.keys}", verb.run)
        menu.addSeparator()
        for verb in self._verbs[1:7]:
            needs_several = verb.run in (self._unite, self._subtract)
            menu.addAction(verb.text, verb.run).setEnabled(len(chosen) > 1 or not needs_several)
        menu.popup(at)

    def set_class(self, name: str) -> None:
        """Give the chosen regions a class."""
        changed = [self._regions.classified(it, name) for it in self._regions.chosen]
        self._regions.edit("Change class", put=changed)

    def _set(self, label: str, **changes: Any) -> None:  # noqa: ANN401 - the fields of `Region`
        changed = [replace(region, **changes) for region in self._regions.chosen]
        self._regions.edit(label, put=changed)

    def _known_classes(self) -> list[str]:
        used = sorted({region.classification for region in self._regions.all})
        return list(dict.fromkeys(["", *self._regions.classes, *used]))

    def _ask_class(self) -> None:
        name, is_given = QInputDialog.getText(self, "Class", "Class of the chosen regions:")
        if is_given:
            self.set_class(name.strip())

    def _add_rectangle(self) -> None:
        """Put a region into the middle of the view: from there, keys move and stretch it."""
        if self._document.slide is None:
            return
        seen = self._document.camera.seen_l0
        side = min(seen.width(), seen.height()) * _SHARE_OF_VIEW / 2
        x, y = self._document.camera.centre.toTuple()
        corners = (x - side, y - side, x + side, y + side)
        self._regions.add("New rectangle", [rectangle(*corners)])

    def _zoom_to(self) -> None:
        boxes = [region.shape.bounds for region in self._regions.chosen]
        if boxes:
            left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
            right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
            self._document.look_at(QRectF(left, top, right - left, bottom - top))

    def _delete(self) -> None:
        """Delete the chosen regions, or the chosen measurements."""
        marks = self._regions.chosen_marks
        if marks:
            self._regions.edit_marks("Delete measurements", remove=[it.id for it in marks])
        else:
            self._regions.edit("Delete regions", remove=[it.id for it in self._regions.chosen])

    def _unite(self) -> None:
        """Make one region of the chosen ones: the first, or the first that has a class, says which.

        Where not all had this class, that is told; where they were judged differently, the whole
        is not judged.
        """
        chosen = self._regions.chosen
        if len(chosen) < 2:
            return
        said = next((it for it in chosen if it.classification), chosen[0])
        verdicts = {it.verdict for it in chosen}
        united = replace(
            chosen[0],
            shape=editing.unite([it.shape for it in chosen]),
            classification=said.classification,
            color=said.color,
            verdict=chosen[0].verdict if len(verdicts) == 1 else "",
            is_focus=False,
        )
        is_united = self._regions.edit(
            "Unite regions", put=[united], remove=[it.id for it in chosen[1:]]
        )
        others = {it.classification or "no class" for it in chosen} - {said.classification}
        if is_united and said.classification and others:
            self._document.noted.emit(
                f"United as {said.classification}; among them were: {', '.join(sorted(others))}."
            )
        elif is_united and len(verdicts) > 1:
            self._document.noted.emit("They were not all judged alike: the whole has no verdict.")

    def _subtract(self) -> None:
        chosen = self._regions.chosen
        if len(chosen) > 1:
            left = editing.subtract(chosen[0].shape, [it.shape for it in chosen[1:]])
            self._regions.reshape("Subtract regions", {chosen[0]: left})

    def _duplicate(self) -> None:
        step = 12 / self._document.camera.scale
        copies = [
            Region(f"{it.name} copy", it.shape.moved(step, step), it.classification, it.color)
            for it in self._regions.chosen
        ]
        if self._regions.edit("Duplicate regions", put=copies):
            self._regions.choose(region.id for region in copies)

    def _colour(self) -> None:
        chosen = self._regions.chosen
        if chosen:
            colour = QColorDialog.getColor(
                QColor(*chosen[0].drawn_rgb), self, "Colour of the regions"
            )
            if colour.isValid():
                rgb = (colour.red(), colour.green(), colour.blue())
                self._set("Change colour", color=rgb)

    def _choose_all(self) -> None:
        self._regions.choose(region.id for region in self._regions.all)

    def _on_read(self) -> None:
        if self._regions.can_edit:
            name, _ = QFileDialog.getOpenFileName(self, "Import regions", "", _READABLE)
            if name:
                self.ask_and_read(Path(name))

    def _on_write(self) -> None:
        path = self._document.path
        if path is not None and (self._regions.all or self._regions.marks):
            proposed = str(path.with_name(f"{results_name(path)}.geojson"))
            name, _ = QFileDialog.getSaveFileName(self, "Write regions", proposed, _WRITABLE)
            if name:
                self.write(Path(name))

    def _on_read_done(self, result: _Read) -> None:
        slide, regions, marks, notes = result
        if slide != self._document.path:
            self._document.noted.emit("The slide was closed before its regions were read.")
            return
        before = {region.id: region for region in self._regions.all}
        # A program that knows no verdicts takes none away.
        regions = [
            replace(it, verdict=was.verdict, note=it.note or was.note)
            if (was := before.get(it.id)) is not None and not it.verdict
            else it
            for it in regions
        ]
        known = {it.id for it in regions if it.id in before and it.agrees_with(before[it.id])}
        fresh = [it for it in regions if it.id not in known]
        marked = {it.id: it for it in self._regions.marks}
        new_marks = [it for it in marks if not it.agrees_with(marked.get(it.id))]
        replaced = sum(it.id in before for it in fresh) + sum(it.id in marked for it in new_marks)
        there = len(known) + len(marks) - len(new_marks)
        counts = [counted(len(fresh), "region")] if fresh or not new_marks else []
        counts += [counted(len(new_marks), "measurement")] if new_marks else []
        said = f"{' and '.join(counts)} imported"
        if replaced:
            said += f", {replaced:,} of them replaced"
        if there:
            said += f", {there:,} here already"
        if not fresh and not new_marks:
            said = "Nothing new: all of them were here already"
        elif not self._regions.take_in(fresh, new_marks):
            return
        self._regions.choose(region.id for region in regions)
        if not regions:
            self._regions.choose_marks(it.id for it in marks)
        self._document.noted.emit("; ".join([said, *notes]))
