"""Which project's slides are listed, and what can be done with projects."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QInputDialog,
    QLineEdit,
    QMenu,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from idc_desktop.plain_text import one_line
from idc_desktop.storage.project_files import PROJECT_SUFFIX, is_project
from idc_desktop.ui.listed_slides import ListedSlides
from idc_desktop.ui.plain import plain_tip
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.verbs import Verb

PROJECT_MENU = "&Slides>&Project"
"""The menu of what can be done with projects."""

_NONE = "No project"
_FILES = f"Projects (*{PROJECT_SUFFIX})"
_FRAME_PX = 44  # of a button with an arrow


class ProjectBar(QPushButton):
    """Names the project; its menu is that of the verbs.

    Parameters
    ----------
    selected : callable
        Returns the slides that are selected in the table.
    """

    def __init__(
        self,
        slides: ListedSlides,
        settings: Settings,
        selected: Callable[[], list[Path]],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._slides, self._settings, self._selected = slides, settings, selected
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        slides.project_changed.connect(self._show)
        self._show()

    def verbs(self) -> list[Verb | None]:
        """Return what can be done with projects."""
        slides, menu = self._slides, PROJECT_MENU

        def is_open() -> bool:
            return slides.project is not None

        return [
            Verb(menu, "&New project …", self.ask_new, "Ctrl+Shift+N"),
            Verb(menu, "&Open project …", self.ask_open, "Ctrl+J"),
            Verb(menu, "&Save the list as a project …", self.ask_save, "Ctrl+Shift+J"),
            Verb(menu, "&Put the selected slides into a project …", self.ask_put, "Ctrl+Shift+K"),
            Verb(menu, "&Rename the project …", self.ask_name, "Ctrl+Shift+M", can=is_open),
            Verb(menu, "&Close the project", slides.leave_project, "Ctrl+Shift+W", can=is_open),
        ]

    def take_menu(self, menu: QMenu, recent: QMenu) -> None:
        """Open this menu when clicked; the other one gets the recent projects."""
        self.setMenu(menu)
        recent.aboutToShow.connect(partial(self._offer_recent, recent))

    def ask_new(self) -> None:
        """Ask for a file, and list the new project, which has no slides."""
        path = self._asked("New project")
        if path is not None:
            self._slides.start_project(path)

    def ask_save(self) -> None:
        """Ask for a file, and make a project of the slides that are listed."""
        path = self._asked("Save the list as a project")
        if path is not None:
            self._slides.create_project(path, self._slides.paths())

    def ask_put(self) -> None:
        """Ask for a project, and add the slides that are selected in the table."""
        selected = self._selected()
        if selected:
            path = self._asked("Put the selected slides into a project", may_be_there=True)
            if path is not None:
                self._slides.put_into_project(selected, path)

    def ask_open(self) -> None:
        """Ask for a project, and list its slides."""
        name, _ = QFileDialog.getOpenFileName(self, "Open project", self._folder(), _FILES)
        if name:
            self._slides.open_project(Path(name))

    def ask_name(self) -> None:
        """Ask for another name of the project."""
        project = self._slides.project
        if project is not None:
            name, is_given = QInputDialog.getText(
                self, "Rename the project", "Name", QLineEdit.EchoMode.Normal, project.stem
            )
            if is_given and name.strip():
                self._slides.rename_project(name.strip())

    def sizeHint(self) -> QSize:
        """Need no room for the whole name."""
        return QSize(_FRAME_PX, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """Need no room for the whole name."""
        return self.sizeHint()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Show as much of the name as there is room for."""
        super().resizeEvent(event)
        self._show()

    def _show(self) -> None:
        project = self._slides.project
        name = _NONE if project is None else one_line(project.stem)
        room, end = self.width() - _FRAME_PX, Qt.TextElideMode.ElideRight
        self.setText(self.fontMetrics().elidedText(name, end, room).replace("&", "&&"))
        said = "The slides are in no project" if project is None else f"The project {name}"
        self.setAccessibleName(said)
        where = f"{said}: {project}." if project is not None else f"{said}."
        self.setToolTip(plain_tip(f"{where} A project is a list of slides in a file of its own."))

    def _asked(self, title: str, *, may_be_there: bool = False) -> Path | None:
        start = str(Path(self._folder()) / f"Project{PROJECT_SUFFIX}")
        adds = QFileDialog.Option.DontConfirmOverwrite
        options = adds if may_be_there else QFileDialog.Option(0)
        given, _ = QFileDialog.getSaveFileName(self, title, start, _FILES, "", options)
        if not given:
            return None
        path = Path(given)
        return path if is_project(path) else path.with_name(f"{path.name}{PROJECT_SUFFIX}")

    def _folder(self) -> str:
        """Return where projects are: that of the last one, else of the slides."""
        recent = self._settings.recent_projects
        near = Path(recent[0]) if recent else next(iter(self._slides.paths()), None)
        return str(Path.home() if near is None else near.parent)

    def _offer_recent(self, menu: QMenu) -> None:
        menu.clear()
        for number, name in enumerate(self._settings.recent_projects, start=1):
            path = Path(name)
            words = one_line(f"{path.stem}   ({path.parent})").replace("&", "&&")
            action = menu.addAction(f"&{number}  {words}" if number < 10 else words)
            action.setToolTip(plain_tip(words))
            action.triggered.connect(partial(self._slides.open_project, path))
        if menu.isEmpty():
            menu.addAction("None yet").setEnabled(False)


def ask_where(parent: QWidget, slides: ListedSlides, missing: Path) -> None:
    """Ask where a slide is that is missing; others that moved along with it are found, too."""
    start = next((str(it) for it in missing.parents if it.is_dir()), "")
    name, _ = QFileDialog.getOpenFileName(parent, f"Where is {one_line(missing.name)}?", start)
    if name:
        slides.point_to(missing, Path(name))
