"""The pictures that come with a scan: they may name a patient, so only on request."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QImage, QPixmap
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.plain import Label
from idc_desktop.ui.screen import resize_within_screen

_LARGEST_PX = 900


class AssociatedDialog(QDialog):
    """A tab for each picture (label, macro, thumbnail). Deleted when closed."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Label and macro image")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        document.slide_changed.connect(self.reject)
        warning = Label("These pictures may show names and numbers. They are never exported.")
        self.pictures: dict[str, Label] = {}
        tabs = QTabWidget()
        tiles = document.tiles
        for name in tiles.associated_names if tiles is not None else ():
            label = Label("Reading …")
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            scroll = QScrollArea()
            scroll.setWidget(label)
            scroll.setWidgetResizable(True)
            tabs.addTab(scroll, name)
            self.pictures[name] = label
        if tiles is not None:
            tiles.associated_loaded.connect(self._on_loaded)
            for name in self.pictures:
                tiles.ask_associated(name)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(warning)
        layout.addWidget(tabs if self.pictures else Label("The file holds none."), 1)
        layout.addWidget(buttons)
        resize_within_screen(self, 760, 560)

    def _on_loaded(self, name: str, picture: QImage | str) -> None:
        label = self.pictures.get(name)
        if label is None:
            return
        if isinstance(picture, str):
            label.setText(picture)
            return
        if max(picture.width(), picture.height()) > _LARGEST_PX:
            picture = picture.scaled(
                _LARGEST_PX,
                _LARGEST_PX,
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
        label.setPixmap(QPixmap.fromImage(picture))
