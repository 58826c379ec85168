"""The small pictures of the slides that are seen in a list; of thousands only those."""

from __future__ import annotations

import os
from collections import OrderedDict
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QSize, Qt, Signal
from PySide6.QtGui import QIcon, QImage, QPainter, QPixmap

from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.slide_status import SlideStatuses
from idc_desktop.ui.task import Task
from idc_desktop.ui.thumbnails import Thumbnails, kept_picture
from idc_desktop.ui.tiles.overview import loaded_top_tiles

ICON = QSize(84, 63)
_MOST = 150
_AT_ONCE = 16


class SlidePictures(QObject):
    """Has a picture for whoever paints a slide; what is not here yet is read, or made.

    A folder that does not answer delays no other.
    """

    changed = Signal(Path)
    """There is another picture of this slide."""

    def __init__(
        self, document: SlideDocument, statuses: SlideStatuses, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._document = document
        self._thumbnails = Thumbnails(self)
        self._thumbnails.made.connect(self._take)
        self._thumbnails.refused.connect(statuses.take_unreadable)
        self._icons: OrderedDict[Path, QIcon] = OrderedDict()  # the one seen last is the last
        self._blank = _icon_of(None)
        self._wanted: dict[Path, list[Path]] = {}  # by folder, the latest last
        self._is_kept = True
        document.slide_changed.connect(self._on_slide_changed)

    def of(self, slide: Path) -> QIcon:
        """Return the picture of a slide, an empty one as long as there is none."""
        icon = self._icons.get(slide)
        if icon is None:
            icon = self._icons[slide] = self._blank
            while len(self._icons) > _MOST:
                self._icons.popitem(last=False)
            self._want(slide)
        else:
            self._icons.move_to_end(slide)
        return icon

    def close(self) -> None:
        """End the process that makes pictures."""
        self._thumbnails.close()

    def _want(self, slide: Path) -> None:
        wanted = self._wanted.get(slide.parent)
        if wanted is None:
            self._wanted[slide.parent] = [slide]
            self._read(slide.parent)
        else:
            wanted.append(slide)

    def _read(self, folder: Path) -> None:
        """Read the pictures that were asked for last."""
        wanted = self._wanted[folder]
        if not wanted:
            del self._wanted[folder]
            return
        slides = wanted[-_AT_ONCE:]
        del wanted[-_AT_ONCE:]
        reading = Task(self)

        def on_read(found: list[tuple[bool, QImage | None]]) -> None:
            for slide, (exists, picture) in zip(slides, found, strict=True):
                if picture is not None:
                    self._take(slide, picture)
                elif exists and slide != self._document.path:
                    self._thumbnails.make(slide)
            self._read(folder)

        reading.succeeded.connect(on_read)
        reading.ended.connect(reading.deleteLater)
        reading.start(partial(_kept_pictures, slides), may_hang=True)

    def _take(self, slide: Path, picture: QImage) -> None:
        # Others that nobody asks for were scrolled away long ago; the open one's is made once.
        front = self._document.path
        if slide in self._icons or (front is not None and slide == front.absolute()):
            self._icons[slide] = _icon_of(picture)
            self.changed.emit(slide)

    def _on_slide_changed(self) -> None:
        tiles = self._document.tiles
        if tiles is not None:
            self._is_kept = False
            tiles.loaded.connect(self._on_loaded)

    def _on_loaded(self) -> None:
        document = self._document
        if self._is_kept or document.tiles is None or document.pyramid is None:
            return
        if loaded_top_tiles(document.pyramid, document.tiles) == len(document.pyramid.top_tiles()):
            self._is_kept = True
            assert document.path is not None
            self._thumbnails.keep(document.path.absolute(), document.pyramid, document.tiles)


def _kept_pictures(slides: list[Path]) -> list[tuple[bool, QImage | None]]:
    """Return whether each slide is there, and its picture if there is one."""
    return [(os.access(slide, os.F_OK), kept_picture(slide)) for slide in slides]


def _icon_of(picture: QImage | None) -> QIcon:
    """Return a picture in the middle of the icon's area, so that names stand in line."""
    canvas = QPixmap(ICON * 2)
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
    icon = QIcon(canvas)
    icon.addPixmap(canvas, QIcon.Mode.Selected)  # else it takes on the colour of the row
    return icon
