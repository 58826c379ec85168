"""The main window: actions and docks, and the wiring between them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QByteArray, QObject, QPointF, QSize, Qt, QThreadPool, Signal
from PySide6.QtGui import (
    QAction,
    QActionGroup,
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QKeySequence,
)
from PySide6.QtWidgets import (
    QDockWidget,
    QFileDialog,
    QLabel,
    QLineEdit,
    QMainWindow,
    QMessageBox,
    QScrollArea,
)

from idc_desktop import RESEARCH_USE_NOTICE, __version__
from idc_desktop.errors import IdcError
from idc_desktop.grid import MILLIONTHS, PatchState
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.inspector import Inspector
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.slide_view import SlideView

_MPP_AT_10X = 1.0


class _Exporter(QObject):
    """Writes an export away from the window's thread."""

    finished = Signal(object)

    def start(self, work: Callable[[], Path]) -> None:
        def run() -> None:
            try:
                self.finished.emit(work())
            except IdcError as error:
                self.finished.emit(error)

        QThreadPool.globalInstance().start(run)


class MainWindow(QMainWindow):
    """Holds the document, the view and the inspector."""

    def __init__(self, settings: Settings, document: SlideDocument) -> None:
        super().__init__()
        self._settings = settings
        self.document = document
        document.setParent(self)
        self.view = SlideView(document, self)
        self.setCentralWidget(self.view)
        self.inspector = Inspector(document)
        self._exporter = _Exporter(self)
        self._exporter.finished.connect(self._on_exported)
        self._add_dock()
        self._add_actions()
        self._add_status_bar()
        self.setAcceptDrops(True)
        self.resize(1400, 900)
        if settings.geometry:
            self.restoreGeometry(QByteArray.fromBase64(settings.geometry.encode()))
        document.opacity = settings.opacity
        self.view.smooth_map = settings.smooth_map
        self.inspector.smooth_toggled.connect(self._on_smooth)
        self.inspector.export_asked.connect(self._on_export)
        document.slide_changed.connect(self._show_title)
        document.slide_changed.connect(self._remember)
        document.refused.connect(self._on_refused)
        document.state_changed.connect(self._show_actions)
        document.noted.connect(lambda text: self.statusBar().showMessage(text, 15_000))
        self.view.pointed.connect(self._show_position)
        self.view.clicked.connect(self._on_clicked)
        self.view.moved.connect(self._show_magnification)
        self._show_title()
        self._show_actions()

    def open(self, path: Path, mpp: float | None = None) -> None:
        """Open a slide and remember it."""
        self.document.open(path, mpp)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open the first file that was dropped."""
        for url in event.mimeData().urls():
            if url.isLocalFile():
                self.open(Path(url.toLocalFile()))
                break

    def closeEvent(self, event: QCloseEvent) -> None:
        """End the children and remember the layout."""
        self._settings.geometry = bytes(self.saveGeometry().toBase64().data()).decode()
        self._settings.opacity = self.document.opacity
        self._settings.smooth_map = self.view.smooth_map
        self._settings.save()
        self.document.close()
        QThreadPool.globalInstance().waitForDone(10_000)
        event.accept()

    def sizeHint(self) -> QSize:
        """Prefer the size of a common screen."""
        return QSize(1400, 900)

    def _add_dock(self) -> None:
        scroll = QScrollArea()
        scroll.setWidget(self.inspector)
        scroll.setWidgetResizable(True)
        scroll.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setMinimumWidth(320)
        self._scroll = scroll
        dock = QDockWidget("Inspector", self)
        dock.setObjectName("inspector")
        dock.setWidget(scroll)
        dock.setFeatures(QDockWidget.DockWidgetFeature.DockWidgetMovable)
        self.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)

    def _add_actions(self) -> None:
        bar = self.addToolBar("Verbs")
        bar.setObjectName("verbs")
        bar.setMovable(False)
        bar.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        menus = {name: self.menuBar().addMenu(name) for name in ("&File", "&View", "&Analysis")}

        def add(menu: str, text: str, keys: str, run: Callable[[], object], tool: str) -> QAction:
            action = QAction(text, self)
            action.setShortcut(QKeySequence(keys))
            action.triggered.connect(lambda _checked=False: run())
            menus[menu].addAction(action)
            if tool:
                action.setIconText(tool)
                action.setToolTip(f"{text.replace('&', '')} ({keys})")
                bar.addAction(action)
            return action

        view = self.view
        add("&File", "&Open slide …", "Ctrl+O", self._on_open, "Open")
        self._recent = menus["&File"].addMenu("Open &recent")
        self._fill_recent()
        self._export_action = add("&File", "&Export …", "Ctrl+E", self._on_export, "Export")
        add("&File", "&Quit", "Ctrl+Q", self.close, "")
        bar.addSeparator()
        add("&View", "&Fit slide", "F", view.fit, "Fit")
        add("&View", "&1:1", "1", lambda: view.set_scale(1.0), "1:1")
        add("&View", "Rotate &left", "[", lambda: view.rotate(-90), "⟲")
        add("&View", "Rotate &right", "]", lambda: view.rotate(90), "⟳")
        add("&View", "Fli&p", "P", view.mirror, "Flip")
        add("&View", "Show or hide the &map", "M", self._toggle_map, "Map")
        bar.addSeparator()
        self._run_action = add("&Analysis", "&Analyze", "Ctrl+R", self._on_run, "Analyze")
        add("&Analysis", "&Provenance …", "Ctrl+I", self._show_provenance, "Provenance")
        self._magnification = QLineEdit()
        self._magnification.setFixedWidth(110)
        self._magnification.setToolTip("Type 10x or 2 µm to go there")
        self._magnification.setAccessibleName("Magnification")
        self._magnification.returnPressed.connect(self._on_magnification)
        bar.addSeparator()
        bar.addWidget(self._magnification)

    def _add_status_bar(self) -> None:
        self._position = QLabel()
        notice = QLabel(RESEARCH_USE_NOTICE)
        self.statusBar().addPermanentWidget(self._position)
        self.statusBar().addPermanentWidget(notice)

    def _fill_recent(self) -> None:
        self._recent.clear()
        group = QActionGroup(self._recent)
        for name in self._settings.recent:
            action = group.addAction(Path(name).name)
            action.setToolTip(name)
            action.triggered.connect(lambda _checked=False, name=name: self.open(Path(name)))
            self._recent.addAction(action)
        self._recent.setEnabled(bool(self._settings.recent))

    def _on_open(self) -> None:
        start = str(Path(self._settings.recent[0]).parent) if self._settings.recent else ""
        name, _ = QFileDialog.getOpenFileName(self, "Open slide", start)
        if name:
            self.open(Path(name))

    def _on_run(self) -> None:
        if self.document.state == "running":
            self.document.pause()
        else:
            self.document.analyze()

    def _remember(self) -> None:
        if self.document.path is not None:
            self._settings.add_recent(self.document.path)
            self._fill_recent()

    def _on_refused(self, reason: str) -> None:
        if self.document.path is not None:  # else the view itself says so
            box = QMessageBox(QMessageBox.Icon.Warning, "Open slide", reason, parent=self)
            box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            box.open()

    def _on_clicked(self, point: QPointF) -> None:
        self.inspector.patch.show_patch_at(point)
        self._scroll.ensureWidgetVisible(self.inspector.patch)

    def _on_smooth(self, smooth: bool) -> None:
        self.view.smooth_map = smooth

    def _toggle_map(self) -> None:
        self.document.map_visible = not self.document.map_visible

    def _on_export(self) -> None:
        if self.document.state != "done":
            return
        folder = QFileDialog.getExistingDirectory(
            self, "Export the six files into", self._settings.export_folder
        )
        if folder:
            self._settings.export_folder = folder
            self.export(Path(folder))

    def export(self, folder: Path) -> None:
        """Write the six files in the background."""
        self.statusBar().showMessage("Exporting …")
        self._exporter.start(lambda: self.document.export(folder))

    def _on_exported(self, outcome: Path | IdcError) -> None:
        self.statusBar().clearMessage()
        if isinstance(outcome, Path):
            self.statusBar().showMessage(f"Exported to {outcome}", 15_000)
        else:
            QMessageBox.warning(self, "Export", str(outcome))

    def _on_magnification(self) -> None:
        mpp = self.document.mpp_xy
        text = self._magnification.text().strip().lower().replace(",", ".")
        with contextlib.suppress(ValueError, ZeroDivisionError):
            if mpp is not None and text.endswith("x"):
                wanted_um = _MPP_AT_10X * 10 / float(text[:-1])
                self.view.set_scale(mpp[0] / wanted_um)
            elif mpp is not None:
                self.view.set_scale(mpp[0] / float(text.split("µ")[0].split("um")[0]))
        self._show_magnification()
        if mpp is not None and self.view.is_at_limit:
            self.statusBar().showMessage("The view cannot be enlarged further.", 5_000)
        self.view.setFocus()

    def _show_magnification(self) -> None:
        mpp = self.document.mpp_xy
        if mpp is None or not self.document.slide:
            self._magnification.setText("")
            return
        um_per_px = mpp[0] / self.view.scale
        self._magnification.setText(f"{10 * _MPP_AT_10X / um_per_px:.3g}x  {um_per_px:.3g} µm")

    def _show_title(self) -> None:
        path = self.document.path
        self.setWindowTitle(f"{path.name} – IDC Desktop" if path else "IDC Desktop")
        self._position.clear()
        self._show_magnification()

    def _show_actions(self) -> None:
        document = self.document
        self._export_action.setEnabled(document.state == "done")
        can_run = bool(document.slide) and document.mpp_xy is not None
        self._run_action.setEnabled(can_run and document.state != "recalling")
        self._run_action.setIconText("Pause" if document.state == "running" else "Analyze")
        self.view.update()

    def _show_position(self, point: QPointF | None) -> None:
        mpp = self.document.mpp_xy
        if point is None:
            self._position.clear()
            return
        text = f"x {point.x():.0f} y {point.y():.0f} px"
        if mpp is not None:
            text += f"  {point.x() * mpp[0] / 1000:.2f}, {point.y() * mpp[1] / 1000:.2f} mm"
        current, grid = self.document.map, self.document.grid
        if current is not None and grid is not None:
            cell = grid.cell_at(point.x(), point.y())
            if cell is not None:
                row, col = cell
                state = PatchState(current.states[row, col])
                text += f"  patch {row}/{col}: "
                text += (
                    f"p = {current.millionths[row, col] / MILLIONTHS:.3f}"
                    if state is PatchState.OK
                    else state.label.replace("_", " ")
                )
        self._position.setText(text)

    def _show_provenance(self) -> None:
        document = self.document
        lines = [f"IDC Desktop {__version__}", RESEARCH_USE_NOTICE, ""]
        if document.slide:
            lines += [f"Slide  {document.slide['file']}"]
            lines += [f"Slide identity  {document.slide['identity']}"]
            if document.mpp_xy is not None:
                x, y = document.mpp_xy
                source = document.slide["mpp_source"]
                lines += [f"Resolution  {x:g} x {y:g} µm/px (from the {source})"]
        if document.map is not None:
            counts = document.map.counts().items()
            lines += ["Patches  " + ", ".join(f"{n:,} {name}" for name, n in counts if n)]
        lines += [f"Model  {document.card.name} {document.card.version}"]
        lines += [f"Model SHA-256  {document.model.sha256}", f"Threshold  {document.threshold!r}"]
        for name, value in document.run.plan.get("provider", {}).items():
            lines += [f"Provider, {name.replace('_', ' ')}  {value}"] if value else []
        for name, value in document.run.plan.get("versions", {}).items():
            lines += [f"{name}  {value}"]
        box = QMessageBox(QMessageBox.Icon.NoIcon, "Provenance", "\n".join(lines), parent=self)
        box.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        box.open()
