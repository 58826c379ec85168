"""Lies over the picture while it is not that of the slide that was chosen."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QRectF
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from idc_desktop.plain_text import one_line
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.view.guides import paint_notice

_SHADE = QColor(0, 0, 0, 110)


class Veil(QWidget):
    """Covers the view from the choice of another slide until that is shown, or cannot be.

    Meanwhile nothing can be done with the one below it.
    """

    def __init__(self, document: SlideDocument, view: QWidget) -> None:
        super().__init__(view)
        self._document = document
        self._view = view
        view.installEventFilter(self)
        document.opening_changed.connect(self._show)
        self._show()

    @property
    def text(self) -> str:
        """What stands on it."""
        opening = self._document.opening
        return f"Opening {one_line(opening.name)} …" if opening is not None else ""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Cover the view."""
        if event.type() == QEvent.Type.Resize:
            self.setGeometry(self._view.rect())
        return super().eventFilter(watched, event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Darken the picture and say what is on its way."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), _SHADE)
        paint_notice(painter, QRectF(self.rect()), self.text)
        painter.end()

    def mousePressEvent(self, _: QEvent) -> None:
        """Keep the mouse from the picture below."""

    def _show(self) -> None:
        self.setGeometry(self._view.rect())
        self.setVisible(self._document.is_leaving)
        self.raise_()
        self.update()
