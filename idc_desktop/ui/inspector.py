"""The right-hand dock: the analysis, and below it map, figures and patch."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.analysis_panel import AnalysisPanel
from idc_desktop.ui.panels.map_panel import MapPanel
from idc_desktop.ui.panels.patch_panel import PatchPanel
from idc_desktop.ui.panels.picture_panel import PicturePanel
from idc_desktop.ui.panels.section import Section
from idc_desktop.ui.panels.statistics_panel import StatisticsPanel

_LEAST_WIDTH = 300
_MARGIN = 8


class Inspector(QWidget):
    """Holds the panels, each in a section that can be folded away.

    That of the analysis stays where it is: its buttons are always in sight. The others scroll.
    """

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self.analysis = AnalysisPanel(document)
        self.map = MapPanel(document)
        self.statistics = StatisticsPanel(document)
        self.patch = PatchPanel(document)
        self.sections = [
            Section("Analysis", self.analysis),
            Section("Map: probability of IDC", self.map),
            Section("Figures", self.statistics),
            Section("Patch", self.patch),
            Section("Picture", PicturePanel(document)),
        ]
        content = QWidget()
        first, *others = self.sections
        layout = QVBoxLayout(content)
        layout.setContentsMargins(6, 0, 6, 6)
        for section in others:
            layout.addWidget(section)
        layout.addStretch(1)
        self._content = content
        self._scrolled = QScrollArea()
        self._scrolled.setWidget(content)
        self._scrolled.setWidgetResizable(True)
        self._scrolled.setFrameShape(QFrame.Shape.NoFrame)
        self._scrolled.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self._scrolled.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 2, 0, 0)
        column.setSpacing(0)
        first.setContentsMargins(6, 0, 6, 0)
        column.addWidget(first)
        column.addWidget(self._scrolled, 1)
        self.setMinimumWidth(_LEAST_WIDTH)
        document.selection_changed.connect(self._on_selected)

    @property
    def folded(self) -> list[str]:
        """Titles of the sections that are folded away."""
        return [section.title for section in self.sections if section.is_folded]

    @folded.setter
    def folded(self, titles: list[str]) -> None:
        for section in self.sections:
            section.fold(section.title in titles)

    def _on_selected(self) -> None:
        if self._document.selected is not None:
            QTimer.singleShot(0, self, self._show_patch)  # once its texts have their height

    def _show_patch(self) -> None:
        """Bring the picture of the selected patch into sight; if it is, all stays in its place."""
        self._content.adjustSize()
        if self.patch.picture.isVisible():
            self._scrolled.ensureWidgetVisible(self.patch.picture, 0, _MARGIN)
