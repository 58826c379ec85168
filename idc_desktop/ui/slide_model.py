"""The slides at hand as rows, sorted and filtered: what the list and the table show."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QFont, QGuiApplication, QPalette

from idc_desktop.plain_text import one_line
from idc_desktop.regions.measures import mm2_text
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.listed_slides import ListedSlides
from idc_desktop.ui.outcome import Details
from idc_desktop.ui.plain import plain_tip
from idc_desktop.ui.slide_pictures import SlidePictures
from idc_desktop.ui.slide_status import SlideStatus

_Index = QModelIndex | QPersistentModelIndex
_Value = str | float | None
_Ascending = Qt.SortOrder.AscendingOrder

PICTURE_ROLE = Qt.ItemDataRole.UserRole
"""Gives the picture of a slide (a QIcon)."""
WORDS_ROLE = Qt.ItemDataRole.UserRole + 1
"""Gives what a list says of a slide: how far it is, or its share of IDC."""

_SETTLE_MS = 400


def _detail(read: Callable[[Details], _Value]) -> Callable[[Path, SlideStatus], _Value]:
    """Return how to read what is empty as long as details are not known."""

    def value(_slide: Path, status: SlideStatus) -> _Value:
        details = status.outcome.details if status.outcome is not None else None
        return None if details is None else read(details)

    return value


def _idc_percent(_slide: Path, status: SlideStatus) -> _Value:
    outcome = status.outcome
    if outcome is None or outcome.idc_fraction is None:
        return None
    return 100 * outcome.idc_fraction


def _notes(_slide: Path, status: SlideStatus) -> _Value:
    details = status.outcome.details if status.outcome is not None else None
    return status.reason or (None if details is None else details.notes)


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes
    ----------
    value : callable
        What it is sorted by; None where it is not known.
    text : callable or None
        Writes its numbers; None where it holds texts, which stand as they are.
    width : int
        At first, pixels.
    """

    title: str
    tip: str
    value: Callable[[Path, SlideStatus], _Value]
    text: Callable[[float], str] | None = None
    width: int = 80


COLUMNS = (
    Column("Name", "The slide's file", lambda slide, _: slide.name, width=150),
    Column(
        "State", "How far it is with the model that is chosen", lambda _, it: it.state, width=100
    ),
    Column("Models", "Models that have analyzed it", lambda _, it: ", ".join(it.models), width=120),
    Column("IDC, %", "Share of IDC in the analyzed area", _idc_percent, "{:.1f}".format, 72),
    Column(
        "Accepted, mm²",
        "Area at or above the threshold that was judged IDC; empty before any verdict",
        _detail(lambda it: it.accepted_um2),
        mm2_text,
        104,
    ),
    Column(
        "Foci",
        "Connected areas at or above the threshold",
        _detail(lambda it: it.number("Foci")),
        "{:,.0f}".format,
        60,
    ),
    Column(
        "Largest, mm²",
        "Area of the largest focus",
        _detail(lambda it: it.number("Largest focus µm^2")),
        mm2_text,
        98,
    ),
    Column(
        "Judged",
        "How many of the foci have a verdict",
        _detail(lambda it: float(it.judged_foci)),
        "{:,.0f}".format,
        72,
    ),
    Column(
        "Failed",
        "Patches that could not be analyzed",
        lambda _, it: None if it.outcome is None else float(it.outcome.failed_patches),
        "{:,.0f}".format,
        66,
    ),
    Column(
        "Threshold",
        "At which the figures are",
        lambda _, it: None if it.outcome is None else it.outcome.threshold,
        "{:.3f}".format,
        88,
    ),
    Column("Warnings", "Why it failed, or what to know of the figures", _notes, width=130),
    Column("Note", "What was written about the slide", _detail(lambda it: it.note), width=120),
)
_NAME = 0
_SEARCHED = tuple(
    place
    for place, column in enumerate(COLUMNS)
    if column.title in ("Name", "State", "Warnings", "Note")
)


