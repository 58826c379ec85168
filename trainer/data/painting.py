"""Patches painted by our own code: no pixel of them comes from a slide.

Two uses. The data set left glass and fat out, so a network trained on it alone has never seen
what half of a slide is made of: painted background joins training as "not IDC". And the golden
patches inside a model file must not be data-set pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from idc_desktop.models.patch_size import PatchSize
from trainer.data.dataset import PATCH, PatchArray

HEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.07, 0.99, 0.11])
"""Optical density of a unit of stain in R, G, B (Ruifrok & Johnston 2001)."""

Field = NDArray[np.float64]

_SIDE = PATCH.side_px


def paint_background(rng: np.random.Generator, count: int, patch: PatchSize = PATCH) -> PatchArray:
    """Paint what a slide holds beside tissue: glass, dim glass, fat, blurred margins, ink.

    Returns
    -------
    ndarray of uint8, shape (count, side, side, 3)
        Painted for the public set's patches; for others that picture is enlarged or reduced.
    """
    painters = (_glass, _dim, _fat, _margin, _flat)
    kinds = rng.choice(len(painters), size=count, p=(0.3, 0.15, 0.3, 0.15, 0.1))
    return _sized(_finish(rng, np.stack([painters[kind](rng) for kind in kinds])), patch)


def paint_tissue(rng: np.random.Generator, count: int, patch: PatchSize = PATCH) -> PatchArray:
    """Paint H&E-like tissue from loose pink stroma to dense sheets of dark nuclei.

    Returns
    -------
    ndarray of uint8, shape (count, side, side, 3)
        Painted for the public set's patches; for others that picture is enlarged or reduced.
    """
    return _sized(_finish(rng, np.stack([_tissue(rng) for _ in range(count)])), patch)


def _field(rng: np.random.Generator, cells: int) -> Field:
    """Smooth noise in 0..1, shape (50, 50), with about `cells` hills per side."""
    coarse = rng.random((cells + 1, cells + 1))
    at = np.linspace(0, cells, _SIDE)
    low = np.minimum(at.astype(int), cells - 1)
    ramp = np.zeros((_SIDE, cells + 1))
    part = at - low
    ramp[np.arange(_SIDE), low] = 1 - part
    ramp[np.arange(_SIDE), low + 1] = part
    return ramp @ coarse @ ramp.T


def _stained(hematoxylin: Field, eosin: Field, light: Field | float = 1.0) -> Field:
    density = hematoxylin[..., None] * HEMATOXYLIN + eosin[..., None] * EOSIN
    return 255.0 * np.exp(-density) * np.asarray(light)[..., None]


def _glass(rng: np.random.Generator) -> Field:
    base = rng.uniform(225, 255) + rng.normal(0, 3, 3)
    shade = (_field(rng, 2) - 0.5)[..., None] * rng.uniform(0, 12)
    patch = base + shade
    if rng.random() < 0.2:  # dust, or a shred of tissue
        speck = (_field(rng, 12) > rng.uniform(0.8, 0.97))[..., None]
        patch = patch - speck * rng.uniform(10, 90, 3)
    return patch


def _dim(rng: np.random.Generator) -> Field:
    base = rng.uniform(150, 228) + rng.normal(0, 4, 3)
    return base + (_field(rng, 2) - 0.5)[..., None] * rng.uniform(0, 30)


def _fat(rng: np.random.Generator) -> Field:
    """Empty round cells of 6-10 px with thin pink walls: distance to the nearest two centres."""
    spacing = rng.uniform(6, 10)
    side = int(np.ceil(_SIDE / spacing)) + 2
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) - 0.5
    centres = (grid + rng.uniform(-0.35, 0.35, grid.shape)) * spacing
    yx = np.arange(_SIDE)
    squared = (yx[:, None, None] - centres[:, 0]) ** 2 + (yx[:, None] - centres[:, 1]) ** 2
    squared.partition(1, axis=-1)
    distance = np.sqrt(squared[..., :2])
    wall = np.exp(-(((distance[..., 1] - distance[..., 0]) / rng.uniform(0.8, 2.0)) ** 2))
    haze = _field(rng, 3) * rng.uniform(0, 0.08)
    strength = rng.uniform(0.1, 0.6) * (0.5 + _field(rng, 4))
    return _stained(wall * strength * rng.uniform(0, 0.3), wall * strength + haze)


def _margin(rng: np.random.Generator) -> Field:
    """Paint a pale, out-of-focus edge of tissue that fades into glass."""
    yx = np.moveaxis(np.mgrid[:_SIDE, :_SIDE], 0, -1) / _SIDE - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    along = yx @ (np.cos(angle), np.sin(angle)) - rng.uniform(-0.3, 0.45)
    cover = 1 / (1 + np.exp(-along / rng.uniform(0.01, 0.15)))
    eosin = cover * rng.uniform(0.05, 0.5) * (0.7 + 0.6 * _field(rng, 4))
    return _stained(eosin * rng.uniform(0, 0.25), eosin, rng.uniform(0.9, 1.0))


def _flat(rng: np.random.Generator) -> Field:
    """One colour: ink, the black of a missing tile, coverslip edges."""
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(0, 255))
    return colour + (_field(rng, 3) - 0.5)[..., None] * rng.uniform(0, 40)


def _tissue(rng: np.random.Generator) -> Field:
    cellularity = rng.uniform(0, 1)
    nests = np.clip((_field(rng, int(rng.integers(2, 7))) - 0.5) * 6 + 6 * cellularity - 3, 0, 1)
    # Nuclei are about 1 px at 8 um/px: a dense grain, darker inside nests than in stroma.
    grain = rng.random((_SIDE, _SIDE)) < 0.12 + 0.5 * nests
    dark = rng.uniform(0.3, 1.3)
    hematoxylin = dark * (0.08 + grain * (0.35 + 0.4 * nests) + 0.25 * nests)
    fibres = _field(rng, int(rng.integers(4, 16)))
    eosin = rng.uniform(0.2, 0.7) * (0.4 + 0.8 * fibres) * (1 - 0.4 * nests)
    holes = _field(rng, 6) > rng.uniform(0.72, 1.1)
    eosin[holes] *= 0.1
    hematoxylin[holes] *= 0.1
    return _stained(hematoxylin, eosin, rng.uniform(0.88, 1.0))


def _finish(rng: np.random.Generator, patches: Field) -> PatchArray:
    """Blur a little, as optics and area averaging do, and add the sensor's noise."""
    blurred = soften(patches)
    share = rng.random((len(patches), 1, 1, 1))
    noise = rng.normal(0, 1, patches.shape) * rng.uniform(0, 4, (len(patches), 1, 1, 1))
    return np.clip(patches + share * (blurred - patches) + noise, 0, 255).astype(np.uint8)


def _sized(patches: PatchArray, patch: PatchSize) -> PatchArray:
    if patch.side_px == _SIDE:
        return patches
    size = (patch.side_px, patch.side_px)
    resized = (Image.fromarray(one).resize(size, Image.Resampling.BILINEAR) for one in patches)
    return np.stack([np.asarray(one) for one in resized])


def soften(patches: NDArray[np.floating]) -> NDArray[np.floating]:
    """Blur with the 3x3 binomial kernel, edges repeated; shape (n, 50, 50, 3) in and out."""
    padded = np.pad(patches, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:, :-2] + padded[:, 2:]
    rows += 2 * padded[:, 1:-1]
    blurred = rows[:, :, :-2] + rows[:, :, 2:]
    blurred += 2 * rows[:, :, 1:-1]
    blurred /= 16
    return blurred
