"""The nine handcrafted features that Cruz-Roa et al. 2014 set their network against.

Their text gives names, not parameters. *Fuzzy color histogram* and *JPEG coefficient histogram* are
classes of the LIRE library, so its published definitions are followed; where bins or levels are
open, a feature has variants, and the validation cases choose.

The ninth, graphs over nuclei, cannot be had: at 8 um/px a nucleus is about one pixel. In its place
stands a graph over spots of haematoxylin (clumps of nuclei), which is another feature.

Each function takes uint8 (n, 50, 50, 3) and returns float32 (n, d).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import mahotas.features
import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import ConvexHull, Delaunay, QhullError, Voronoi, cKDTree
from skimage.color import rgb2gray, rgb2hed, rgb2hsv, rgb2ycbcr
from skimage.feature import local_binary_pattern, peak_local_max

from trainer.data.dataset import PATCH as PATCH_SIZE
from trainer.data.dataset import PatchArray

PATCH = PATCH_SIZE.side_px
"""The features are those of the public set's patches."""

Features = NDArray[np.float32]
Extract = Callable[[PatchArray], Features]

_EACH = 256
"""Patches whose float images are held at a time."""

# Quantisation of luminance and chrominance at quality 50 (ITU-T T.81, annex K).
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
)

# Filters of MPEG-7's edge histogram on 2x2 means: vertical, horizontal, two diagonals, none.
_EDGES = np.array(
    [
        (1, -1, 1, -1),
        (1, 1, -1, -1),
        (2**0.5, 0, 0, -(2**0.5)),
        (0, 2**0.5, -(2**0.5), 0),
        (2, -2, -2, 2),
    ]
)
_EDGE_THRESHOLD = 11.0
_SUBIMAGES = 4


@dataclass(frozen=True)
class Feature:
    """A row of the table: what it is called, how it is computed, what it is computed with.

    `variants` maps a description of the open parameters to the function.
    """

    title: str
    source: str
    variants: Mapping[str, Extract]


def fuzzy_colour(patches: PatchArray) -> Features:
    """Let every pixel add ``10 / sqrt(d^2 + 1)`` to all 5x5x5 colours at distance d; max is 255."""
    levels = np.arange(5, dtype=np.float32) * 51 + 25

    def one(patch: PatchArray) -> Features:
        r, g, b = (((patch[..., i].reshape(-1, 1) - levels) ** 2) for i in range(3))
        squared = (r[:, :, None, None] + 1) + g[:, None, :, None] + b[:, None, None, :]
        total = (10 / np.sqrt(squared, out=squared)).sum(axis=0)
        return total.ravel() / total.max() * 255

    return _each(one, patches)


def rgb_histogram(patches: PatchArray, bins: int) -> Features:
    """Count pixels per cell of the RGB cube, `bins` to a side."""
    return _joint_histogram(patches / np.float32(256), (bins, bins, bins))


def hsv_histogram(patches: PatchArray, bins: tuple[int, int, int]) -> Features:
    """Count pixels per cell of hue, saturation and value."""
    return _in_groups(lambda some: _joint_histogram(rgb2hsv(some), bins), patches)


def gray_histogram(patches: PatchArray, bins: int) -> Features:
    """Count pixels per gray level."""
    return _in_groups(lambda some: _joint_histogram(rgb2gray(some)[..., None], (bins,)), patches)


def jpeg_coefficients(patches: PatchArray) -> Features:
    """Rank the quantised DCT coefficients of each 8x8 block; the first eight add 1 / rank.

    Per channel of YCbCr, without the mean; the largest bin of a channel is 1. The 6x6 blocks lie in
    the middle 48x48 pixels.
    """
    return _in_groups(_jpeg_coefficients, patches)


def _jpeg_coefficients(patches: PatchArray) -> Features:
    tables = np.array((_LUMINANCE, _CHROMINANCE, _CHROMINANCE), np.float64).reshape(3, 64)
    side = PATCH // 8
    edge = (PATCH - 8 * side) // 2
    inner = rgb2ycbcr(patches)[:, edge : edge + 8 * side, edge : edge + 8 * side]
    blocks = inner.reshape(-1, side, 8, side, 8, 3).transpose(0, 5, 1, 3, 2, 4)
    found = np.abs(dctn(blocks, axes=(-2, -1), norm="ortho")).reshape(-1, 3, side**2, 64)
    found /= tables[:, None, :]
    found[..., 0] = -1
    best = np.argsort(-found, axis=-1, kind="stable")[..., :8]
    histogram = np.zeros((len(patches) * 3, 64))
    owner = np.broadcast_to(np.arange(len(histogram))[:, None, None], (len(histogram), side**2, 8))
    ranks = np.broadcast_to(1 / np.arange(1, 9), owner.shape)
    np.add.at(histogram, (owner, best.reshape(owner.shape)), ranks)
    histogram /= histogram.max(axis=1, keepdims=True)
    return histogram.reshape(len(patches), -1).astype(np.float32)


