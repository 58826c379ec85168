"""Opens the dialogs of the window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QPointF, QRectF, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication, QPainter, QPixmap
from PySide6.QtWidgets import (
    QFileDialog,
    QMainWindow,
    QMessageBox,
    QWidget,
)

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.errors import OutputError
from idc_desktop.export.folder import write_regions
from idc_desktop.export.results import results_name
from idc_desktop.plain_text import counted, one_line
from idc_desktop.ui.beside import SideBySide
from idc_desktop.ui.dialogs.associated import AssociatedDialog
from idc_desktop.ui.dialogs.classes_dialog import ClassesDialog
from idc_desktop.ui.dialogs.cohort_dialog import CohortDialog
from idc_desktop.ui.dialogs.export_dialog import ExportDialog
from idc_desktop.ui.dialogs.export_progress import ExportProgress
from idc_desktop.ui.dialogs.failures import FailuresDialog
from idc_desktop.ui.dialogs.model_table import ModelTable
from idc_desktop.ui.dialogs.pages import (
    Shortcuts,
    about_page,
    card_page,
    provenance_page,
    shortcuts_page,
)
from idc_desktop.ui.dialogs.reading import ReadingDialog
from idc_desktop.ui.dialogs.sheet_dialog import SheetDialog
from idc_desktop.ui.exporting import Exported
from idc_desktop.ui.pictures import save_picture
from idc_desktop.ui.plain import MessageBox
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.slides_export import ExportedSlides, SlidesExport


class DialogDesk:
    """Asks and shows; what the user answers goes to the function that was given.

    Only the system's own dialogs for files and folders stop the window meanwhile.

    Parameters
    ----------
    slides : callable
        Returns the slides in the list.
    shown : callable
        Takes a picture of what is seen of the slide.
    """

    def __init__(
        self,
        window: QMainWindow,
        pair: SideBySide,
        settings: Settings,
        slides: Callable[[], list[Path]],
        shown: Callable[[], QPixmap],
    ) -> None:
        self._window = window
        self._pair = pair
        self._document = pair.document
        self._settings = settings
        self._slides = slides
        self._shown = shown

    def warn(self, title: str, text: str) -> None:
        """Tell what could not be done."""
        box = MessageBox(QMessageBox.Icon.Warning, title, text, parent=self._window)
        box.open()

    def show_cohort(self, open_slide: Callable[[Path], object], folder: Path) -> None:
        """Show the slides of a cohort, each of which can be opened."""
        dialog = CohortDialog(folder, self._window)
        dialog.chosen.connect(open_slide)
        dialog.show()

    def ask_unsaved(
        self,
        problem: str,
        then: Callable[[], object],
        stay: Callable[[], object] = lambda: None,
    ) -> None:
        """Ask what to do with regions that cannot be saved, before they are left.

        Parameters
        ----------
        then : callable
            Leaves them, unless there is still a problem.
        stay : callable
            Called if the user rather stays.
        """
        box = MessageBox(
            QMessageBox.Icon.Warning,
            "Regions that are not saved",
            problem,
            QMessageBox.StandardButton.Cancel,
            self._window,
        )
        box.setInformativeText("What was drawn since is lost once the slide is closed.")
        again = box.addButton("Try again", QMessageBox.ButtonRole.AcceptRole)
        copy = box.addButton("Save a copy …", QMessageBox.ButtonRole.AcceptRole)
        discard = box.addButton("Discard", QMessageBox.ButtonRole.DestructiveRole)
        box.setDefaultButton(again)

        def on_finished() -> None:
            chosen = box.clickedButton()
            if chosen == again:
                then()
            elif chosen == copy:
                self._save_copy(problem, then, stay)
            elif chosen == discard:
                self._document.regions.close()
                then()
            else:
                stay()

        box.finished.connect(on_finished)
        box.open()

    def ask_again(self) -> None:
        """Ask before a complete analysis is begun anew."""
        document, record = self._document, self._document.record
        assert document.path is not None
        box = MessageBox(
            QMessageBox.Icon.Question,
            "Analyze again",
            f"Analyze {document.path.name} again?",
            QMessageBox.StandardButton.Cancel,
            self._window,
        )
        box.setInformativeText("What is stored of it with this model is computed anew.")
        again = box.addButton("Analyze again", QMessageBox.ButtonRole.AcceptRole)
        box.setDefaultButton(QMessageBox.StandardButton.Cancel)

        def on_finished() -> None:
            # A slide that was being opened may be shown by now.
            if box.clickedButton() == again and document.record is record:
                document.analyze_again()

        box.finished.connect(on_finished)
        box.open()

    def _save_copy(
        self, problem: str, then: Callable[[], object], stay: Callable[[], object]
    ) -> None:
        """Write the regions where the user says; without a copy, ask again."""
        path, regions = self._document.path, self._document.regions
        assert path is not None
        name, _ = QFileDialog.getSaveFileName(
            self._window,
            "Save a copy of the regions",
            str(path.with_name(f"{results_name(path)}.geojson")),
            "Regions (*.geojson *.geojson.gz)",
        )
        if not name:
            self.ask_unsaved(problem, then, stay)
            return
        try:
            write_regions(Path(name), regions.all)
        except OutputError as error:
            self.ask_unsaved(str(error), then, stay)
        else:
            regions.close()
            then()

    def ask_slides(self, then: Callable[[list[Path]], None]) -> None:
        """Ask for one slide or several."""
        slides = self._slides()
        start = str(slides[0].parent) if slides else ""
        names, _ = QFileDialog.getOpenFileNames(self._window, "Open slides", start)
        if names:
            then([Path(name) for name in names])

    def ask_folder(self, then: Callable[[Path], None]) -> None:
        """Ask for a folder of slides."""
        name = QFileDialog.getExistingDirectory(self._window, "Open a folder of slides")
        if name:
            then(Path(name))

    def ask_export(self, then: Callable[[Path, list[str], bool], None]) -> None:
        """Ask where an export goes, what it holds, and whether it names the slide."""
        settings = self._settings
        self._document.regions.try_again()
        asked = ExportDialog(self._document, settings, self._window)
        asked.sheet_asked.connect(lambda: self.write_sheet(asked))

        def on_accepted() -> None:
            settings.export_folder, settings.export_formats = str(asked.folder), asked.formats
            settings.export_anonymous = asked.is_anonymous
            then(asked.folder, asked.formats, asked.is_anonymous)

        asked.accepted.connect(on_accepted)
        asked.open()

    def ask_export_of(
        self, slides: list[Path], then: Callable[[list[Path], Path, list[str], bool], None]
    ) -> None:
        """Ask where an export of slides of the list goes, and what it holds."""
        settings = self._settings
        asked = ExportDialog(self._document, settings, self._window, slides)

        def on_accepted() -> None:
            settings.export_folder, settings.export_formats = str(asked.folder), asked.formats
            settings.export_anonymous = asked.is_anonymous
            then(slides, asked.folder, asked.formats, asked.is_anonymous)

        asked.accepted.connect(on_accepted)
        asked.open()

    def edit_classes(self) -> None:
        """Have the classes of regions named and coloured."""
        dialog = ClassesDialog(self._document, self._window)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def write_sheet(self, parent: QWidget | None = None) -> None:
        """Have case, reader, comment and conclusion of the slide written."""
        if self._document.regions.can_edit:
            dialog = SheetDialog(self._document, self._settings, parent or self._window)
            dialog.finished.connect(dialog.deleteLater)
            dialog.open()

    def ask_overwrite(self, finding: str, then: Callable[[], object]) -> None:
        """Ask before results that may be of another slide are replaced.

        Parameters
        ----------
        finding : str
            What lies where the export goes to.
        """
        box = MessageBox(
            QMessageBox.Icon.Warning,
            "Export",
            finding,
            QMessageBox.StandardButton.Cancel,
            self._window,
        )
        box.setInformativeText("What is replaced is lost. Another folder can be chosen instead.")
        replace = box.addButton("Replace", QMessageBox.ButtonRole.DestructiveRole)
        box.setDefaultButton(QMessageBox.StandardButton.Cancel)
        box.finished.connect(lambda: then() if box.clickedButton() == replace else None)
        box.open()

    def show_progress(self, export: SlidesExport) -> None:
        """Show how far an export of several slides is, which can be cancelled there."""
        ExportProgress(export, self._window).show()

    def tell_exported(self, exported: Exported) -> None:
        """Say where the files are; a button opens the folder."""
        outdated = f"Of an earlier export, and not written again: {', '.join(exported.outdated)}. "
        remedy = "Delete what is outdated, or export again in these formats."
        more = outdated + remedy if exported.outdated else ""
        self._tell_of_files(exported.folder, f"The files are in\n{exported.folder}", more)

    def tell_exported_all(self, exported: ExportedSlides) -> None:
        """Say how many slides were exported, which were not, and why."""
        written, failed = len(exported.written), len(exported.failures)
        whole = counted(exported.total, "slide")
        of = whole if written == exported.total else f"{written:,} of {whole}"
        verb = "was" if written == 1 else "were"
        text = f"{of} {verb} exported to\n{exported.folder}"
        details = [f"{one_line(slide.name)}: {one_line(why)}" for slide, why in exported.failures]
        more = ["It was cancelled."] if exported.is_cancelled else []
        if failed:
            why = details[0] if failed == 1 else "The details say which, and why."
            more.append(f"Not exported: {counted(failed, 'slide')}. {why}")
        if exported.notes:
            details += ["", "To know of those that were exported:", *map(one_line, exported.notes)]
        self._tell_of_files(exported.folder, text, " ".join(more), "\n".join(details).strip())

    def _tell_of_files(self, folder: Path, text: str, more: str, details: str = "") -> None:
        box = MessageBox(QMessageBox.Icon.NoIcon, "Exported", text)
        box.setParent(self._window, Qt.WindowType.Dialog)
        if more:
            box.setInformativeText(more)
        if details:
            box.setDetailedText(details)
        opens = box.addButton("Open the folder", QMessageBox.ButtonRole.ActionRole)
        opens.clicked.connect(
            lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder.absolute())))
        )
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Close))
        box.open()

    def save_picture(self) -> None:
        """Save what the view shows, with the research-use line below it."""
        path = self._document.path
        if path is not None:
            folder = Path(self._settings.export_folder)
            proposed = str(folder / f"{results_name(path)}.png")
            name, _ = QFileDialog.getSaveFileName(
                self._window, "Save the picture", proposed, "PNG (*.png)"
            )
            if name and not Path(name).suffix:
                name = f"{name}.png"
            if name:
                try:
                    save_picture(self._picture().toImage(), Path(name))
                except OutputError as error:
                    self.warn("Save the picture", str(error))

    def copy_picture(self) -> None:
        """Put what the view shows on the clipboard."""
        QGuiApplication.clipboard().setPixmap(self._picture())

    def _picture(self) -> QPixmap:
        shown = self._shown()
        ratio, line = shown.devicePixelRatio(), 24
        picture = QPixmap(shown.width(), shown.height() + round(line * ratio))
        picture.setDevicePixelRatio(ratio)
        picture.fill(Qt.GlobalColor.white)
        painter = QPainter(picture)
        painter.drawPixmap(0, 0, shown)
        size = shown.deviceIndependentSize()
        area = QRectF(0, size.height(), size.width(), line)
        painter.drawText(area, Qt.AlignmentFlag.AlignCenter, RESEARCH_USE_NOTICE)
        painter.end()
        return picture

    def show_about(self) -> None:
        """Show what this program is and where it keeps its data."""
        ReadingDialog("About", about_page(), self._window).open()

    def show_associated(self) -> None:
        """Show label and macro image."""
        AssociatedDialog(self._document, self._window).open()

    def show_card(self) -> None:
        """Show the card of the model."""
        page = card_page(self._document.card, self._document.model.sha256)
        ReadingDialog("Model card", page, self._window).open()

    def show_models(self) -> None:
        """Show what each model says of the slide, and the one that is chosen there beside it."""
        if self._document.slide is not None:
            dialog = ModelTable(self._document, self._window)
            dialog.chosen.connect(self._pair.show_model)
            dialog.open()

    def show_provenance(self) -> None:
        """Show where the numbers on the screen come from."""
        ReadingDialog("Provenance", provenance_page(self._document), self._window).open()

    def show_shortcuts(self, shortcuts: Shortcuts) -> None:
        """Show what keys and mouse do."""
        ReadingDialog("Keyboard and mouse", shortcuts_page(shortcuts), self._window).open()

    def show_page(self, title: str, html: str) -> None:
        """Show something to read."""
        ReadingDialog(title, html, self._window).open()

    def show_failures(self) -> None:
        """List the patches that failed; the view goes to the one that is chosen."""
        if self._document.map is not None:
            dialog = FailuresDialog(self._document.map, self._window)
            dialog.chosen.connect(self._go_to_patch)
            dialog.open()

    def _go_to_patch(self, row: int, col: int) -> None:
        grid = self._document.grid
        if grid is not None:
            self._document.camera.centre_on(QPointF(*grid.cell_centre_l0(row, col)))
            self._document.select((row, col))
