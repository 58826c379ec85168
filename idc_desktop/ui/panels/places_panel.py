"""The places of the slide that are worth coming back to, as a list."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QWidget

from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.verb_row import lay_out_below_verbs
from idc_desktop.ui.verbs import Verb

_MENU = "&View>&Places"


class PlacesPanel(QWidget):
    """Lists, names and forgets places; choosing one takes the view there."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document, self._places = document, document.places
        self.list = _List()
        self.list.setAccessibleName("Places")
        self.list.setAlternatingRowColors(True)
        self.list.itemChanged.connect(self._on_renamed)
        self.list.itemClicked.connect(self._go_to)
        self.list.itemActivated.connect(self._go_to)
        self.list.removed.connect(self._remove)
        hint = "Enter goes there, F2 changes the name, Del forgets it."
        lay_out_below_verbs(self, self.verbs(), hint, self.list)
        self._places.changed.connect(self._show)
        self._show()

    def verbs(self) -> list[Verb]:
        """Return the verbs for the menu."""
        return [
            Verb(_MENU, "&Keep this place", self._add, "Ctrl+B"),
            Verb(_MENU, "&Next place", lambda: self._places.step(1), "Alt+Right"),
            Verb(_MENU, "&Previous place", lambda: self._places.step(-1), "Alt+Left"),
        ]

    def _add(self) -> None:
        if self._document.slide is not None:
            self._places.add()
            self._document.noted.emit(f"{self._places.all[-1].name} is kept.")

    def _go_to(self, item: QListWidgetItem) -> None:
        self._places.go_to(self.list.row(item))

    def _remove(self) -> None:
        if self.list.currentRow() >= 0:
            self._places.remove(self.list.currentRow())

    def _on_renamed(self, item: QListWidgetItem) -> None:
        number, name = self.list.row(item), item.text()

        def rename() -> None:
            self._places.rename(number, name)
            self._show()  # an empty name is none

        QTimer.singleShot(0, self, rename)  # the list is not to change while it is edited

    def _show(self) -> None:
        names = [place.name for place in self._places.all]
        row = self.list.currentRow() if self._places.current is None else self._places.current
        self.list.blockSignals(True)
        if names != [self.list.item(number).text() for number in range(self.list.count())]:
            self.list.clear()
            for name in names:
                item = QListWidgetItem(name)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
                self.list.addItem(item)
        self.list.setCurrentRow(min(row, len(names) - 1))
        self.list.blockSignals(False)


class _List(QListWidget):
    """Takes the key that elsewhere deletes regions."""

    removed = Signal()
    """The chosen place is to be forgotten."""

    def event(self, event: QEvent) -> bool:
        """Claim that key while this has the focus."""
        is_key = isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Delete
        if is_key and event.type() == QEvent.Type.ShortcutOverride:
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Forget what is chosen by that key."""
        if event.key() == Qt.Key.Key_Delete:
            self.removed.emit()
        else:
            super().keyPressEvent(event)
