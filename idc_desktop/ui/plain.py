"""Words on the screen that come from files: shown as they stand, never taken for markup.

Qt guesses whether a text is HTML, so that a slide's name could put a headline, a picture or a link
into the window. All labels, message boxes and tips are made with what is here.
"""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QHelpEvent
from PySide6.QtGui import Qt as QtText
from PySide6.QtWidgets import QLabel, QMessageBox, QProgressDialog, QToolTip, QWidget


class Label(QLabel):
    """A label without markup."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)


class MessageBox(QMessageBox):
    """A message without markup. Deleted when closed."""

    def __init__(
        self,
        icon: QMessageBox.Icon,
        title: str,
        text: str,
        buttons: QMessageBox.StandardButton = QMessageBox.StandardButton.NoButton,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(icon, title, "", buttons, parent)
        self._make_plain()
        self.setText(text)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

    def setInformativeText(self, text: str) -> None:
        """Show a second text below the first."""
        super().setInformativeText(text)
        self._make_plain()

    def _make_plain(self) -> None:
        # Label by label: that of the second text does not follow `setTextFormat` of the box.
        for label in self.findChildren(QLabel):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setOpenExternalLinks(False)


class ProgressDialog(QProgressDialog):
    """Tells how far something is, without markup. Stays until it is closed; then deleted."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, minimumDuration=0, autoClose=False, autoReset=False)
        self.setLabel(Label())
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)


def plain_tip(text: str) -> str:
    """Return what a tool tip must be given to show a text as it stands."""
    return QtText.convertFromPlainText(text) if QtText.mightBeRichText(text) else text


def show_tip(widget: QWidget, event: QHelpEvent, text: str) -> None:
    """Show a text as it stands beside the mouse, in answer to the event that asked for a tip."""
    QToolTip.showText(event.globalPos(), plain_tip(text), widget)
