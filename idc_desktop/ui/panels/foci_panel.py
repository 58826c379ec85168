"""The foci of the map: its connected positive areas, ranked, to step through and to judge."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from idc_desktop.plain_text import counted
from idc_desktop.regions.diameter import diameter_of
from idc_desktop.regions.foci import Focus, FocusRules, find_foci
from idc_desktop.regions.measures import area_text, mm2_text, mm_text
from idc_desktop.regions.shape import Verdict, class_rgb
from idc_desktop.regions.verdicts import verdicts_of
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.numbers import NumberField
from idc_desktop.ui.panels.flow_layout import FlowLayout
from idc_desktop.ui.panels.verdict_bar import REVIEW, VerdictBar, swatch
from idc_desktop.ui.plain import Label, plain_tip
from idc_desktop.ui.run import RunState
from idc_desktop.ui.task import Task
from idc_desktop.ui.verbs import Verb

_FIND_AFTER_MS = 250
_MOST_ROWS = 1_000
_USUAL_PATCH_MM2 = 0.16
_COLUMNS = {
    "Rank": "By area",
    "Area, mm²": "Of the outline, filled gaps included",
    "Max p": "Highest probability",
    "Mean p": "Mean probability by area, without filled gaps",
    "Longest, mm": "Its longest diameter, from corner to corner",
    "Verdict": "Of the regions that cover at least half of it; its note beside it",
}
_VERDICT = len(_COLUMNS) - 1


class FociPanel(QWidget):
    """Lists foci by area; choosing one takes the view there, and a verdict is given for it."""

    regions_made = Signal()
    """Regions were made of foci."""
    found = Signal()
    """The foci of a finished map are listed."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self.foci: list[Focus] = []
        self.verdicts: list[Verdict] = []
        self.verdict_bar = VerdictBar(document)
        self.verdict_bar.judged.connect(self._say_how_far)
        self._found = ""
        self._least = self._spin(_USUAL_PATCH_MM2, "Smaller foci are left out")
        self._patch_mm2 = self._least.value()  # as the field shows it
        self._hole = self._spin(0.0, "Gaps inside a focus up to this size are filled")
        self._neighbours = QComboBox()
        self._neighbours.addItem("sides and corners", 8)
        self._neighbours.addItem("sides only", 4)
        self._neighbours.setToolTip("Where two patches of one focus must touch")
        self._neighbours.currentIndexChanged.connect(self._find_soon)
        self._count = Label()
        self._make = QPushButton()
        self._make.setToolTip(
            "Turn the selected foci, or all if none is selected, into regions (Esc selects none)"
        )
        self._make.clicked.connect(self.make_regions)
        self.list = QTableWidget(0, len(_COLUMNS))
        for column, (title, tip) in enumerate(_COLUMNS.items()):
            header = QTableWidgetItem(title)
            header.setToolTip(plain_tip(tip))
            self.list.setHorizontalHeaderItem(column, header)
        self.list.verticalHeader().hide()
        self.list.verticalHeader().setDefaultSectionSize(24)
        self.list.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.list.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.list.setAlternatingRowColors(True)
        self.list.horizontalHeader().setStretchLastSection(True)  # notes are long
        self.list.setAccessibleName("Foci")
        self.list.currentCellChanged.connect(lambda row, *_: self._go_to(row))
        self.list.selectionModel().selectionChanged.connect(self._say_what_is_made)
        self._lay_out()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_FIND_AFTER_MS)
        self._timer.timeout.connect(self._find)
        self._finding = Task(self)
        self._finding.succeeded.connect(self._on_found)
        self._finding.ended.connect(self._on_ended)
        self._is_stale = False
        self._key: object = None
        for changed in (document.map_changed, document.display_changed, document.state_changed):
            changed.connect(self._find_soon)
        document.regions.changed.connect(self._show_verdicts)
        document.regions.pointed_out.connect(self._on_pointed_out)

    def verbs(self) -> list[Verb]:
        """Return the verbs for the menu."""
        return [
            Verb(REVIEW, "Ne&xt focus", lambda: self.step(1), "N"),
            Verb(REVIEW, "Pre&vious focus", lambda: self.step(-1), "Shift+N"),
            Verb(REVIEW, "Next focus that is not &judged", self.step_to_unjudged, "J"),
            *self.verdict_bar.verbs(),
            Verb("&Regions", "Make regions of the &foci", self.make_regions, "Ctrl+Shift+F"),
        ]

    def rules(self) -> FocusRules:
        """Return what counts as a focus."""
        least = self._least.value()
        return FocusRules(
            neighbours=self._neighbours.currentData(),
            min_area_um2=None if least == self._patch_mm2 else least * 1e6,
            max_hole_um2=self._hole.value() * 1e6,
        )

    def step(self, by: int) -> None:
        """Go to the next focus in rank, or the one before."""
        if self.list.rowCount():
            row = self.list.currentRow() + by if self.list.currentRow() >= 0 else 0
            self.list.setCurrentCell(row % self.list.rowCount(), 0)

    def step_to_unjudged(self) -> None:
        """Go to the next focus in rank that has no verdict yet."""
        count, current = len(self.foci), self.list.currentRow()
        rows = [(current + 1 + ahead) % count for ahead in range(count)]
        row = next((it for it in rows if not self.verdicts[it]), None)
        if row is not None:
            self.list.setCurrentCell(row, 0)
            self._go_to(row)  # also where it is the current one already
        elif count:
            self._document.noted.emit("All foci of the list are judged.")

    def leave(self) -> None:
        """Select no focus any more and point out none."""
        if self.list.currentRow() >= 0:
            self._document.noted.emit("")  # what was said of it
        self._document.regions.point_out()

    def _on_pointed_out(self, shape: object) -> None:
        if shape is None:
            self.list.clearSelection()
            self.list.setCurrentCell(-1, -1)

    def make_regions(self) -> None:
        """Make regions of the class IDC of the selected foci, or of all; but none twice."""
        regions = self._document.regions
        known = {region.shape for region in regions.all}
        shapes = [focus.shape for focus in self._chosen()]
        new = [shape for shape in shapes if shape not in known]
        if not new:
            if shapes:
                self._document.noted.emit("Nothing new: these foci are regions already")
        elif regions.add("Regions from the map", new, "IDC"):
            said = f"{counted(len(new), 'region')} made"
            if len(new) < len(shapes):
                said += f", {len(shapes) - len(new):,} here already"
            self._document.noted.emit(said)
            self.regions_made.emit()

    def _chosen(self) -> list[Focus]:
        rows = sorted({index.row() for index in self.list.selectionModel().selectedRows()})
        return [self.foci[row] for row in rows] or self.foci

    def _say_what_is_made(self) -> None:
        count = len(self._chosen())
        self._make.setText(f"Make {counted(count, 'region')}" if count else "Make regions")
        self._make.setEnabled(count > 0)

    def _spin(self, value: float, tip: str) -> NumberField:
        spin = NumberField()
        spin.setRange(0, 1_000)
        spin.setDecimals(2)
        spin.setSingleStep(_USUAL_PATCH_MM2)
        spin.setValue(value)
        spin.setSuffix(" mm²")
        spin.setToolTip(plain_tip(tip))
        spin.setKeyboardTracking(False)
        spin.valueChanged.connect(lambda _: self._find_soon())
        return spin

    def _lay_out(self) -> None:
        row = FlowLayout()
        row.add_named("At least", self._least)
        row.add_named("Fill gaps up to", self._hole)
        row.add_named("Touching by", self._neighbours)
        for words, by in (("◀  Previous", -1), ("Next  ▶", 1)):
            button = QPushButton(words)
            button.clicked.connect(lambda _checked=False, by=by: self.step(by))
            row.addWidget(button)
        row.addWidget(self._make)
        row.addWidget(self._count)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 6, 4)
        column.addLayout(row)
        column.addWidget(self.verdict_bar)
        column.addWidget(self.list, 1)
        self._say_what_is_made()

    def _find_soon(self) -> None:
        if not self._timer.isActive():
            self._timer.start()

    def _find(self) -> None:
        """Look for foci, once the map stands still; in the background."""
        document = self._document
        if (
            document.measured is None
            or document.mpp_xy is None
            or document.state is RunState.RUNNING
        ):
            self._key = None
            self._show([], [])
            return
        layer, mpp, threshold = document.measured, document.mpp_xy, document.threshold
        self._follow_patch(FocusRules().least_um2(layer.grid, mpp) / 1e6)
        current, name = layer.map, layer.name
        key = (current, current.version, name, document.state, threshold, self.rules())
        if key == self._key:
            return
        if self._finding.is_running:
            self._is_stale = True
            return
        self._key = key
        snapshot, rules = current.copy().layer(name), self.rules()

        is_whole = document.state is RunState.DONE

        def work() -> tuple[object, bool, list[Focus], list[float]]:
            foci = find_foci(snapshot, mpp, threshold, rules)
            longest = [diameter_of([it.shape], mpp).length for it in foci[:_MOST_ROWS]]
            return key, is_whole, foci, longest

        self._finding.start(work)

    def _follow_patch(self, patch_mm2: float) -> None:
        """Show the size of this map's patches, unless another smallest size was typed."""
        was_followed = self._least.value() == self._patch_mm2
        shown = self._least.value()
        with QSignalBlocker(self._least):
            for field in (self._least, self._hole):
                field.setSingleStep(patch_mm2)
            self._least.setValue(patch_mm2)
            self._patch_mm2 = self._least.value()
            if not was_followed:
                self._least.setValue(shown)

    def _on_found(self, found: tuple[object, bool, list[Focus], list[float]]) -> None:
        key, is_whole, foci, longest_um = found
        if key == self._key:  # else they are of another map or other rules
            self._show(foci, longest_um)
            if is_whole:
                self.found.emit()

    def _on_ended(self) -> None:
        if self._is_stale:
            self._is_stale = False
            self._find()

    def _show(self, foci: list[Focus], longest_um: list[float]) -> None:
        self.leave()
        self.foci, self.verdicts = foci[:_MOST_ROWS], [""] * len(longest_um)
        self.list.setRowCount(len(self.foci))
        for row, focus in enumerate(self.foci):
            texts = (
                f"{row + 1}",
                mm2_text(focus.area_um2),
                f"{focus.max_probability:.3f}",
                f"{focus.mean_probability:.3f}",
                mm_text(longest_um[row]),
            )
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.list.setItem(row, column, item)
            self.list.setItem(row, _VERDICT, QTableWidgetItem())
        area = sum(focus.area_um2 for focus in foci)
        self._found = (
            f"{counted(len(foci), 'focus', 'foci')}, {area_text(area)}" if foci else "No foci"
        )
        self._show_verdicts()
        self._say_what_is_made()

    def _show_verdicts(self) -> None:
        """Mark what is judged."""
        regions, grid = self._document.regions.all, self._document.grid
        if self.foci and grid is not None:
            self.verdicts = verdicts_of([it.shape for it in self.foci], regions, grid)
        notes = {it.shape: it.note for it in regions if it.note}
        for row, (focus, verdict) in enumerate(zip(self.foci, self.verdicts, strict=True)):
            item, note = self.list.item(row, _VERDICT), notes.get(focus.shape, "")
            text = ": ".join(filter(None, (verdict, " ".join(note.split()))))
            if item is not None and item.text() != text:
                item.setText(text)
                item.setIcon(swatch(class_rgb(verdict)) if verdict else QIcon())
                item.setToolTip(plain_tip(note))
        count = sum(map(bool, self.verdicts))
        self._count.setText(f"{self._found}, {count} judged" if count else self._found)

    def _say_how_far(self) -> None:
        """Say what a verdict has come to; the next one is a key away."""
        count = sum(map(bool, self.verdicts))
        if self._document.regions.focus is not None:
            self._document.noted.emit(
                f"{count} of {counted(len(self.foci), 'focus', 'foci')} judged. Next: J"
            )

    def _go_to(self, row: int) -> None:
        if 0 <= row < len(self.foci):
            focus = self.foci[row]
            self._document.regions.point_out(f"Focus {row + 1}", focus.shape)
            self._document.noted.emit(
                f"Focus {row + 1} of {len(self.foci)}: {area_text(focus.area_um2)}, "
                f"max p {focus.max_probability:.3f}, mean p {focus.mean_probability:.3f}"
            )
            left, top, right, bottom = self.foci[row].shape.bounds
            self._document.look_at(QRectF(left, top, right - left, bottom - top))
