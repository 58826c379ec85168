"""Changes of stain, light and sharpness that a model has to bear, beyond those of its data.

The colours of one archive can be learned by heart: figures on its own cases, however well kept
back, do not show it. So the same patches are scored again as other stain, other scanners and other
software would have made them. `MILD` changes happen within one laboratory; `STRONG` ones are as
far off as other laboratories' slides are. All are fixed: the same patches give the same bytes.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from trainer.data.augmentation import restain
from trainer.data.dataset import PatchArray
from trainer.data.painting import EOSIN, HEMATOXYLIN

Shift = Callable[[PatchArray], PatchArray]
"""uint8 (n, 50, 50, 3) to the same, changed."""

_GRAY = np.array([0.299, 0.587, 0.114])


def stained(
    hematoxylin: float = 1.0, eosin: float = 1.0, light: float = 1.0, blur: float = 0.0
) -> Shift:
    """Change the amounts of the stains and the lamp's light by factors, and mix blurring in."""

    def change(patches: PatchArray) -> PatchArray:
        return restain(
            patches,
            np.full((1, 1, 1, 1), blur, np.float32),
            np.array([[[hematoxylin, eosin, 1.0]]], np.float32),
            np.full((1, 1, 1), -np.log(light), np.float32),
        )

    return change


@dataclass(frozen=True)
class Scanner:
    """The same stains as another scanner sees them.

    Attributes
    ----------
    hematoxylin, eosin : tuple of float
        Optical density of a unit of stain in R, G, B; the lengths do not matter.
    gamma : float
        Exponent of its tone curve.
    glass : tuple of float
        Light that its empty glass lets through, R, G, B of 0..1.
    """

    hematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    gamma: float = 1.0
    glass: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __call__(self, patches: PatchArray) -> PatchArray:
        """Take the stains apart as the archive has them and put them together as seen here."""
        change = np.linalg.inv(_basis(HEMATOXYLIN, EOSIN)) @ _basis(
            np.array(self.hematoxylin), np.array(self.eosin)
        )
        density = -np.log((patches.astype(np.float32) + 1) / 256) @ change.astype(np.float32)
        light = np.clip(np.exp(-density), 0, 1) ** self.gamma * np.array(self.glass, np.float32)
        return _as_bytes(256 * light - 1)


def _basis(hematoxylin: NDArray[np.float64], eosin: NDArray[np.float64]) -> NDArray[np.float64]:
    vectors = np.stack([hematoxylin, eosin, np.cross(hematoxylin, eosin)])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _as_bytes(values: NDArray[np.floating]) -> PatchArray:
    found: PatchArray = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    return found


def _hue(degrees: float) -> Shift:
    """Turn all colours about the gray axis."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    axis = np.full(3, 1 / np.sqrt(3))
    cross = np.cross(np.eye(3), axis)
    turn = cos * np.eye(3) + sin * cross + (1 - cos) * np.outer(axis, axis)
    return lambda patches: _as_bytes(np.asarray(patches @ turn))


def _gamma(exponent: float) -> Shift:
    return lambda patches: _as_bytes(255 * (patches / 255) ** exponent)


def _gray(patches: PatchArray) -> PatchArray:
    return _as_bytes(np.repeat((patches @ _GRAY)[..., None], 3, axis=-1))


def _blurred(patches: PatchArray, sigma_px: float) -> NDArray[np.float32]:
    sigmas = (0, sigma_px, sigma_px, 0)
    values = patches.astype(np.float32)
    return np.asarray(ndimage.gaussian_filter(values, sigmas, mode="nearest"))


def _sharpened(patches: PatchArray) -> PatchArray:
    return _as_bytes(patches + 2.0 * (patches - _blurred(patches, 1.0)))


def _hazy(patches: PatchArray) -> PatchArray:
    return _as_bytes(0.55 * patches + 0.45 * 245)


def _compressed(patches: PatchArray) -> PatchArray:
    """Through JPEG of low quality, as a slide saved again and again has been."""
    changed = np.empty_like(patches)
    for number, pixels in enumerate(patches):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=15)
        changed[number] = np.asarray(Image.open(file))
    return changed


def _noisy(patches: PatchArray) -> PatchArray:
    """Add the sensor's noise; that of a patch is decided by its pixels, not by its neighbours."""
    seeds = (zlib.crc32(pixels.tobytes()) for pixels in patches)
    noise = [np.random.default_rng(seed).normal(0, 15, patches.shape[1:]) for seed in seeds]
    return _as_bytes(patches + np.array(noise, float).reshape(patches.shape))


MILD: Mapping[str, Shift] = {
    "hematoxylin +25 %": stained(hematoxylin=1.25),
    "hematoxylin -25 %": stained(hematoxylin=0.75),
    "eosin +25 %": stained(eosin=1.25),
    "eosin -25 %": stained(eosin=0.75),
    "light -12 %": stained(light=0.88),
    "softened": stained(blur=1.0),
}
"""What differs between the days of one laboratory."""

STRONG: Mapping[str, Shift] = {
    "pale stain": stained(0.45, 0.45),
    "dark stain": stained(1.8, 1.8),
    "much eosin": stained(0.6, 1.7),
    "much hematoxylin": stained(1.7, 0.5),
    "blue scanner": Scanner((0.80, 0.56, 0.18), (0.22, 0.95, 0.10), 0.9),
    "violet scanner": Scanner((0.52, 0.80, 0.24), (0.20, 0.90, 0.38), 1.25),
    "brown scanner": Scanner((0.50, 0.66, 0.56), (0.08, 0.80, 0.60), 1.1, (0.95, 0.9, 0.82)),
    "pale blue scanner": Scanner((0.62, 0.74, 0.24), (0.30, 0.93, 0.04), 0.7, (0.85, 0.9, 0.95)),
    "hue +25 degrees": _hue(25),
    "hue -25 degrees": _hue(-25),
    "gamma 0.55": _gamma(0.55),
    "gamma 1.8": _gamma(1.8),
    "light -40 %": stained(light=0.6),
    "haze": _hazy,
    "gray": _gray,
    "blur of 12 µm": lambda patches: _as_bytes(_blurred(patches, 1.5)),
    "JPEG of quality 15": _compressed,
    "sharpened": _sharpened,
    "noise": _noisy,
}
"""What differs between laboratories, scanners and their software. Stain vectors and tone curves
are made up, within what is published of scanners; the blur is at the data set's 8 µm per pixel."""