def edge_histogram(patches: PatchArray) -> Features:
    """MPEG-7's edge histogram: per 4x4 sub-image, the share of 2x2 blocks of each edge type."""
    return _in_groups(_edge_histogram, patches)


def _edge_histogram(patches: PatchArray) -> Features:
    side = PATCH // (2 * _SUBIMAGES) * 2 * _SUBIMAGES
    edge = (PATCH - side) // 2
    gray = 255 * rgb2gray(patches)[:, edge : edge + side, edge : edge + side]
    blocks = gray.reshape(-1, side // 2, 2, side // 2, 2).swapaxes(2, 3).reshape(-1, 4)
    strength = np.abs(blocks @ _EDGES.T)
    kind = np.where(strength.max(axis=1) < _EDGE_THRESHOLD, 5, strength.argmax(axis=1))
    # (patch, sub-image row, block row, sub-image column, block column) to one histogram each.
    across = side // 2 // _SUBIMAGES
    kinds = kind.reshape(-1, _SUBIMAGES, across, _SUBIMAGES, across).swapaxes(2, 3)
    kinds = kinds.reshape(len(patches), _SUBIMAGES**2, across**2)
    shares = [(kinds == one).mean(axis=2) for one in range(len(_EDGES))]
    return np.stack(shares, axis=-1).reshape(len(patches), -1).astype(np.float32)


def local_binary_patterns(patches: PatchArray, method: str) -> Features:
    """Count the local binary patterns of 8 neighbours at 1 px, of the gray image."""
    count = {"default": 256, "nri_uniform": 59}[method]

    def one(patch: PatchArray) -> Features:
        codes = local_binary_pattern(_gray8(patch), 8, 1, method).astype(np.intp)
        return np.bincount(codes.ravel(), minlength=count) / codes.size

    return _each(one, patches)


def haralick(patches: PatchArray, levels: int) -> Features:
    """Compute Haralick's 13 statistics of co-occurring gray levels: mean and range over angles."""

    def one(patch: PatchArray) -> Features:
        gray = _gray8(patch) // (256 // levels)
        # Of a patch of one gray level some statistics are 0 / 0.
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nan_to_num(mahotas.features.haralick(gray, return_mean_ptp=True))

    return _each(one, patches)


def spot_graph(patches: PatchArray) -> Features:
    """Measure cells, triangles, spanning tree and density of spots of haematoxylin."""
    return _each(_spot_graph, patches)


def _spot_graph(patch: PatchArray) -> Features:
    density = gaussian_filter(rgb2hed(patch)[..., 0], 1.0)
    spots = peak_local_max(density, min_distance=2, exclude_border=False).astype(np.float64)
    nothing = np.zeros(4)
    areas = perimeters = sides = triangles = branches = nothing
    if len(spots) >= 4:
        try:
            mesh = Delaunay(spots)
            areas, perimeters = _cells(Voronoi(spots))
        except QhullError:  # all spots on one line
            pass
        else:
            corners = spots[mesh.simplices]
            edges = np.unique(np.sort(mesh.simplices[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)), axis=0)
            lengths = np.linalg.norm(np.subtract(*spots[edges.T]), axis=1)
            sides, triangles = _spread(lengths), _spread(_triangle_areas(corners))
            graph = coo_matrix((lengths, edges.T), (len(spots), len(spots)))
            branches = _spread(minimum_spanning_tree(graph.tocsr()).data)
    parts = [
        np.array([len(spots)]),
        areas,
        perimeters,
        sides,
        triangles,
        branches,
        *_densities(spots),
    ]
    return np.concatenate(parts).astype(np.float32)


def _cells(diagram: Voronoi) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spread of area and perimeter of the cells that end within the patch."""
    regions = [diagram.regions[one] for one in diagram.point_region]
    closed = [diagram.vertices[one] for one in regions if one and -1 not in one]
    inside = [one for one in closed if ((one >= 0) & (one < PATCH)).all()]
    hulls = [ConvexHull(one) for one in inside]
    # In the plane, Qhull's "volume" is the area and its "area" the perimeter.
    return _spread([one.volume for one in hulls]), _spread([one.area for one in hulls])


def _triangle_areas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    (ax, ay), (bx, by) = ((corners[:, one] - corners[:, 0]).T for one in (1, 2))
    return np.abs(ax * by - ay * bx) / 2


def _densities(spots: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Spread of how many spots lie within some distances, and of how far the nearest are."""
    radii, nearest = (4, 8, 12), (3, 5)
    if len(spots) <= max(nearest):
        return [np.zeros(4)] * (len(radii) + len(nearest))
    tree = cKDTree(spots)
    counts = [_spread(tree.query_ball_point(spots, one, return_length=True) - 1) for one in radii]
    far = tree.query(spots, k=max(nearest) + 1)[0]
    return counts + [_spread(far[:, one]) for one in nearest]


def _spread(values: NDArray[np.float64] | list[float]) -> NDArray[np.float64]:
    """Mean, standard deviation, smallest / largest, and disorder ``1 - 1 / (1 + sd / mean)``."""
    if not len(values):
        return np.zeros(4)
    mean, deviation, largest = np.mean(values), np.std(values), np.max(values)
    ratio = np.min(values) / largest if largest > 0 else 0.0
    disorder = 1 - 1 / (1 + deviation / mean) if mean > 0 else 0.0
    return np.array((mean, deviation, ratio, disorder))


def _gray8(patch: PatchArray) -> PatchArray:
    return np.rint(255 * rgb2gray(patch)).astype(np.uint8)


def _joint_histogram(values: NDArray[np.floating], bins: tuple[int, ...]) -> Features:
    """Share of pixels per cell; values in 0..1, shape (n, rows, cols, len(bins))."""
    count, cells = len(values), int(np.prod(bins))
    code = np.zeros(values.shape[:3], np.intp)
    for channel, size in enumerate(bins):
        code = code * size + np.minimum((values[..., channel] * size).astype(np.intp), size - 1)
    code += np.arange(count)[:, None, None] * cells
    found = np.bincount(code.ravel(), minlength=count * cells).reshape(count, cells)
    return (found / code[0].size).astype(np.float32)


def _each(one: Callable[[PatchArray], Features], patches: PatchArray) -> Features:
    return np.stack([one(patch) for patch in patches]).astype(np.float32)


def _in_groups(several: Extract, patches: PatchArray) -> Features:
    starts = range(0, len(patches), _EACH)
    return np.concatenate([several(patches[at : at + _EACH]) for at in starts])


DEFINITIONS = (
    "fuzzy color and JPEG coefficient histogram after the LIRE classes of these names; the fuzzy "
    "histogram that the paper cites may be another",
    "RGB and HSV histograms are joint ones; local binary patterns of 8 neighbours at 1 px; "
    f"MPEG-7's edges in {_SUBIMAGES}×{_SUBIMAGES} sub-images, from a strength of "
    f"{_EDGE_THRESHOLD:g} on; Haralick's 13 statistics, mean and range over four directions",
)
"""What was assumed of the features."""

OWN = "own code, after the description"

FEATURES = {
    "fuzzy-colour": Feature("Fuzzy color histogram", OWN, {"5×5×5 colours": fuzzy_colour}),
    "rgb-histogram": Feature(
        "RGB histogram",
        "NumPy",
        {f"{n}×{n}×{n} cells": partial(rgb_histogram, bins=n) for n in (4, 8)},
    ),
    "gray-histogram": Feature(
        "Gray histogram",
        "scikit-image",
        {f"{n} levels": partial(gray_histogram, bins=n) for n in (64, 256)},
    ),
    "hsv-histogram": Feature(
        "HSV histogram",
        "scikit-image",
        {
            f"{h}×{s}×{v} cells": partial(hsv_histogram, bins=(h, s, v))
            for h, s, v in ((16, 4, 4), (8, 8, 8))
        },
    ),
    "jpeg-coefficients": Feature(
        "JPEG coefficient histogram", f"SciPy; {OWN}", {"6×6 blocks": jpeg_coefficients}
    ),
    "edge-histogram": Feature("MPEG-7 edge histogram", OWN, {"12-px sub-images": edge_histogram}),
    "lbp": Feature(
        "Local binary patterns",
        "scikit-image",
        {
            "256 patterns": partial(local_binary_patterns, method="default"),
            "59 uniform patterns": partial(local_binary_patterns, method="nri_uniform"),
        },
    ),
    "haralick": Feature(
        "Haralick features",
        "mahotas",
        {f"{n} gray levels": partial(haralick, levels=n) for n in (32, 64)},
    ),
    "spot-graph": Feature(
        "Graph features", "SciPy, scikit-image; own statistics", {"haematoxylin spots": spot_graph}
    ),
}
"""Features by the names that ``compare`` knows them by."""
