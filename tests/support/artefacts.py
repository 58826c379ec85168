"""Painters of artefacts over patches: pens, inks, blur, folds, bubbles, wrong colours.

Patches are ``(side, side, 3)`` RGB at 8 µm/px. A painter takes a patch, the share of it that is to
be covered, and a generator; the same generator gives the same picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Rgb = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Painter = Callable[[Rgb, float, np.random.Generator], Rgb]

PENS = {
    "blue": (25, 60, 165),
    "azure": (0, 105, 200),
    "green": (20, 140, 85),
    "teal": (30, 150, 130),
    "dark green": (15, 80, 55),
    "red": (200, 20, 45),
    "black": (30, 28, 32),
}
_INKS = ((18, 18, 22), (15, 30, 110), (10, 75, 60), (20, 60, 140))


def covered(side: int, share: float, rng: np.random.Generator, *, is_band: bool = False) -> Floats:
    """Return how much of each pixel is covered, 0 to 1: a wavy part, or a band, of a patch."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    across = x * np.cos(angle) + y * np.sin(angle)
    along = y * np.cos(angle) - x * np.sin(angle)
    across = across + 0.05 * np.sin(along * rng.uniform(3, 9) + rng.uniform(0, 6))
    if is_band:
        across = np.abs(across - rng.uniform(-0.25, 0.25))
    edge = np.quantile(across, share)
    return np.clip((edge - across) * side / 1.5 + 0.5, 0, 1)[..., None] if share < 1 else _all(side)


def _all(side: int) -> Floats:
    return np.ones((side, side, 1))


def pen(patch: Rgb, share: float, rng: np.random.Generator, color: str | None = None) -> Rgb:
    """Draw a translucent pen: it takes light away from what lies under it."""
    rgb = np.array(PENS[color or rng.choice(list(PENS))]) / 255
    strength = rng.uniform(0.7, 1.2) * np.ones((*patch.shape[:2], 1))
    through = rgb**strength
    inked = patch / 255.0 * through
    return _mixed(patch, 255 * inked, covered(len(patch), share, rng))


def ink(patch: Rgb, share: float, rng: np.random.Generator) -> Rgb:
    """Lay opaque grains of a margin ink on it."""
    rgb = np.array(_INKS[rng.integers(len(_INKS))], float)
    grains = np.clip(rng.normal(0.85, 0.12, (*patch.shape[:2], 1)), 0, 1)
    return _mixed(
        patch, np.broadcast_to(rgb, patch.shape), covered(len(patch), share, rng) * grains
    )


def blur(patch: Rgb, share: float, rng: np.random.Generator, sigma_px: float | None = None) -> Rgb:
    """Put a part out of focus, by σ 8 to 24 µm unless another is given."""
    sigma_px = sigma_px or rng.choice([1.0, 1.5, 2.0, 3.0])
    return _mixed(patch, gaussian(patch, sigma_px), covered(len(patch), share, rng))


def fold(patch: Rgb, share: float, rng: np.random.Generator) -> Rgb:
    """Lay the tissue over itself in a band, two or three layers: what they absorb adds up."""
    layers = [patch, patch[::-1, ::-1], patch[:, ::-1]][: rng.integers(2, 4)]
    through = np.prod([np.maximum(it, 1) / 245.0 for it in layers], axis=0)
    through = np.minimum(through, 1)
    return _mixed(patch, 245 * through, covered(len(patch), share, rng, is_band=True))


def bubble(patch: Rgb, share: float, rng: np.random.Generator) -> Rgb:
    """Let in air under the coverslip: a dark rim, and what is inside pale and out of focus."""
    side = len(patch)
    inside = covered(side, share, rng)
    rim = np.clip(1 - np.abs(gaussian(inside * 255, 0.7) / 255 - 0.5) / 0.35, 0, 1)
    air = 0.75 * gaussian(patch, 1.5) + 0.25 * np.array([225.0, 225, 222])
    image = patch * (1 - inside) + air * inside
    return _rounded(image * (1 - rim) + rng.uniform(40, 90) * rim)


PAINTERS: Mapping[str, Painter] = {
    "pen": pen,
    "ink": ink,
    "blur": blur,
    "fold": fold,
    "bubble or edge": bubble,
}
"""By the reason that is expected."""


def brown(patch: Rgb) -> Rgb:
    """Stain it with DAB instead of eosin: brown where it was pink."""
    absorbed = -np.log(np.maximum(patch, 1) / 250.0)
    amount = absorbed.mean(axis=-1, keepdims=True)
    return _rounded(250 * np.exp(-amount * 3 * np.array([0.17, 0.35, 0.48])))


def grey(patch: Rgb) -> Rgb:
    """Take the colour away, as of one page of three."""
    return np.repeat(patch[..., 1:2], 3, axis=-1)


def misread(patch: Rgb) -> Rgb:
    """Show brightness and colour differences as if they were red, green and blue."""
    r, g, b = (patch[..., it].astype(float) for it in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return _rounded(np.stack([y, 128 + 0.564 * (b - y), 128 + 0.713 * (r - y)], axis=-1))


def fluorescent(patch: Rgb) -> Rgb:
    """Show it bright on black, in green and blue."""
    absorbed = 255.0 - patch
    return _rounded(np.stack([0.1 * absorbed[..., 2], absorbed[..., 1], absorbed[..., 0]], axis=-1))


WRONG_COLOURS = {"brown": brown, "grey": grey, "misread": misread, "fluorescent": fluorescent}


def gaussian(image: npt.NDArray[np.generic], sigma_px: float) -> Floats:
    """Return the image smoothed; what lies beyond its edges mirrors it."""
    reach = int(np.ceil(4 * sigma_px))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    weights /= weights.sum()
    smooth = image.astype(float)
    for axis in (0, 1):
        margin = [(reach, reach) if it == axis else (0, 0) for it in range(smooth.ndim)]
        wide = np.pad(smooth, margin, mode="symmetric")
        smooth = sum(
            weight * np.take(wide, np.arange(it, it + smooth.shape[axis]), axis)
            for it, weight in enumerate(weights)
        )
    return np.asarray(smooth)


def _mixed(below: Rgb, above: npt.NDArray[np.generic], share: Floats) -> Rgb:
    return _rounded(below * (1 - share) + above * share)


def _rounded(image: npt.NDArray[np.generic]) -> Rgb:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
