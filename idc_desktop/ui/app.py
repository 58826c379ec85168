"""The application around the window."""

from __future__ import annotations

import signal
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QMessageBox

from idc_desktop.console import complain, report_defect
from idc_desktop.errors import IdcError, ModelError
from idc_desktop.store import data_folder
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.theme import apply_theme

_SCREENSHOT_SIZE = (1600, 1000)
_POLL_MS = 50


def run(slide: Path | None, model: str | None, screenshot: Path | None) -> int:
    """Show the window until it is closed; return the exit code.

    Parameters
    ----------
    screenshot : Path or None
        Analyze, wait until the view is sharp, save a picture of the window there, and quit.
    """
    application = QApplication(sys.argv[:1])
    settings = Settings.load()
    if screenshot is not None:
        settings = replace(settings, geometry="", layout="", folded=[])
    window = create_window(settings, model)
    sys.excepthook = _Reporter(window)
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
    if slide is not None:
        window.open(slide)
    code = application.exec()
    return photographer.code if photographer is not None else code


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


class _Photographer:
    """Waits until the slide is sharp and analyzed, saves the window's picture, and quits."""

    def __init__(self, window: MainWindow, target: Path) -> None:
        self._window = window
        self._target = target
        self.code = 0
        self._timer = QTimer(window)
        self._timer.timeout.connect(self._look)
        self._timer.start(_POLL_MS)

    def _look(self) -> None:
        document = self._window.document
        if document.state in ("ready", "paused") and document.mpp_xy is not None:
            document.analyze()
        elif document.state in ("failed", "ready"):
            complain(document.message)
            self._end(3)
        elif document.state == "done" and self._window.view.is_sharp:
            if self._window.grab().save(str(self._target)):
                self._end(0)
            else:
                complain(f"{self._target}: The picture cannot be written there.")
                self._end(5)

    def _end(self, code: int) -> None:
        self.code = code
        self._timer.stop()
        # Not by closing the window: the user's layout is not this one's.
        self._window.release()
        QApplication.exit(code)


class _Reporter:
    """Shows an unexpected error as a report that can be copied, and keeps the window alive."""

    def __init__(self, window: MainWindow) -> None:
        self._window = window
        self._shown = False

    def __call__(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        report_defect(text)
        if self._shown:  # one report at a time; the others are in the log
            return
        self._shown = True
        what = str(error) if isinstance(error, IdcError) else "A defect of ours; your work is kept."
        box = QMessageBox(QMessageBox.Icon.Critical, "IDC Desktop", what, parent=self._window)
        box.setInformativeText(f"The details are in {data_folder() / 'logs' / 'defects.log'}.")
        box.setDetailedText(text)
        box.finished.connect(self._on_read)
        box.open()

    def _on_read(self) -> None:
        self._shown = False
