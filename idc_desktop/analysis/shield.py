"""The shield: which patches show what the model has no business judging, and what that is.

A patch is judged by its own pixels alone, so that the verdict does not depend on what was read with
it. Colours are told by what the stains absorb, not by how some pens look: both haematoxylin and
eosin absorb green the most, and blue less than green. What absorbs red the most (blue and green
dyes), blue as much as green and hardly any red (red dyes), or all alike (black, grey), is neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from idc_desktop.maps.layers import REASONS

SHIELD_VERSION = 1
"""Stands beside the verdicts that a run keeps; raise it when they change."""

Rgb = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Kinds = npt.NDArray[np.uint16]
Verdicts = npt.NDArray[np.uint8]
"""Places in `REASONS`; 0 where there is nothing to say."""

_UM_PX = 8.0  # finer pixels are averaged to about this before they are judged
_TILE_PX = 5
_AT_ONCE = 64  # patches: what is worked on stays in the cache

# Kinds of pixels, by what they absorb. Absorbance is the sum over red, green and blue of -log10 of
# the light that came through; red, lead (of green over blue) and spread are parts of it.
_WHITE = 245
_DYED, _COLD, _WARM, _FAINTLY_WARM, _BLACK, _GREY, _LAYERED, _FOREIGN, _RIM, _DARK, _GREEN = (
    1 << it for it in range(11)
)
_LEAST_DYED = 0.3
_MOST_OF_A_LAYER = (0.1, 0.16, 0.24, 0.32, 0.43), (1.3, 1.4, 1.75, 2.2, 1.9)
"""How much a layer of tissue absorbs at most, by the part of red: eosin less than haematoxylin."""

# Parts of a patch. None is reached on slides of three laboratories by more than 1 patch in 300.
_COLOURED_SHARE = 0.14
_GREEN_SHARE = 0.04
_SMOOTHLY_WARM_SHARE = 0.04  # of the tiles
_GREY_SHARE = 0.10
_RIM_SHARE = 0.034
_FOLDED_SHARE = 0.12
_FOREIGN_SHARE = 0.50  # of what is dyed
_LEAST_DYED_SHARE = 0.15
_DARK_SHARE = 0.4

# Variances within a tile, squared grey values, and curvature: the mean squared Laplacian.
# Blurred is a patch with enough tiles whose curvature is so many times their variance, or less.
_SOFT_CONTRAST, _SOFT, _SOFT_SHARE = 20.0, 0.8, 0.08
_CONTRAST, _BLURRED, _BLURRED_SHARE = 10.0, 0.5, 0.04
_LOW_CONTRAST, _FAINTLY_BLURRED, _NOISE = 1.5, 0.3, 0.6
_LEAST_DEVIATION = 0.5

# A red pen is smooth where it is red; blood, which may be as red, is grains.
_WARM_TILE, _SMOOTH = 0.4, 600.0

# A fold absorbs so many times what lies beside it, in the same parts, with so clear a gap.
_FOLD_RATIO, _FOLD_HUE, _FOLD_GAP = 1.8, 0.035, 2.2
_GLASS_GREEN = 190  # glass shows through from here

_LEAST_FOLDED = 0.25

_BITS = 6  # of a channel, by which kinds of pixels are looked up
_ORDER = ("blank", "dark", "pen", "ink", "colour", "fold", "bubble or edge", "blur")
"""Of what holds of a patch, the first is its reason; ``dark`` stands for a colour."""


def judge(patches: Rgb, um_px: float) -> Verdicts:
    """Judge patches.

    Parameters
    ----------
    patches : ndarray of uint8, shape (n, side, side, 3)
        RGB.
    um_px : float
        Width of their pixels.

    Returns
    -------
    ndarray of uint8, shape (n,)
        Places in `REASONS`.
    """
    verdicts = np.zeros(len(patches), np.uint8)
    for first in range(0, len(patches), _AT_ONCE):
        some = _reduced(patches[first : first + _AT_ONCE], um_px)
        found = dict(_found(some))
        for reason in reversed(_ORDER):
            verdicts[first : first + _AT_ONCE][found[reason]] = REASONS.index(
                "colour" if reason == "dark" else reason
            )
    return verdicts


def stains_of(pixels: Rgb) -> tuple[Bools, Bools]:
    """Return where pixels, shape (…, 3), have a stain, and where it is none of H&E."""
    kinds = _kinds_of(pixels)
    is_coloured = (kinds & _DYED > 0) & (kinds & (_GREY | _BLACK) == 0)
    return is_coloured, is_coloured & (kinds & _FOREIGN > 0)


def _found(patches: Rgb) -> Iterator[tuple[str, Bools]]:
    """Yield each reason, and of which patches it holds."""
    kinds = _kinds_of(patches)
    brightness = patches.astype(np.float32) @ np.array([0.3, 0.5, 0.2], np.float32)
    curvature = _tile_means(_squared_laplacian(brightness))

    def share(kind: int) -> Any:  # noqa: ANN401 - an array that can be compared
        return np.count_nonzero(kinds & kind, axis=(1, 2)) / (kinds.shape[1] * kinds.shape[2])

    dyed, foreign = share(_DYED), share(_FOREIGN)
    is_foreign = (dyed >= _LEAST_DYED_SHARE) & (foreign > _FOREIGN_SHARE * dyed)
    yield "colour", is_foreign
    yield "dark", is_foreign & (share(_DARK) > _DARK_SHARE)
    is_warm = _tile_means(kinds & _FAINTLY_WARM > 0) > _WARM_TILE
    smoothly_warm = (is_warm & (curvature < _SMOOTH)).mean(axis=(1, 2))
    yield (
        "pen",
        (share(_COLD) >= _COLOURED_SHARE)
        | (share(_GREEN) >= _GREEN_SHARE)
        | (share(_WARM) >= _COLOURED_SHARE)
        | (smoothly_warm >= _SMOOTHLY_WARM_SHARE),
    )
    yield "ink", share(_BLACK) >= _COLOURED_SHARE
    yield "bubble or edge", (share(_RIM) >= _RIM_SHARE) | (share(_GREY) >= _GREY_SHARE)
    yield "blank", brightness.std(axis=(1, 2)) < _LEAST_DEVIATION
    yield "blur", _blurred(brightness, curvature)
    yield "fold", (share(_LAYERED) >= _FOLDED_SHARE) | _folded(patches)


def _kinds_of(patches: Rgb) -> Kinds:
    coarse = patches >> (8 - _BITS)
    place = coarse[..., 0].astype(np.uint32)
    for channel in (1, 2):
        place <<= _BITS
        place |= coarse[..., channel]
    kinds: Kinds = _kinds()[place]
    return kinds


@cache
def _kinds() -> Kinds:
    """Return the kinds of all colours, as bits."""
    step = 1 << (8 - _BITS)
    levels = (np.arange(1 << _BITS) * step + step // 2).astype(np.uint8)
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    absorbed = _absorbance()[rgb]
    total = absorbed.sum(axis=-1)
    red, green, blue = (absorbed / np.maximum(total, 1e-6)[:, None]).T
    lead = green - blue
    spread = np.ptp(absorbed, axis=-1) / np.maximum(total, 1e-6)
    cold = ((total > 0.25) & (red > 0.46)) | ((total > 1.2) & (red > 0.43))
    cold |= ((total > 1.7) & (red > 0.38)) | ((total > 0.8) & (red > 0.36) & (lead < 0.04))
    yellow = (total > _LEAST_DYED) & (red < 0.12) & (lead < -0.25)
    kinds = {
        _DYED: total > _LEAST_DYED,
        _COLD: cold,
        _WARM: ((total > 1.1) & (red < 0.17) & (np.abs(lead) < 0.22)) | yellow,
        _FAINTLY_WARM: (total > 0.5) & (red < 0.17) & (np.abs(lead) < 0.2),
        _GREEN: (total > 0.25) & (red > 0.46) & (lead < 0.05),
        _BLACK: ((total > 1.2) & (spread < 0.13)) | ((total > 1.5) & (spread < 0.16)),
        _RIM: (total > 1.0) & (spread < 0.07),
        _DARK: total > 3,
        _GREY: ((total > 0.6) & (spread < 0.10)) | ((total > _LEAST_DYED) & (spread < 0.06)),
        _LAYERED: (total > np.interp(red, *_MOST_OF_A_LAYER)) & (lead > 0.04),
        _FOREIGN: (total > _LEAST_DYED) & ((lead < 0.03) | (red > 0.46) | (lead > 0.46)),
    }
    none = np.zeros(len(rgb), np.int64)
    return sum((bit * holds for bit, holds in kinds.items()), none).astype(np.uint16)


@cache
def _absorbance() -> Floats:
    """Return what each grey value says was absorbed."""
    return np.maximum(-np.log10(np.maximum(np.arange(256), 1) / _WHITE), 0).astype(np.float32)


def _squared_laplacian(brightness: Floats) -> Floats:
    curvature = np.zeros_like(brightness)
    inner = curvature[:, 1:-1, 1:-1]
    inner += 4 * brightness[:, 1:-1, 1:-1]
    inner -= brightness[:, :-2, 1:-1] + brightness[:, 2:, 1:-1]
    inner -= brightness[:, 1:-1, :-2] + brightness[:, 1:-1, 2:]
    curvature *= curvature
    return curvature


def _blurred(brightness: Floats, curvature: Floats) -> Bools:
    """Whether enough of a patch has contrast within tiles, but no curvature to match."""
    contrast = _tile_means(brightness * brightness) - _tile_means(brightness) ** 2
    is_soft = (contrast > _SOFT_CONTRAST) & (curvature < _SOFT * contrast)
    is_blurred = (contrast > _CONTRAST) & (curvature < _BLURRED * contrast)
    is_blurred |= (contrast > _LOW_CONTRAST) & (curvature < _FAINTLY_BLURRED * contrast + _NOISE)
    soft, blurred = is_soft.mean(axis=(1, 2)), is_blurred.mean(axis=(1, 2))
    return np.asarray((soft >= _SOFT_SHARE) | (blurred >= _BLURRED_SHARE))


def _folded(patches: Rgb) -> Bools:
    """Whether a part absorbs in the same parts as the rest does, but twice as much."""
    light = _tile_means(patches).reshape(len(patches), -1, 3)
    colours = np.maximum(-np.log10(np.maximum(light, 1) / np.float32(_WHITE)), 0)
    # Where glass shows through, how much of it does decides.
    brightest = _tiles(patches[..., 1]).max(axis=(2, 4)).reshape(len(patches), -1)
    amount = np.where(brightest < _GLASS_GREEN, colours.sum(axis=-1), np.inf)
    order = np.argsort(amount, axis=1, kind="stable")
    is_solid = np.isfinite(amount)
    tiles, solid = amount.shape[1], is_solid.sum(axis=1)[:, None]
    ranked = np.take_along_axis(np.where(is_solid, amount, 0), order, 1)
    colours = np.take_along_axis(colours * is_solid[..., None], order[..., None], 1)
    sums, squares, summed = (np.cumsum(it, axis=1) for it in (ranked, ranked**2, colours))
    below = np.arange(1, tiles + 1, dtype=np.float32)[None]
    above = np.maximum(solid - below, 1)
    least = _FOLDED_SHARE * tiles
    is_split = (below >= least) & (solid - below >= least)
    low, high = sums / below, (sums[:, -1:] - sums) / above
    # The split that leaves the least spread on either side (Otsu).
    at = np.where(is_split, below * above * (high - low) ** 2, -1).argmax(axis=1)
    here = np.arange(len(patches)), at
    spread = squares[here] / below[0, at] - low[here] ** 2
    spread += (squares[:, -1] - squares[here]) / above[here] - high[here] ** 2
    is_clear = (high - low)[here] > _FOLD_GAP * np.sqrt(np.maximum(spread, 0))
    pale, dark = summed[here], summed[:, -1] - summed[here]
    is_same_hue = np.abs(_parts(dark) - _parts(pale)).max(axis=-1) < _FOLD_HUE
    is_double = (low[here] > _LEAST_FOLDED) & (high[here] > _FOLD_RATIO * low[here])
    return np.asarray(is_split[here] & is_clear & is_same_hue & is_double)


def _parts(colours: Floats) -> Floats:
    return np.asarray(colours / np.maximum(colours.sum(axis=-1, keepdims=True), 1e-6))


def _tiles(values: npt.NDArray[Any], side: int = _TILE_PX) -> npt.NDArray[Any]:
    """Cut patches into tiles, (n, down, side, across, side); pixels that fill none are left out."""
    down, across = values.shape[1] // side, values.shape[2] // side
    cut = values[:, : down * side, : across * side]
    return cut.reshape(len(values), down, side, across, side, *values.shape[3:])


def _tile_means(values: npt.NDArray[Any], side: int = _TILE_PX) -> Floats:
    # Whole rows are added first: that is three times as fast as a mean over both axes.
    rows = _tiles(values, side).sum(axis=2, dtype=np.float32)
    return np.asarray(rows.sum(axis=3) / np.float32(side * side))


def _reduced(patches: Rgb, um_px: float) -> Rgb:
    times = max(1, min(round(_UM_PX / um_px), patches.shape[1] // _TILE_PX))
    return patches if times == 1 else np.rint(_tile_means(patches, times)).astype(np.uint8)
