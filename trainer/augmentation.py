"""Random variants of training patches that do not change the answer.

The `corrected` policy: the eight flips and quarter turns, jitter of stain and light in optical
density, and jitter of sharpness (scanners and resampling differ). No rotation by odd angles: it
would invent corners.
"""

from __future__ import annotations

import numpy as np

from trainer.dataset import PatchArray
from trainer.painting import EOSIN, HEMATOXYLIN, soften

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


def corrected(rng: np.random.Generator, patches: PatchArray) -> PatchArray:
    """Return one random variant of each patch.

    Parameters
    ----------
    rng : numpy.random.Generator
        All randomness comes from it: the same state gives the same variants.
    patches : ndarray of uint8, shape (n, 50, 50, 3)

    Returns
    -------
    ndarray of uint8, shape (n, 50, 50, 3)
    """
    return jitter(rng, turn(rng, patches))


def turn(rng: np.random.Generator, patches: PatchArray) -> PatchArray:
    """Apply one of the eight flips and quarter turns to each patch."""
    turned = np.empty_like(patches)
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
    count = len(patches)

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return rng.uniform(low, high, (count, *shape)).astype(np.float32)

    values = patches.astype(np.float32)
    values += uniform(*SHARPNESS, 1, 1, 1) * (soften(values) - values)
    density = -np.log((np.clip(values, 0, 255) + 1) / 256)
    # Scaling and shifting stains is affine in optical density: one 3x3 matrix per patch.
    gain = uniform(1 - STAIN_GAIN, 1 + STAIN_GAIN, 1, 3)
    shift = uniform(-STAIN_SHIFT, STAIN_SHIFT, 1, 3)
    matrix = (_UNMIX * gain) @ _STAINS
    offset = shift @ _STAINS + uniform(*LAMP, 1, 1) + uniform(-BALANCE, BALANCE, 1, 3)
    density = density.reshape(count, -1, 3) @ matrix + offset
    values = np.clip(256 * np.exp(-density) - 1, 0, 255)
    return (values + 0.5).astype(np.uint8).reshape(patches.shape)


POLICIES = {"corrected": corrected, "turns": turn}
"""Policies by the names of `trainer.settings.POLICY_NAMES`."""
