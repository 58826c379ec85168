"""Where to, and which files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from idc_desktop.export.formats import FILES, FORMATS
from idc_desktop.export.verify import PROVENANCE
from idc_desktop.plain_text import counted
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.exporting import export_folder
from idc_desktop.ui.panels.wrapped_label import WrappedLabel
from idc_desktop.ui.plain import Label, plain_tip
from idc_desktop.ui.settings import Settings


class ExportDialog(QDialog):
    """Asks for a folder and for formats beside the six files.

    Parameters
    ----------
    slides : sequence of Path
        Slides of the list that are to be exported; none is the one that is open.
    """

    sheet_asked = Signal()
    """What stands in the report by hand is to be written."""

    def __init__(
        self,
        document: SlideDocument,
        settings: Settings,
        parent: QWidget | None = None,
        slides: Sequence[Path] = (),
    ) -> None:
        super().__init__(parent)
        self._slides = slides
        self.setWindowTitle(f"Export {counted(len(slides), 'slide')}" if slides else "Export")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if not slides:
            document.slide_changed.connect(self.reject)
        self._folder = QLineEdit(settings.export_folder)
        self._folder.setPlaceholderText("Choose a folder")
        self._folder.setAccessibleName("Folder")
        self._folder.textChanged.connect(self._refresh)
        choose = QPushButton("Choose …")
        choose.clicked.connect(self._on_choose)
        row = QHBoxLayout()
        row.addWidget(self._folder, 1)
        row.addWidget(choose)
        six = WrappedLabel(f"Always: {', '.join((*FILES, PROVENANCE))}.")
        self._where = WrappedLabel()
        self._document = document
        self._boxes: dict[str, QCheckBox] = {}
        layout = QVBoxLayout(self)
        layout.addWidget(Label("Folder"))
        layout.addLayout(row)
        layout.addWidget(self._where)
        layout.addSpacing(8)
        layout.addWidget(six)
        layout.addWidget(Label("Also:"))
        for name, known in FORMATS.items():
            box = QCheckBox(known.description[:1].upper() + known.description[1:])
            box.setChecked(name in settings.export_formats)
            layout.addWidget(box)
            self._boxes[name] = box
        written = QPushButton("Case, reader, conclusion …")
        written.setToolTip("What is written about the slide, for the report")
        written.setEnabled(document.regions.can_edit)
        written.clicked.connect(self.sheet_asked)
        if not slides:
            layout.addWidget(written, 0, Qt.AlignmentFlag.AlignLeft)
        several = len(slides) > 1
        names = "names of the slides" if several else "slide's name"
        self._anonymous = QCheckBox(f"Leave out the {names}")
        self._anonymous.setToolTip("A part of the slide's identity stands in its place")
        self._anonymous.setChecked(settings.export_anonymous)
        self._anonymous.toggled.connect(self._refresh)
        layout.addSpacing(8)
        layout.addWidget(self._anonymous)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        has_all = bool(slides) or not document.regions.refusal
        words = "Export" if has_all else "Export without regions"
        self._write = buttons.addButton(words, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        if not has_all:
            left_out = WrappedLabel(f"The files will hold no regions. {document.regions.refusal}")
            left_out.setObjectName("notice")
            layout.addSpacing(8)
            layout.addWidget(left_out)
        layout.addSpacing(8)
        layout.addWidget(buttons)
        self.setMinimumWidth(560)
        self._folder.selectAll()
        self._refresh()

    @property
    def folder(self) -> Path:
        """The folder that gets a sub-folder of the slide's name."""
        return Path(self._folder.text())

    @property
    def formats(self) -> list[str]:
        """Names of the formats beside the six files."""
        return [name for name, box in self._boxes.items() if box.isEnabled() and box.isChecked()]

    @property
    def is_anonymous(self) -> bool:
        """Whether the slide's name is left out."""
        return self._anonymous.isChecked()

    def _on_choose(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Export into", self._folder.text())
        if name:
            self._folder.setText(name)

    def _refresh(self) -> None:
        is_folder = bool(self._folder.text().strip())
        self._write.setEnabled(is_folder)
        self._where.setText("")
        if self._slides:
            self._show_where_all(is_folder)
            return
        if is_folder:
            target = export_folder(self._document, self.folder, self.is_anonymous)
            replaces = " and replace those that are there" if target.exists() else ""
            self._where.setText(f"The files go to {target}{replaces}.")
        slide = self._document.slide
        assert slide is not None
        for name, box in self._boxes.items():
            refusal = FORMATS[name].refusal(slide, self.is_anonymous)
            box.setEnabled(refusal is None)
            box.setToolTip(plain_tip(f"Not now: {refusal}") if refusal else "")

    def _show_where_all(self, is_folder: bool) -> None:
        if is_folder:
            each = "The slide" if len(self._slides) == 1 else "Each slide"
            self._where.setText(
                f"{each} gets a folder of its own in {self.folder}, with the map and at the "
                "threshold that the table shows. Results of other slides are not replaced."
            )
