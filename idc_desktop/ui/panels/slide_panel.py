"""The left-hand dock: the slides at hand, and what analyzes them all."""

from __future__ import annotations

from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from idc_desktop.ui.analysis_queue import AnalysisQueue
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.slide_list import SlideList
from idc_desktop.ui.plain import Label
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.verbs import Verb


class SlidePanel(QWidget):
    """The list, and below it the buttons of its analysis."""

    def __init__(
        self, document: SlideDocument, settings: Settings, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.queue = AnalysisQueue(document, self)
        self.list = SlideList(document, settings, self.queue)
        self.run_button = QPushButton()
        self.run_button.setToolTip(
            "Analyze the slides of the list, one after the other, with the model that is chosen"
        )
        self.run_button.clicked.connect(self.analyze_or_pause)
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("Analyze no more of them; what was analyzed is kept")
        self.stop_button.clicked.connect(self.queue.cancel)
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
        self.queue.changed.connect(self._show)
        for changed in (self.list.model().rowsInserted, self.list.model().rowsRemoved):
            changed.connect(self._show)
        self.list.model().modelReset.connect(self._show)
        self._show()

    def verbs(self) -> list[Verb | None]:
        """Return what can be done with all slides."""
        menu = "&Analysis"
        return [
            Verb(menu, "Analyze or pause a&ll slides", self.analyze_or_pause, "Ctrl+Shift+R"),
            Verb(menu, "&Stop analyzing all slides", self.queue.cancel, "Ctrl+Shift+."),
        ]

    def analyze_or_pause(self) -> None:
        """Analyze the slides of the list; pause that, or go on with it."""
        if not self.queue.is_active:
            self.queue.start(self.list.present())
        elif self.queue.is_paused:
            self.queue.resume()
        else:
            self.queue.pause()

    def close_readers(self) -> None:
        """End the processes that read slides of the list."""
        self.queue.cancel()
        self.list.close_readers()

    def _show(self) -> None:
        queue = self.queue
        words = "Resume all" if queue.is_paused else "Pause all"
        self.run_button.setText(words if queue.is_active else "Analyze all")
        self.run_button.setEnabled(queue.is_active or self.list.count() > 0)
        self.stop_button.setVisible(queue.is_active)
        self.count.setVisible(queue.is_active)
        self.count.setText(f"Slide {min(queue.finished + 1, queue.total)} of {queue.total}")
