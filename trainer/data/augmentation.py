"""Random variants of training patches that do not change the answer.

The `corrected` policy: the eight flips and quarter turns, jitter of stain and light in optical
density, and jitter of sharpness (scanners and resampling differ). No rotation by odd angles: it
would invent corners. The `paper` policy is Table 1 of the paper, which does.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from trainer.data.dataset import PATCH, PatchArray
from trainer.data.painting import EOSIN, HEMATOXYLIN, soften

STAIN_GAIN = 0.25
"""Largest relative change of the amount of each stain."""
STAIN_SHIFT = 0.03
"""Largest added optical density per stain."""
LAMP = (-0.05, 0.15)
"""Range of optical density added to all channels: where glass is 180-255 instead of about 240.
Without it, 12 % less light made nearly five times as many negative patches "IDC"."""
BALANCE = 0.04
"""Largest added optical density of one channel: white balance."""
SHARPNESS = (-0.5, 0.9)
"""Range of the share that blurring is mixed in with; negative sharpens."""

GROUP = 16

_STAINS = np.stack([HEMATOXYLIN, EOSIN, np.cross(HEMATOXYLIN, EOSIN)])
_STAINS = (_STAINS / np.linalg.norm(_STAINS, axis=1, keepdims=True)).astype(np.float32)
_UNMIX = np.linalg.inv(_STAINS).astype(np.float32)


Kinds = NDArray[np.integer]
"""Which of the eight flips and quarter turns, 0 ... 7."""
Amounts = NDArray[np.float32]


def corrected(
    rng: np.random.Generator, patches: PatchArray, kinds: Kinds | None = None
) -> PatchArray:
    """Return one random variant of each patch.

    Parameters
    ----------
    rng : numpy.random.Generator
        All randomness comes from it: the same state gives the same variants.
    patches : ndarray of uint8, shape (n, 50, 50, 3)
    kinds : ndarray of int, shape (n,), optional
        Flips and turns to apply; drawn where not given.

    Returns
    -------
    ndarray of uint8, shape (n, 50, 50, 3)
    """
    return jitter(rng, turn(rng, patches, kinds))


def turn(rng: np.random.Generator, patches: PatchArray, kinds: Kinds | None = None) -> PatchArray:
    """Apply one of the eight flips and quarter turns to each patch."""
    turned = np.empty_like(patches)
    if kinds is None:
        kinds = rng.integers(0, 8, len(patches))
    for kind in range(8):
        which = kinds == kind
        group = np.rot90(patches[which], kind % 4, axes=(1, 2))
        turned[which] = group[:, :, ::-1] if kind >= 4 else group
    return turned


def jitter(rng: np.random.Generator, patches: PatchArray) -> PatchArray:
    """Change sharpness, stain and light of each patch."""
    # In groups whose temporaries stay in the processor's cache: three times as fast.
    groups = range(0, len(patches), GROUP)
    return np.concatenate([_jitter(rng, patches[start : start + GROUP]) for start in groups])


def _jitter(rng: np.random.Generator, patches: PatchArray) -> PatchArray:
    def uniform(low: float, high: float, *shape: int) -> Amounts:
        return rng.uniform(low, high, (len(patches), *shape)).astype(np.float32)

    blur = uniform(*SHARPNESS, 1, 1, 1)
    gain = uniform(1 - STAIN_GAIN, 1 + STAIN_GAIN, 1, 3)
    shift = uniform(-STAIN_SHIFT, STAIN_SHIFT, 1, 3)
    density = shift @ _STAINS + uniform(*LAMP, 1, 1) + uniform(-BALANCE, BALANCE, 1, 3)
    return restain(patches, blur, gain, density)


WIDE_STAIN = 0.12
"""Deviation of each component of a stain's direction, in optical density."""
WIDE_GAIN = 0.4
"""Deviation of the logarithm of each stain's amount, and of both together."""
WIDE_GAMMA = 0.25
"""Deviation of the logarithm of the exponent of optical density; per channel 0.4 of that."""
WIDE_LAMP = (-0.10, 0.30)
WIDE_BALANCE = 0.10
WIDE_SATURATION = (0.2, 1.6)
WIDE_HUE = 0.6
"""Largest turn about the gray axis of optical density, radians."""
GRAY_SHARE, HUE_SHARE, JPEG_SHARE = 0.1, 0.3, 0.15
"""Shares of patches that lose all colour, turn their hue, and are compressed."""
JPEG_QUALITY = (20, 85)
WIDE_NOISE = 5.0
"""Largest deviation of noise, gray levels."""

