"""The right-hand dock: analysis, map, figures and patch, one below the other."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.analysis_panel import AnalysisPanel
from idc_desktop.ui.panels.map_panel import MapPanel
from idc_desktop.ui.panels.patch_panel import PatchPanel
from idc_desktop.ui.panels.section import Section
from idc_desktop.ui.panels.statistics_panel import StatisticsPanel

_LEAST_WIDTH = 320
_MARGIN = 8


class Inspector(QScrollArea):
    """Holds the panels, each in a section that can be folded away."""

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
        ]
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(6, 2, 6, 6)
        for section in self.sections:
            layout.addWidget(section)
        layout.addStretch(1)
        self._content = content
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
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
            self.ensureWidgetVisible(self.patch.picture, 0, _MARGIN)
