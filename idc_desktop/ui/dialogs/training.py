"""Asks where training outlines go, and tells how patches are made of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget

from idc_desktop.export.training import TrainingOutlines, write_training_outlines
from idc_desktop.plain_text import counted
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.plain import MessageBox
from idc_desktop.ui.task import Task

_TITLE = "Training patches"
_MOST_CHARS = 600


class TrainingPatches:
    """Writes the reviewed regions of all slides in the list as outlines for the trainer.

    Parameters
    ----------
    slides : callable
        Returns the slides in the list.
    """

    def __init__(
        self, window: QWidget, document: SlideDocument, slides: Callable[[], list[Path]]
    ) -> None:
        self._window, self._document, self._slides = window, document, slides
        self.task = Task(window)
        self.task.succeeded.connect(self._tell)
        self.task.failed.connect(lambda error: document.noted.emit(str(error)))

    def ask(self) -> None:
        """Ask for a folder, and write."""
        name = QFileDialog.getExistingDirectory(
            self._window, "Folder for the outlines of training patches"
        )
        if name and not self.task.is_running:
            self.write(Path(name))

    def write(self, folder: Path) -> None:
        """Write in the background; what is drawn on the open slide counts as it is now."""
        document = self._document
        known = {} if document.path is None else {document.path: document.regions.all}
        work = partial(write_training_outlines, self._slides(), known, folder)
        self.task.start(work, may_hang=True)

    def _tell(self, found: TrainingOutlines) -> None:
        if not found.slides:
            text = (
                "No region of the slides in the list is reviewed. Give regions or foci a verdict, "
                "or a class."
            )
        else:
            text = (
                f"As outlines of {counted(len(found.slides), 'slide')} were written: "
                f"{counted(found.positive, 'region')} of IDC, {found.negative:,} of what is not. "
                "This command cuts their patches:"
            )
        box = MessageBox(QMessageBox.Icon.Information, _TITLE, text, parent=self._window)
        box.addButton(QMessageBox.StandardButton.Close)
        command = found.command
        if len(command) > _MOST_CHARS:  # it is copied whole
            command = f"{command[:_MOST_CHARS]} …"
        details = [command] if found.slides else []
        box.setInformativeText("\n\n".join([*details, *found.notes]))
        if found.slides:
            copy = box.addButton("Copy the command", QMessageBox.ButtonRole.ActionRole)
            copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(found.command))
            box.setDefaultButton(copy)
        box.open()
