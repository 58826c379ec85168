"""What all slides say together: ``cohort.csv``, ``cohort_regions.csv``, ``cohort.html``.

All is taken from the state files, so whoever writes the tables writes the same.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from idc_desktop.cohorts.figures import FIGURES
from idc_desktop.cohorts.page import page_text
from idc_desktop.cohorts.states import (
    COHORT,
    COHORT_PAGE,
    COHORT_REGIONS,
    CohortFolder,
    SlideState,
)
from idc_desktop.errors import not_written
from idc_desktop.export.cells import csv_text, text_cell
from idc_desktop.export.tables import REGION_COLUMNS
from idc_desktop.export.writers import Put, text_writer
from idc_desktop.plain_files import open_text
from idc_desktop.storage.atomic import FileGroup, replacing

COHORT_COLUMNS = ("Image", "Group", "Status", *FIGURES, "Notes", "Error")

_NO_LONGER_LISTED = "The slide is no longer listed."


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes
    ----------
    is_listed : bool
        The latest command named the slide.
    """

    state: SlideState
    group: str
    is_listed: bool

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells, in the order of `COHORT_COLUMNS`."""
        state, figures = self.state, self.state.figures or {}
        notes = [*([state.notes] if state.notes else []), *self._remarks()]
        head = (text_cell(state.image), text_cell(self.group), state.status)
        numbers = [figures.get(it, "") for it in FIGURES]
        return (*head, *numbers, text_cell(" ".join(notes)), text_cell(state.error))

    def _remarks(self) -> Iterator[str]:
        if not self.is_listed:
            yield _NO_LONGER_LISTED


def rows_of(folder: CohortFolder) -> list[Row]:
    """Return the rows of a cohort, in the order of names: one for each slide that was ever done.

    Slides that are listed and have no state are pending.
    """
    states = folder.states()
    rows = []
    for slide in folder.listed():
        state = states.pop(slide.id, None) or SlideState(slide.image, "pending", "", "")
        rows.append(Row(state, slide.group, True))
    rows += [Row(it, it.group, False) for it in states.values()]
    return sorted(rows, key=lambda it: (it.state.image, it.state.folder))


def write_tables(out: Path) -> list[Row]:
    """Write the tables from the state files; return the rows.

    Several processes may do so at once: each looks again afterwards, so that the last one to have
    written has seen all states that there are.

    Raises
    ------
    OutputError
        They cannot be written; those that were there are untouched.
    """
    folder = CohortFolder(out)
    while True:
        stamps = folder.stamps()
        rows = rows_of(folder)
        texts = {COHORT: csv_text(COHORT_COLUMNS, (it.cells for it in rows))}
        if any(it.state.regions for it in rows):
            texts[COHORT_REGIONS] = csv_text(REGION_COLUMNS, _region_rows(out, rows))
        texts[COHORT_PAGE] = page_text(COHORT_COLUMNS, rows)
        try:
            with FileGroup(out) as group:
                for name, text in texts.items():
                    with group.open(name) as file:
                        text_writer(partial(_put, text))(file)
        except OSError as error:
            raise not_written(
                f"{out}: The tables of the cohort cannot be written",
                error,
                "choose another folder with --out",
                "what was done is kept: run the same command again",
            ) from error
        if folder.stamps() == stamps:
            return rows


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write rows alone, in the order of names, as ``cohort.csv`` has them.

    Raises
    ------
    OutputError
        The file cannot be written; one that was there is untouched.
    """
    ordered = sorted(rows, key=lambda it: it.state.image)
    text = csv_text(COHORT_COLUMNS, (it.cells for it in ordered))
    try:
        with replacing(path) as file:
            text_writer(partial(_put, text))(file)
    except OSError as error:
        raise not_written(f"{path}: The table cannot be written", error) from error


def _put(text: str, put: Put) -> None:
    put(text)


def _region_rows(out: Path, rows: list[Row]) -> Iterator[list[str]]:
    """Yield the rows of all regions, with the slide's name in the cohort."""
    for row in rows:
        state = row.state
        if state.regions and state.folder:
            try:
                with open_text(out / state.folder / "regions.csv") as file:
                    found = list(csv.DictReader(file))
            except (OSError, UnicodeDecodeError, csv.Error):  # replaced or removed since
                continue
            for cells in found[: state.regions]:
                yield [
                    text_cell(state.image) if it == "Image" else cells.get(it) or ""
                    for it in REGION_COLUMNS
                ]
