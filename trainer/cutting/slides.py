"""Cuts labelled patches out of slides, one slide after the other, into a folder with a manifest.

Slides are opened by the application's engine only, a process of its own. ``OUT/patches`` gets the
patches and ``OUT/slides`` a list for each slide; a patch or list that is there is whole, so the
same command goes on after an interruption.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from idc_desktop.errors import GarbledMessageError, not_written
from idc_desktop.export.results import results_name
from idc_desktop.maps.grid import PatchGrid
from idc_desktop.models.patch_size import PatchSize
from idc_desktop.plain_files import open_file, open_text, read_json
from idc_desktop.plain_text import counted
from idc_desktop.processes.cut_messages import (
    BACKGROUND,
    CUT,
    EXCLUDED,
    NOT_WANTED,
    UNREADABLE,
    BlockCut,
    CutJob,
    GridLaid,
    WantedCells,
)
from idc_desktop.processes.engine_messages import Note
from idc_desktop.processes.message import SlideOpened
from idc_desktop.processes.region_reading import RegionReading
from idc_desktop.processes.supervisor import Job
from idc_desktop.regions.shape import Region
from idc_desktop.slides.description import SlideDescription
from trainer.cutting.labels import AMBIGUOUS, CellLabels, LabelRules, class_of, label_cells
from trainer.data.manifest import COLUMNS, MANIFEST, write_patch_size
from trainer.errors import DataError
from trainer.files import make_folder, replacing, write_csv

PATCHES, LISTS = "patches", "slides"


@dataclass(frozen=True)
class CutOptions:
    """What is asked for of each slide.

    Attributes
    ----------
    patch : PatchSize
    rules : LabelRules
    mpp : float or None
        Resolution given by the user, µm per pixel.
    counts_from_bounds : bool
        Files of outlines count from the corner of what was scanned, as QuPath does.
    has_tissue_mask : bool
    is_shielded : bool
        Patches that the application's shield finds artefacts on are left out.
    threads : int
    """

    patch: PatchSize
    rules: LabelRules
    mpp: float | None = None
    counts_from_bounds: bool = False
    has_tissue_mask: bool = True
    is_shielded: bool = False
    threads: int = 1

    def as_dict(self) -> dict[str, Any]:
        """Return all that decides the patches and their labels."""
        said = asdict(self)
        del said["threads"]
        return said


@dataclass
class CutSlide:
    """What became of one slide.

    Attributes
    ----------
    classes : dict
        Class -> number of outlines.
    positive, negative : int
        Patches that were cut.
    ambiguous, background, artefacts, failed : int
        Cells with too little cover; labelled ones without tissue; those that the shield left out;
        those that cannot be read.
    notes : list of str
    is_old : bool
        Whether it was cut by an earlier run.
    """

    name: str
    classes: dict[str, int] = field(default_factory=dict)
    positive: int = 0
    negative: int = 0
    ambiguous: int = 0
    background: int = 0
    artefacts: int = 0
    failed: int = 0
    notes: list[str] = field(default_factory=list)
    is_old: bool = False

    def line(self) -> str:
        """Say it in one line."""
        left_out = (
            (self.ambiguous, "with too little cover"),
            (self.background, "without tissue"),
            (self.artefacts, "with artefacts"),
            (self.failed, "unreadable"),
        )
        rest = ", ".join(f"{count:,} {why}" for count, why in left_out if count)
        return (
            f"{self.name}: {counted(self.positive + self.negative, 'patch')}, "
            f"{self.positive:,} positive"
            + (f"; left out: {rest}" if rest else "")
            + (" (cut before)" if self.is_old else "")
        )


Progress = Callable[[int, int], None]
"""Hears (patches done, patches in all) of the slide at work."""


def cut_slide(
    slide: Path, outlines: Path, case: str, options: CutOptions, out: Path, progress: Progress
) -> CutSlide:
    """Cut the labelled patches of a slide into a folder.

    Raises
    ------
    IdcError
        The slide or its outlines cannot be used, or the folder cannot be written to.
    DataError
        Also: the folder has patches of another slide of this name, or of another size.
    """
    return _Cutting(slide, outlines, case, options, out, progress).run()


def write_manifest(slides: list[Path], out: Path, patch: PatchSize) -> None:
    """Put the lists of slides together to ``OUT/manifest.csv``, as far as they are there."""

    def rows() -> Iterator[list[str]]:
        yield [*COLUMNS]
        for slide in slides:
            path = out / LISTS / f"{results_name(slide)}.csv"
            with (
                contextlib.suppress(FileNotFoundError),
                open_text(path) as file,
            ):
                yield from csv.reader(file)

    write_patch_size(out, patch)
    write_csv(out / MANIFEST, rows())


class _Cutting:
    def __init__(
        self,
        slide: Path,
        outlines: Path,
        case: str,
        options: CutOptions,
        out: Path,
        progress: Progress,
    ) -> None:
        self._slide, self._outlines, self._case = slide, outlines, case
        self._options, self._out, self._progress = options, out, progress
        self._name = results_name(slide)
        self._found = CutSlide(slide.name)
        self._regions: list[Region] = []
        self._description: SlideDescription | None = None
        self._grid: PatchGrid | None = None
        self._labels: CellLabels | None = None
        self._are_kept = True
        self._done: NDArray[np.bool_] = np.zeros((0, 0), np.bool_)
        self._cells: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)

    def run(self) -> CutSlide:
        record = self._out / LISTS / f"{self._name}.json"
        key = self._key()
        known = _read_record(record)
        if known.get("key") == key:
            said = {name: known[name] for name in vars(self._found) if name in known}
            return replace(self._found, **said, is_old=True)
        reading = RegionReading(self._outlines)
        job = Job(
            CutJob(
                *(str(self._slide.absolute()), self._options.patch, self._options.mpp),
                *(self._options.threads, self._options.has_tissue_mask),
                # What nobody outlined is told from background as strictly as `analyze` does it.
                not self._options.rules.unlabelled_is_negative,
                self._options.is_shielded,
            ),
            self._slide.name,
        )
        with reading, contextlib.closing(job):
            self._follow(job, reading, record, known)
        self._finish(record, key)
        return self._found

    def _key(self) -> str:
        """Return a hash of all that decides what comes of this slide."""
        status = self._slide.stat()
        try:
            with open_file(self._outlines) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{self._outlines} cannot be read ({error.strerror}).") from error
        said = (self._options.as_dict(), self._case, digest, status.st_size, status.st_mtime_ns)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def _follow(
        self, job: Job, reading: RegionReading, record: Path, known: dict[str, Any]
    ) -> None:
        for event in job.events():
            match event:
                case SlideOpened():
                    self._description = event.slide
                    self._claim(record, known)
                case Note():
                    if event.text not in self._found.notes:
                        self._found.notes.append(event.text)
                case GridLaid():
                    self._lay(event.grid, reading)
                    assert self._labels is not None
                    job.tell(WantedCells.of(self._labels.wanted & ~self._done))
                case BlockCut():
                    self._take(event)
        if self._labels is None or (self._labels.wanted & ~self._done).any():
            raise GarbledMessageError("patches are missing")

    def _claim(self, record: Path, known: dict[str, Any]) -> None:
        """Note whose patches these are, before the first one is written."""
        assert self._description is not None
        mine: dict[str, Any] = {
            "identity": self._description.identity,
            "patch": asdict(self._options.patch),
            "mpp": self._description.mpp_xy and list(self._description.mpp_xy),
        }
        if known and {name: known.get(name) for name in mine} != mine:
            raise DataError(
                f"{self._slide.name}: {self._out} has patches of another slide of this name, or of "
                "another size or resolution. Choose another folder with --out."
            )
        options = self._options
        is_strict = options.rules.unlabelled_is_negative
        rules = [options.has_tissue_mask, options.is_shielded, is_strict]
        # What was left out by other rules, or was not, is looked at again.
        self._are_kept = known.get("rules", rules) == rules
        _write_record(record, mine | {"rules": rules})
        known.update(mine, rules=rules)

    def _lay(self, grid: PatchGrid, reading: RegionReading) -> None:
        """Label the cells of the grid, and see which patches are there already."""
        if self._grid is not None:
            if grid != self._grid:
                raise GarbledMessageError("another grid")
            return
        assert self._description is not None
        read = reading.result()
        origin = self._description.bounds_origin_l0 if self._options.counts_from_bounds else (0, 0)
        self._regions = read.placed(self._description, origin)
        self._found.notes += read.notes
        self._found.classes = dict(Counter(map(class_of, self._regions)))
        self._grid = grid
        self._labels = label_cells(self._regions, grid, self._options.rules)
        self._found.ambiguous = int((self._labels.label == AMBIGUOUS).sum())
        self._cells = np.full(self._labels.label.shape, NOT_WANTED, np.uint8)
        self._done = np.zeros(self._labels.label.shape, np.bool_)
        for row, col in np.argwhere(self._labels.wanted & self._are_kept).tolist():
            with contextlib.suppress(OSError):
                if self._path(row, col).stat().st_size:
                    self._done[row, col], self._cells[row, col] = True, CUT
        self._tell_progress()

    def _take(self, event: BlockCut) -> None:
        """Write the patches of a block."""
        assert self._labels is not None
        here = np.s_[event.row : event.row + event.rows, event.col : event.col + event.cols]
        cells = event.cells
        if (
            self._cells[here].shape != cells.shape
            or cells.max() > EXCLUDED
            or np.count_nonzero(cells == CUT) != event.patches
            or event.side_px != self._options.patch.side_px
            or (cells[~self._labels.wanted[here]] != NOT_WANTED).any()
        ):
            raise GarbledMessageError("a block that was not asked for")
        for (row, col), pixels in zip(
            np.argwhere(cells == CUT).tolist(), event.pixels, strict=True
        ):
            _write_png(self._path(event.row + row, event.col + col), pixels)
        answered = cells != NOT_WANTED
        self._cells[here][answered] = cells[answered]
        self._done[here] |= answered
        for row, col, why in event.reasons[:1]:
            self._found.notes.append(f"{self._slide.name}: row {row}, column {col}: {why}")
        self._tell_progress()

    def _tell_progress(self) -> None:
        assert self._labels is not None
        self._progress(int(self._done.sum()), int(self._labels.wanted.sum()))

    def _path(self, row: int, col: int) -> Path:
        return self._out / PATCHES / f"{self._name}_r{row}_c{col}.png"

    def _finish(self, record: Path, key: str) -> None:
        """Write the list of the slide, and remove patches that have no label any more."""
        assert self._labels is not None
        assert self._grid is not None
        is_cut = self._cells == CUT
        label, found = self._labels.label, self._found
        found.positive, found.negative = (int((is_cut & (label == of)).sum()) for of in (1, 0))
        found.background = int((self._cells == BACKGROUND).sum())
        found.artefacts = int((self._cells == EXCLUDED).sum())
        found.failed = int((self._cells == UNREADABLE).sum())
        x, y = self._grid.column_edges_px(), self._grid.row_edges_px()
        kept = np.argwhere(is_cut).tolist()
        rows = [
            (
                f"{PATCHES}/{self._path(row, col).name}",
                *(int(label[row, col]), self._case, self._slide.name, row, col),
                *(int(x[col]), int(y[row]), f"{self._labels.cover[row, col]:.6f}"),
            )
            for row, col in kept
        ]
        write_csv(record.with_suffix(".csv"), rows)
        names = {self._path(row, col).name for row, col in kept}
        for path in self._out.joinpath(PATCHES).glob(f"{_escaped(self._name)}_r*_c*.png"):
            if path.name not in names and _cell_of(path, self._name):
                path.unlink(missing_ok=True)
        said = vars(found) | {"key": key}
        del said["is_old"]
        _write_record(record, _read_record(record) | said)


def make_folders(out: Path) -> None:
    """Make the folder for patches and those in it."""
    for folder in (out, out / PATCHES, out / LISTS):
        make_folder(folder)


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a patch; a kill leaves all of it or nothing under its name."""
    temporary = path.with_name(f".{path.name}")
    try:
        with temporary.open("wb") as file:
            Image.fromarray(pixels).save(file, "PNG", compress_level=1)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise not_written(
            f"{path.name}: It cannot be written", error, "choose another folder with --out"
        ) from error


def _cell_of(path: Path, name: str) -> bool:
    """Whether a file is a patch of the slide, and not of one whose name begins alike."""
    row, _, col = path.stem.removeprefix(f"{name}_r").partition("_c")
    return row.isdecimal() and col.isdecimal()


def _escaped(name: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def _read_record(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _write_record(path: Path, document: dict[str, Any]) -> None:
    with replacing(path) as file:
        file.write((json.dumps(document, indent=1) + "\n").encode())
