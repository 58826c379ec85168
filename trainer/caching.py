"""What a frozen network makes of patches, computed once and kept on disk.

One file per set of patches and random variant, written whole: a killed computation goes on with
the first missing file. Values are float16, read through a memory map.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idc_desktop.errors import OutputError
from trainer.dataset import PatchArray
from trainer.errors import RunError
from trainer.files import make_folder, replacing

FeatureArray = NDArray[np.float16]

CHUNK = 128
"""Patches per run of the frozen network; random variants are drawn per chunk."""


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
    """Patches to run: `read` gives those at some positions of 0 ... `count` - 1.

    `key` says which patches these are, and how variants of them are made.
    """

    read: Callable[[NDArray[np.intp]], PatchArray]
    count: int
    key: str


Vary = Callable[[int, NDArray[np.intp], PatchArray], PatchArray]
"""(variant, positions, patches) to the patches of that variant; always the same for the same."""


def cached(
    frozen: Frozen,
    patches: PatchSet,
    variants: int,
    vary: Vary,
    folder: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[FeatureArray]:
    """Return the frozen network's output for each variant, from disk where it is there already.

    Parameters
    ----------
    folder : Path
        Cache folder; may serve several trainings.
    report : callable
        Called with (patches done, patches in all) while something is computed.

    Returns
    -------
    list of memmap of float16, each of shape (count, *frozen.shape)

    Raises
    ------
    OutputError
        The disk is too full; whole files are kept.
    RunError
        A value is beyond float16, or a file of the cache is damaged.
    """
    make_folder(folder)
    paths = [folder / f"{frozen.key}-{patches.key}-{number}.npy" for number in range(variants)]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    size = patches.count * math.prod(frozen.shape) * 2
    free = shutil.disk_usage(folder).free
    if len(missing) * size > free:
        raise OutputError(
            f"{folder}: the cache needs {len(missing) * size / 1e9:.1f} GB and {free / 1e9:.1f} GB "
            "are free. Free space, name another folder with --cache, or lower --variants."
        )
    for turn, number in enumerate(missing):
        with replacing(paths[number]) as file:
            header = {
                "descr": "<f2",
                "fortran_order": False,
                "shape": (patches.count, *frozen.shape),
            }
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, patches.count, CHUNK):
                rows = np.arange(start, min(start + CHUNK, patches.count))
                with np.errstate(over="ignore"):
                    found = frozen.run(vary(number, rows, patches.read(rows))).astype("<f2")
                if not np.isfinite(found).all():
                    raise RunError(
                        "The frozen network's output does not fit float16; are its weights right?"
                    )
                file.write(found.tobytes())
                report(turn * patches.count + int(rows[-1]) + 1, len(missing) * patches.count)
    return [_open(path, (patches.count, *frozen.shape)) for path in paths]


def _open(path: Path, shape: tuple[int, ...]) -> FeatureArray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as cause:
        raise RunError(f"{path} is damaged. Remove it and run the same command again.") from cause
    if array.shape != shape or array.dtype != np.float16:
        raise RunError(f"{path} is damaged. Remove it and run the same command again.")
    return array
