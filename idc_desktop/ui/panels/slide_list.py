"""The slides at hand: opened before, or added by folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PySide6.QtCore import (
    QEvent,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QIcon, QImage, QKeyEvent, QPainter, QPixmap, QUndoCommand
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QMenu, QWidget

from idc_desktop.cohorts.states import CohortFolder
from idc_desktop.plain_text import one_line
from idc_desktop.slides.slide_finder import slides_in
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.outcome import Outcome
from idc_desktop.ui.panels.slide_item import SlideItem
from idc_desktop.ui.plain import plain_tip
from idc_desktop.ui.settings import MAX_SLIDES, Settings
from idc_desktop.ui.slide_status import SlideStatus, SlideStatuses
from idc_desktop.ui.task import Task
from idc_desktop.ui.thumbnails import Thumbnails, kept_picture
from idc_desktop.ui.tiles.overview import loaded_top_tiles

_ICON = QSize(84, 63)
_LEAST_WIDTH = 160  # that says how far a slide is


def _all_slides_in(paths: list[Path]) -> tuple[list[Path], list[Path], list[str]]:
    """Return the slides and the cohorts that paths stand for, and what to say of the search."""
    slides: dict[Path, None] = {}
    cohorts: list[Path] = []
    notes: list[str] = []
    for path in paths:
        if CohortFolder(path).is_one:
            cohorts.append(path)
            continue
        try:
            found = slides_in(path, MAX_SLIDES)
        except OSError as error:
            notes.append(f"{path.name}: The folder cannot be read ({error.strerror}).")
        else:
            slides.update(dict.fromkeys(found.slides))
            notes += found.notes
    return list(slides), cohorts, notes


@dataclass(frozen=True)
class _Facts:
    """What a look at a slide's file, and at what is stored of it, finds."""

    path: Path
    exists: bool
    outcomes: dict[str, Outcome]
    picture: QImage | None


def _look_at(paths: list[Path]) -> list[_Facts]:
    return [
        _Facts(
            path,
            os.access(path, os.F_OK),  # unlike `Path.exists` it never raises
            Outcome.all_stored(path),
            kept_picture(path),
        )
        for path in paths
    ]


class _Removal(QUndoCommand):
    """A slide left the list: a step of the history."""

    def __init__(
        self, slide: Path, take_off: Callable[[], None], put_back: Callable[[], None]
    ) -> None:
        super().__init__(f"Take {one_line(slide.name)} off the list")
        self._take_off, self._put_back = take_off, put_back

    def undo(self) -> None:
        self._put_back()

    def redo(self) -> None:
        self._take_off()


