"""The slides of a cohort and how far each is, followed while a command is at work on them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from idc_desktop.cohorts.states import STATUSES, CohortFolder, SlideState
from idc_desktop.plain_text import counted, one_line
from idc_desktop.regions.measures import mm2_text
from idc_desktop.ui.plain import Label, plain_tip
from idc_desktop.ui.screen import resize_within_screen
from idc_desktop.ui.task import Task

_COLUMNS = ("Slide", "Group", "Status", "IDC %", "IDC mm²", "Foci", "Notes and errors")
_WIDTHS = (220, 80, 70, 60, 70, 50)  # the last one takes what is left
_FIRST_NUMBER, _LAST_NUMBER = 3, 5
_LOOK_EVERY_MS = 2000


@dataclass(frozen=True)
class _Entry:
    """A slide: its file, if that is told, and what became of it."""

    slide: Path | None
    state: SlideState


class _Reader:
    """Reads a cohort again and again, and of the states only those that are new."""

    def __init__(self, folder: Path) -> None:
        self._folder = CohortFolder(folder)
        self._stamps: dict[str, int] = {}
        self._states: dict[str, SlideState] = {}

    def read(self) -> list[_Entry]:
        stamps = self._folder.stamps()
        for slide_id in stamps.items() - self._stamps.items():
            state = self._folder.state(slide_id[0])
            if state is not None:
                self._states[slide_id[0]] = replace(state, thumbnail="")
        self._stamps = stamps
        states = {it: state for it, state in self._states.items() if it in stamps}
        entries = []
        for listed in self._folder.listed():
            pending = SlideState(listed.image, "pending", "", "")
            state = replace(states.pop(listed.id, pending), group=listed.group)
            place = None if listed.place is None else self._folder.out / listed.place
            entries.append(_Entry(place, state))
        entries += [_Entry(None, it) for it in states.values()]
        return sorted(entries, key=lambda it: it.state.image)


class CohortDialog(QDialog):
    """A row for each slide, from the files that the command keeps; nothing is changed here.

    Deleted when closed.
    """

    chosen = Signal(Path)
    """A slide is to be opened."""

    def __init__(self, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Cohort {one_line(folder.name)}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._reader = _Reader(folder)
        self._entries: list[_Entry] = []
        self.summary = Label("Reading …")
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.horizontalHeader().setStretchLastSection(True)
        self.table.setWordWrap(False)
        for column, width in enumerate(_WIDTHS):
            self.table.setColumnWidth(column, width)
        self.table.setAccessibleName("Slides of the cohort")
        self.table.itemActivated.connect(self._open)
        self.table.itemSelectionChanged.connect(self._on_selected)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.opening = buttons.addButton("Open slide", QDialogButtonBox.ButtonRole.ActionRole)
        self.opening.setEnabled(False)
        self.opening.clicked.connect(self._open)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.summary)
        layout.addWidget(self.table, 1)
        layout.addWidget(buttons)
        resize_within_screen(self, 900, 520)
        self._reading = Task(self)
        self._reading.succeeded.connect(self._show)
        self._clock = QTimer(self)
        self._clock.setInterval(_LOOK_EVERY_MS)
        self._clock.timeout.connect(self._read)
        self._clock.start()
        self._read()

    def _read(self) -> None:
        if not self._reading.is_running:  # a share may take its time
            self._reading.start(self._reader.read, may_hang=True)

    def _show(self, entries: list[_Entry]) -> None:
        """Follow what is new; the selection stays."""
        counts = Counter(it.state.status for it in entries)
        told = ", ".join(f"{counts[it]:,} {it}" for it in STATUSES if counts[it])
        self.summary.setText(
            f"{counted(len(entries), 'slide')}: {told}" if entries else "No slides."
        )
        before, self._entries = self._entries, entries
        self.table.setRowCount(len(entries))
        for row, entry in enumerate(entries):
            if row >= len(before) or before[row] != entry:
                self._fill(row, entry)
        self._on_selected()

    def _fill(self, row: int, entry: _Entry) -> None:
        state = entry.state
        remarks = one_line(" ".join(filter(None, (state.error, state.notes))))
        head = (one_line(state.image), one_line(state.group), state.status)
        for column, text in enumerate((*head, *_figures(state), remarks)):
            item = QTableWidgetItem(text)
            item.setToolTip(plain_tip(text))
            if _FIRST_NUMBER <= column <= _LAST_NUMBER:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.table.setItem(row, column, item)

    def _on_selected(self) -> None:
        self.opening.setEnabled(self._selected() is not None)

    def _selected(self) -> Path | None:
        rows = {it.row() for it in self.table.selectedItems()}
        return self._entries[rows.pop()].slide if rows else None

    def _open(self) -> None:
        slide = self._selected()
        if slide is not None:
            self.chosen.emit(slide)


def _figures(state: SlideState) -> tuple[str, str, str]:
    """Return share and area of IDC, and the number of foci; empty where there are none."""
    figures = state.figures or {}
    try:
        fraction, area = figures.get("IDC fraction"), figures.get("IDC area µm^2")
        return (
            f"{100 * float(fraction):.1f}" if fraction else "",
            mm2_text(float(area)) if area else "",
            figures.get("Foci", ""),
        )
    except ValueError:  # written by another version, or by nobody of ours
        return "", "", ""
