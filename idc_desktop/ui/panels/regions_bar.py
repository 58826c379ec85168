"""Says that the regions of the slide cannot be had, as long as they cannot."""

from __future__ import annotations

from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QWidget

from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.plain import Label


class RegionsBar(QFrame):
    """Lies over the view while the regions are in another window or cannot be read."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._regions = document.regions
        self.setObjectName("notice")
        self._reason = Label()
        self._reason.setWordWrap(True)
        self._again = QPushButton("Try again")
        self._again.clicked.connect(self._regions.try_again)
        row = QHBoxLayout(self)
        row.addWidget(self._reason, 1)
        row.addWidget(self._again)
        self._regions.changed.connect(self._show)
        document.slide_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        self._reason.setText(
            "The regions, threshold and view that are kept of this slide are not shown, and what "
            f"you change is not kept. {self._regions.refusal}"
        )
        self.setVisible(bool(self._regions.refusal))
