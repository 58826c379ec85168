"""What the window exports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from idc_desktop.export.content import Analysis
from idc_desktop.export.folder import write_folder
from idc_desktop.export.results import results_folder
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.mask import drawn
from idc_desktop.regions.shape import Region
from idc_desktop.regions.sheet import Sheet
from idc_desktop.ui.document import SlideDocument


@dataclass(frozen=True)
class Exported:
    """What an export left.

    Attributes
    ----------
    folder : Path
    outdated : tuple of str
        Files of an earlier export that still lie there and were not written again.
    """

    folder: Path
    outdated: tuple[str, ...]


@dataclass(frozen=True)
class Export:
    """A finished run with its regions, as it was when it was asked for.

    It holds all that it needs, and may be written in another thread while the window goes on.
    """

    folder: Path
    analysis: Analysis
    regions: tuple[Region, ...]
    marks: tuple[Mark, ...]
    sheet: Sheet
    formats: tuple[str, ...]

    @classmethod
    def of(
        cls,
        document: SlideDocument,
        out: Path,
        formats: Sequence[str] = (),
        anonymous: bool = False,
    ) -> Export:
        """Take what a document shows.

        Parameters
        ----------
        out : Path
            Gets a sub-folder.
        formats : sequence of str
            Of `idc_desktop.export.formats.FORMATS`, beside the six files.
        anonymous : bool
            Put a part of the slide's identity in the place of its file name.
        """
        assert document.path is not None
        assert document.slide is not None
        assert document.map is not None
        analysis = Analysis.of(
            document.record,
            document.model,
            document.slide.pseudonym if anonymous else document.path.name,
            document.threshold,
            document.measured_map,
            source=document.path,
        )
        folder = export_folder(document, out, anonymous)
        kept = document.regions
        sheet = kept.sheet.nameless if anonymous else kept.sheet
        return cls(folder, analysis, drawn(kept.all), kept.marks, sheet, tuple(formats))

    def write(self, overwrite: bool = False) -> Exported:
        """Write the files; parameters and errors as of `idc_desktop.export.folder.write_folder`."""
        left = write_folder(
            self.folder,
            self.analysis,
            self.regions,
            self.formats,
            marks=self.marks,
            sheet=self.sheet,
            overwrite=overwrite,
        )
        return Exported(self.folder, tuple(left))


def export_folder(document: SlideDocument, out: Path, anonymous: bool = False) -> Path:
    """Return the folder within `out` that an export of the slide goes to."""
    assert document.path is not None
    assert document.slide is not None
    return results_folder(out, document.path, document.slide, anonymous=anonymous)
