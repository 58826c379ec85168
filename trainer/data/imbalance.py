"""Making both classes weigh alike in training: SMOTE, repetition, or weights in the loss.

About one patch in four is IDC. Abdolahi et al. 2020 balance by SMOTE (Chawla et al. 2002): a
synthetic patch lies between a patch and one of its five nearest neighbours of the same class.

A class of the whole data set is hundreds of megabytes and its distances are quadratic, so the
neighbours are found among 50 principal components, and a synthetic patch is kept as a recipe (two
patches and a share) that is mixed when a batch is read. imbalanced-learn draws the recipes: given
the identity matrix, each synthetic row that it returns holds a share of one patch and the rest of
another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from imblearn.over_sampling import SMOTE, RandomOverSampler
from numpy.typing import NDArray
from scipy.sparse import identity
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from trainer.data.dataset import Blend, PatchArray, PatchStore
from trainer.errors import DataError

NEIGHBOURS = 5
"""imbalanced-learn's default; the paper names no other."""
COMPONENTS = 50
_PCA_PATCHES = 4000
"""Patches that the components are fitted to: 120 MB as float32."""

SMOTE_ASSUMPTIONS = (
    f"SMOTE: {NEIGHBOURS} neighbours (imbalanced-learn's default; none is stated), looked for "
    f"among {COMPONENTS} principal components of the rarer class, fitted to at most "
    f"{_PCA_PATCHES:,} of its patches",
    "synthetic patches until both classes have the same number; each counts to the case of the "
    "nearer of its two patches",
)
"""What the paper leaves open of SMOTE, and what was assumed."""

Positions = NDArray[np.intp]


@dataclass(frozen=True)
class Grown:
    """A store with both classes alike, and which patch of the old one each patch goes by."""

    store: PatchStore
    origin: Positions


def oversample(store: PatchStore, seed: int) -> Grown:
    """Repeat random patches of the smaller class until both have the same number."""
    positions = np.arange(len(store.index))
    sampler = RandomOverSampler(random_state=seed)
    sampler.fit_resample(positions[:, None], store.index.label)
    origin = sampler.sample_indices_.astype(np.intp)
    return Grown(store.take(origin), origin)


def smote(store: PatchStore, seed: int, components: int = COMPONENTS) -> Grown:
    """Add synthetic patches of the smaller class until both have the same number.

    A synthetic patch goes by the nearer of its two patches.

    Parameters
    ----------
    store : PatchStore
        Real patches of both classes.
    seed : int
    components : int
        Principal components that neighbours are looked for in.

    Returns
    -------
    Grown
        The real patches, then the synthetic ones.

    Raises
    ------
    DataError
        The smaller class has too few patches for five neighbours.
    """
    label = store.index.label
    minority = np.flatnonzero(label == np.argmin(np.bincount(label, minlength=2)))
    if len(minority) <= NEIGHBOURS:
        raise DataError(
            f"SMOTE needs more than {NEIGHBOURS} patches of each class; there are {len(minority)}."
        )
    points = _principal_components(store.take(minority), components, seed)
    near, far, share = recipes(label, points, seed)
    real = np.arange(len(label))
    origin = np.concatenate([real, near])
    partner = store.rows[np.concatenate([real, far])]
    shares = np.concatenate([np.zeros(len(real)), share]).astype(np.float32)
    return Grown(replace(store.take(origin), blend=Blend(partner, shares)), origin)


def recipes(
    label: NDArray[np.uint8], points: NDArray[np.floating], seed: int
) -> tuple[Positions, Positions, NDArray[np.float64]]:
    """Let imbalanced-learn draw which two patches to mix, and how.

    Parameters
    ----------
    label : ndarray, shape (n,)
    points : ndarray of float, shape (m, d)
        The patches of the smaller class, in their order, where distances are to be taken.
    seed : int

    Returns
    -------
    near, far : ndarray of int
        Positions in `label` of the two patches of each synthetic one.
    share : ndarray of float
        Of the far one, 0 to 0.5.
    """
    sampler = SMOTE(k_neighbors=_KnownNeighbours(points), random_state=seed)
    grown, _ = sampler.fit_resample(identity(len(label), format="csr"), label)
    made = grown[len(label) :]
    made.eliminate_zeros()
    # A row holds one or two shares, that sum to 1.
    first, last = made.indptr[:-1], made.indptr[1:] - 1
    swap = made.data[last] > made.data[first]
    near = made.indices[np.where(swap, last, first)]
    far = made.indices[np.where(swap, first, last)]
    share = np.where(first == last, 0.0, np.minimum(made.data[first], made.data[last]))
    return near.astype(np.intp), far.astype(np.intp), share


class _KnownNeighbours(NearestNeighbors):
    """Neighbours of points given beforehand, whatever the sampler shows."""

    def __init__(self, points: NDArray[np.floating]) -> None:
        super().__init__(n_neighbors=NEIGHBOURS + 1)
        self.points = points

    def fit(self, shown: object, y: object = None) -> Self:
        return super().fit(self.points)

    def kneighbors(self, shown: object, return_distance: bool = False) -> Positions:
        return super().kneighbors(self.points, return_distance=False)


def _principal_components(store: PatchStore, count: int, seed: int) -> NDArray[np.float32]:
    """Project all patches of a store, float32, shape (n, count)."""
    some = np.random.default_rng(seed).permutation(len(store.index))[:_PCA_PATCHES]
    sample = _flat(store.read(np.sort(some)))
    count = min(count, *sample.shape)
    model = PCA(count, svd_solver="randomized", random_state=seed).fit(sample)
    return np.concatenate([model.transform(_flat(batch)) for batch in store.batches()])


def _flat(patches: PatchArray) -> NDArray[np.float32]:
    return patches.reshape(len(patches), -1).astype(np.float32)
