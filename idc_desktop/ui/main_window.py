"""The main window: the view, the docks and the verbs, and the wiring between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import QByteArray, QEvent, Qt, QThreadPool
from PySide6.QtGui import (
    QActionGroup,
    QCloseEvent,
    QColor,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QKeyEvent,
)
from PySide6.QtWidgets import QDockWidget, QDoubleSpinBox, QMainWindow, QVBoxLayout, QWidget

from idc_desktop.errors import ForeignResultsError
from idc_desktop.models.model_file import bundled_models
from idc_desktop.plain_text import one_line
from idc_desktop.ui.beside import SideBySide
from idc_desktop.ui.dialogs.desk import DialogDesk
from idc_desktop.ui.dialogs.training import TrainingPatches
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.exporting import Export
from idc_desktop.ui.inspector import Inspector
from idc_desktop.ui.panels.beside_bar import BesideBar
from idc_desktop.ui.panels.foci_panel import FociPanel
from idc_desktop.ui.panels.focus_walk import FocusWalk
from idc_desktop.ui.panels.magnification_field import MagnificationField
from idc_desktop.ui.panels.marks_panel import MarksPanel
from idc_desktop.ui.panels.places_panel import PlacesPanel
from idc_desktop.ui.panels.project_bar import PROJECT_MENU
from idc_desktop.ui.panels.region_panel import RegionPanel
from idc_desktop.ui.panels.regions_bar import RegionsBar
from idc_desktop.ui.panels.resolution_bar import ResolutionBar
from idc_desktop.ui.panels.slide_panel import SlidePanel
from idc_desktop.ui.panels.status_line import NoteBar, StatusLine, ToolHint
from idc_desktop.ui.panels.verdict_bar import REVIEW
from idc_desktop.ui.panels.welcome import Welcome
from idc_desktop.ui.run import RunState
from idc_desktop.ui.screen import FullScreen, resize_within_screen
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.slides_export import SlidesExport
from idc_desktop.ui.task import Task
from idc_desktop.ui.theme import THEMES, apply_theme
from idc_desktop.ui.verbs import SEPARATOR, NumberFieldKeys, Verb, Verbs
from idc_desktop.ui.view.look_verbs import VIEW, camera_verbs, map_verbs, pair_verbs
from idc_desktop.ui.view.marking_tools import MarkTool
from idc_desktop.ui.view.paired_view import PairedView
from idc_desktop.ui.view.slide_view import SlideView
from idc_desktop.ui.view.toolbox import tool_verbs
from idc_desktop.ui.view.veil import Veil

_NOTE_MS = 10_000
_PATIENCE_MS = 10_000
_FILE, _EDIT, _ANALYSIS, _HELP = "&File", "&Edit", "&Analysis", "&Help"
_OF_SLIDE = (
    *("Side by side", "Models on this slide …"),
    *("Save the picture of the view …", "Copy the picture of the view"),
    "Report: case, reader, conclusion …",
)


class MainWindow(QMainWindow):
    """Holds the document and everything that watches it."""

    def __init__(self, settings: Settings, document: SlideDocument) -> None:
        super().__init__()
        self._settings = settings
        self.document = document
        document.setParent(self)
        self.pair = SideBySide(document, self)
        self.view = SlideView(document)
        self.views = PairedView(self.view, self.pair)
        self.veil = Veil(document, self.view)
        self.welcome = Welcome(document, self.view)
        self.resolution_bar = ResolutionBar(document)
        self.regions_bar = RegionsBar(document)
        self.inspector = Inspector(document)
        self.slide_panel = SlidePanel(document, settings)
        self.slides = self.slide_panel.slides
        self.beside_bar = BesideBar(self.pair, self.slides.paths)
        if settings.classes:
            colours = {it: QColor(rgb) for it, rgb in settings.classes.items()}
            document.regions.set_classes(
                {it: (rgb.red(), rgb.green(), rgb.blue()) for it, rgb in colours.items()}
            )
        self.regions = RegionPanel(document)
        self.foci = FociPanel(document)
        self.walk = FocusWalk(document, self.foci, self.slides, self.slide_panel.rows)
        self.marks = MarksPanel(document)
        self.places = PlacesPanel(document)
        self.dialogs = DialogDesk(self, self.pair, settings, self.slides.paths, self.views.grab)
        self.export_task = Task(self)
        self._export: Export | None = None
        self.slides_export = SlidesExport(document, self.slide_panel.statuses, self)
        self._lay_out()
        self.full_screen = FullScreen(self, self.docks.values())
        self.training = TrainingPatches(self, self.document, self.slides.paths)
        self.verbs = Verbs(self, self._table())
        self._add_theme_menu()
        menu = partial(self.verbs.menu, self)
        recent = menu(f"{PROJECT_MENU}>Re&cent projects")
        self.slide_panel.projects.take_menu(menu(PROJECT_MENU), recent)
        self.magnification = MagnificationField(document)
        self.verbs.toolbar.addWidget(self.magnification)
        NumberFieldKeys([*self.findChildren(QDoubleSpinBox), self.magnification], self.view)
        self.status_line = StatusLine(document)
        self.setStatusBar(NoteBar(self))
        self._hint = ToolHint()
        self.statusBar().addWidget(self._hint, 1)
        self.statusBar().addPermanentWidget(self.status_line)
        self.setAcceptDrops(True)
        self._restore()
        self._connect()
        self._on_slide_changed()
        self._on_state_changed()
        self._on_map_changed()
        self._on_history()
        self._on_list()
        self.verbs.mark()

    def open(self, path: Path, mpp: float | None = None) -> None:
        """Open a slide; a folder of slides is added to the list and its first one opened."""
        self.slides.open(path, mpp)

    def export(self, folder: Path, formats: Sequence[str] = (), anonymous: bool = False) -> None:
        """Write the six files, and further formats, in the background."""
        if self.document.can_export:
            self._write_export(Export.of(self.document, folder, formats, anonymous))

    def export_slides(
        self, slides: list[Path], folder: Path, formats: Sequence[str] = (), anonymous: bool = False
    ) -> None:
        """Export slides of the list in the background."""
        if not self.slides_export.is_running:
            self.slides_export.start(slides, folder, formats, anonymous)
            self.dialogs.show_progress(self.slides_export)

    def _write_export(self, export: Export, *, overwrite: bool = False) -> None:
        if not self.export_task.is_running:
            self._export = export
            self.statusBar().showMessage("Exporting …")
            self.export_task.start(partial(export.write, overwrite))
            self._on_state_changed()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open the first file that was dropped; the others join the list."""
        urls = event.mimeData().urls()
        self.slides.open_all([Path(url.toLocalFile()) for url in urls if url.isLocalFile()])

    def changeEvent(self, event: QEvent) -> None:
        """Follow light and dark."""
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "verbs"):
            self.verbs.recolour()
            self._on_state_changed()
        super().changeEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Leave the full screen by Escape, else the focus, where nothing else wants it."""
        if event.key() == Qt.Key.Key_Escape and self.full_screen.is_on:
            self.full_screen.toggle()
            self.verbs.mark()
        elif event.key() == Qt.Key.Key_Escape:
            self.foci.leave()
        else:
            super().keyPressEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Remember the layout and end the children; ask first if something drawn would be lost."""
        problem = self.document.regions.settle()
        if problem:
            event.ignore()
            self.dialogs.ask_unsaved(problem, self.close)
            return
        self.full_screen.leave()
        settings = self._settings
        settings.geometry = bytes(self.saveGeometry().toBase64().data()).decode()
        settings.layout = bytes(self.saveState().toBase64().data()).decode()
        settings.folded = self.inspector.folded
        settings.display = self.document.display.for_another_slide()
        settings.save()
        self.release()
        event.accept()

    def release(self) -> None:
        """End the children and wait for what is being written."""
        self.welcome.stop()
        self.slides_export.cancel()
        self.slide_panel.close_readers()
        self.regions.close_readers()
        self.pair.hide()
        self.document.close()
        QThreadPool.globalInstance().waitForDone(_PATIENCE_MS)
        self.slide_panel.statuses.settle()

    def _lay_out(self) -> None:
        middle = QWidget()
        column = QVBoxLayout(middle)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.resolution_bar)
        column.addWidget(self.regions_bar)
        column.addWidget(self.beside_bar)
        column.addWidget(self.views, 1)
        self.setCentralWidget(middle)
        area = Qt.DockWidgetArea
        self.docks: dict[str, QDockWidget] = {}
        for title, content, where in (
            ("Slides", self.slide_panel, area.LeftDockWidgetArea),
            ("Inspector", self.inspector, area.RightDockWidgetArea),
            ("Regions", self.regions, area.BottomDockWidgetArea),
            ("Foci", self.foci, area.BottomDockWidgetArea),
            ("Measurements", self.marks, area.BottomDockWidgetArea),
            ("Places", self.places, area.BottomDockWidgetArea),
            ("Slide table", self.slide_panel.table, area.BottomDockWidgetArea),
        ):
            dock = QDockWidget(title, self)
            dock.setObjectName(title.lower())
            dock.setWidget(content)
            self.addDockWidget(where, dock)
            self.docks[title] = dock
        below = ("Regions", "Foci", "Measurements", "Places", "Slide table")
        for title in below[1:]:
            self.tabifyDockWidget(self.docks[below[0]], self.docks[title])
        for title in below:
            self.docks[title].hide()
        self.setCorner(Qt.Corner.BottomRightCorner, area.RightDockWidgetArea)
        resize_within_screen(self, 1400, 900)
        docks, sizes = list(self.docks.values()), [210, 350, 250, 250, 250, 250, 250]
        self.resizeDocks(docks[:2], sizes[:2], Qt.Orientation.Horizontal)
        self.resizeDocks(docks[2:], sizes[2:], Qt.Orientation.Vertical)

    def _table(self) -> list[Verb | None]:
        slides, document = self.slide_panel.list, self.document
        dialogs, full = self.dialogs, self.full_screen

        def dock_verb(text: str, keys: str) -> Verb:
            dock = self.docks[text.replace("&", "")]

            def toggle() -> None:
                dock.setVisible(dock.isHidden())
                dock.raise_()

            return Verb(VIEW, text, toggle, keys, is_on=lambda: not dock.isHidden())

        return [
            Verb(
                _FILE,
                "&Open slide …",
                lambda: dialogs.ask_slides(self.slides.open_all),
                "Ctrl+O",
                "open",
            ),
            Verb(_FILE, "Open &folder …", lambda: dialogs.ask_folder(self.open), "Ctrl+Shift+O"),
            Verb(_FILE, "&Next slide", lambda: slides.step(1), "Ctrl+PgDown"),
            Verb(_FILE, "&Previous slide", lambda: slides.step(-1), "Ctrl+PgUp"),
            Verb(_FILE, "&Export …", self._on_export, "Ctrl+E", "export"),
            Verb(_FILE, "&Save the picture of the view …", dialogs.save_picture, "Ctrl+Shift+P"),
            Verb(_FILE, "Cop&y the picture of the view", dialogs.copy_picture, "Ctrl+Shift+C"),
            Verb(_FILE, "&Close slide", self._close_slide, "Ctrl+W"),
            Verb(_FILE, "&Quit", self.close, "Ctrl+Q"),
            SEPARATOR,
            Verb(_EDIT, "&Undo", document.history.undo, "Ctrl+Z", "undo"),
            Verb(_EDIT, "&Redo", document.history.redo, "Ctrl+Shift+Z", "redo"),
            SEPARATOR,
            *camera_verbs(lambda: self.views.active_camera),
            Verb(VIEW, "F&ull screen", full.toggle, "F11", is_on=lambda: full.is_on),
            SEPARATOR,
            *pair_verbs(self.pair),
            SEPARATOR,
            *map_verbs(document),
            SEPARATOR,
            dock_verb("&Slides", "F5"),
            dock_verb("&Inspector", "F6"),
            dock_verb("Re&gions", "F7"),
            dock_verb("F&oci", "F8"),
            dock_verb("Measure&ments", "F3"),
            dock_verb("&Places", "Shift+F3"),
            *self.places.verbs(),
            dock_verb("Slide &table", "Shift+F5"),
            Verb(VIEW, "&Label and macro image …", dialogs.show_associated),
            Verb(_ANALYSIS, "&Analyze", document.analyze_or_pause, "Ctrl+R", "analyze"),
            Verb(_ANALYSIS, "&Cancel the analysis", document.cancel, "Ctrl+."),
            *self.slide_panel.verbs(),
            Verb(_ANALYSIS, "&Failed patches …", dialogs.show_failures),
            Verb(_ANALYSIS, "&Model card …", dialogs.show_card),
            Verb(_ANALYSIS, "Models on t&his slide …", dialogs.show_models, "Ctrl+F9"),
            Verb(_ANALYSIS, "&Provenance …", dialogs.show_provenance, "Ctrl+I", "provenance"),
            SEPARATOR,
            *tool_verbs(self.view),
            SEPARATOR,
            *self.regions.verbs(),
            Verb("&Regions", "Classes and colo&urs …", dialogs.edit_classes, "Ctrl+K"),
            SEPARATOR,
            *self.foci.verbs(),
            *self.walk.verbs(),
            *self.marks.verbs(),
            Verb(REVIEW, "&Report: case, reader, conclusion …", dialogs.write_sheet, "Ctrl+T"),
            Verb(REVIEW, "&Training patches …", self.training.ask),
            SEPARATOR,
            Verb(_HELP, "&Keyboard and mouse …", self._show_shortcuts, "F1"),
            Verb(_HELP, "&About …", dialogs.show_about),
        ]

    def _add_theme_menu(self) -> None:
        menu = self.verbs.menu(self, VIEW).addMenu("&Theme")
        group = QActionGroup(self)
        for name in THEMES:
            action = menu.addAction(name.capitalize(), partial(self._set_theme, name))
            action.setCheckable(True)
            action.setChecked(name == self._settings.theme)
            group.addAction(action)

    def _restore(self) -> None:
        settings = self._settings
        if settings.geometry:
            self.restoreGeometry(QByteArray.fromBase64(settings.geometry.encode()))
        if settings.layout:
            self.restoreState(QByteArray.fromBase64(settings.layout.encode()))
        self.inspector.folded = settings.folded

    def _connect(self) -> None:
        document, inspector, dialogs = self.document, self.inspector, self.dialogs
        document.slide_changed.connect(self._on_slide_changed)
        document.opening_changed.connect(self._on_slide_changed)
        document.state_changed.connect(self._on_state_changed)
        document.map_changed.connect(self._on_map_changed)
        self.export_task.ended.connect(self._on_state_changed)
        self.export_task.ended.connect(self.statusBar().clearMessage)
        document.refused.connect(self._on_refused)
        document.model_changed.connect(self._on_model_changed)
        document.unsaved.connect(dialogs.ask_unsaved)
        document.again_asked.connect(dialogs.ask_again)
        document.noted.connect(self._note)
        document.regions.classes_changed.connect(self._on_classes)
        document.regions.warned.connect(lambda text: dialogs.warn("Regions", text))
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._follow_system)
        document.display_changed.connect(self.verbs.mark)
        document.bared.connect(self.verbs.mark)
        document.regions.choice_changed.connect(self.verbs.mark)
        for dock in self.docks.values():
            dock.visibilityChanged.connect(self.verbs.mark)
        for changed in (document.history.indexChanged, document.history.cleanChanged):
            changed.connect(self._on_history)
        self.pair.changed.connect(self._on_pair_changed)
        self.view.tool_changed.connect(self._on_tool)
        self.view.menu_asked.connect(self.regions.show_menu)
        self.welcome.open_asked.connect(lambda: dialogs.ask_slides(self.slides.open_all))
        self.welcome.phantom_made.connect(self._on_phantom)
        self.welcome.refused.connect(lambda why: self.dialogs.warn("Phantom slide", why))
        self.slides.changed.connect(self._on_list)
        self.slides.project_changed.connect(self.verbs.mark)
        self.slide_panel.table.page_asked.connect(dialogs.show_page)
        self.slide_panel.table.failures_changed.connect(self.verbs.mark)
        self.slide_panel.table.export_asked.connect(
            lambda slides: dialogs.ask_export_of(slides, self.export_slides)
        )
        self.slides_export.ended.connect(dialogs.tell_exported_all)
        self.slides_export.failed.connect(lambda why: dialogs.warn("Export", why))
        self.slide_panel.table.shown.connect(partial(self._show_dock, "Slide table"))
        self.slides.refused.connect(lambda why: self.dialogs.warn("Open slide", why))
        self.slides.noted.connect(lambda why: self.dialogs.warn("Slides", why))
        self.slides.cohort_found.connect(partial(self.dialogs.show_cohort, self.slides.open))
        self.magnification.noted.connect(self._note)
        self.magnification.left.connect(self.view.setFocus)
        self.foci.regions_made.connect(partial(self._show_dock, "Regions"))
        inspector.analysis.card_asked.connect(dialogs.show_card)
        inspector.analysis.export_asked.connect(self._on_export)
        inspector.statistics.failures_asked.connect(dialogs.show_failures)
        self.export_task.succeeded.connect(dialogs.tell_exported)
        self.export_task.failed.connect(self._on_export_failed)

    def _note(self, text: str) -> None:
        self.statusBar().showMessage(one_line(text), _NOTE_MS)

    def _close_slide(self) -> None:
        problem = self.document.regions.settle()
        if problem:
            self.dialogs.ask_unsaved(problem, self._close_slide)
        else:
            self.document.close()

    def _on_phantom(self, slide: Path) -> None:
        if self.document.path is None:
            self.open(slide)
        else:  # the user looks at another one by now
            self.slides.add([slide])

    def _on_export(self) -> None:
        if self.document.can_export:
            self.dialogs.ask_export(self.export)

    def _on_export_failed(self, error: Exception) -> None:
        if isinstance(error, ForeignResultsError) and self._export is not None:
            again = partial(self._write_export, self._export, overwrite=True)
            self.dialogs.ask_overwrite(error.finding, again)
        else:
            self.dialogs.warn("Export", str(error))

    def _on_refused(self, reason: str) -> None:
        if self.document.path is not None:  # else the view itself says so
            self.dialogs.warn("Open slide", reason)

    def _on_slide_changed(self) -> None:
        document = self.document
        named = document.opening or document.path
        title = f"{one_line(named.name)} – IDC Desktop" if named else "IDC Desktop"
        self.setWindowTitle(f"Opening {title}" if document.opening else title)
        has_associated = document.tiles is not None and bool(document.tiles.associated_names)
        self.verbs.action("Label and macro image …").setEnabled(has_associated)
        looks = [it.words for it in camera_verbs(lambda: self.views.active_camera)]
        self.verbs.action("Close slide").setEnabled(bool(document.slide))
        for words in (*_OF_SLIDE, *looks):
            self.verbs.action(words).setEnabled(bool(document.slide) and not document.is_leaving)
        self.magnification.setEnabled(bool(document.slide))
        self._hint.say(self.view.hint if document.slide else "")

    def _on_state_changed(self) -> None:
        document, verbs = self.document, self.verbs
        running = document.state is RunState.RUNNING
        can_export = document.can_export and not self.export_task.is_running
        verbs.action("Export …").setEnabled(can_export)
        verbs.action("Analyze").setEnabled(running or document.can_analyze)
        words = {RunState.RUNNING: "&Pause", RunState.DONE: "&Analyze again …"}
        verbs.action("Analyze").setText(words.get(document.state, "&Analyze"))
        verbs.set_icon("Analyze", "pause" if running else "analyze")
        verbs.action("Cancel the analysis").setEnabled(document.state.is_begun)

    def _on_map_changed(self) -> None:
        current = self.document.map
        has_failed = current is not None and current.failed_patches > 0
        self.verbs.action("Failed patches …").setEnabled(has_failed)

    def _on_model_changed(self) -> None:
        if str(self.document.model.path) in map(str, bundled_models().values()):
            self._settings.model = self.document.card.name
            self._settings.save()

    def _on_classes(self) -> None:
        classes = self.document.regions.classes
        self._settings.classes = {it: QColor(*rgb).name() for it, rgb in classes.items()}
        self._settings.save()

    def _on_history(self) -> None:
        history = self.document.history
        for words, can, what in (
            ("Undo", history.canUndo(), history.undoText()),
            ("Redo", history.canRedo(), history.redoText()),
        ):
            action = self.verbs.action(words)
            action.setEnabled(can)
            action.setText(f"&{words} {what[:1].lower()}{what[1:]}" if can else f"&{words}")

    def _on_pair_changed(self) -> None:
        beside = self.pair.beside
        if beside is not None:
            self.status_line.watch(beside)
            beside.link.changed.connect(self.verbs.mark)
        self.verbs.mark()

    def _on_list(self) -> None:
        self.welcome.offer_list(len(self.slides) > 0)

    def _on_tool(self) -> None:
        """Show the list of regions before the first one is drawn: later the view would jump."""
        self._hint.say(self.view.hint if self.document.slide else "")
        self.statusBar().clearMessage()
        if self.view.tool is not self.view.pan_tool:
            self.document.show(regions=True)
            draws_regions = not isinstance(self.view.tool, MarkTool)
            if draws_regions and self.docks["Foci"].isHidden():
                self.docks["Regions"].show()

    def _show_dock(self, title: str) -> None:
        self.docks[title].show()
        self.docks[title].raise_()

    def _set_theme(self, name: str) -> None:
        self._settings.theme = name
        self._settings.save()
        apply_theme(name)

    def _follow_system(self) -> None:
        """Be dark or light as the desktop is now, if that was asked for and the window is open."""
        if self._settings.theme == "system" and self.isVisible():
            apply_theme("system")

    def _show_shortcuts(self) -> None:
        self.dialogs.show_shortcuts(self.verbs.shortcuts())
