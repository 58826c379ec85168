"""The regions as a table: names, classes and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
    QTimer,
)

from idc_desktop.regions.diameter import diameter_of
from idc_desktop.regions.measures import mm2_text, mm_text
from idc_desktop.regions.shape import VERDICTS, Region
from idc_desktop.regions.statistics import RegionMeter, RegionStatistics
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.verdict_bar import swatch
from idc_desktop.ui.plain import plain_tip

_MEASURE_AFTER_MS = 40
_MOST_ACCEPTED = 300  # of more regions, what they have in common would be felt while drawing
_Index = QModelIndex | QPersistentModelIndex
_Figure = Callable[[RegionStatistics], float | None]

SORT_ROLE = Qt.ItemDataRole.UserRole
"""Gives what a column is sorted by."""


@dataclass(frozen=True)
class _Column:
    title: str
    tip: str
    figure: _Figure | None = None
    text: Callable[[float], str] = str


_COLUMNS = (
    _Column("Name", "Double click to rename"),
    _Column("Class", "Double click to change"),
    _Column("Verdict", "What it was judged to be: IDC, DCIS, benign, artefact or unsure"),
    _Column("Note", "Double click to write"),
    _Column("Shown", "Whether it is painted; its figures stay"),
    _Column("Locked", "Whether it is safe from changes"),
    _Column("Area, mm²", "The region's own area", text=mm2_text),
    _Column("Longest, mm", "Its longest diameter, from corner to corner", text=mm_text),
    _Column(
        "IDC, mm²",
        "Area of its patches at or above the threshold",
        lambda it: it.idc_area_um2,
        mm2_text,
    ),
    _Column(
        "Accepted, mm²",
        "IDC area in what was judged IDC, in it",
        text=mm2_text,
    ),
    _Column(
        "IDC, % of analyzed",
        "Share of IDC in its analyzed area",
        lambda it: None if it.idc_fraction is None else 100 * it.idc_fraction,
        "{:.1f}".format,
    ),
    _Column("Mean p", "Mean probability by area", lambda it: it.mean_probability, "{:.3f}".format),
    _Column("Max p", "Highest probability", lambda it: it.max_probability, "{:.3f}".format),
    _Column(
        "Patches",
        "Analyzed patches with their centre in it",
        lambda it: it.patches_analyzed,
        "{:,}".format,
    ),
    _Column(
        "Coverage, %",
        "Share of it that was analyzed",
        lambda it: it.coverage_percent,
        "{:.1f}".format,
    ),
)
_NAME, _CLASS, VERDICT, _NOTE, _SHOWN, _LOCKED, _AREA, _LONGEST, _IDC, _ACCEPTED = range(10)
_TEXTS = {_NAME: "name", _CLASS: "classification", VERDICT: "verdict", _NOTE: "note"}
_NO_CLASS = "no class"
_UNDEFINED = "–"

WITHIN_IDC = (
    "It lies within a larger area judged IDC, which counts whole. Subtract it there (Shift+U), or "
    "judge the area otherwise."
)
"""What to know of an area judged otherwise."""


class RegionTable(QAbstractTableModel):
    """A row for each region; figures follow the map and the threshold."""

    def __init__(self, document: SlideDocument, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._regions: tuple[Region, ...] = ()
        self._rows: dict[str, int] = {}
        self._figures: list[RegionStatistics] = []
        self._accepted: list[float | None] = []
        self._meter: RegionMeter | None = None
        # Several changes in a row are measured once.
        self._measuring = QTimer(self)
        self._measuring.setSingleShot(True)
        self._measuring.setInterval(_MEASURE_AFTER_MS)
        self._measuring.timeout.connect(self._measure)
        document.regions.changed.connect(self._on_changed)
        document.map_changed.connect(self._measure_soon)
        document.display_changed.connect(self._measure_soon)
        self._on_changed()

    def region(self, row: int) -> Region:
        """Return the region of a row."""
        return self._regions[row]

    def row_of(self, identifier: str) -> int | None:
        """Return the row of a region's id."""
        return self._rows.get(identifier)

    def rowCount(self, parent: _Index | None = None) -> int:
        """Return the number of regions."""
        return 0 if parent is not None and parent.isValid() else len(self._regions)

    def columnCount(self, parent: _Index | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(_COLUMNS)

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:  # noqa: ANN401 - whatever the role asks for
        """Return titles and tips."""
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return _COLUMNS[section].title
            if role == Qt.ItemDataRole.ToolTipRole:
                return plain_tip(_COLUMNS[section].tip)
        return None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: ANN401
        """Return what a cell shows."""
        region, column = self._regions[index.row()], index.column()
        if role == SORT_ROLE:
            return self._sort_value(index.row(), column)
        if role == Qt.ItemDataRole.DisplayRole and column == _CLASS and not region.classification:
            return _NO_CLASS
        if role == Qt.ItemDataRole.DisplayRole and column == VERDICT:
            return f"{region.verdict}{self._conflict(region)}"
        if role == Qt.ItemDataRole.ToolTipRole and column == VERDICT and self._conflict(region):
            return plain_tip(WITHIN_IDC)
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return self._text(index.row(), column)
        if role == Qt.ItemDataRole.CheckStateRole and column in (_SHOWN, _LOCKED):
            is_on = region.is_locked if column == _LOCKED else not region.is_hidden
            return Qt.CheckState.Checked if is_on else Qt.CheckState.Unchecked
        if role == Qt.ItemDataRole.DecorationRole and column == _CLASS:
            is_seen = region.classification or not region.verdict
            return swatch(region.drawn_rgb) if is_seen else None
        if role == Qt.ItemDataRole.DecorationRole and column == VERDICT and region.verdict:
            return swatch(region.rgb)
        if role == Qt.ItemDataRole.ToolTipRole and column == _NOTE:
            return plain_tip(region.note)
        if role == Qt.ItemDataRole.TextAlignmentRole and column >= _AREA:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def setData(
        self,
        index: _Index,
        value: Any,  # noqa: ANN401 - whatever the editor gives
        role: int = Qt.ItemDataRole.EditRole,
    ) -> bool:
        """Rename, change the class, show, hide, lock or unlock."""
        region, column = self._regions[index.row()], index.column()
        is_on = (
            Qt.CheckState(value) == Qt.CheckState.Checked if column in (_SHOWN, _LOCKED) else False
        )
        if column == _NAME and str(value).strip():
            label, changed = "Rename region", replace(region, name=str(value).strip())
        elif column == _CLASS:
            label = "Change class"
            changed = self._document.regions.classified(region, str(value).strip())
        elif column == VERDICT and value in ("", *VERDICTS) and not region.changes_mask:
            label, changed = f"Verdict {value}".strip(), replace(region, verdict=value)
        elif column == _NOTE:
            label, changed = "Note", replace(region, note=str(value).strip())
        elif column == _SHOWN:
            label, changed = "Show or hide region", replace(region, is_hidden=not is_on)
        elif column == _LOCKED:
            label, changed = "Lock or unlock region", replace(region, is_locked=is_on)
        else:
            return False
        return self._document.regions.edit(label, put=[changed])

    def flags(self, index: _Index) -> Qt.ItemFlag:
        """Say what can be done with a cell."""
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if index.column() in _TEXTS:
            flags |= Qt.ItemFlag.ItemIsEditable
        if index.column() in (_SHOWN, _LOCKED):
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        return flags

    def _text(self, row: int, column: int) -> str:
        region = self._regions[row]
        if column in _TEXTS:
            return str(getattr(region, _TEXTS[column]))
        if column < _AREA or (column > _LONGEST and row >= len(self._figures)):
            return ""
        value = self._figure(row, column)
        return _UNDEFINED if value is None else _COLUMNS[column].text(value)

    def _conflict(self, region: Region) -> str:
        is_one = region.verdict and region.id in self._document.regions.accepted.conflicts
        return ", within IDC" if is_one else ""

    def _figure(self, row: int, column: int) -> float | None:
        if column in (_AREA, _LONGEST):  # need no map
            mpp, shape = self._document.mpp_xy, self._regions[row].shape
            if mpp is None:
                return None
            if column == _LONGEST:
                return diameter_of([shape], mpp).length
            return shape.area_px * mpp[0] * mpp[1]
        if column == _ACCEPTED:
            return self._accepted[row] if row < len(self._accepted) else None
        figure = _COLUMNS[column].figure
        return figure(self._figures[row]) if figure and row < len(self._figures) else None

    def _sort_value(self, row: int, column: int) -> float | str:
        region = self._regions[row]
        if column in _TEXTS:
            return self._text(row, column).casefold()
        if column in (_SHOWN, _LOCKED):
            return float(region.is_locked if column == _LOCKED else region.is_hidden)
        value = self._figure(row, column)
        return -1.0 if value is None else value

    def _on_changed(self) -> None:
        regions = self._document.regions.all
        if [it.id for it in regions] == [it.id for it in self._regions]:
            before, self._regions = self._regions, regions
            self._announce(before, regions)
        else:
            self.beginResetModel()
            self._regions, self._figures, self._accepted = regions, [], []
            self._rows = {region.id: row for row, region in enumerate(regions)}
            self.endResetModel()
        self._measure_soon()

    def _measure_soon(self) -> None:
        if not self._measuring.isActive():  # else a long drag would put it off to its end
            self._measuring.start()

    def _measure(self) -> None:
        document = self._document
        before = [*zip_longest(self._figures, self._accepted)]
        self._figures, self._accepted = [], []
        if document.meter is not None:
            shapes = [region.shape for region in self._regions]
            self._figures = document.meter.measure(shapes, document.threshold)
            self._accepted = self._measure_accepted(document.meter)
        self._announce(before, [*zip_longest(self._figures, self._accepted)])

    def _measure_accepted(self, meter: RegionMeter) -> list[float | None]:
        accepted = self._document.regions.accepted
        if len(self._regions) > _MOST_ACCEPTED:
            return []
        # Its own meter: the document's keeps what it was asked about last.
        if self._meter is None or self._meter.layer.stored is not meter.layer.stored:
            self._meter = RegionMeter(meter.layer, meter.mpp)
        return accepted.areas_um2(self._regions, self._meter, self._document.threshold)

    def _announce(self, before: Sequence[object], after: Sequence[object]) -> None:
        """Tell which rows are others, from the first to the last: most edits change one."""
        rows = [row for row, pair in enumerate(zip_longest(before, after)) if pair[0] != pair[1]]
        if rows and self._regions:
            last = min(rows[-1], len(self._regions) - 1)
            self.dataChanged.emit(self.index(rows[0], 0), self.index(last, len(_COLUMNS) - 1))