class SlideModel(QAbstractTableModel):
    """A row for each slide that is listed and found, in the order that was chosen.

    What is not known of a slide is empty. It sorts and filters itself: to compare the values of
    5,000 rows, Qt's own sorting model would ask for 120,000 of them, one by one, which takes
    longer than a click may.
    """

    filter_changed = Signal()
    """Something else is looked for, or more or fewer rows are shown."""

    def __init__(
        self,
        document: SlideDocument,
        slides: ListedSlides,
        pictures: SlidePictures,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._document, self._slides, self._pictures = document, slides, pictures
        self._shown: list[Path] = []
        self._rows: dict[Path, int] = {}
        self._known: dict[Path, SlideStatus] = {}  # what was asked for since it changed
        self._column, self._order = -1, _Ascending
        self._words: list[str] = []
        self.search = ""
        self._bold = QFont()
        self._bold.setBold(True)
        # States change by the thousand while files are looked at: what is in order is so soon.
        self._settling = QTimer(self, singleShot=True, interval=_SETTLE_MS)
        self._settling.timeout.connect(self._arrange)
        slides.changed.connect(self._arrange)
        slides.statuses.changed.connect(self._on_status)
        pictures.changed.connect(self._on_picture)
        document.model_changed.connect(self._show_all)
        document.slide_changed.connect(self._show_all)
        document.runs.list_changed.connect(self._show_all)
        self._arrange()

    def slide(self, row: int) -> Path:
        """Return the slide of a row."""
        return self._shown[row]

    def slides(self) -> list[Path]:
        """Return the slides of all rows."""
        return list(self._shown)

    def row_of(self, slide: Path) -> int | None:
        """Return the row of a slide; None if it is not shown."""
        return self._rows.get(slide)

    def status(self, row: int) -> SlideStatus:
        """Return how far the slide of a row is."""
        return self.status_of(self._shown[row])

    def look_for(self, text: str) -> None:
        """Show only slides in whose name, state, warnings or note each of the words is."""
        if text != self.search:
            self.search, self._words = text, text.casefold().split()
            self._arrange()

    def sort(self, column: int, order: Qt.SortOrder = _Ascending) -> None:
        """Sort by a column, what is not known last; -1 is the list's own order."""
        if (column, order) != (self._column, self._order):  # a view asks twice
            self._column, self._order = column, order
            self._arrange()

    def rowCount(self, parent: _Index | None = None) -> int:
        """Return the number of slides that are shown."""
        return 0 if parent is not None and parent.isValid() else len(self._shown)

    def columnCount(self, parent: _Index | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:  # noqa: ANN401 - whatever the role asks for
        """Return titles and tips."""
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return COLUMNS[section].title
            if role == Qt.ItemDataRole.ToolTipRole:
                return plain_tip(COLUMNS[section].tip)
            if role == Qt.ItemDataRole.TextAlignmentRole:
                return _alignment(COLUMNS[section])
        return None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: ANN401
        """Return what a cell shows."""
        slide, column = self._shown[index.row()], COLUMNS[index.column()]
        is_name = index.column() == _NAME
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(column)
        if role == Qt.ItemDataRole.FontRole:
            return self._bold if slide == self._slides.front else None
        if role == PICTURE_ROLE:
            return self._pictures.of(slide)
        roles = Qt.ItemDataRole
        if role not in (
            roles.DisplayRole,
            roles.ToolTipRole,
            roles.ForegroundRole,
            roles.AccessibleTextRole,
            WORDS_ROLE,
        ):
            return None
        status = self.status_of(slide)
        if role == roles.DisplayRole:
            return _text(column, slide, status)
        if role == roles.ForegroundRole:
            is_gone = self._slides.statuses.is_missing(slide)
            role_of_text = QPalette.ColorRole.PlaceholderText
            return QGuiApplication.palette().color(role_of_text) if is_gone else None
        if role == WORDS_ROLE:
            return one_line(status.words)
        if role == roles.AccessibleTextRole:
            words = f", {status.words}" if is_name else ""
            return _text(column, slide, status) + words
        if is_name:
            return plain_tip("\n".join(filter(None, (str(slide), status.detail))))
        return plain_tip(_text(column, slide, status))

    def status_of(self, slide: Path) -> SlideStatus:
        """Return how far a slide is, shown or not."""
        status = self._known.get(slide)
        if status is None:
            status = self._known[slide] = self._slides.statuses.of(slide)
        return status

    def _on_status(self, slide: Path) -> None:
        self._known.pop(slide, None)
        self._tell(slide)
        if (self._words or self._column >= 0) and not self._settling.isActive():
            self._settling.start()

    def _on_picture(self, slide: Path) -> None:
        self._tell(slide)

    def _tell(self, slide: Path) -> None:
        row = self._rows.get(slide)
        if row is not None:
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))

    def _show_all(self) -> None:
        self._known.clear()
        if self._shown:
            last = self.index(len(self._shown) - 1, len(COLUMNS) - 1)
            self.dataChanged.emit(self.index(0, 0), last)

    def _arrange(self) -> None:
        """Show what is looked for, in the order that was chosen."""
        self._settling.stop()
        found = self._in_order(self._found(self._slides.paths()))
        if found == self._shown:
            self.filter_changed.emit()
            return
        is_same = len(found) == len(self._shown) and self._rows.keys() == set(found)
        if is_same:
            self._rearrange(found)
        else:
            self.beginResetModel()
            self._take(found)
            self.endResetModel()
        self.filter_changed.emit()

    def _rearrange(self, found: list[Path]) -> None:
        """Put the same rows into another order; what is chosen of them stays so."""
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        slides = [self._shown[it.row()] for it in before]
        self._take(found)
        after = [
            self.index(self._rows[slide], it.column())
            for slide, it in zip(slides, before, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _take(self, found: list[Path]) -> None:
        self._shown = found
        self._rows = {slide: row for row, slide in enumerate(found)}

    def _found(self, slides: list[Path]) -> list[Path]:
        if not self._words:
            return slides
        return [slide for slide in slides if self._is_found(slide)]

    def _is_found(self, slide: Path) -> bool:
        status = self.status_of(slide)
        texts = (COLUMNS[place].value(slide, status) for place in _SEARCHED)
        whole = "\n".join(str(it) for it in texts if it).casefold()
        return all(word in whole for word in self._words)

    def _in_order(self, slides: list[Path]) -> list[Path]:
        if self._column < 0:
            return slides
        value = COLUMNS[self._column].value
        known: list[tuple[Any, Path]] = []
        unknown: list[Path] = []
        for slide in slides:
            found = value(slide, self.status_of(slide))
            if found is None or found == "":
                unknown.append(slide)
            else:
                known.append((found.casefold() if isinstance(found, str) else found, slide))
        known.sort(key=lambda it: it[0], reverse=self._order != _Ascending)
        return [slide for _, slide in known] + unknown


def slides_of(model: SlideModel, indexes: Iterable[QModelIndex]) -> list[Path]:
    """Return the slides of some rows, from the top."""
    return [model.slide(row) for row in sorted({it.row() for it in indexes})]


def _alignment(column: Column) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column.text else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter


def _text(column: Column, slide: Path, status: SlideStatus) -> str:
    value = column.value(slide, status)
    if value is None:
        return ""
    return one_line(str(value)) if column.text is None else column.text(float(value))
