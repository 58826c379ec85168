"""From focus to focus, slide after slide."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject

from idc_desktop.ui.document import SlideDocument
from idc_desktop.ui.listed_slides import ListedSlides
from idc_desktop.ui.panels.foci_panel import FociPanel
from idc_desktop.ui.panels.verdict_bar import REVIEW
from idc_desktop.ui.slide_model import SlideModel
from idc_desktop.ui.verbs import Verb


class FocusWalk(QObject):
    """After the last focus of a slide comes the first one of the next slide that has any.

    Slides are taken as the list shows them: sorted and searched.
    """

    def __init__(
        self, document: SlideDocument, foci: FociPanel, slides: ListedSlides, rows: SlideModel
    ) -> None:
        super().__init__(foci)
        self._document, self._foci = document, foci
        self._slides, self._rows = slides, rows
        self._target: Path | None = None  # is on its way
        foci.found.connect(self._on_found)

    def verbs(self) -> list[Verb]:
        """Return the verb for the menu."""
        return [Verb(REVIEW, "Next focus, also of the next &slide", self.step, "Ctrl+N")]

    def step(self) -> None:
        """Go to the next focus in rank, of this slide or the next one."""
        if self._foci.list.currentRow() + 1 < len(self._foci.foci):
            self._foci.step(1)
            return
        self._target = self._next_slide()
        if self._target is None:
            self._document.noted.emit("No slide further down the list has foci that are known.")
        else:
            self._slides.choose(self._target)

    def _next_slide(self) -> Path | None:
        front = self._slides.front
        row = None if front is None else self._rows.row_of(front)
        first = 0 if row is None else row + 1
        rows = range(first, self._rows.rowCount())
        return next((self._rows.slide(it) for it in rows if self._has_foci(it)), None)

    def _has_foci(self, row: int) -> bool:
        outcome = self._rows.status(row).outcome
        if outcome is None or outcome.details is None:
            return outcome is not None  # it may have some
        return bool(outcome.details.number("Foci"))

    def _on_found(self) -> None:
        if self._target is not None and self._document.path == self._target:
            self._target = None
            self.step()
