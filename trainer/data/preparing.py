"""From a folder or a manifest of patches to the index and the array file of a store."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from idc_desktop.models.patch_size import PatchSize
from idc_desktop.plain_files import open_file
from trainer.data.dataset import INDEX, PATCH, PIXELS, REPORT, PatchArray
from trainer.data.kaggle import find_patches
from trainer.data.manifest import find_manifest, read_manifest
from trainer.data.patch_files import PatchFile, Status
from trainer.errors import DataError
from trainer.files import make_folder, replacing, sole_user, write_csv

_COLUMNS = ("case", "x", "y", "label", "width", "height", "sha256", "status", "row", "file")


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
    data: Path,
    out: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    patch: PatchSize | None = None,
) -> PrepareReport:
    """Index patches and write them into one array file.

    Parameters
    ----------
    data : Path
        A manifest, a folder with a ``manifest.csv``, or a folder of case folders (or one whose
        sub-folder holds them).
    out : Path
        Gets ``index.csv``, ``patches.u8`` and ``report.json``; ``index.csv`` is written last, so a
        folder with it is complete.
    progress : callable
        Called with (files done, files in all).
    patch : PatchSize, optional
        Default: what the manifest was cut with, or that of the public set.

    Raises
    ------
    DataError
        No usable patch, only one class, or a third one.
    BusyError
        Another process writes to `out`.
    OutputError
        `out` cannot be written.
    """
    manifest = find_manifest(data)
    if manifest is None:
        records, patch = find_patches(data), patch or PATCH
    else:
        data = manifest.parent
        records, patch = read_manifest(manifest, patch)
    make_folder(out)
    with sole_user(out):
        return _store(data, records, out, progress, patch)


def _store(
    data: Path,
    records: list[PatchFile],
    out: Path,
    progress: Callable[[int, int], None],
    patch: PatchSize,
) -> PrepareReport:
    rows = 0
    candidates = [record for record in records if record.status is Status.OK]
    with replacing(out / PIXELS) as file:
        for done, record in enumerate(candidates, start=1):
            pixels = _decode(record, patch.side_px)
            if pixels is not None:
                file.write(pixels.tobytes())
                record.row = rows
                rows += 1
            progress(done, len(candidates))
        _mark_duplicates(candidates)
        report = _count(records, data)
        if not (report.negative and report.positive):
            raise _unusable(data, records, report, patch)
        # An index of older patches must not lie beside new ones, whatever happens next.
        (out / INDEX).unlink(missing_ok=True)
    with replacing(out / REPORT) as file:
        named = {status.value: count for status, count in report.counts.items()}
        summary = {"cases": report.cases, "0": report.negative, "1": report.positive}
        said = summary | {"files": named, "patch": asdict(patch)}
        file.write((json.dumps(said, indent=1) + "\n").encode())
    write_csv(out / INDEX, [_COLUMNS, *(_row_of(record, data) for record in records)])
    return report


def _unusable(
    data: Path, records: list[PatchFile], report: PrepareReport, patch: PatchSize
) -> DataError:
    """Say which class lacks patches, and why each file that was left out is."""
    found = f"{report.negative} usable patches that are not IDC and {report.positive} that are"
    flaws = report.flaws()
    reason = (
        f"Left out: {flaws}."
        if flaws
        else "Patches that are not IDC belong in the sub-folder 0 of their case, others in 1."
    )
    sizes = Counter(
        (it.width, it.height) for it in records if it.status is Status.ODD_SIZE
    ).most_common(1)
    if sizes and not report.negative and not report.positive:
        (width, height), _ = sizes[0]
        if width == height:
            reason += f" If they are meant to be so large, add --size {width} and their --spacing."
    return DataError(f"{data} holds {found}; training needs both. {reason}")


def _count(records: list[PatchFile], data: Path) -> PrepareReport:
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


def _explained(record: PatchFile, data: Path) -> str:
    """Name a file that was left out, and say why where its status does not."""
    name = _name_of(record, data)
    return f"{name}: {record.flaw}" if record.flaw else name


def _name_of(record: PatchFile, data: Path) -> str:
    path = record.path
    return (path.relative_to(data) if path.is_relative_to(data) else path).as_posix()


def _row_of(record: PatchFile, data: Path) -> tuple[object, ...]:
    """Return a line of ``index.csv``; what is not known of a file stays empty."""
    size = (record.width, record.height) if record.width else ("", "")
    return (
        *(record.case, record.x, record.y, record.label, *size, record.sha256),
        *(record.status.value, "" if record.row < 0 else record.row),
        _name_of(record, data),
    )


def _decode(record: PatchFile, side_px: int) -> PatchArray | None:
    try:
        with open_file(record.path) as file, Image.open(file) as image:
            image.load()
            mode, size = image.mode, image.size
            rgb = _as_rgb(image)
    except FileNotFoundError:
        record.status = Status.MISSING
        return None
    # Pillow reports damaged PNG data as SyntaxError or ValueError, and a bomb by its own error.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        record.status = Status.UNREADABLE
        return None
    record.width, record.height = size
    if size != (side_px, side_px):
        record.status = Status.ODD_SIZE
        record.flaw = f"{size[0]} x {size[1]} px, the recipe wants {side_px} x {side_px}"
        return None
    if rgb is None:
        record.status = Status.NOT_RGB
        record.flaw = f"its pixels are of the kind {mode}"
        return None
    pixels = np.asarray(rgb)
    record.sha256 = hashlib.sha256(pixels.tobytes()).hexdigest()
    return pixels


def _as_rgb(image: Image.Image) -> Image.Image | None:
    """Return an image with three channels of 8 bits, if it says nothing else; else None."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255):
        return None
    return image.convert("RGB") if image.mode in ("RGB", "RGBA", "P") else None


def _mark_duplicates(records: list[PatchFile]) -> None:
    readable = [record for record in records if record.status is Status.OK]
    pixels: dict[str, list[PatchFile]] = {}
    places: dict[tuple[str, int, int], list[PatchFile]] = {}
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
