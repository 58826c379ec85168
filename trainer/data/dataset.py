"""The index and the array store of a folder of patches in the Kaggle layout.

The layout is ``<case>/<0|1>/<case>_idx5_x<X>_y<Y>_class<0|1>.png``. One rule per flaw; each file
is counted under exactly one `Status`, and only `Status.OK` patches are ever used:

A folder of patches that is neither ``0`` nor ``1`` holds a class that no model here knows: it is
refused, not left out.

- *nested copy*: the original archive repeats itself in a sub-folder; a patch (case, x, y, label)
  that was already met nearer to the root is not a second patch;
- *bad name*: a file whose name does not follow the layout has no position;
- *label disagreement*: folder and file name name two classes (or two cases): left out;
- *unreadable*: not decodable as an image: left out;
- *odd size*: edge patches that are not 50x50 would need invented pixels: left out;
- *duplicate*: the same pixels again with the same label: only the first (by case, x, y) is kept;
- *contradiction*: the same pixels, or the same position of a case, under both labels: all of them
  are left out.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.errors import DataError, named
from trainer.files import make_folder, replacing, sole_user, write_csv

PATCH = 50
"""Side of a patch in pixels (the ``ps50`` of the layout)."""

_NAME = re.compile(r"(?P<case>.+)_idx\d+_x(?P<x>\d+)_y(?P<y>\d+)_class(?P<label>[01])\.png")
_PATCH_LIKE = re.compile(r".+_x\d+_y\d+_class.+\.png", re.IGNORECASE)
"""What lies in the wrong folder, and yet was meant to be a patch."""
INDEX, PIXELS = "index.csv", "patches.u8"
_COLUMNS = ("case", "x", "y", "label", "width", "height", "sha256", "status", "row", "file")
_BYTES = PATCH * PATCH * 3

PatchArray = NDArray[np.uint8]


class Status(StrEnum):
    """What became of one file of the data folder."""

    OK = "ok"
    NESTED_COPY = "nested copy"
    BAD_NAME = "bad name"
    LABEL_DISAGREEMENT = "label disagreement"
    UNREADABLE = "unreadable"
    ODD_SIZE = "odd size"
    DUPLICATE = "duplicate"
    CONTRADICTION = "contradiction"


@dataclass(frozen=True)
class PatchIndex:
    """The usable patches, column by column, ordered by (case, x, y, label).

    Attributes
    ----------
    case : ndarray of str, shape (n,)
    x, y : ndarray of int, shape (n,)
        1-based position of the top-left corner, pixels at the patches' own scale.
    label : ndarray of uint8, shape (n,)
        1 = IDC.
    sha256 : ndarray of str, shape (n,)
        Of the decoded RGB pixels.
    """

    case: NDArray[np.str_]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    label: NDArray[np.uint8]
    sha256: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.label)

    def digest(self) -> str:
        """SHA-256 over (case, label, pixels' hash) of all patches: which data this is."""
        digest = hashlib.sha256()
        for case, label, pixels in zip(self.case, self.label, self.sha256, strict=True):
            digest.update(f"{case},{label},{pixels}\n".encode())
        return digest.hexdigest()

    def take(self, rows: NDArray[np.intp]) -> PatchIndex:
        """Return the index of some rows, in the order given."""
        return PatchIndex(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Blend:
    """What synthetic patches are made of: ``(1 - share) * patch + share * partner``.

    Attributes
    ----------
    partner : ndarray of int, shape (n,)
        Where the second patch lies in the array file.
    share : ndarray of float32, shape (n,)
        0 for a real patch.
    """

    partner: NDArray[np.intp]
    share: NDArray[np.float32]


@dataclass(frozen=True)
class PatchStore:
    """Patches on disk, read as they are needed; some may be blends of two.

    Attributes
    ----------
    index : PatchIndex
    rows : ndarray of int, shape (n,)
        Where each patch of `index` lies in `pixels`.
    pixels : memmap of uint8, shape (m, 50, 50, 3)
        RGB; m >= n unless patches are repeated or blended.
    blend : Blend or None
        None: all patches are real.
    """

    index: PatchIndex
    rows: NDArray[np.intp]
    pixels: PatchArray
    blend: Blend | None = None

    def read(self, which: NDArray[np.intp]) -> PatchArray:
        """Read patches by their position in the index; uint8, shape (len(which), 50, 50, 3)."""
        patches = self.pixels[self.rows[which]]
        if self.blend is None:
            return patches
        mixed = np.flatnonzero(self.blend.share[which])
        # In float: the difference of two uint8 wraps without a word.
        one = patches[mixed].astype(np.float32)
        other = self.pixels[self.blend.partner[which[mixed]]].astype(np.float32)
        share = self.blend.share[which[mixed]].reshape(-1, 1, 1, 1)
        patches[mixed] = np.rint(one + share * (other - one)).astype(np.uint8)
        return patches

    def batches(self, size: int = 1024) -> Iterator[PatchArray]:
        """Yield all patches in the order of the index, `size` at a time."""
        order = np.arange(len(self.index))
        for start in range(0, len(order), size):
            yield self.read(order[start : start + size])

    def take(self, which: NDArray[np.intp]) -> PatchStore:
        """Return the store of some patches, by their position in the index, in the order given."""
        blend = self.blend and Blend(self.blend.partner[which], self.blend.share[which])
        return PatchStore(self.index.take(which), self.rows[which], self.pixels, blend)

    def select(self, cases: frozenset[str]) -> PatchStore:
        """Return the part of the store that belongs to some cases."""
        return self.take(np.flatnonzero(np.isin(self.index.case, sorted(cases))))


@dataclass
class _Record:
    case: str
    x: int
    y: int
    label: int
    path: Path
    status: Status = Status.OK
    width: int = 0
    height: int = 0
    sha256: str = ""
    row: int = -1


@dataclass(frozen=True)
class PrepareReport:
    """How many files were found, and what became of them.

    Attributes
    ----------
    examples : dict
        The first file that each rule left out, and what is wrong with it.
    """

    counts: dict[Status, int]
    cases: int
    negative: int
    positive: int
    examples: dict[Status, str]

    def lines(self) -> list[str]:
        """Return the report as plain text, a line per finding."""
        return [
            f"cases: {self.cases}",
            f"not IDC: {self.negative}",
            f"IDC: {self.positive}",
            *(self._line(status) for status in Status),
        ]

    def flaws(self) -> str:
        """Return what is wrong with the files that cannot be used, on one line."""
        return ". ".join(self._line(status) for status in Status if status in self.examples)

    def _line(self, status: Status) -> str:
        example = self.examples.get(status)
        return f"{status.value}: {self.counts[status]}" + (f", first {example}" if example else "")


def prepare(
    data: Path, out: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> PrepareReport:
    """Index a data folder and write its patches into one array file.

    Parameters
    ----------
    data : Path
        Folder of case folders (or one whose sub-folder holds them).
    out : Path
        Gets ``index.csv``, ``patches.u8`` and ``report.json``; ``index.csv`` is written last, so a
        folder with it is complete.
    progress : callable
        Called with (files done, files in all).

    Raises
    ------
    DataError
        No usable patch, only one class, or a third one.
    BusyError
        Another process writes to `out`.
    OutputError
        `out` cannot be written.
    """
    records = _find(data)
    candidates = [record for record in records if record.status is Status.OK]
    if not candidates:
        raise DataError(
            f"{data} holds no patch named <case>/<0|1>/<case>_idx5_x<X>_y<Y>_class<0|1>.png. "
            "Name the folder that holds the case folders."
        )
    make_folder(out)
    with sole_user(out):
        return _store(data, records, candidates, out, progress)


def _store(
    data: Path,
    records: list[_Record],
    candidates: list[_Record],
    out: Path,
    progress: Callable[[int, int], None],
) -> PrepareReport:
    rows = 0
    with replacing(out / PIXELS) as file:
        for done, record in enumerate(candidates, start=1):
            pixels = _decode(record)
            if pixels is not None:
                file.write(pixels.tobytes())
                record.row = rows
                rows += 1
            progress(done, len(candidates))
        _mark_duplicates(candidates)
        report = _count(records, data)
        if not (report.negative and report.positive):
            raise _unusable(data, report)
        # An index of older patches must not lie beside new ones, whatever happens next.
        (out / INDEX).unlink(missing_ok=True)
    with replacing(out / "report.json") as file:
        named = {status.value: count for status, count in report.counts.items()}
        summary = {"cases": report.cases, "0": report.negative, "1": report.positive}
        file.write((json.dumps(summary | {"files": named}, indent=1) + "\n").encode())
    write_csv(out / INDEX, [_COLUMNS, *(_row_of(record, data) for record in records)])
    return report


def _unusable(data: Path, report: PrepareReport) -> DataError:
    """Say which class lacks patches, and why each file that was left out is."""
    found = f"{report.negative} usable patches that are not IDC and {report.positive} that are"
    flaws = report.flaws()
    reason = (
        f"Left out: {flaws}."
        if flaws
        else "Patches that are not IDC belong in the sub-folder 0 of their case, others in 1."
    )
    return DataError(f"{data} holds {found}; training needs both. {reason}")


def _count(records: list[_Record], data: Path) -> PrepareReport:
    counts = Counter(record.status for record in records)
    usable = [record for record in records if record.status is Status.OK]
    positive = sum(record.label for record in usable)
    return PrepareReport(
        {status: counts[status] for status in Status},
        len({record.case for record in usable}),
        len(usable) - positive,
        positive,
        {
            # Records are ordered by case and place, so the first one is the same everywhere.
            record.status: _explained(record, data)
            for record in reversed(records)
            if record.status is not Status.OK
        },
    )


def _explained(record: _Record, data: Path) -> str:
    """Name a file that was left out, and say why where its status does not."""
    name = record.path.relative_to(data).as_posix()
    if record.status is Status.ODD_SIZE:
        size = f"{record.width} x {record.height} px"
        return f"{name}: {size}, the recipe wants {PATCH} x {PATCH}"
    if record.status is Status.BAD_NAME:
        return f"{name}: a patch is named CASE_idx5_xX_yY_class0.png, or ..._class1.png"
    if record.status is Status.LABEL_DISAGREEMENT:
        return f"{name}: it lies in case {record.case}, folder {record.path.parent.name}"
    return name


def _row_of(record: _Record, data: Path) -> tuple[object, ...]:
    """Return a line of ``index.csv``; what is not known of a file stays empty."""
    size = (record.width, record.height) if record.width else ("", "")
    return (
        *(record.case, record.x, record.y, record.label, *size, record.sha256),
        *(record.status.value, "" if record.row < 0 else record.row),
        record.path.relative_to(data).as_posix(),
    )


def load_store(folder: Path) -> PatchStore:
    """Open what `prepare` wrote; pixels stay on disk.

    Raises
    ------
    DataError
        The folder is not a store, or is damaged.
    """
    redo = "Run `idc-trainer prepare` again."
    try:
        with (folder / INDEX).open(encoding="utf-8", newline="") as file:
            records = [row for row in csv.DictReader(file) if row["status"] == Status.OK.value]
        rows = np.array([int(row["row"]) for row in records], np.intp)
        index = PatchIndex(
            np.array([row["case"] for row in records], np.str_),
            np.array([int(row["x"]) for row in records], np.int64),
            np.array([int(row["y"]) for row in records], np.int64),
            np.array([int(row["label"]) for row in records], np.uint8),
            np.array([row["sha256"] for row in records], np.str_),
        )
        bytes_ = np.memmap(folder / PIXELS, np.uint8, "r")
    except FileNotFoundError as cause:
        raise DataError(f"{folder} is no prepared data folder. {redo}") from cause
    except PermissionError as cause:
        raise DataError(f"{cause.filename} cannot be read ({cause.strerror}).") from cause
    except (OSError, KeyError, ValueError) as cause:
        raise DataError(f"{folder}: the prepared data cannot be read ({cause}). {redo}") from cause
    if not len(rows) or len(bytes_) % _BYTES or len(bytes_) // _BYTES <= int(rows.max()):
        raise DataError(f"{folder}: {PIXELS} does not fit {INDEX}. {redo}")
    return PatchStore(index, rows, bytes_.reshape(-1, PATCH, PATCH, 3))


def _case_folders(data: Path) -> list[Path]:
    """Return the case folders, those nearest to the root first.

    Raises
    ------
    DataError
        A folder cannot be read, or holds patches of another class than 0 and 1.
    """
    found: list[Path] = []
    strange: list[Path] = []
    try:
        level = [data]
        for _ in range(3):
            below = [sub for one in level for sub in _sub_folders(one)]
            cases = [sub for sub in below if (sub / "0").is_dir() or (sub / "1").is_dir()]
            found += cases
            level = [sub for sub in below if sub not in set(cases)]
            inside = [sub for case in cases for sub in _sub_folders(case)]
            others = [sub for sub in inside if sub.name not in ("0", "1")]
            strange += [sub for sub in (*below, *others) if _holds_patches(sub)]
    except OSError as cause:
        raise DataError(
            f"{cause.filename} cannot be read ({cause.strerror}). Name the folder that holds the "
            "cases."
        ) from cause
    if strange:
        raise DataError(
            f"{len(strange)} folders of patches are named neither 0 (not IDC) nor 1 (IDC): "
            f"{named([sub.relative_to(data).as_posix() for sub in strange])}. A model tells two "
            "classes apart: move these patches into 0 or 1, or out of the data."
        )
    return found


def _sub_folders(folder: Path) -> list[Path]:
    """Return what may hold patches; hidden folders are those of other programs."""
    return [
        sub for sub in sorted(folder.iterdir()) if sub.is_dir() and not sub.name.startswith(".")
    ]


def _holds_patches(folder: Path) -> bool:
    return any(_PATCH_LIKE.fullmatch(path.name) for path in folder.iterdir())


def _files(case: Path) -> list[Path]:
    """Return the files of a case's class folders in order; hidden ones are no patches."""
    try:
        return sorted(
            path
            for label in "01"
            if (case / label).is_dir()
            for path in (case / label).iterdir()
            if path.is_file() and not path.name.startswith(".")
        )
    except OSError as cause:
        raise DataError(
            f"{cause.filename} cannot be read ({cause.strerror}). Make it readable, or move its "
            "case elsewhere."
        ) from cause


def _find(data: Path) -> list[_Record]:
    records: list[_Record] = []
    seen: set[tuple[str, int, int, int]] = set()
    for folder in _case_folders(data):
        for path in _files(folder):
            match = _NAME.fullmatch(path.name)
            if match is None:
                records.append(
                    _Record(folder.name, 0, 0, int(path.parent.name), path, Status.BAD_NAME)
                )
                continue
            record = _Record(
                folder.name, int(match["x"]), int(match["y"]), int(match["label"]), path
            )
            key = (record.case, record.x, record.y, int(path.parent.name))
            if key in seen:
                record.status = Status.NESTED_COPY
            elif match["label"] != path.parent.name or match["case"] != folder.name:
                record.status = Status.LABEL_DISAGREEMENT
            seen.add(key)
            records.append(record)
    return sorted(records, key=lambda r: (r.case, r.x, r.y, r.label, r.status is not Status.OK))


def _decode(record: _Record) -> PatchArray | None:
    try:
        with Image.open(record.path) as image:
            pixels = np.asarray(image.convert("RGB"))
    # Pillow reports damaged PNG data as SyntaxError or ValueError, and a bomb by its own error.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        record.status = Status.UNREADABLE
        return None
    record.height, record.width = pixels.shape[:2]
    if pixels.shape != (PATCH, PATCH, 3):
        record.status = Status.ODD_SIZE
        return None
    record.sha256 = hashlib.sha256(pixels.tobytes()).hexdigest()
    return pixels


def _mark_duplicates(records: list[_Record]) -> None:
    readable = [record for record in records if record.status is Status.OK]
    pixels: dict[str, list[_Record]] = {}
    places: dict[tuple[str, int, int], list[_Record]] = {}
    for record in readable:
        pixels.setdefault(record.sha256, []).append(record)
        places.setdefault((record.case, record.x, record.y), []).append(record)
    for group in pixels.values():
        for record in group[1:]:
            record.status = Status.DUPLICATE
    for group in [*pixels.values(), *places.values()]:
        if len({record.label for record in group}) > 1:
            for record in group:
                record.status = Status.CONTRADICTION
