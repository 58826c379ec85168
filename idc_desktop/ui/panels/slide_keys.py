"""The keys of a list of slides that would otherwise be shortcuts of the window."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QAbstractItemView

from idc_desktop.ui.document import SlideDocument


class SlideKeys(QObject):
    """Keeps Delete for the list, unless it is meant for regions, and "select all" where it can be.

    Parameters
    ----------
    view : QAbstractItemView
        Has the focus when a key is pressed.
    remove : callable
        Takes slides off the list.
    """

    def __init__(
        self, view: QAbstractItemView, document: SlideDocument, remove: Callable[[], object]
    ) -> None:
        super().__init__(view)
        self._document, self._remove = document, remove
        self._has_several = view.selectionMode() == view.SelectionMode.ExtendedSelection
        view.installEventFilter(self)

    def eventFilter(self, _view: QObject, event: QEvent) -> bool:
        """Take the keys that are meant for slides."""
        if not isinstance(event, QKeyEvent):
            return False
        is_delete = event.key() == Qt.Key.Key_Delete and not self._document.regions.chosen
        if event.type() == QEvent.Type.ShortcutOverride:
            is_all = self._has_several and event.matches(QKeySequence.StandardKey.SelectAll)
            if is_delete or is_all:
                event.accept()
                return True
        elif event.type() == QEvent.Type.KeyPress and event.key() == Qt.Key.Key_Delete:
            if is_delete:
                self._remove()
            return True
        return False
