"""What the view shows while no slide is open: what there is to do."""

from __future__ import annotations

import threading
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from idc_desktop.errors import AnalysisCancelledError
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.hand_over import HandOver
from idc_desktop.ui.plain import Label
from idc_desktop.ui.task import Task

_PHANTOM = "Or look around with a phantom: painted by this program, no patient, no tissue."
_OF_LIST = "Choose a slide on the left, open one, or drop one here."
_WIDTH = 460


class Welcome(QWidget):
    """Lies over the empty view: opens a slide, or makes the phantom in the background."""

    open_asked = Signal()
    """The user wants to choose a slide."""
    phantom_made = Signal(Path)
    """The phantom slide is there."""
    refused = Signal(str)
    """The phantom cannot be made; carries the reason."""

    def __init__(self, document: SlideDocument, view: QWidget) -> None:
        super().__init__(view)
        self._document = document
        self._view = view
        self._has_list = False
        self._stopped = threading.Event()
        self._task = Task(self)
        self._task.succeeded.connect(self.phantom_made)
        self._task.failed.connect(self._on_failed)
        self._task.ended.connect(self._show)
        self.message = Label()
        self.open_button = QPushButton("Open slide …")
        self.open_button.setObjectName("primary")
        self.open_button.clicked.connect(self.open_asked)
        self.phantom_button = QPushButton("Make a phantom slide")
        self.phantom_button.clicked.connect(self._make_phantom)
        self._hint = Label(_PHANTOM)
        self._progress = QProgressBar()
        self._progress.setRange(0, 100)
        self._progress.setFormat("Painting, %p %")
        self._progressed: HandOver[float] = HandOver(self._on_progressed)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self.open_button)
        buttons.addWidget(self.phantom_button)
        buttons.addStretch(1)
        column = QVBoxLayout(self)
        column.setSpacing(14)
        column.addStretch(1)
        for label in (self.message, self._hint):
            label.setWordWrap(True)
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        column.addWidget(self.message)
        column.addLayout(buttons)
        column.addWidget(self._hint)
        column.addWidget(self._progress, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(1)
        self._progress.setFixedWidth(_WIDTH // 2)
        view.installEventFilter(self)
        document.state_changed.connect(self._show)
        document.slide_changed.connect(self._show)
        self._show()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Cover the view."""
        if event.type() == QEvent.Type.Resize:
            self.setGeometry(self._view.rect())
        return super().eventFilter(watched, event)

    def stop(self) -> None:
        """Make no phantom any more; half a one is not kept."""
        self._stopped.set()

    def offer_list(self, is_offered: bool) -> None:
        """Say that there are slides to choose from, or no longer."""
        self._has_list = is_offered
        self._show()

    def _show(self) -> None:
        document, paints = self._document, self._task.is_running
        opens = document.opening is not None
        chooses = self._has_list and not opens and not document.refusal
        self.message.setText(_OF_LIST if chooses else document.message)
        self.open_button.setEnabled(not opens)
        self.phantom_button.setEnabled(not opens and not paints)
        self._progress.setVisible(paints)
        self._hint.setVisible(not paints)
        self.setVisible(document.slide is None)

    def _make_phantom(self) -> None:
        stopped, progressed = self._stopped, self._progressed

        def progress(part: float) -> None:
            if stopped.is_set():
                raise AnalysisCancelledError("The phantom slide was not finished.")
            progressed.put(part)

        def work() -> Path:
            # Imported here: the window starts without what paints.
            from idc_desktop.phantom.making import cache_folder, make_phantom

            return make_phantom(cache_folder(), progress).slide

        self._progress.setValue(0)
        self._task.start(work)
        self._show()

    def _on_progressed(self, part: float) -> None:
        self._progress.setValue(round(100 * part))

    def _on_failed(self, error: Exception) -> None:
        if not self._stopped.is_set():
            self.refused.emit(str(error))
