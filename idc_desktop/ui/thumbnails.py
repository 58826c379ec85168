"""Small pictures of slides for the list, made one by one and kept in the user's data folder."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QSize, QSizeF, Qt, QTimer, Signal
from PySide6.QtGui import QImage

from idc_desktop.errors import OutputError
from idc_desktop.slides.description import SlideDescription
from idc_desktop.storage.user_data import PRIVATE_FILE, data_folder, make_folder
from idc_desktop.ui.pictures import save_picture
from idc_desktop.ui.task import Task
from idc_desktop.ui.tiles.loader import TileLoader
from idc_desktop.ui.tiles.overview import loaded_top_tiles, paint_overview
from idc_desktop.ui.tiles.pyramid import TilePyramid

_LARGEST = QSizeF(160, 120)
_AFTER_MS = 1_500  # the slide that is being opened goes first
_PATIENCE_MS = 15_000
_MOST_KEPT = 2_000  # pictures of 20 KB


class Thumbnails(QObject):
    """Makes the pictures of slides, and reads a slide for that in a process of its own."""

    made = Signal(Path, QImage)
    """A picture is there."""
    refused = Signal(Path, str)
    """A slide cannot be read; carries the reason."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: list[Path] = []
        self._tiles: TileLoader | None = None
        self._pyramid: TilePyramid | None = None
        self._path = Path()
        self._start = QTimer(self)
        self._start.setSingleShot(True)
        self._start.setInterval(_AFTER_MS)
        self._start.timeout.connect(self._next)
        self._deadline = QTimer(self)
        self._deadline.setSingleShot(True)
        self._deadline.setInterval(_PATIENCE_MS)
        self._deadline.timeout.connect(self._next)

    def make(self, path: Path) -> None:
        """Read a slide for its picture when its turn comes; `made` tells."""
        if path in self._waiting:
            self._waiting.remove(path)
        self._waiting.append(path)
        if self._tiles is None:
            self._start.start()

    def keep(self, path: Path, pyramid: TilePyramid, tiles: TileLoader) -> None:
        """Store the picture of a slide whose coarsest tiles are here, in the background."""
        size = pyramid.area_l0.size().scaled(_LARGEST, Qt.AspectRatioMode.KeepAspectRatio)
        picture = paint_overview(pyramid, tiles, size.toSize().expandedTo(QSize(1, 1)))

        def save() -> None:
            with contextlib.suppress(OSError, OutputError):  # it is made again next time
                target = _file(path)
                make_folder(target.parent)
                save_picture(picture, target, PRIVATE_FILE)
                _forget_oldest(target.parent)

        saving = Task(self)
        saving.ended.connect(saving.deleteLater)
        saving.start(save, may_hang=True)
        self.made.emit(path, picture)

    def close(self) -> None:
        """Stop reading."""
        self._waiting.clear()
        self._start.stop()
        self._next()

    def _next(self) -> None:
        self._deadline.stop()
        if self._tiles is not None:
            self._tiles.close()
            self._tiles.deleteLater()
        self._tiles, self._pyramid = None, None
        if self._waiting:
            self._path = self._waiting.pop()  # asked for last: it is being looked at
            self._tiles = TileLoader(str(self._path), None, self)
            self._tiles.opened.connect(self._on_opened)
            self._tiles.refused.connect(self._on_refused)
            self._tiles.loaded.connect(self._on_loaded)
            self._deadline.start()

    def _on_opened(self, description: SlideDescription) -> None:
        if self._tiles is not None:
            self._pyramid = TilePyramid(description)
            self._tiles.want(self, self._pyramid.top_tiles())

    def _on_refused(self, reason: str) -> None:
        self.refused.emit(self._path, reason)
        self._next()

    def _on_loaded(self) -> None:
        tiles, pyramid = self._tiles, self._pyramid
        if tiles is None or pyramid is None:
            return
        if loaded_top_tiles(pyramid, tiles) == len(pyramid.top_tiles()):
            self.keep(self._path, pyramid, tiles)
            self._next()


def kept_picture(path: Path) -> QImage | None:
    """Return the stored picture of a slide as it is now, if there is one; for any thread."""
    try:
        picture = QImage(str(_file(path)))
    except OSError:  # no such slide
        return None
    return None if picture.isNull() else picture


def _forget_oldest(folder: Path) -> None:
    """Bound the folder: what a slide was before it changed is never asked for again."""
    pictures = sorted(folder.glob("*.png"), key=lambda it: it.stat().st_mtime_ns)
    for picture in pictures[:-_MOST_KEPT]:
        picture.unlink(missing_ok=True)


def fetch_picture(path: Path, parent: QObject, take: Callable[[QImage | None], None]) -> None:
    """Look for the stored picture of a slide in the background, for the window's thread."""
    looking = Task(parent)
    looking.succeeded.connect(take)
    looking.ended.connect(looking.deleteLater)
    looking.start(partial(kept_picture, path), may_hang=True)


def _file(path: Path) -> Path:
    """Return where a slide's picture is.

    The name tells nothing of the slide, and is another one for another file in its place. Raises
    `OSError` if there is no such slide; can take for ever where its disk does not answer.
    """
    about = path.stat()
    stamp = (about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    key = f"{path.absolute()}\n{stamp}".encode("utf-8", "surrogateescape")
    return data_folder() / "thumbnails" / f"{hashlib.sha256(key).hexdigest()[:32]}.png"
