"""Labels that fit the width that there is."""

from __future__ import annotations

import re

from PySide6.QtCore import QEvent, QSize, Qt, QTimer
from PySide6.QtGui import QHelpEvent, QResizeEvent
from PySide6.QtWidgets import QWidget

from idc_desktop.ui.plain import Label, show_tip


class WrappedLabel(Label):
    """Takes the height that its text needs; a plain label in a form is cut off.

    A word that is wider than the label, such as a name, is shortened in its middle; the tip has
    the whole text. So no name makes a panel wider than its dock.
    """

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        self._text = text
        super().__init__(text, parent)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def setText(self, text: str) -> None:
        """Show another text; the same one stays as it is laid out."""
        if text == self._text:
            return
        self._text = text
        super().setText(text)
        self._fit_soon()

    def text(self) -> str:
        """Return the whole text."""
        return self._text

    def minimumSizeHint(self) -> QSize:
        """Be content with any width."""
        return QSize(1, super().minimumSizeHint().height())

    def event(self, event: QEvent) -> bool:
        """Show the whole text where the label shows less."""
        if isinstance(event, QHelpEvent) and super().text() != self._text:
            show_tip(self, event, self._text)
            return True
        return super().event(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Take the height for the new width."""
        super().resizeEvent(event)
        self._fit_soon()

    def _fit_soon(self) -> None:
        # Not at once: a layout that is just placing its widgets does not hear of it.
        QTimer.singleShot(0, self, self._fit)

    def _fit(self) -> None:
        width, metrics, middle = self.width(), self.fontMetrics(), Qt.TextElideMode.ElideMiddle
        shown = re.sub(r"\S+", lambda it: metrics.elidedText(it[0], middle, width), self._text)
        if shown != super().text():
            super().setText(shown)
        self.setFixedHeight(max(0, self.heightForWidth(self.width())))
