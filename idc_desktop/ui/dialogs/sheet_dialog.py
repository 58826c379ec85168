"""What is written about a slide by hand: case, reader, comment and conclusion."""

from __future__ import annotations

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLineEdit,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from idc_desktop.regions.sheet import Sheet
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.wrapped_label import WrappedLabel
from idc_desktop.ui.settings import Settings

_SAVE_AFTER_MS = 500


class SheetDialog(QDialog):
    """Kept as it is typed, and one step to undo; Cancel brings back what was there before."""

    def __init__(
        self, document: SlideDocument, settings: Settings, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Report: case, reader, conclusion")
        self._regions, self._settings = document.regions, settings
        self._before = document.regions.sheet
        self.case = QLineEdit(self._before.case)
        self.reader = QLineEdit(self._before.reader or settings.reader)
        self.conclusion = QPlainTextEdit(self._before.conclusion)
        self.comment = QPlainTextEdit(self._before.comment)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        fields = {
            "&Case": self.case,
            "&Read by": self.reader,
            "C&onclusion": self.conclusion,
            "Co&mment": self.comment,
        }
        for name, field in fields.items():
            field.setAccessibleName(name.replace("&", ""))
            form.addRow(name, field)
        self._saving = QTimer(self, singleShot=True, interval=_SAVE_AFTER_MS)
        self._saving.timeout.connect(self._save)
        for field in (self.case, self.reader, self.conclusion, self.comment):
            field.textChanged.connect(self._saving.start)
            if isinstance(field, QPlainTextEdit):
                field.setTabChangesFocus(True)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(
            WrappedLabel(
                "This stands on the first page of the report. Exported without the slide's name, "
                "the report leaves out case and reader."
            )
        )
        layout.addWidget(buttons)
        self.setMinimumWidth(520)
        document.slide_changed.connect(self._leave)

    def accept(self) -> None:
        """Keep it, and the reader for the next slide."""
        self._saving.stop()
        self._save()
        self._settings.reader = self.reader.text().strip()
        self._settings.save()
        super().accept()

    def reject(self) -> None:
        """Bring back what was there before."""
        self._saving.stop()
        self._write(self._before)
        super().reject()

    def _leave(self) -> None:
        """Close with the slide; what was typed is kept with it."""
        self._saving.stop()
        super().reject()

    def _save(self) -> None:
        self._write(
            Sheet(
                self.case.text().strip(),
                self.reader.text().strip(),
                self.comment.toPlainText().strip(),
                self.conclusion.toPlainText().strip(),
            )
        )

    def _write(self, sheet: Sheet) -> None:
        self._regions.write_sheet(sheet, id(self) % (1 << 30))
