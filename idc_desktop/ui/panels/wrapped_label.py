"""A label whose text may take several lines."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QWidget

from idc_desktop.ui.plain import Label


class WrappedLabel(Label):
    """Takes the height that its text needs; a plain label in a form is cut off."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def setText(self, text: str) -> None:
        """Show another text."""
        super().setText(text)
        self._fit_soon()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Take the height for the new width."""
        super().resizeEvent(event)
        self._fit_soon()

    def _fit_soon(self) -> None:
        # Not at once: a layout that is just placing its widgets does not hear of it.
        QTimer.singleShot(0, self, self._fit)

    def _fit(self) -> None:
        self.setFixedHeight(max(0, self.heightForWidth(self.width())))
