"""The slides at hand as a table: what is known of each, to sort, to search and to act on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QItemSelection, QItemSelectionModel, QPoint, Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QLineEdit,
    QMenu,
    QPushButton,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from idc_desktop.plain_text import counted
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.listed_slides import ListedSlides
from idc_desktop.ui.panels.flow_layout import FlowLayout
from idc_desktop.ui.panels.project_bar import ask_where
from idc_desktop.ui.panels.slide_keys import SlideKeys
from idc_desktop.ui.plain import Label, plain_tip
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.slide_model import COLUMNS, SlideModel, slides_of
from idc_desktop.ui.slides_summary import failures_page, has_failed, write_slides
from idc_desktop.ui.task import Task
from idc_desktop.ui.verbs import Verb

_ROW_PX = 24
_LOOK_AFTER_MS = 200
_MENU = "&Slides"


class SlideTable(QWidget):
    """The table with what can be done with the slides that are selected in it.

    Double click or Enter opens a slide; what is selected stays so when it is sorted anew.
    """

    shown = Signal()
    """It is wanted to be seen."""
    failures_changed = Signal()
    """Something failed, or nothing any more (`has_failures`)."""
    export_asked = Signal(list)
    """Slides are to be exported; carries them."""
    page_asked = Signal(str, str)
    """Something is to be read; carries title and HTML."""

    def __init__(
        self,
        document: SlideDocument,
        slides: ListedSlides,
        model: SlideModel,
        settings: Settings,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._document, self._slides, self.rows = document, slides, model
        self._settings = settings
        self._selected: list[Path] = []  # while rows come and go
        self._writing = Task(self)
        self._writing.succeeded.connect(lambda said: document.noted.emit(said))
        self._writing.failed.connect(lambda error: slides.noted.emit(str(error)))
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search names, states, warnings, notes (Ctrl+F)")
        self.search.setAccessibleName("Search the slides")
        self.search.setClearButtonEnabled(True)
        self.search.setMinimumWidth(290)
        self.search.textChanged.connect(model.look_for)
        self.count = Label()
        self.view = _TableView()
        self.view.setModel(model)
        self.view.setAccessibleName("Table of slides")
        self.view.activated.connect(lambda index: slides.choose(model.slide(index.row())))
        self.view.customContextMenuRequested.connect(self._on_menu)
        SlideKeys(self.view, document, self.remove)
        for place, column in enumerate(COLUMNS):
            self.view.setColumnWidth(place, column.width)
        self._buttons: list[QPushButton] = []
        self._failures = QPushButton("What failed …")
        self.has_failures = False
        # States change by the thousand while files are looked at.
        self._looking = QTimer(self, singleShot=True, interval=_LOOK_AFTER_MS)
        self._looking.timeout.connect(self._look_for_failures)
        slides.statuses.changed.connect(self._look_soon)
        slides.changed.connect(self._look_soon)
        self._lay_out()
        model.modelAboutToBeReset.connect(self._keep_selected)
        model.modelReset.connect(self._select_again)
        model.filter_changed.connect(self._show)
        self.view.selectionModel().selectionChanged.connect(self._show)
        self._show()
        self._look_for_failures()

    def verbs(self) -> list[Verb | None]:
        """Return what can be done with slides of the table."""
        return [
            Verb(_MENU, "&Search the slides", self.start_search, "Ctrl+F"),
            Verb(_MENU, "&Analyze the selected slides", self.analyze, "Ctrl+Alt+R"),
            Verb(_MENU, "E&xport the selected slides …", self.export, "Ctrl+Shift+X"),
            Verb(_MENU, "&Take the selected slides off the list", self.remove),
            Verb(_MENU, "Find the &missing slide …", self.find_missing, "Ctrl+Shift+L"),
            Verb(_MENU, "&Order of the list", self.unsort),
            Verb(_MENU, "Save the table as &CSV …", self.ask_and_write, "Ctrl+Shift+E"),
            Verb(_MENU, "What &failed …", self.show_failures, can=lambda: self.has_failures),
        ]

    def selected(self) -> list[Path]:
        """Return the slides that are selected, from the top."""
        return slides_of(self.rows, self.view.selectionModel().selectedRows())

    def select(self, slides: list[Path]) -> None:
        """Select slides and no others, as far as they are shown."""
        selection = QItemSelection()
        for slide in slides:
            row = self.rows.row_of(slide)
            if row is not None:
                index = self.rows.index(row, 0)
                selection.select(index, index)
        flags = QItemSelectionModel.SelectionFlag
        self.view.selectionModel().select(selection, flags.ClearAndSelect | flags.Rows)

    def start_search(self) -> None:
        """Show the table and let a search be typed."""
        self.shown.emit()
        self.search.setFocus()
        self.search.selectAll()

    def unsort(self) -> None:
        """Show the slides in the order of the list, the one added last first."""
        self.view.sortByColumn(-1, Qt.SortOrder.AscendingOrder)

    def analyze(self) -> None:
        """Analyze the selected slides, as far as that is not done."""
        selected = self.selected()
        if selected:
            self._document.runs.analyze_all(self._slides.statuses.left_to_do(selected))

    def export(self) -> None:
        """Ask for the selected slides to be exported."""
        if self.selected():
            self.export_asked.emit(self.selected())

    def remove(self) -> None:
        """Take the selected slides off the list; their files stay."""
        self._slides.remove(self.selected())

    def find_missing(self) -> None:
        """Ask where the first of the selected slides is that is missing, if any is selected."""
        statuses = self._slides.statuses
        of = self.selected() or self._slides.paths()
        missing = next(filter(statuses.is_missing, of), None)
        if missing is None:
            self._document.noted.emit("No slide is missing.")
        else:
            ask_where(self, self._slides, missing)

    def ask_and_write(self) -> None:
        """Ask where the table goes: the selected rows if they are several, else all of it."""
        folder = Path(self._settings.export_folder)
        start = folder if folder.is_dir() else Path.home()
        name, _ = QFileDialog.getSaveFileName(
            self, "Save the table", str(start / "slides.csv"), "Tables (*.csv)"
        )
        if name:
            self.write(Path(name))

    def write(self, path: Path) -> None:
        """Write the table in the background, with the columns of ``cohort.csv``."""
        selected = self.selected()
        slides = selected if len(selected) > 1 else self.rows.slides()
        told = [(slide, self._slides.statuses.of(slide)) for slide in slides]

        def work() -> str:
            write_slides(path, told)
            return f"{counted(len(told), 'row')} written to {path}"

        self._writing.start(work)

    def show_failures(self) -> None:
        """Tell which slides failed, and why."""
        told = [(slide, self._slides.statuses.of(slide)) for slide in self._slides.paths()]
        self.page_asked.emit("What failed", failures_page(told))

    def _look_soon(self) -> None:
        if not self._looking.isActive():
            self._looking.start()

    def _look_for_failures(self) -> None:
        self.has_failures = any(has_failed(self.rows.status_of(it)) for it in self._slides.paths())
        self._failures.setEnabled(self.has_failures)
        self.failures_changed.emit()

    def _lay_out(self) -> None:
        row = FlowLayout()
        row.addWidget(self.search)
        self._add_button(row, "Analyze", "Analyze the selected slides (Ctrl+Alt+R)", self.analyze)
        self._add_button(row, "Export …", "Export the selected slides (Ctrl+Shift+X)", self.export)
        self._add_button(
            row, "Take off the list", "Their files stay, and it can be undone (Del)", self.remove
        )
        for button, tip, run in (
            (
                QPushButton("Save as CSV …"),
                "The selected rows if they are several, else all (Ctrl+Shift+E)",
                self.ask_and_write,
            ),
            (self._failures, "Which slides failed, and why", self.show_failures),
        ):
            button.setToolTip(plain_tip(tip))
            button.clicked.connect(run)
            row.addWidget(button)
        row.addWidget(self.count)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 6, 4)
        column.addLayout(row)
        column.addWidget(self.view, 1)

    def _add_button(self, row: FlowLayout, words: str, tip: str, run: Callable[[], object]) -> None:
        button = QPushButton(words)
        button.setToolTip(plain_tip(tip))
        button.clicked.connect(lambda _checked=False: run())
        row.addWidget(button)
        self._buttons.append(button)

    def _on_menu(self, at: QPoint) -> None:
        index = self.view.indexAt(at)
        if not index.isValid():
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        slide = self.rows.slide(index.row())
        menu.addAction("Open", lambda: self._slides.choose(slide))
        if self._slides.statuses.is_missing(slide):
            menu.addAction("Find it …", lambda: ask_where(self, self._slides, slide))
        for button in self._buttons:
            menu.addAction(button.text(), button.click)
        menu.popup(self.view.viewport().mapToGlobal(at))

    def _keep_selected(self) -> None:
        self._selected = self.selected()

    def _select_again(self) -> None:
        self.select(self._selected)

    def _show(self) -> None:
        shown, total = self.rows.rowCount(), len(self._slides)
        chosen = len(self.view.selectionModel().selectedRows())
        total_text = counted(total, "slide")
        text = total_text if shown == total else f"{shown:,} of {total_text}"
        self.count.setText(f"{text}, {chosen:,} selected" if chosen else text)
        for button in self._buttons:
            button.setEnabled(chosen > 0)


class _TableView(QTableView):
    def __init__(self) -> None:
        super().__init__()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setAlternatingRowColors(True)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW_PX)
        self.horizontalHeader().setSortIndicatorClearable(True)
        self.horizontalHeader().setHighlightSections(False)
        self.horizontalHeader().setStretchLastSection(True)
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
