"""Where to, and which files."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from idc_desktop.export import FILES, FORMATS, PROVENANCE
from idc_desktop.ui.document import SlideDocument


class ExportDialog(QDialog):
    """Asks for a folder and for formats beside the six files."""

    def __init__(
        self,
        document: SlideDocument,
        folder: str,
        formats: list[str],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._folder = QLineEdit(folder)
        self._folder.setPlaceholderText("Choose a folder")
        self._folder.textChanged.connect(self._refresh)
        choose = QPushButton("Choose …")
        choose.clicked.connect(self._on_choose)
        row = QHBoxLayout()
        row.addWidget(self._folder, 1)
        row.addWidget(choose)
        six = QLabel(f"Always: {', '.join((*FILES, PROVENANCE))}.")
        six.setWordWrap(True)
        self._where = QLabel()
        self._where.setWordWrap(True)
        self._document = document
        self._boxes: dict[str, QCheckBox] = {}
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel("Folder"))
        layout.addLayout(row)
        layout.addWidget(self._where)
        layout.addSpacing(8)
        layout.addWidget(six)
        layout.addWidget(QLabel("Also:"))
        for name, known in FORMATS.items():
            box = QCheckBox(known.description[:1].upper() + known.description[1:])
            refusal = known.refusal(document.slide, False)
            box.setEnabled(refusal is None)
            box.setChecked(refusal is None and name in formats)
            if refusal is not None:
                box.setToolTip(f"Not for this slide: {refusal}")
                box.setText(f"{box.text()} (not for this slide: {refusal})")
            layout.addWidget(box)
            self._boxes[name] = box
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self._write = buttons.addButton("Export", QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout.addSpacing(8)
        layout.addWidget(buttons)
        self.setMinimumWidth(560)
        self._refresh()

    @property
    def folder(self) -> Path:
        """The folder that gets a sub-folder of the slide's name."""
        return Path(self._folder.text())

    @property
    def formats(self) -> list[str]:
        """Names of the formats beside the six files."""
        return [name for name, box in self._boxes.items() if box.isChecked()]

    def _on_choose(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Export into", self._folder.text())
        if name:
            self._folder.setText(name)

    def _refresh(self) -> None:
        is_folder = bool(self._folder.text().strip())
        self._write.setEnabled(is_folder)
        target = self._document.export_folder(self.folder) if is_folder else None
        self._where.setText(f"The files go to {target}" if target else "")