_TYPICAL_DENSITY = 0.6
"""Optical density that gamma leaves as it is."""


def wide(rng: np.random.Generator, patches: PatchArray, kinds: Kinds | None = None) -> PatchArray:
    """Flip, turn and restain patches as far as other laboratories and scanners are.

    Every patch draws how far it goes: from hardly at all to stains of other colours at a third or
    three times their amount. Arguments and result as of `corrected`.
    """
    turned = turn(rng, patches, kinds)
    groups = range(0, len(turned), GROUP)
    return np.concatenate([_wide(rng, turned[start : start + GROUP]) for start in groups])


def _wide(rng: np.random.Generator, patches: PatchArray) -> PatchArray:
    count = len(patches)

    def normal(*shape: int) -> Amounts:
        return rng.standard_normal((count, *shape), np.float32)

    def uniform(low: float, high: float, *shape: int) -> Amounts:
        return rng.uniform(low, high, (count, *shape)).astype(np.float32)

    reach = uniform(0, 1, 1, 1)
    # What the slide was stained with, as far as one can know, and what it might have been.
    found = _directions(_STAINS + WIDE_STAIN / 2 * reach * normal(3, 3))
    wanted = _directions(_STAINS + WIDE_STAIN * reach * normal(3, 3))
    gain = np.exp(WIDE_GAIN * reach * (0.8 * normal(1, 1) + normal(1, 3)))
    change = (np.linalg.inv(found) * gain) @ wanted @ _recolour(rng, reach)
    density = STAIN_SHIFT * 2 * reach * normal(1, 3) @ _STAINS
    density += reach * (uniform(*WIDE_LAMP, 1, 1) + uniform(-WIDE_BALANCE, WIDE_BALANCE, 1, 3))
    gamma = np.exp(WIDE_GAMMA * reach * (normal(1, 1) + 0.4 * normal(1, 3)))

    values = patches.astype(np.float32)
    values += uniform(*SHARPNESS, 1, 1, 1) * (soften(values) - values)
    softer = rng.random(count) < reach.ravel() / 3
    values[softer] = soften(soften(values[softer]))
    of = -np.log((np.clip(values, 0, 255) + 1) / 256).reshape(count, -1, 3) @ change
    of = _TYPICAL_DENSITY * (np.maximum(of, 1e-4) / _TYPICAL_DENSITY) ** gamma + density
    values = 256 * np.exp(-of) - 1
    values += reach * uniform(0, WIDE_NOISE, 1, 1) * rng.standard_normal(of.shape, np.float32)
    restained = (np.clip(values, 0, 255) + 0.5).astype(np.uint8).reshape(patches.shape)
    for at in np.flatnonzero(rng.random(count) < JPEG_SHARE):
        restained[at] = compressed(restained[at], int(rng.integers(*JPEG_QUALITY)))
    return restained


def _directions(stains: Amounts) -> Amounts:
    return stains / np.linalg.norm(stains, axis=-1, keepdims=True)


def _recolour(rng: np.random.Generator, reach: Amounts) -> Amounts:
    """Change of saturation and hue, as one matrix of optical density a patch, (n, 3, 3)."""
    count = len(reach)
    angle = np.where(rng.random(count) < HUE_SHARE, rng.uniform(-WIDE_HUE, WIDE_HUE, count), 0)
    low, high = WIDE_SATURATION
    saturation = 1 + reach.ravel() * (rng.uniform(low, high, count) - 1)
    saturation[rng.random(count) < GRAY_SHARE] = 0
    gray = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    turned = cos * (np.eye(3) - gray) + sin * cross
    return (gray + saturation[:, None, None] * turned).astype(np.float32)


def compressed(patch: PatchArray, quality: int) -> PatchArray:
    """Return a patch, uint8 (50, 50, 3), as a JPEG file of some quality holds it."""
    with BytesIO() as file:
        Image.fromarray(patch).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))