class SlideList(QListWidget):
    """Thumbnails with names, and how far each slide is.

    A click opens the slide, Delete takes it off the list unless a region is chosen. Highlighted is
    the slide that is open or on its way. Files are looked at in other threads: on a share that does
    not answer this can take for ever.
    """

    refused = Signal(str)
    """There is nothing to open; carries the reason."""
    noted = Signal(str)
    """Not all that was asked for is in the list; carries the reason."""

    cohort_found = Signal(Path)
    """A folder that was opened holds the results of a cohort; carries it."""

    def __init__(
        self,
        document: SlideDocument,
        settings: Settings,
        statuses: SlideStatuses,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._document = document
        self._settings = settings
        self._statuses = statuses
        self._thumbnails = Thumbnails(self)
        self._thumbnails.made.connect(self._on_made)
        self._thumbnails.refused.connect(statuses.take_unreadable)
        self._is_thumbnail_kept = True
        self._exists: dict[Path, bool] = {}
        self._opening: Task | None = None
        self.setIconSize(_ICON)
        self.setMinimumWidth(_LEAST_WIDTH)
        self.setItemDelegate(SlideItem(self))
        self.setUniformItemSizes(True)
        self.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.setAccessibleName("Slides")
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._on_menu)
        self.itemClicked.connect(self._on_chosen)
        self.itemActivated.connect(self._on_chosen)
        document.slide_changed.connect(self._on_slide_changed)
        document.opening_changed.connect(self._mark_current)
        document.model_changed.connect(self._show_all)
        statuses.changed.connect(self._on_status)
        document.runs.list_changed.connect(self._show_all)
        self._fill()

    def sizeHint(self) -> QSize:
        """Prefer a narrow column."""
        return QSize(210, 400)

    def paths(self) -> list[Path]:
        """Return the slides in the list's order."""
        return [self._path(self.item(row)) for row in range(self.count())]

    def present(self) -> list[Path]:
        """Return the slides in the list's order, without those that are known to be gone."""
        return [path for path in self.paths() if self._exists.get(path, True)]

    def open(self, path: Path, mpp: float | None = None) -> None:
        """Open a slide; a folder of slides is added to the list and its first one opened."""
        self._open([path], mpp)

    def open_all(self, paths: list[Path]) -> None:
        """Open the first of some slides and folders; the others join the list."""
        if paths:
            self._open(paths, None)

    def _open(self, given: list[Path], mpp: float | None) -> None:
        # Without "..", but with symbolic links as they are: the slide keeps the name it was given.
        paths = [Path(os.path.abspath(path)) for path in given]  # noqa: PTH100
        opening = self._opening = Task(self)

        def on_found(found: tuple[list[Path], list[Path], list[str]]) -> None:
            slides, cohorts, notes = found
            for note in notes:
                (self.noted if slides else self.refused).emit(note)
            for cohort in cohorts:
                self.cohort_found.emit(cohort)
            if slides and (slides != paths or len(paths) > 1):
                self.add(slides)
            if slides and opening is self._opening:  # of several the last one counts
                self._document.open(slides[0], mpp)

        opening.succeeded.connect(on_found)
        opening.ended.connect(opening.deleteLater)
        opening.start(partial(_all_slides_in, paths), may_hang=True)

    def add(self, paths: list[Path]) -> None:
        """Put slides at the head of the list."""
        dropped = self._settings.add_slides(paths)
        self._settings.save()
        if dropped:
            self.noted.emit(
                f"The list has room for {MAX_SLIDES:,} slides: the last {dropped:,} left it."
            )
        self._fill()

    def step(self, by: int) -> None:
        """Open the slide that is `by` places further down the list."""
        front = self._front_row()
        row = min(max(front + by, 0), self.count() - 1)
        if 0 <= row != front:
            self._on_chosen(self.item(row))

    def _fill(self) -> None:
        """Follow the settings; what is here already stays as it is."""
        fresh = []
        here = {self._path(item): item for item in map(self.item, range(self.count()))}
        for place, path in enumerate(map(Path, self._settings.slides)):
            item = here.get(path)
            if item is None:
                item = QListWidgetItem()
                item.setData(Qt.ItemDataRole.UserRole, str(path))
                item.setSizeHint(QSize(0, _ICON.height() + 10))
                self._show_status(item)
                self._show_icon(item, None)
                fresh.append(path)
            elif self.row(item) != place:
                self.takeItem(self.row(item))
            else:
                continue
            self.insertItem(place, item)
        while self.count() > len(self._settings.slides):
            self.takeItem(self.count() - 1)
        self._mark_current()
        self._look(fresh)

    def _look(self, paths: list[Path]) -> None:
        """Find out what there is to know of slides; a folder that hangs delays no other."""
        for folder in {path.parent for path in paths}:
            looking = Task(self)
            looking.succeeded.connect(self._on_looked)
            looking.ended.connect(looking.deleteLater)
            beside = [path for path in paths if path.parent == folder]
            looking.start(partial(_look_at, beside), may_hang=True)

    def _on_looked(self, facts: list[_Facts]) -> None:
        for known in facts:
            path = known.path
            self._exists[path] = known.exists
            self._statuses.learn(path, known.outcomes)
            self._on_status(path)
            if known.picture is not None:
                self._on_made(path, known.picture)
            elif known.exists and path != self._document.path:
                self._thumbnails.make(path)

    def close_readers(self) -> None:
        """End the process that makes thumbnails."""
        self._thumbnails.close()

    def event(self, event: QEvent) -> bool:
        """Keep Delete for the list, unless it is meant for regions."""
        is_delete = isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Delete
        is_override = event.type() == QEvent.Type.ShortcutOverride
        if is_delete and is_override and not self._document.regions.chosen:
            event.accept()
            return True
        return super().event(event)

    def selectionCommand(
        self, index: QModelIndex | QPersistentModelIndex, event: QEvent | None = None
    ) -> QItemSelectionModel.SelectionFlag:
        """Let keys and buttons move the frame, not the highlight: that is of what is opened."""
        return QItemSelectionModel.SelectionFlag.NoUpdate

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Let Delete take a slide off the list."""
        if event.key() == Qt.Key.Key_Delete:
            if self.currentItem() is not None and not self._document.regions.chosen:
                self.remove(self._path(self.currentItem()))
        else:
            super().keyPressEvent(event)

    def _path(self, item: QListWidgetItem) -> Path:
        return Path(item.data(Qt.ItemDataRole.UserRole))

    def _on_chosen(self, item: QListWidgetItem) -> None:
        path, document = self._path(item), self._document
        self._opening = None  # whatever is looked for: this was chosen later
        if path != document.path or document.is_outdated:
            document.open(path)
        else:
            document.stay()
        self._mark_current()

    def _on_menu(self, at: QPoint) -> None:
        item = self.itemAt(at)
        if item is not None:
            menu = QMenu(self)
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            path = self._path(item)
            menu.addAction("Open", lambda: self._on_chosen(item))
            menu.aboutToHide.connect(self._mark_current)  # the click that asked for it moved it
            menu.addAction("Take off the list (the file stays)", lambda: self.remove(path))
            menu.popup(self.mapToGlobal(at))

    def remove(self, path: Path) -> None:
        """Take a slide off the list, which can be undone; if it is open, it is closed."""
        document, place = self._document, self.paths().index(path)
        was_open = path in (document.path, document.opening)
        problem = document.regions.settle() if path == document.path else ""
        if problem:
            document.unsaved.emit(problem, partial(self.remove, path), lambda: None)
            return
        if path == document.path:
            document.close()
        put_back = partial(self._put_back, path, place, opens=was_open)
        step = _Removal(path, partial(self._take_off, path), put_back)
        document.history.push(step)
        document.noted.emit(f"{path.name} is off the list. Undo puts it back.")

    def _take_off(self, path: Path) -> None:
        if path == self._document.opening:
            self._document.stay()
        self._document.runs.drop(path)
        self._settings.remove_slide(path)
        self._settings.save()
        self._fill()

    def _put_back(self, path: Path, place: int, *, opens: bool) -> None:
        self._settings.insert_slide(place, path)
        self._settings.save()
        self._fill()
        if opens:
            self._document.open(path)

    def _on_slide_changed(self) -> None:
        path, tiles = self._document.path, self._document.tiles
        if path is None or tiles is None:
            self.setCurrentRow(-1)
            return
        if str(path.absolute()) not in self._settings.slides:
            self.add([path])
        else:
            self._look([path.absolute()])
        self._mark_current()
        self._is_thumbnail_kept = False
        tiles.loaded.connect(self._on_loaded)

    def _mark_current(self) -> None:
        self.setCurrentRow(self._front_row())

    def _front_row(self) -> int:
        """Return the row of the slide that is open or on its way; -1 if there is none."""
        path, paths = self._document.opening or self._document.path, self.paths()
        is_here = path is not None and path.absolute() in paths
        return paths.index(path.absolute()) if path is not None and is_here else -1

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
        is_there = self._exists.get(path, True)
        status = self._statuses.of(path) if is_there else SlideStatus("not found")
        text = f"{one_line(path.name)}\n{one_line(status.words)}"
        tip = "\n".join(filter(None, (str(path), status.detail)))
        if (text, plain_tip(tip)) != (item.text(), item.toolTip()):
            item.setText(text)
            item.setToolTip(plain_tip(tip))
            colour = None if is_there else self.palette().placeholderText()
            item.setData(Qt.ItemDataRole.ForegroundRole, colour)

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
        icon = QIcon(canvas)
        icon.addPixmap(canvas, QIcon.Mode.Selected)  # else it takes on the colour of the row
        item.setIcon(icon)
