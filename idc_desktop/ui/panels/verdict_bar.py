"""The verdicts to give, as a row of buttons and as verbs."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtWidgets import QInputDialog, QPushButton, QWidget

from idc_desktop.regions.shape import VERDICTS, Rgb, Verdict, class_rgb
from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.panels.flow_layout import FlowLayout
from idc_desktop.ui.plain import plain_tip
from idc_desktop.ui.verbs import Verb

REVIEW = "Re&view"
"""The menu of what is judged, measured and written."""

_TEXTS: dict[Verdict, tuple[str, str]] = {
    "IDC": ("Verdict: &IDC", "I"),
    "DCIS": ("Verdict: in situ (&DCIS)", "C"),
    "benign": ("Verdict: &benign", "K"),
    "artefact": ("Verdict: &artefact", "0"),
    "unsure": ("Verdict: &unsure", "Q"),
    "": ("&Take the verdict back", "Shift+Q"),
}
_NOTHING = "Nothing to judge: step to a focus (N), or choose a region."


class VerdictBar(QWidget):
    """Judges the focus that is looked at, else the chosen regions; shows how they are judged."""

    judged = Signal()
    """A verdict was given."""

    def __init__(self, document: SlideDocument, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._regions = document.regions
        self._document = document
        row = FlowLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.buttons: dict[Verdict, QPushButton] = {}
        for verdict in VERDICTS:
            text, keys = _TEXTS[verdict]
            button = QPushButton(swatch(class_rgb(verdict)), verdict)
            button.setCheckable(True)
            button.setToolTip(plain_tip(f"{text.replace('&', '')} ({keys}); Shift+Q takes it back"))
            button.setAccessibleName(text.replace("&", ""))
            button.clicked.connect(partial(self.judge, verdict))
            row.addWidget(button)
            self.buttons[verdict] = button
        self.note = QPushButton("Note …")
        self.note.setToolTip("Write a note on it (F4)")
        self.note.clicked.connect(self.ask_note)
        row.addWidget(self.note)
        for changed in (
            self._regions.changed,
            self._regions.choice_changed,
            self._regions.pointed_out,
        ):
            changed.connect(self._show)
        self._show()

    def verbs(self) -> list[Verb]:
        """Return the verbs for the menu."""
        verbs = [
            Verb(REVIEW, text, partial(self.judge, verdict), keys)
            for verdict, (text, keys) in _TEXTS.items()
        ]
        return [*verbs, Verb(REVIEW, "&Note …", self.ask_note, "F4")]

    def judge(self, verdict: Verdict) -> None:
        """Give a verdict."""
        if not self._has_subject:
            self._document.noted.emit(_NOTHING)
        elif self._regions.judge(verdict):
            self.judged.emit()
            self._regions.tell_conflicts()  # what else was said of the verdict is worth less
        self._show()  # a click has checked a button, whatever came of it

    def ask_note(self) -> None:
        """Ask for the note on it."""
        if not self._has_subject:
            self._document.noted.emit(_NOTHING)
            return
        dialog = QInputDialog(self.window())
        dialog.setWindowTitle("Note")
        dialog.setOption(QInputDialog.InputDialogOption.UsePlainTextEditForTextInput)
        dialog.setLabelText(f"Note on {self._subject_text()}:")
        dialog.setTextValue(self._regions.note)
        dialog.textValueSelected.connect(lambda text: self._regions.write_note(text.strip()))
        dialog.finished.connect(dialog.deleteLater)
        self._document.slide_changed.connect(dialog.reject)
        dialog.open()

    @property
    def _has_subject(self) -> bool:
        regions = self._regions
        return regions.can_edit and bool(regions.focus is not None or regions.chosen)

    def _subject_text(self) -> str:
        regions = self._regions
        if regions.focus is not None:
            return regions.focus[0].lower()
        return f"{len(regions.chosen)} regions" if len(regions.chosen) > 1 else "the chosen region"

    def _show(self) -> None:
        given = {it.verdict for it in self._regions.subjects}
        for verdict, button in self.buttons.items():
            button.setChecked(given == {verdict})
            button.setEnabled(self._has_subject)
        self.note.setEnabled(self._has_subject)


def swatch(rgb: Rgb) -> QIcon:
    """Return a small square of a colour, with a rim that shows on a selected row."""
    picture = QPixmap(14, 14)
    picture.fill(QColor(255, 255, 255))
    painter = QPainter(picture)
    painter.fillRect(1, 1, 12, 12, QColor(*rgb))
    painter.end()
    icon = QIcon(picture)
    icon.addPixmap(picture, QIcon.Mode.Selected)  # else it takes on the colour of the row
    return icon
