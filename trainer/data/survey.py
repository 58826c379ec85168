"""What patches look like, case by case, and which of them are nearly the same picture."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from trainer.data.dataset import PatchArray, PatchStore

OUTLYING = 3.5
"""Robust z-score from which a case's stain is unlike the others'."""

_THUMB, _HASH = 10, 8
_BANDS, _BAND_BITS = 4, 16
"""Two hashes that differ in fewer bits than there are bands share a band."""
_NEAR_GRAY = 3.0
"""Mean difference of thumbnails, gray values, up to which two patches are nearly the same."""
_PLAIN = 4.0
"""Patches of less contrast all look alike, and say nothing."""
_CROWDED = 200


@dataclass(frozen=True)
class Stain:
    """The mean optical density of cases, red, green and blue, and which are unlike the rest.

    Attributes
    ----------
    case : ndarray of str, shape (cases,)
    density : ndarray of float, shape (cases, 3)
    deviation : ndarray of float, shape (cases,)
        Largest robust z-score of a case's densities.
    """

    case: NDArray[np.str_]
    density: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @property
    def outlying(self) -> list[str]:
        """Cases whose stain is unlike the others'."""
        return [str(case) for case in self.case[self.deviation > OUTLYING]]


@dataclass(frozen=True)
class NearPair:
    """Two patches that are nearly the same picture, by their position in the index."""

    first: int
    second: int
    difference: float


def survey_stain(store: PatchStore) -> Stain:
    """Measure the stain of each case."""
    sums = np.zeros((len(store.index), 3))
    at = 0
    for patches in store.batches():
        density = -np.log((patches.astype(np.float32) + 1) / 256)
        sums[at : at + len(patches)] = density.mean(axis=(1, 2))
        at += len(patches)
    names, which = np.unique(store.index.case, return_inverse=True)
    counts = np.bincount(which, minlength=len(names))
    means = np.stack([np.bincount(which, sums[:, at], len(names)) / counts for at in range(3)], 1)
    middle = np.median(means, axis=0)
    spread = 1.4826 * np.median(np.abs(means - middle), axis=0)
    away = np.abs(means - middle) / np.maximum(spread, 0.02)
    return Stain(names, means, away.max(axis=1))


def near_duplicates(store: PatchStore) -> tuple[list[NearPair], int]:
    """Find patches that are nearly the same picture, the nearest first.

    Returns
    -------
    pairs : list of NearPair
    left_out : int
        Patches of so little contrast, or like so many others, that they were not compared.
    """
    hashes, thumbs, plain = _looks(store)
    found: dict[tuple[int, int], float] = {}
    crowded: set[int] = set()
    for band in range(_BANDS):
        key = (hashes >> np.uint64(band * _BAND_BITS)) & np.uint64((1 << _BAND_BITS) - 1)
        order = np.argsort(key, kind="stable")
        order = order[~plain[order]]
        starts = np.flatnonzero(np.diff(key[order], prepend=key[order[:1]] + np.uint64(1)))
        for group in np.split(order, starts[1:] if len(starts) else []):
            if len(group) > _CROWDED:
                crowded.update(group.tolist())
                continue
            for first, second in combinations(group.tolist(), 2):
                pair = (min(first, second), max(first, second))
                if pair in found or int(hashes[first] ^ hashes[second]).bit_count() >= _BANDS:
                    continue
                difference = float(np.abs(thumbs[first] - thumbs[second]).mean())
                if difference <= _NEAR_GRAY:
                    found[pair] = difference
    pairs = [NearPair(*pair, difference) for pair, difference in found.items()]
    left_out = int(plain.sum()) + len(crowded)
    return sorted(pairs, key=lambda pair: (pair.difference, pair.first, pair.second)), left_out


def _looks(
    store: PatchStore,
) -> tuple[NDArray[np.uint64], NDArray[np.float32], NDArray[np.bool_]]:
    """Return a hash of each patch's gradients, its thumbnail, and whether it is too plain."""
    hashes, thumbs, plain = [], [], []
    for patches in store.batches():
        small = _reduced(patches, _THUMB, _THUMB)
        gray = _reduced(patches, _HASH, _HASH + 1).mean(axis=-1)
        bits = (gray[:, :, 1:] > gray[:, :, :-1]).reshape(len(patches), -1)
        hashes.append(np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64))
        thumbs.append(small)
        plain.append(small.mean(axis=-1).std(axis=(1, 2)) < _PLAIN)
    return np.concatenate(hashes), np.concatenate(thumbs), np.concatenate(plain)


def _reduced(patches: PatchArray, rows: int, cols: int) -> NDArray[np.float32]:
    """Average patches over boxes of nearly equal size, (n, rows, cols, 3)."""
    side = patches.shape[1]
    values = patches.astype(np.float32)
    for axis, count in ((1, rows), (2, cols)):
        edges = np.linspace(0, side, count + 1).round().astype(int)
        sums = np.add.reduceat(values, edges[:-1], axis=axis)
        shape = [1] * values.ndim
        shape[axis] = count
        values = (sums / np.diff(edges).reshape(shape)).astype(np.float32)
    return values