def restain(patches: PatchArray, blur: Amounts, gain: Amounts, density: Amounts) -> PatchArray:
    """Change sharpness, stain and light of patches by given amounts.

    Parameters
    ----------
    patches : ndarray of uint8, shape (n, 50, 50, 3)
    blur : ndarray of float32, shape (n or 1, 1, 1, 1)
        Share that blurring is mixed in with; negative sharpens.
    gain : ndarray of float32, shape (n or 1, 1, 3)
        Factors of the amounts of hematoxylin, eosin and what is neither.
    density : ndarray of float32, shape (n or 1, 1, 1 or 3)
        Optical density (natural logarithm) added to all channels, or to R, G and B.

    Returns
    -------
    ndarray of uint8, shape (n, 50, 50, 3)
    """
    values = patches.astype(np.float32)
    values += blur * (soften(values) - values)
    found = -np.log((np.clip(values, 0, 255) + 1) / 256)
    # Scaling and shifting stains is affine in optical density: one 3x3 matrix per patch.
    found = found.reshape(len(patches), -1, 3) @ ((_UNMIX * gain) @ _STAINS) + density
    values = np.clip(256 * np.exp(-found) - 1, 0, 255)
    return (values + 0.5).astype(np.uint8).reshape(patches.shape)


ROTATION_DEG = 40.0
SHIFT = 0.2
SHEAR_DEG = 0.2
ZOOM = 0.2
"""Table 1 of the paper as Keras 2 read it: shear in degrees (0.2 of one moves no pixel by more
than 0.1 px), zoom of x and y drawn apart, what comes in from outside repeats the edge."""


def paper(rng: np.random.Generator, patches: PatchArray, kinds: Kinds | None = None) -> PatchArray:
    """Rotate, shift, shear and zoom each patch as the paper's Table 1 says, in one interpolation.

    `kinds` is without effect: the paper neither flips nor turns.
    """
    moved = np.empty_like(patches)
    for number, patch in enumerate(patches):
        matrix = affine(
            rng.uniform(-ROTATION_DEG, ROTATION_DEG),
            rng.uniform(-SHIFT, SHIFT, 2) * len(patch),
            rng.uniform(-SHEAR_DEG, SHEAR_DEG),
            rng.uniform(1 - ZOOM, 1 + ZOOM, 2),
            len(patch),
        )
        for channel in range(3):
            values = ndimage.affine_transform(
                patch[..., channel].astype(np.float32), matrix, order=1, mode="nearest"
            )
            moved[number, ..., channel] = values + 0.5
    return moved


def affine(
    rotation_deg: float,
    shift_px: NDArray[np.float64],
    shear_deg: float,
    zoom: NDArray[np.float64],
    side_px: int = PATCH.side_px,
) -> NDArray[np.float64]:
    """Compose the Keras 2 generator's steps about the patch's centre; its arguments are (x, y).

    Returns
    -------
    ndarray of float64, shape (3, 3)
        From output (row, col) to input (row, col), pixels.
    """
    turned, sheared = np.deg2rad((rotation_deg, shear_deg))
    cos, sin = np.cos(turned), np.sin(turned)
    rotate = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    shift = np.array([[1, 0, shift_px[0]], [0, 1, shift_px[1]], [0, 0, 1]])
    shear = np.array([[1, -np.sin(sheared), 0], [0, np.cos(sheared), 0], [0, 0, 1]])
    scale = np.diag([*zoom, 1.0])
    centre = side_px / 2 - 0.5
    to_centre = np.array([[1, 0, centre], [0, 1, centre], [0, 0, 1]])
    whole = to_centre @ rotate @ shift @ shear @ scale @ np.linalg.inv(to_centre)
    # The steps are in (x, y), the array's axes are (row, col).
    return whole[[1, 0, 2]][:, [1, 0, 2]]


def unchanged(
    rng: np.random.Generator, patches: PatchArray, kinds: Kinds | None = None
) -> PatchArray:
    """Return the patches as they are."""
    del rng, kinds
    return patches


Policy = Callable[[np.random.Generator, PatchArray, Kinds | None], PatchArray]

POLICIES: dict[str, Policy] = {
    "corrected": corrected,
    "wide": wide,
    "turns": turn,
    "paper": paper,
    "none": unchanged,
}
"""Policies by the names of `trainer.settings.POLICY_NAMES`."""
