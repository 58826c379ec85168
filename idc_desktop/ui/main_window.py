"""The main window: the view, the docks and the verbs, and the wiring between them."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from PySide6.QtCore import QByteArray, QEvent, QPointF, Qt, QThreadPool
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import (
    QDockWidget,
    QFileDialog,
    QMainWindow,
    QMessageBox,
    QVBoxLayout,
    QWidget,
)

from idc_desktop.model_file import bundled_models
from idc_desktop.ui.dialogs.associated import AssociatedDialog
from idc_desktop.ui.dialogs.failures import FailuresDialog
from idc_desktop.ui.dialogs.pages import card_page, provenance_page, shortcuts_page
from idc_desktop.ui.dialogs.reading import ReadingDialog
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.inspector import Inspector
from idc_desktop.ui.panels.magnification_field import MagnificationField
from idc_desktop.ui.panels.resolution_bar import ResolutionBar
from idc_desktop.ui.panels.slide_list import SlideList, slides_in
from idc_desktop.ui.panels.status_line import StatusLine
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.task import Task
from idc_desktop.ui.theme import THEMES, apply_theme
from idc_desktop.ui.verbs import SEPARATOR, Verb, Verbs
from idc_desktop.ui.view.slide_view import SlideView

_NOTE_MS = 15_000
_PATIENCE_MS = 10_000
_FILE, _VIEW, _ANALYSIS, _HELP = "&File", "&View", "&Analysis", "&Help"
_MOUSE = {
    "Wheel": "Zoom at the cursor",
    "Drag, arrows": "Pan",
    "Middle button, space": "Pan whatever the tool",
    "Click": "Select a patch of the map",
    "+  −": "Zoom",
}


class MainWindow(QMainWindow):
    """Holds the document and everything that watches it."""

    def __init__(self, settings: Settings, document: SlideDocument) -> None:
        super().__init__()
        self._settings = settings
        self.document = document
        document.setParent(self)
        self.view = SlideView(document)
        self.resolution_bar = ResolutionBar(document)
        self.inspector = Inspector(document)
        self.slides = SlideList(document, settings)
        self.export_task = Task(self)
        self._lay_out()
        self.verbs = Verbs(self, self._table())
        self._add_theme_menu()
        self.magnification = MagnificationField(document, self.view)
        self.verbs.toolbar.addWidget(self.magnification)
        self.status_line = StatusLine(document, self.view)
        self.statusBar().addPermanentWidget(self.status_line)
        self.setAcceptDrops(True)
        self._restore()
        self._connect()
        self._on_slide_changed()
        self._on_state_changed()

    def open(self, path: Path, mpp: float | None = None) -> None:
        """Open a slide; a folder of slides is added to the list and its first one opened."""
        # Without "..", but with symbolic links as they are: the slide keeps the name it was given.
        path = Path(os.path.abspath(path))  # noqa: PTH100
        try:
            slides = slides_in(path)
        except OSError as error:
            self._warn("Open slide", f"{path.name}: The folder cannot be read ({error.strerror}).")
            return
        if path.is_dir() and slides != [path]:
            self.slides.add(slides)
        if slides:
            self.document.open(slides[0], mpp)
        else:
            self._warn("Open slide", f"{path.name}: There is no slide in this folder.")

    def export(self, folder: Path) -> None:
        """Write the six files in the background."""
        self.statusBar().showMessage("Exporting …")
        self.export_task.start(lambda: self.document.export(folder))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open the first file that was dropped; the others join the list."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if len(paths) > 1:
            self.slides.add([slide for path in paths for slide in slides_in(path)])
        if paths:
            self.open(paths[0])

    def changeEvent(self, event: QEvent) -> None:
        """Follow light and dark."""
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "verbs"):
            self.verbs.recolour()
        super().changeEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Remember the layout and end the children."""
        settings = self._settings
        settings.geometry = bytes(self.saveGeometry().toBase64().data()).decode()
        settings.layout = bytes(self.saveState().toBase64().data()).decode()
        settings.folded = self.inspector.folded
        settings.remember_display(self.document.display)
        if str(self.document.model.path) in map(str, bundled_models().values()):
            settings.model = self.document.card.name
        settings.save()
        self.release()
        event.accept()

    def release(self) -> None:
        """End the children and wait for what is being written."""
        self.slides.close_readers()
        self.document.close()
        QThreadPool.globalInstance().waitForDone(_PATIENCE_MS)

    def _lay_out(self) -> None:
        middle = QWidget()
        column = QVBoxLayout(middle)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.resolution_bar)
        column.addWidget(self.view, 1)
        self.setCentralWidget(middle)
        for title, content, area in (
            ("Slides", self.slides, Qt.DockWidgetArea.LeftDockWidgetArea),
            ("Inspector", self.inspector, Qt.DockWidgetArea.RightDockWidgetArea),
        ):
            dock = QDockWidget(title, self)
            dock.setObjectName(title.lower())
            dock.setWidget(content)
            self.addDockWidget(area, dock)
        self.resize(1400, 900)

    def _table(self) -> list[Verb | None]:
        view, slides, document = self.view, self.slides, self.document
        docks = {dock.objectName(): dock for dock in self.findChildren(QDockWidget)}

        def toggle(name: str) -> None:
            docks[name].setVisible(docks[name].isHidden())

        return [
            Verb(_FILE, "&Open slide …", self._on_open, "Ctrl+O", "open"),
            Verb(_FILE, "Open &folder …", self._on_open_folder, "Ctrl+Shift+O"),
            Verb(_FILE, "&Next slide", lambda: slides.step(1), "Ctrl+PgDown"),
            Verb(_FILE, "&Previous slide", lambda: slides.step(-1), "Ctrl+PgUp"),
            Verb(_FILE, "&Export …", self._on_export, "Ctrl+E", "export"),
            Verb(_FILE, "&Close slide", document.close, "Ctrl+W"),
            Verb(_FILE, "&Quit", self.close, "Ctrl+Q"),
            SEPARATOR,
            Verb(_VIEW, "&Fit slide", view.fit, "F", "fit"),
            Verb(_VIEW, "&1:1", view.show_pixels, "1", "pixels"),
            Verb(_VIEW, "Rotate &left", lambda: view.rotate(-90), "[", "rotate-left"),
            Verb(_VIEW, "Rotate &right", lambda: view.rotate(90), "]", "rotate-right"),
            Verb(_VIEW, "Turn left a little", lambda: view.rotate(-5), "{"),
            Verb(_VIEW, "Turn right a little", lambda: view.rotate(5), "}"),
            Verb(_VIEW, "Flip left and ri&ght", view.flip_across, "P", "flip-across"),
            Verb(_VIEW, "Flip top and &bottom", view.flip_down, "Shift+P", "flip-down"),
            Verb(_VIEW, "&Upright", view.set_upright, "Backspace"),
            SEPARATOR,
            Verb(_VIEW, "Show or hide the &map", self._toggle_map, "M", "map"),
            Verb(_VIEW, "&Slides", lambda: toggle("slides"), "F5"),
            Verb(_VIEW, "&Inspector", lambda: toggle("inspector"), "F6"),
            Verb(_VIEW, "&Label and macro image …", self._show_associated),
            Verb(_ANALYSIS, "&Analyze", self._on_run, "Ctrl+R", "analyze"),
            Verb(_ANALYSIS, "&Cancel the analysis", document.cancel, "Ctrl+."),
            Verb(_ANALYSIS, "&Failed patches …", self._show_failures),
            Verb(_ANALYSIS, "&Model card …", self._show_card),
            Verb(_ANALYSIS, "&Provenance …", self._show_provenance, "Ctrl+I", "provenance"),
            SEPARATOR,
            Verb(_HELP, "&Keyboard and mouse …", self._show_shortcuts, "F1"),
        ]

    def _add_theme_menu(self) -> None:
        menu = self.verbs.menu(self, _VIEW).addMenu("&Theme")
        for name in THEMES:
            menu.addAction(name.capitalize(), partial(self._set_theme, name))

    def _restore(self) -> None:
        settings = self._settings
        if settings.geometry:
            self.restoreGeometry(QByteArray.fromBase64(settings.geometry.encode()))
        if settings.layout:
            self.restoreState(QByteArray.fromBase64(settings.layout.encode()))
        self.inspector.folded = settings.folded

    def _connect(self) -> None:
        document, inspector = self.document, self.inspector
        document.slide_changed.connect(self._on_slide_changed)
        document.state_changed.connect(self._on_state_changed)
        document.map_changed.connect(self._on_state_changed)
        document.refused.connect(self._on_refused)
        document.noted.connect(self._note)
        self.slides.opened.connect(self.open)
        self.magnification.noted.connect(self._note)
        inspector.analysis.card_asked.connect(self._show_card)
        inspector.analysis.export_asked.connect(self._on_export)
        inspector.statistics.failures_asked.connect(self._show_failures)
        self.export_task.succeeded.connect(lambda folder: self._note(f"Exported to {folder}"))
        self.export_task.failed.connect(lambda error: self._warn("Export", str(error)))

    def _note(self, text: str) -> None:
        self.statusBar().showMessage(text, _NOTE_MS)

    def _warn(self, title: str, text: str) -> None:
        self.statusBar().clearMessage()
        box = QMessageBox(QMessageBox.Icon.Warning, title, text, parent=self)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    def _on_open(self) -> None:
        slides = self._settings.slides
        start = str(Path(slides[0]).parent) if slides else ""
        name, _ = QFileDialog.getOpenFileName(self, "Open slide", start)
        if name:
            self.open(Path(name))

    def _on_open_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Open a folder of slides")
        if name:
            self.open(Path(name))

    def _on_export(self) -> None:
        if self.document.state == "done":
            start = self._settings.export_folder
            folder = QFileDialog.getExistingDirectory(self, "Export the six files into", start)
            if folder:
                self._settings.export_folder = folder
                self.export(Path(folder))

    def _on_run(self) -> None:
        if self.document.state == "running":
            self.document.pause()
        else:
            self.document.analyze()

    def _on_refused(self, reason: str) -> None:
        if self.document.path is not None:  # else the view itself says so
            self._warn("Open slide", reason)

    def _on_slide_changed(self) -> None:
        document = self.document
        self.setWindowTitle(
            f"{document.path.name} – IDC Desktop" if document.path else "IDC Desktop"
        )
        has_slide = bool(document.slide)
        has_associated = has_slide and bool(document.slide["associated"])
        self.verbs.action("Label and macro image …").setEnabled(has_associated)
        self.verbs.action("Close slide").setEnabled(has_slide)

    def _on_state_changed(self) -> None:
        document, verbs = self.document, self.verbs
        running = document.state == "running"
        verbs.action("Export …").setEnabled(document.state == "done")
        verbs.action("Analyze").setEnabled(running or document.can_analyze)
        verbs.action("Analyze").setText("&Pause" if running else "&Analyze")
        verbs.set_icon("Analyze", "pause" if running else "analyze")
        verbs.action("Cancel the analysis").setEnabled(document.state in ("running", "paused"))
        verbs.action("Failed patches …").setEnabled(document.map is not None)
        self.view.update()

    def _set_theme(self, name: str) -> None:
        self._settings.theme = name
        apply_theme(name)

    def _toggle_map(self) -> None:
        self.document.show(visible=not self.document.display.visible)

    def _show_associated(self) -> None:
        AssociatedDialog(self.document, self).open()

    def _show_card(self) -> None:
        page = card_page(self.document.card, self.document.model.sha256)
        ReadingDialog("Model card", page, self).open()

    def _show_provenance(self) -> None:
        ReadingDialog("Provenance", provenance_page(self.document), self).open()

    def _show_shortcuts(self) -> None:
        page = shortcuts_page([*self.verbs.shortcuts(), ("Mouse and view", _MOUSE)])
        ReadingDialog("Keyboard and mouse", page, self).open()

    def _show_failures(self) -> None:
        if self.document.map is not None:
            dialog = FailuresDialog(self.document.map, self)
            dialog.chosen.connect(self._go_to_patch)
            dialog.open()

    def _go_to_patch(self, row: int, col: int) -> None:
        grid = self.document.grid
        if grid is not None:
            self.view.centre_on(QPointF(*grid.cell_centre_l0(row, col)))
            self.document.select((row, col))
