"""The slides at hand: opened before, or added by folder."""

from __future__ import annotations

import os
from pathlib import Path

from PySide6.QtCore import QEvent, QPoint, QSize, Qt, Signal
from PySide6.QtGui import QIcon, QImage, QKeyEvent, QPainter, QPixmap
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QMenu, QWidget

from idc_desktop.ui.analysis_queue import AnalysisQueue, SlideStatus
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.thumbnails import Thumbnails
from idc_desktop.ui.tiles.overview import loaded_top_tiles

_ICON = QSize(84, 63)
_SUFFIXES = frozenset(
    (".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".bif", ".svslide", ".czi")
)
_MAX_FROM_FOLDER = 500


def slides_in(path: Path) -> list[Path]:
    """Return the slides that a path stands for: itself, or those right in the folder.

    A folder that holds DICOM files is one slide.
    """
    if not path.is_dir():
        return [path]
    names = sorted(entry.name for entry in os.scandir(path) if entry.is_file())
    if any(name.lower().endswith(".dcm") for name in names):
        return [path]
    slides = [path / name for name in names if Path(name).suffix.lower() in _SUFFIXES]
    return slides[:_MAX_FROM_FOLDER]


class SlideList(QListWidget):
    """Thumbnails with names, and how far each slide is.

    A click opens the slide, Delete takes it off the list.
    """

    refused = Signal(str)
    """A path holds no slide, or cannot be read; carries the reason."""

    def __init__(
        self,
        document: SlideDocument,
        settings: Settings,
        queue: AnalysisQueue,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._document = document
        self._settings = settings
        self._queue = queue
        self._thumbnails = Thumbnails(self)
        self._thumbnails.made.connect(self._on_made)
        self._is_thumbnail_kept = True
        self.setIconSize(_ICON)
        self.setWordWrap(True)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setUniformItemSizes(True)
        self.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.setAccessibleName("Slides")
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._on_menu)
        self.itemClicked.connect(self._on_chosen)
        self.itemActivated.connect(self._on_chosen)
        document.slide_changed.connect(self._on_slide_changed)
        document.model_changed.connect(self._show_all)
        queue.slide_changed.connect(self._on_status)
        self.fill()

    def sizeHint(self) -> QSize:
        """Prefer a narrow column."""
        return QSize(210, 400)

    def paths(self) -> list[Path]:
        """Return the slides in the list's order."""
        return [self._path(self.item(row)) for row in range(self.count())]

    def open(self, path: Path, mpp: float | None = None) -> None:
        """Open a slide; a folder of slides is added to the list and its first one opened."""
        # Without "..", but with symbolic links as they are: the slide keeps the name it was given.
        path = Path(os.path.abspath(path))  # noqa: PTH100
        slides = self._slides_in(path)
        if path.is_dir() and slides != [path]:
            self.add(slides)
        if slides:
            self._document.open(slides[0], mpp)

    def open_all(self, paths: list[Path]) -> None:
        """Open the first of some slides and folders; the others join the list."""
        if len(paths) > 1:
            self.add([slide for path in paths for slide in self._slides_in(path)])
        if paths:
            self.open(paths[0])

    def _slides_in(self, path: Path) -> list[Path]:
        """Return the slides that a path stands for; say so where there are none."""
        try:
            slides, why = slides_in(path), "There is no slide in this folder."
        except OSError as error:
            slides, why = [], f"The folder cannot be read ({error.strerror})."
        if not slides:
            self.refused.emit(f"{path.name}: {why}")
        return slides

    def add(self, paths: list[Path]) -> None:
        """Put slides at the head of the list."""
        self._settings.add_slides(paths)
        self._settings.save()
        self.fill()

    def step(self, by: int) -> None:
        """Open the slide that is `by` places further down the list."""
        row = min(max(self.currentRow() + by, 0), self.count() - 1)
        if 0 <= row != self.currentRow():
            self._on_chosen(self.item(row))

    def fill(self) -> None:
        """Show what the settings hold."""
        self.clear()
        for name in self._settings.slides:
            path = Path(name)
            item = QListWidgetItem()
            item.setData(Qt.ItemDataRole.UserRole, name)
            item.setSizeHint(QSize(0, _ICON.height() + 10))
            if not path.exists():
                item.setForeground(self.palette().placeholderText())
            self._show_status(item)
            self.addItem(item)
            is_open = self._document.path is not None and path == self._document.path
            self._show_icon(item, self._thumbnails.find(path, may_read=not is_open))
        self._mark_current()

    def close_readers(self) -> None:
        """End the process that makes thumbnails."""
        self._thumbnails.close()

    def event(self, event: QEvent) -> bool:
        """Keep Delete for the list, whatever it is a shortcut of."""
        is_delete = isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Delete
        if is_delete and event.type() == QEvent.Type.ShortcutOverride:
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Let Delete take a slide off the list."""
        if event.key() == Qt.Key.Key_Delete and self.currentItem() is not None:
            self._remove(self._path(self.currentItem()))
        else:
            super().keyPressEvent(event)

    def _path(self, item: QListWidgetItem) -> Path:
        return Path(item.data(Qt.ItemDataRole.UserRole))

    def _on_chosen(self, item: QListWidgetItem) -> None:
        path = self._path(item)
        if path != self._document.path or self._document.is_outdated:
            self.setCurrentItem(item)
            self.open(path)

    def _on_menu(self, at: QPoint) -> None:
        item = self.itemAt(at)
        if item is not None:
            menu = QMenu(self)
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            path = self._path(item)
            menu.addAction("Open", lambda: self.open(path))
            menu.addAction("Take off the list (the file stays)", lambda: self._remove(path))
            menu.popup(self.mapToGlobal(at))

    def _remove(self, path: Path) -> None:
        self._settings.remove_slide(path)
        self._settings.save()
        self.takeItem(self.paths().index(path))

    def _on_slide_changed(self) -> None:
        path, tiles = self._document.path, self._document.tiles
        if path is None or tiles is None:
            self.setCurrentRow(-1)
            return
        if str(path.absolute()) not in self._settings.slides:
            self.add([path])
        self._mark_current()
        self._is_thumbnail_kept = False
        tiles.loaded.connect(self._on_loaded)

    def _mark_current(self) -> None:
        path = self._document.path
        for row in range(self.count()):
            if path is not None and self._path(self.item(row)) == path.absolute():
                self.setCurrentRow(row)

    def _on_loaded(self) -> None:
        document = self._document
        if self._is_thumbnail_kept or document.tiles is None or document.pyramid is None:
            return
        if loaded_top_tiles(document.pyramid, document.tiles) == len(document.pyramid.top_tiles()):
            self._is_thumbnail_kept = True
            assert document.path is not None
            self._thumbnails.keep(document.path.absolute(), document.pyramid, document.tiles)

    def _show_all(self) -> None:
        for row in range(self.count()):
            self._show_status(self.item(row))

    def _on_status(self, path: Path) -> None:
        for row in range(self.count()):
            if self._path(self.item(row)) == path:
                self._show_status(self.item(row))

    def _show_status(self, item: QListWidgetItem) -> None:
        path = self._path(item)
        status = self._queue.status(path) if path.exists() else SlideStatus("not found")
        text = f"{path.name}\n{status.words}"
        tip = "\n".join(filter(None, (str(path), status.detail)))
        if (text, tip) != (item.text(), item.toolTip()):
            item.setText(text)
            item.setToolTip(tip)

    def _on_made(self, path: Path, picture: QImage) -> None:
        for row in range(self.count()):
            if self._path(self.item(row)) == path:
                self._show_icon(self.item(row), picture)

    def _show_icon(self, item: QListWidgetItem, picture: QImage | None) -> None:
        """Show a picture in the middle of the icon's area, so that names stand in line."""
        canvas = QPixmap(_ICON * 2)
        canvas.fill(Qt.GlobalColor.transparent)
        if picture is not None:
            scaled = picture.scaled(
                canvas.size(),
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
            painter = QPainter(canvas)
            left, top = canvas.width() - scaled.width(), canvas.height() - scaled.height()
            painter.drawImage(left // 2, top // 2, scaled)
            painter.end()
        item.setIcon(QIcon(canvas))
