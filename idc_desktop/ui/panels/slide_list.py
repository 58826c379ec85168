"""The slides at hand, with pictures."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import (
    QEvent,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QSize,
    Qt,
)
from PySide6.QtWidgets import QAbstractItemView, QListView, QMenu, QWidget

from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.listed_slides import ListedSlides
from idc_desktop.ui.panels.project_bar import ask_where
from idc_desktop.ui.panels.slide_item import SlideItem
from idc_desktop.ui.panels.slide_keys import SlideKeys
from idc_desktop.ui.slide_model import SlideModel
from idc_desktop.ui.slide_pictures import ICON

_Index = QModelIndex | QPersistentModelIndex

_LEAST_WIDTH = 160  # that says how far a slide is


class SlideList(QListView):
    """Thumbnails with names, and how far each slide is.

    A click opens the slide, Delete takes it off the list unless a region is chosen. Highlighted is
    the slide that is open or on its way.
    """

    def __init__(
        self,
        document: SlideDocument,
        slides: ListedSlides,
        model: SlideModel,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._slides, self._rows = slides, model
        self.setModel(model)
        self.setIconSize(ICON)
        self.setMinimumWidth(_LEAST_WIDTH)
        self.setItemDelegate(SlideItem(self))
        self.setUniformItemSizes(True)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setAccessibleName("Slides")
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._on_menu)
        self.clicked.connect(self._on_chosen)
        self.activated.connect(self._on_chosen)
        SlideKeys(self, document, self._remove)
        document.slide_changed.connect(self._mark_current)
        document.opening_changed.connect(self._mark_current)
        model.modelReset.connect(self._mark_current)
        self._mark_current()

    def sizeHint(self) -> QSize:
        """Prefer a narrow column."""
        return QSize(210, 400)

    def dataChanged(self, first: _Index, last: _Index, roles: Sequence[int] | None = None) -> None:
        """Paint what changed; Qt would lay out all rows anew, which are alike, each time."""
        QAbstractItemView.dataChanged(self, first, last, roles or [])

    def step(self, by: int) -> None:
        """Open the slide that is `by` places further down the list."""
        front = self._front_row()
        row = min(max(front + by, 0), self._rows.rowCount() - 1)
        if 0 <= row != front:
            self._on_chosen(self._rows.index(row, 0))

    def selectionCommand(
        self, index: QModelIndex | QPersistentModelIndex, event: QEvent | None = None
    ) -> QItemSelectionModel.SelectionFlag:
        """Let keys and buttons move the frame, not the highlight: that is of what is opened."""
        return QItemSelectionModel.SelectionFlag.NoUpdate

    def _remove(self) -> None:
        if self.currentIndex().isValid():
            self._slides.remove([self._rows.slide(self.currentIndex().row())])

    def _on_chosen(self, index: QModelIndex) -> None:
        self._slides.choose(self._rows.slide(index.row()))
        self._mark_current()

    def _on_menu(self, at: QPoint) -> None:
        index = self.indexAt(at)
        if index.isValid():
            menu = QMenu(self)
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            slide = self._rows.slide(index.row())
            menu.addAction("Open", lambda: self._slides.choose(slide))
            if self._slides.statuses.is_missing(slide):
                menu.addAction("Find it …", lambda: ask_where(self, self._slides, slide))
            menu.aboutToHide.connect(self._mark_current)  # the click that asked for it moved it
            menu.addAction(
                "Take off the list (the file stays)", lambda: self._slides.remove([slide])
            )
            menu.popup(self.mapToGlobal(at))

    def _mark_current(self) -> None:
        flags = QItemSelectionModel.SelectionFlag
        index = self._rows.index(self._front_row(), 0)
        self.selectionModel().setCurrentIndex(index, flags.ClearAndSelect)
        if not index.isValid():
            self.clearSelection()

    def _front_row(self) -> int:
        """Return the row of the slide that is open or on its way; -1 if there is none."""
        front = self._slides.front
        row = None if front is None else self._rows.row_of(front)
        return -1 if row is None else row
