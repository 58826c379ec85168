"""The left-hand dock: the slides at hand, and what analyzes them all."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.slide_list import SlideList
from idc_desktop.ui.plain import Label
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.slide_status import SlideStatuses
from idc_desktop.ui.verbs import Verb


class SlidePanel(QWidget):
    """The list, and below it the buttons of its analysis."""

    def __init__(
        self, document: SlideDocument, settings: Settings, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._runs = document.runs
        self.statuses = SlideStatuses(document, self)
        self.list = SlideList(document, settings, self.statuses)
        self.run_button = QPushButton()
        self.run_button.setToolTip(
            "Analyze the slides of the list, one after the other, with the model that is chosen"
        )
        self.run_button.clicked.connect(self.analyze_or_pause)
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("Analyze no more of them; what was analyzed is kept")
        self.stop_button.clicked.connect(self._runs.cancel_all)
        self.count = Label()
        row = QHBoxLayout()
        row.setContentsMargins(4, 0, 4, 4)
        row.addWidget(self.run_button, 1)
        row.addWidget(self.stop_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.list, 1)
        column.addWidget(self.count)
        column.addLayout(row)
        self.count.setContentsMargins(6, 0, 6, 0)
        self._runs.list_changed.connect(self._show)
        for changed in (self.list.model().rowsInserted, self.list.model().rowsRemoved):
            changed.connect(self._show)
        self.list.model().modelReset.connect(self._show)
        self._show()

    def verbs(self) -> list[Verb | None]:
        """Return what can be done with all slides."""
        menu = "&Analysis"
        return [
            Verb(menu, "Analyze or pause a&ll slides", self.analyze_or_pause, "Ctrl+Shift+R"),
            Verb(menu, "&Stop analyzing all slides", self._runs.cancel_all, "Ctrl+Shift+."),
        ]

    def analyze_or_pause(self) -> None:
        """Analyze the slides of the list; pause that, or go on with it."""
        runs = self._runs
        if not runs.is_active:
            runs.analyze_all(self.statuses.left_to_do(self.list.present()))
        elif runs.is_paused:
            runs.resume_all()
        else:
            runs.pause_all()

    def close_readers(self) -> None:
        """End the processes that read slides of the list."""
        self._runs.cancel_all()
        self.list.close_readers()

    def _show(self) -> None:
        runs = self._runs
        words = "Resume all" if runs.is_paused else "Pause all"
        self.run_button.setText(words if runs.is_active else "Analyze all")
        self.run_button.setEnabled(runs.is_active or self.list.count() > 0)
        self.stop_button.setVisible(runs.is_active)
        self.count.setVisible(runs.is_active)
        self.count.setText(f"Slide {min(runs.finished + 1, runs.total)} of {runs.total}")
