"""The slides at hand, in two views, and what analyzes them all."""

from __future__ import annotations

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from idc_desktop.plain_text import counted
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.listed_slides import ListedSlides
from idc_desktop.ui.panels.project_bar import ProjectBar
from idc_desktop.ui.panels.slide_list import SlideList
from idc_desktop.ui.panels.slide_table import SlideTable
from idc_desktop.ui.plain import Label
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.slide_model import SlideModel
from idc_desktop.ui.slide_pictures import SlidePictures
from idc_desktop.ui.slide_status import SlideStatuses
from idc_desktop.ui.time_left import TimeLeft
from idc_desktop.ui.verbs import Verb

_TELL_EVERY_MS = 2_000
_COMPARE_AFTER_MS = 1_000


class SlidePanel(QWidget):
    """The list, above it the project, and below it the buttons of its analysis.

    Attributes
    ----------
    slides : ListedSlides
    statuses : SlideStatuses
    rows : SlideModel
        What the list and the table show.
    list : SlideList
    table : SlideTable
        Stands elsewhere in the window.
    projects : ProjectBar
    """

    def __init__(
        self, document: SlideDocument, settings: Settings, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._document, self._runs = document, document.runs
        self.statuses = SlideStatuses(document, self)
        self.slides = ListedSlides(document, settings, self.statuses, self)
        self.pictures = SlidePictures(document, self.statuses, self)
        self.rows = SlideModel(document, self.slides, self.pictures, self)
        self.list = SlideList(document, self.slides, self.rows)
        self.table = SlideTable(document, self.slides, self.rows, settings)
        self.projects = ProjectBar(self.slides, settings, self.table.selected)
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
        head = QHBoxLayout()
        head.setContentsMargins(4, 4, 4, 0)
        head.addWidget(self.projects)
        column.addLayout(head)
        column.addWidget(self.list, 1)
        column.addWidget(self.count)
        column.addLayout(row)
        self.count.setContentsMargins(6, 0, 6, 0)
        self.count.setWordWrap(True)
        self._time = TimeLeft()
        self._telling = QTimer(self, interval=_TELL_EVERY_MS)
        self._telling.timeout.connect(self._show_count)
        self._shared = document.display.common
        self._comparing = QTimer(self, singleShot=True, interval=_COMPARE_AFTER_MS)
        self._comparing.timeout.connect(self._compare)
        document.display_changed.connect(self._on_display)
        self._runs.list_changed.connect(self._show)
        self.slides.changed.connect(self._show)
        self._show()

    def verbs(self) -> list[Verb | None]:
        """Return what can be done with all slides."""
        menu = "&Analysis"
        return [
            Verb(menu, "Analyze or pause a&ll slides", self.analyze_or_pause, "Ctrl+Shift+R"),
            Verb(menu, "&Stop analyzing all slides", self._runs.cancel_all, "Ctrl+Shift+."),
            *self.projects.verbs(),
            *self.table.verbs(),
            Verb(
                "&Slides",
                "One threshold for all sl&ides",
                lambda: self._document.share_threshold(self._document.display.common is None),
                is_on=lambda: self._document.display.common is not None,
            ),
        ]

    def analyze_or_pause(self) -> None:
        """Analyze the slides of the list; pause that, or go on with it."""
        runs = self._runs
        if not runs.is_active:
            runs.analyze_all(self.statuses.left_to_do(self.slides.present()))
        elif runs.is_paused:
            runs.resume_all()
        else:
            runs.pause_all()

    def _on_display(self) -> None:
        if self._document.display.common != self._shared:
            self._shared = self._document.display.common
            self._comparing.start()

    def _compare(self) -> None:
        """Tell how many slides were measured at another threshold than all are to have."""
        slides = [it for it in self.slides.paths() if self.statuses.of(it).outcome is not None]
        count = len(self.statuses.left_to_do(slides))
        if count:
            self._document.noted.emit(
                f"Measured at another threshold: {count:,} of {counted(len(slides), 'slide')}. "
                "Analyze all measures them at this one."
            )

    def close_readers(self) -> None:
        """End the processes that read slides of the list, and what is at work on it."""
        self._runs.cancel_all()
        self.slides.close()
        self.pictures.close()

    def _show(self) -> None:
        runs = self._runs
        words = "Resume all" if runs.is_paused else "Pause all"
        self.run_button.setText(words if runs.is_active else "Analyze all")
        self.run_button.setEnabled(runs.is_active or len(self.slides) > 0)
        self.stop_button.setVisible(runs.is_active)
        self.count.setVisible(runs.is_active)
        self._time.work(runs.is_active and not runs.is_paused)
        if runs.is_active:
            self._telling.start()
        else:
            self._time.begin()
            self._telling.stop()
        self._show_count()

    def _show_count(self) -> None:
        runs = self._runs
        text = f"Slide {min(runs.finished + 1, runs.total)} of {runs.total}"
        left = "" if runs.is_paused else self._time.text(runs.done, runs.total)
        self.count.setText(f"{text}, {left}" if left else text)
