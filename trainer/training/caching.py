"""What a frozen network makes of patches, computed once and kept on disk.

A patch is known by its pixels: trainings that share patches, as the folds of a cross-validation
do, share what was computed of them. Per random variant there is a file for each time that patches
were missing, written whole: a killed computation goes on with the first missing file, and two
trainings may use a folder at once. Values are float16, read through a memory map.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idc_desktop.errors import OutputError
from idc_desktop.plain_files import open_file
from trainer.data.dataset import PatchArray
from trainer.errors import RunError
from trainer.files import make_folder, replacing

_PROBE_PX = 50
CHUNK = 128
"""Patches per run of the frozen network."""

PatchIds = NDArray[np.uint64]
"""The first eight bytes of a digest of each patch's pixels."""

Vary = Callable[[int, PatchIds, PatchArray], PatchArray]
"""(variant, ids, patches) to that variant of each patch; the same for a patch whoever is beside."""


def as_they_are(variant: int, ids: PatchIds, patches: PatchArray) -> PatchArray:
    """Vary nothing: what patches are judged by."""
    del variant, ids
    return patches


@dataclass(frozen=True)
class Frozen:
    """A frozen network as the cache needs it.

    Attributes
    ----------
    run : callable
        uint8 (n, 50, 50, 3) to float32 (n, *shape).
    shape : tuple of int
    key : str
        Says which network and which weights; other ones get other files.
    """

    run: Callable[[PatchArray], NDArray[np.float32]]
    shape: tuple[int, ...]
    key: str


@dataclass(frozen=True)
class PatchSet:
    """Patches to run: `read` gives those at some positions of 0 ... `count` - 1."""

    read: Callable[[NDArray[np.intp]], PatchArray]
    count: int

    def ids(self) -> PatchIds:
        """Read all patches once and return their ids, shape (count,)."""
        found = np.empty(self.count, np.uint64)
        for rows in _chunks(np.arange(self.count)):
            found[rows] = patch_ids(self.read(rows))
        return found


_File = tuple[PatchIds, NDArray[np.float16]]


class Features:
    """A frozen network's output of one variant of patches; read from disk where it is asked for."""

    def __init__(self, ids: PatchIds, files: list[_File]) -> None:
        self._values = [values for _, values in files]
        known = np.concatenate([ids for ids, _ in files])
        order = np.argsort(known, kind="stable")
        at = order[np.searchsorted(known, ids, sorter=order)]
        starts = np.cumsum([0, *(len(ids) for ids, _ in files)])
        self._file = np.searchsorted(starts, at, side="right") - 1
        self._row = at - starts[self._file]

    def __getitem__(self, which: NDArray[np.intp]) -> NDArray[np.float16]:
        """Return float16 (len(which), *shape), by position."""
        found = np.empty((len(which), *self._values[0].shape[1:]), np.float16)
        file, row = self._file[which], self._row[which]
        for number in np.unique(file):
            here = file == number
            found[here] = self._values[number][row[here]]
        return found


def patch_ids(patches: PatchArray) -> PatchIds:
    """Return the ids of patches, shape (n,)."""
    digests = (hashlib.blake2b(patch.tobytes(), digest_size=8).digest() for patch in patches)
    return np.frombuffer(b"".join(digests), "<u8")


def cached(
    frozen: Frozen,
    patches: PatchSet,
    variants: int,
    vary: Vary,
    folder: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Features]:
    """Return the frozen network's output for each variant, from disk where it is there already.

    Parameters
    ----------
    folder : Path
        Cache folder; may serve several trainings.
    report : callable
        Called with (patches done, patches in all) while something is computed.

    Raises
    ------
    OutputError
        The disk is too full; whole files are kept.
    RunError
        A value is beyond float16, or a file of the cache is damaged.
    """
    make_folder(folder, "--cache")
    ids = patches.ids()
    shape = "x".join(map(str, frozen.shape))
    key = f"{frozen.key}-{shape}-{_digest_of(vary)}"
    files = [
        [_open(path, frozen.shape) for path in sorted(folder.glob(f"{key}-{variant}-*.bin"))]
        for variant in range(variants)
    ]
    missing = [_missing(ids, [known for known, _ in found]) for found in files]
    total = sum(map(len, missing))
    size, free = total * math.prod(frozen.shape) * 2, shutil.disk_usage(folder).free
    if size > free:
        raise OutputError(
            f"{folder}: the cache needs {size / 1e9:.1f} GB and {free / 1e9:.1f} GB "
            "are free. Free space, name another folder with --cache, or lower --variants."
        )
    done = 0
    for variant, wanted in enumerate(missing):
        if not len(wanted):
            continue
        name = hashlib.sha256(ids[wanted].tobytes()).hexdigest()[:16]
        path = folder / f"{key}-{variant}-{name}.bin"
        with replacing(path) as file:
            np.lib.format.write_array(file, ids[wanted], allow_pickle=False)
            for rows in _chunks(wanted):
                with np.errstate(over="ignore"):
                    values = frozen.run(vary(variant, ids[rows], patches.read(rows)))
                    values = values.astype("<f2")
                if not np.isfinite(values).all():
                    raise RunError(
                        "The frozen network's output does not fit float16; are its weights right?"
                    )
                file.write(values.tobytes())
                done += len(rows)
                report(done, total)
        files[variant].append(_open(path, frozen.shape))
    return [Features(ids, found) for found in files]


def _chunks(rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    return [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]


def _digest_of(vary: Vary) -> str:
    """Digest of what a variation makes of fixed patches, so that other code gets other files."""
    probe = np.random.default_rng(0).integers(0, 256, (8, _PROBE_PX, _PROBE_PX, 3), np.uint8)
    return hashlib.sha256(vary(0, patch_ids(probe), probe).tobytes()).hexdigest()[:16]


def _missing(ids: PatchIds, known: list[PatchIds]) -> NDArray[np.intp]:
    """Return the positions of patches that no file knows, each patch once, in their order."""
    first = np.sort(np.unique(ids, return_index=True)[1])
    return first[~np.isin(ids[first], np.concatenate([np.empty(0, np.uint64), *known]))]


def _open(path: Path, shape: tuple[int, ...]) -> _File:
    """Open a file: the ids as an array of numpy's format, then the values."""
    try:
        with open_file(path) as file:
            ids = np.lib.format.read_array(file, allow_pickle=False)
            start = file.tell()
        if path.stat().st_size != start + len(ids) * math.prod(shape) * 2:
            raise ValueError("not the size that its ids ask for")
        return ids, np.memmap(path, "<f2", "r", offset=start, shape=(len(ids), *shape))
    except (OSError, EOFError, ValueError) as cause:
        raise RunError(f"{path} is damaged. Remove it and run the same command again.") from cause
