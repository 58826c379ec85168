"""The one resampling routine: from pixels of a pyramid level to pixels of a patch.

All arithmetic is in integers: sample positions are multiples of 2^-16 pixel and sums are exact.
The value of an output pixel therefore depends on nothing but the source pixels under it: not on
the block it was read with, nor on the order of additions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_BITS = 16
_ONE = 1 << _BITS

Edges = npt.NDArray[np.int64]
"""Positions along an axis in units of 2^-16 source pixel."""


def to_edges(positions_px: npt.NDArray[np.floating]) -> Edges:
    """Convert positions in source pixels to fixed point."""
    return np.round(positions_px * _ONE).astype(np.int64)


def span(edges: Edges, margin_px: int = 0) -> tuple[int, int]:
    """Return the first source pixel that `edges` touch and the one after the last."""
    return (int(edges[0]) >> _BITS) - margin_px, -(-int(edges[-1]) >> _BITS) + margin_px


def shifted(edges: Edges, start_px: int) -> Edges:
    """Return the edges as seen from source pixel `start_px`."""
    return edges - (start_px << _BITS)


def centred_within(edges: Edges, length_px: int) -> npt.NDArray[np.bool_]:
    """Whether the middle between neighbouring edges lies on one of `length_px` source pixels."""
    doubled = edges[:-1] + edges[1:]
    inside: npt.NDArray[np.bool_] = (doubled >= 0) & (doubled < 2 * (length_px << _BITS))
    return inside


def area_average(
    pixels: npt.NDArray[np.uint8], edges_y: Edges, edges_x: Edges
) -> npt.NDArray[np.uint8]:
    """Average the source pixels under each output pixel, weighted by exact coverage.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, channels)
        Source; its first pixel is at position 0 of both axes.
    edges_y, edges_x : ndarray of int64, shapes (n + 1,) and (m + 1,)
        Increasing edges of the output pixels, within the source.

    Returns
    -------
    ndarray of uint8, shape (n, m, channels)
        Half is rounded up.
    """
    if _is_identity(edges_y) and _is_identity(edges_x):
        top, left = int(edges_y[0]) >> _BITS, int(edges_x[0]) >> _BITS
        return pixels[top : top + len(edges_y) - 1, left : left + len(edges_x) - 1].copy()
    sums = _sum_between(pixels, edges_y)
    sums = _sum_between(sums.swapaxes(0, 1), edges_x).swapaxes(0, 1)
    area = (np.diff(edges_y)[:, None] * np.diff(edges_x)[None, :])[:, :, None]
    rounded: npt.NDArray[np.int64] = (sums + area // 2) // area
    return rounded.astype(np.uint8)


def bilinear(
    pixels: npt.NDArray[np.uint8], edges_y: Edges, edges_x: Edges
) -> npt.NDArray[np.uint8]:
    """Interpolate at the centres of output pixels that are smaller than the source's.

    Parameters and result as for `area_average`; the source must reach one pixel beyond the
    outermost edges, except where it is clamped.
    """
    sums = _interpolate(pixels.astype(np.int64), edges_y)
    sums = _interpolate(sums.swapaxes(0, 1), edges_x).swapaxes(0, 1)
    return ((sums + (1 << (2 * _BITS - 1))) >> (2 * _BITS)).astype(np.uint8)


def _is_identity(edges: Edges) -> bool:
    return bool(edges[0] % _ONE == 0 and np.all(np.diff(edges) == _ONE))


def _sum_between(values: npt.NDArray[np.integer], edges: Edges) -> npt.NDArray[np.int64]:
    """Integrate `values` along axis 0 between neighbouring edges, in units of 2^-16."""
    whole, part = edges >> _BITS, edges & (_ONE - 1)
    first, last = whole[:-1], whole[1:]
    if values.dtype == np.uint8:
        # One sum per output row: 40 times as fast as np.add.reduceat, which casts piecemeal.
        sums = np.empty((len(first), *values.shape[1:]), np.int64)
        for row, (start, stop) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            sums[row] = values[start:stop].sum(axis=0, dtype=np.uint32)
    else:
        end = max(int(last[-1]), int(first[-1]) + 1)
        sums = np.add.reduceat(values[:end], first, axis=0)
        sums[first == last] = 0  # reduceat yields the element itself for an empty range
    sums <<= _BITS
    if part.any():
        # The part of the first pixel before the edge is too much, that of the last is missing.
        column = (-1,) + (1,) * (values.ndim - 1)
        beyond = np.minimum(last, len(values) - 1)
        sums -= part[:-1].reshape(column) * values[first].astype(np.int64)
        sums += part[1:].reshape(column) * values[beyond].astype(np.int64)
    return sums


def _interpolate(values: npt.NDArray[np.int64], edges: Edges) -> npt.NDArray[np.int64]:
    """Interpolate along axis 0 at the middle of neighbouring edges, scaled by 2^16."""
    centre = (edges[:-1] + edges[1:] - _ONE) >> 1
    part = (centre & (_ONE - 1)).reshape((-1,) + (1,) * (values.ndim - 1))
    below = np.clip(centre >> _BITS, 0, len(values) - 1)
    above = np.clip((centre >> _BITS) + 1, 0, len(values) - 1)
    mixed: npt.NDArray[np.int64] = values[below] * (_ONE - part) + values[above] * part
    return mixed
