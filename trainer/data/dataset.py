"""Prepared patches: the index, and the array file that holds their pixels."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idc_desktop.models.patch_size import PatchSize
from idc_desktop.plain_files import open_text, read_json
from trainer.data.patch_files import Status
from trainer.errors import DataError
from trainer.settings import USUAL

PATCH = USUAL

INDEX, PIXELS, REPORT = "index.csv", "patches.u8", "report.json"

PatchArray = NDArray[np.uint8]


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
    pixels : memmap of uint8, shape (m, side, side, 3)
        RGB; m >= n unless patches are repeated or blended.
    patch : PatchSize
    blend : Blend or None
        None: all patches are real.
    """

    index: PatchIndex
    rows: NDArray[np.intp]
    pixels: PatchArray
    blend: Blend | None = None
    patch: PatchSize = PATCH

    def read(self, which: NDArray[np.intp]) -> PatchArray:
        """Read patches by their position in the index; uint8, shape (len(which), side, side, 3)."""
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
        return PatchStore(self.index.take(which), self.rows[which], self.pixels, blend, self.patch)

    def select(self, cases: frozenset[str]) -> PatchStore:
        """Return the part of the store that belongs to some cases."""
        return self.take(np.flatnonzero(np.isin(self.index.case, sorted(cases))))


def load_store(folder: Path) -> PatchStore:
    """Open what `prepare` wrote; pixels stay on disk.

    Raises
    ------
    DataError
        The folder is not a store, or is damaged.
    """
    redo = "Run `idc-trainer prepare` again."
    try:
        with open_text(folder / INDEX) as file:
            records = [row for row in csv.DictReader(file) if row["status"] == Status.OK.value]
        rows = np.array([int(row["row"]) for row in records], np.intp)
        index = PatchIndex(
            np.array([row["case"] for row in records], np.str_),
            np.array([int(row["x"]) for row in records], np.int64),
            np.array([int(row["y"]) for row in records], np.int64),
            np.array([int(row["label"]) for row in records], np.uint8),
            np.array([row["sha256"] for row in records], np.str_),
        )
        patch = _read_patch_size(folder)
        bytes_ = np.memmap(folder / PIXELS, np.uint8, "r")
    except FileNotFoundError as cause:
        raise DataError(f"{folder} is no prepared data folder. {redo}") from cause
    except PermissionError as cause:
        raise DataError(f"{cause.filename} cannot be read ({cause.strerror}).") from cause
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as cause:
        raise DataError(f"{folder}: the prepared data cannot be read ({cause}). {redo}") from cause
    side = patch.side_px
    each = side * side * 3
    if not len(rows) or len(bytes_) % each or len(bytes_) // each <= int(rows.max()):
        raise DataError(f"{folder}: {PIXELS} does not fit {INDEX}. {redo}")
    return PatchStore(index, rows, bytes_.reshape(-1, side, side, 3), None, patch)


def _read_patch_size(folder: Path) -> PatchSize:
    """Read what a patch is; stores of before have those of the public set."""
    document = read_json(folder / REPORT)
    said = document.get("patch")
    return PATCH if said is None else PatchSize(said["side_px"], said["spacing_um_px"])
