"""The application around the window."""

from __future__ import annotations

import faulthandler
import signal
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import (
    QMessageLogContext,
    QTimer,
    QtMsgType,
    qFormatLogMessage,
    qInstallMessageHandler,
)
from PySide6.QtWidgets import QApplication, QMessageBox

from idc_desktop.console import EXIT_CANCELLED, EXIT_PARTIAL, complain, report_defect
from idc_desktop.errors import IdcError, ModelError, OutputError, ResolutionError, SlideError
from idc_desktop.plain_files import no_wait
from idc_desktop.storage.user_data import data_folder, make_file, make_folder
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.pictures import require_place, save_picture
from idc_desktop.ui.plain import MessageBox
from idc_desktop.ui.run import RunState
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.theme import apply_theme

_SCREENSHOT_SIZE = (1600, 1000)
_POLL_MS = 50
_OF_NO_SCREEN = "This plugin does not support propagateSizeHints()"


def run(slides: list[Path], model: str | None, screenshot: Path | None) -> int:
    """Show the window until it is closed; return the exit code.

    Parameters
    ----------
    slides : list of Path
        Slides and folders; the first one is opened, all others join the list.
    screenshot : Path or None
        Analyze, wait until the view is sharp, save a picture of the window there, and quit.

    Raises
    ------
    IdcError
        The model cannot be used, or there is no picture for this reason.
    """
    application = QApplication(sys.argv[:1])
    if application.platformName() == "offscreen":
        qInstallMessageHandler(_say)
    if screenshot is not None:
        require_place(screenshot)
    settings = Settings.load()
    kept = replace(settings)
    if screenshot is not None:
        settings.geometry, settings.layout, settings.folded = "", "", []
    window = create_window(settings, model)
    # Whatever is saved from now on leaves the user's layout as it is.
    settings.geometry, settings.layout, settings.folded = kept.geometry, kept.layout, kept.folded
    sys.excepthook = _Reporter(window)
    _log_crashes()
    # Lets Python see Ctrl-C while Qt's loop runs.
    signal.signal(signal.SIGINT, lambda *_: window.close())
    heartbeat = QTimer()
    heartbeat.start(200)
    heartbeat.timeout.connect(lambda: None)
    photographer = None
    if screenshot is not None:
        window.resize(*_SCREENSHOT_SIZE)
        photographer = _Photographer(window, screenshot)
    window.show()
    window.slides.open_all(slides)
    code = application.exec()
    if photographer is None:
        return code
    if photographer.failure is not None:
        raise photographer.failure
    return photographer.code


def create_window(settings: Settings, model: str | None = None) -> MainWindow:
    """Make the window, with the looks that the settings ask for; there is an application."""
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    application.setApplicationName("IDC Desktop")
    application.setStyle("Fusion")  # the same on every system
    apply_theme(settings.theme)
    try:
        document = SlideDocument(model or settings.model, settings.display)
    except ModelError:
        if model is not None:
            raise
        document = SlideDocument(Settings().model, settings.display)
    return MainWindow(settings, document)


def _say(kind: QtMsgType, context: QMessageLogContext, text: str) -> None:
    """Say what Qt says, but for what its platform without a screen says of every window."""
    if text != _OF_NO_SCREEN:
        complain(qFormatLogMessage(kind, context, text))


def _log_crashes() -> None:
    """Have Python write where it was, should Qt or another library crash the process in C."""
    log = data_folder() / "logs" / "crashes.log"
    try:
        make_folder(log.parent)
        make_file(log)
        file = open(log, "a", encoding="utf-8", opener=no_wait)  # noqa: SIM115 - stays open
        faulthandler.enable(file)
    except OSError:
        return


class _Photographer:
    """Waits until the slide is sharp and analyzed, saves the window's picture, and quits.

    Attributes
    ----------
    code : int
        The exit code, as ``analyze`` would have it.
    failure : Exception or None
        Why there is no picture.
    """

    def __init__(self, window: MainWindow, target: Path) -> None:
        self._window = window
        self._target = target
        self.code = EXIT_CANCELLED  # until it is done
        self.failure: Exception | None = None
        window.slides.refused.connect(self._on_refused)
        window.document.refused.connect(self._on_refused)
        window.document.regions.warned.connect(complain)  # nobody sees the dialog
        self._timer = QTimer(window)
        self._timer.timeout.connect(self._look)
        self._timer.start(_POLL_MS)

    def _on_refused(self, reason: str) -> None:
        self.failure = SlideError(reason)  # told at the next look: the loop may not run yet

    def _look(self) -> None:
        document = self._window.document
        if self.failure is not None:
            self._end()
        elif document.run is None:
            if document.path is not None and document.opening is None:
                self.failure = ResolutionError(f"{document.path.name}: {document.message}")
                self._end()
        elif document.state is RunState.FAILED:
            self.failure = document.run.failure
            self._end()
        elif document.state in (RunState.READY, RunState.PAUSED):
            document.analyze()
        elif document.state is RunState.DONE and self._window.view.is_sharp:
            self._shoot()
            self._end()

    def _shoot(self) -> None:
        current = self._window.document.map
        try:
            save_picture(self._window.grab().toImage(), self._target)
        except OutputError as error:
            self.failure = error
            return
        if current is not None and current.failed_patches:
            complain(self._window.document.message)
            self.code = EXIT_PARTIAL
        else:
            self.code = 0

    def _end(self) -> None:
        self._timer.stop()
        # Not by closing the window: the user's layout is not this one's.
        self._window.release()
        QApplication.exit()


class _Reporter:
    """Shows an unexpected error as a report that can be copied, and keeps the window alive.

    The same defect is told and logged once.
    """

    def __init__(self, window: MainWindow) -> None:
        self._window = window
        self._shown = False
        self._known: set[str] = set()

    def __call__(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        # By its place, whatever its words: a slot may fail at every paint.
        place = kind.__name__ + ("".join(traceback.format_tb(trace)) or text)
        if place in self._known:
            return
        self._known.add(place)
        report_defect(text)
        if self._shown:  # one report at a time; the others are in the log
            return
        self._shown = True
        what = str(error) if isinstance(error, IdcError) else "A defect of ours; your work is kept."
        box = MessageBox(QMessageBox.Icon.Critical, "IDC Desktop", what, parent=self._window)
        box.setInformativeText(f"The details are in {data_folder() / 'logs' / 'defects.log'}.")
        box.setDetailedText(text)
        box.finished.connect(self._on_read)
        box.open()

    def _on_read(self) -> None:
        self._shown = False
