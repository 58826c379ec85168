"""Kinds of pixels, by what they absorb.

Colours are told by what the stains absorb, not by how some pens look: both haematoxylin and
eosin absorb green the most, and blue less than green. What absorbs red the most (blue and green
dyes), blue as much as green and hardly any red (red dyes), or all alike (black, grey), is neither.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from idc_desktop.analysis.folds import WHITE

Rgb = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Kinds = npt.NDArray[np.uint16]

# Absorbance is the sum over red, green and blue of -log10 of
# the light that came through; red, lead (of green over blue) and spread are parts of it.
DYED, COLD, WARM, FAINTLY_WARM, BLACK, GREY, LAYERED, FOREIGN, RIM, DARK, GREEN = (
    1 << it for it in range(11)
)
_LEAST_DYED = 0.3
_MOST_OF_A_LAYER = (0.1, 0.16, 0.24, 0.32, 0.43), (1.3, 1.4, 1.75, 2.2, 1.9)
"""How much a layer of tissue absorbs at most, by the part of red: eosin less than haematoxylin."""

_BITS = 6  # of a channel, by which kinds of pixels are looked up


def stains_of(pixels: Rgb) -> tuple[Bools, Bools]:
    """Return where pixels, shape (…, 3), have a stain, and where it is none of H&E."""
    kinds = kinds_of(pixels)
    is_coloured = (kinds & DYED > 0) & (kinds & (GREY | BLACK) == 0)
    return is_coloured, is_coloured & (kinds & FOREIGN > 0)


def kinds_of(patches: Rgb) -> Kinds:
    """Return the kinds of pixels, shape (…, 3), as bits."""
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
        DYED: total > _LEAST_DYED,
        COLD: cold,
        WARM: ((total > 1.1) & (red < 0.17) & (np.abs(lead) < 0.22)) | yellow,
        FAINTLY_WARM: (total > 0.5) & (red < 0.17) & (np.abs(lead) < 0.2),
        GREEN: (total > 0.25) & (red > 0.46) & (lead < 0.05),
        BLACK: ((total > 1.2) & (spread < 0.13)) | ((total > 1.5) & (spread < 0.16)),
        RIM: (total > 1.0) & (spread < 0.07),
        DARK: total > 3,
        GREY: ((total > 0.6) & (spread < 0.10)) | ((total > _LEAST_DYED) & (spread < 0.06)),
        LAYERED: (total > np.interp(red, *_MOST_OF_A_LAYER)) & (lead > 0.04),
        FOREIGN: (total > _LEAST_DYED) & ((lead < 0.03) | (red > 0.46) | (lead > 0.46)),
    }
    none = np.zeros(len(rgb), np.int64)
    return sum((bit * holds for bit, holds in kinds.items()), none).astype(np.uint16)


@cache
def _absorbance() -> Floats:
    """Return what each grey value says was absorbed."""
    return np.maximum(-np.log10(np.maximum(np.arange(256), 1) / WHITE), 0).astype(np.float32)
