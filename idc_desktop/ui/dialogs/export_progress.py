"""Tells how far an export of several slides is."""

from __future__ import annotations

from PySide6.QtWidgets import QProgressBar, QWidget

from idc_desktop.plain_text import one_line
from idc_desktop.ui.plain import ProgressDialog
from idc_desktop.ui.slides_export import SlidesExport

_WIDTH_PX = 420


class ExportProgress(ProgressDialog):
    """Follows an export, which can be cancelled here, to its end."""

    def __init__(self, export: SlidesExport, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export")
        self.setLabelText("Beginning …")
        bar = QProgressBar()
        bar.setFormat("%p %")
        self.setBar(bar)
        self.setMinimumWidth(_WIDTH_PX)
        # Methods of its own: connections to them end with it, and the next export has another one.
        export.progressed.connect(self._tell)
        for ended in (export.ended, export.failed):
            ended.connect(self.close)
        self.canceled.connect(export.cancel)

    def _tell(self, number: int, total: int, name: str) -> None:
        self.setMaximum(total)
        self.setValue(number - 1)
        self.setLabelText(f"Slide {number:,} of {total:,}: {one_line(name)}")
