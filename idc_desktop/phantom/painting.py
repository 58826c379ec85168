"""The painting of the phantom: blocks of a planned scene, as pixels.

What is random here, the fibres' texture and the grain, is drawn once, before the first block.
Stains are amounts from 0 to 255.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from idc_desktop.phantom.plan import (
    BLOCK_PX,
    MARGIN_PX,
    PLAN_PX,
    QUAD_PX,
    Field,
    Scene,
    Stain,
    noise,
)

GLASS_RGB = (244, 243, 244)
"""Colour of the slide where there is no tissue."""

# Optical density of 255 units of each stain in R, G, B, fitted by eye to the look of H&E.
_EOSIN = np.array([0.19, 1.13, 0.55])
_HAEMATOXYLIN = np.array([1.30, 1.70, 0.85])

# What outlines are filled with, in the order of painting: eosin, haematoxylin.
_MATERIALS = {
    "nest": (84, 62),
    "vacuole": (3, 0),
    "wall": (135, 22),
    "epithelium": (92, 78),
    "necrosis": (112, 26),
    "lumen": (5, 0),
    "blood": (135, 0),
}

_TEXTURE_PX = (2048, 1024)  # fibres: period along and across, pixels of 1 µm


class Painter:
    """Paints blocks of a scene; used by several threads at once.

    Parameters
    ----------
    scene : Scene
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        rng = np.random.default_rng(8)
        cols, rows = _TEXTURE_PX
        waves = 5 * noise(rng, (rows, cols), (60, 45)) + 3 * noise(rng, (rows, cols), (16, 22))
        fibres = (
            0.30 * noise(rng, (rows, cols), (3.2, 60))
            + 0.35 * noise(rng, (rows, cols), (6, 110))
            + 0.25 * noise(rng, (rows, cols), (14, 170))
        )
        fibres -= 4 * np.clip(3 * noise(rng, (rows, cols), (7, 75)) - 5.1, 0, 1)  # clefts
        bent = np.rint(np.arange(rows)[:, None] + waves).astype(int) % rows
        fibres = np.take_along_axis(fibres, bent, axis=0)
        # Repeated far enough for any block to be cut out of it in one piece.
        fibres = np.pad(fibres, ((0, 1500), (0, 1500)), "wrap")
        self._fibres = Image.fromarray(np.clip(200 + 62 * fibres, 0, 255).astype(np.uint8))
        grain = np.pad(noise(rng, (BLOCK_PX // 2,) * 2, (6, 6), 2), MARGIN_PX // 2, "wrap")
        self._fills = {
            material: tuple(_map_of_grain(stain, grain) for stain in stains)
            for material, stains in _MATERIALS.items()
        }
        amount = np.arange(256)[:, None] / 255
        self._eosin = (
            np.rint(np.array(GLASS_RGB) * np.exp(-amount * _EOSIN)).astype(np.uint8).tobytes()
        )
        self._blue = np.rint(255 * np.exp(-amount * _HAEMATOXYLIN)).astype(np.uint8).tobytes()

    def block(self, place: tuple[int, int]) -> Image.Image | None:
        """Return the pixels of a block.

        Parameters
        ----------
        place : (int, int)
            Column and row of the block.

        Returns
        -------
        PIL.Image.Image or None
            None if the block is glass.
        """
        scene, side = self._scene, BLOCK_PX // 2 + MARGIN_PX
        # A margin's width into the maps' own border.
        left, top = (part * BLOCK_PX // PLAN_PX for part in place)
        box = (left, top, left + side * 2 // PLAN_PX, top + side * 2 // PLAN_PX)
        if scene.cover.crop(box).getbbox() is None:
            return None

        def enlarged(plan: Image.Image) -> Image.Image:
            return plan.resize((side, side), Image.Resampling.BICUBIC, box)

        # Whatever is soft is painted at 1 µm and enlarged; nuclei are stamped at 0.5 µm.
        fibres = self._bent_fibres(place, side)
        eosin = ImageChops.multiply(enlarged(scene.eosin), fibres)
        blue = enlarged(scene.haematoxylin)
        nests = enlarged(scene.nests)
        if nests.getbbox():
            self._fill(eosin, blue, nests.point(_sharp(128, 30)), "nest")
        cover = enlarged(scene.cover)
        edge = Image.blend(cover, fibres, 0.2).point(_sharp(128, 5))
        eosin, blue = ImageChops.multiply(eosin, edge), ImageChops.multiply(blue, edge)
        for material in _MATERIALS:
            if rings := scene.outlines.get(place, {}).get(material):
                mask = Image.new("L", (2 * side, 2 * side))
                draw = ImageDraw.Draw(mask)
                for ring in rings:
                    draw.polygon(ring, fill=255)
                self._fill(eosin, blue, mask.reduce(2), material)
        low, high = MARGIN_PX // 2, side - MARGIN_PX // 2
        eosin, blue = (
            it.resize((BLOCK_PX,) * 2, Image.Resampling.BILINEAR, (low, low, high, high))
            for it in (eosin, blue)
        )
        blue = Image.fromarray(self._stamped(np.asarray(blue), place))
        eosin.putpalette(self._eosin)
        blue.putpalette(self._blue)
        return ImageChops.multiply(eosin.convert("RGB"), blue.convert("RGB"))

    def _stamped(self, blue: Stain, place: tuple[int, int]) -> Stain:
        """Stamp a block's nuclei; those across its edge go on in the next."""
        nuclei = self._scene.nuclei.get(place)
        if nuclei is None:
            return blue
        rim = max(map(len, self._scene.stamps))
        wide = np.pad(blue, rim)
        for x, y, number in np.add(nuclei, (rim, rim, 0)).tolist():
            stamp = self._scene.stamps[number]
            under = wide[y : y + len(stamp), x : x + len(stamp)]
            np.maximum(under, stamp, out=under)
        return np.ascontiguousarray(wide[rim:-rim, rim:-rim])

    def _fill(
        self, eosin: Image.Image, blue: Image.Image, mask: Image.Image, material: str
    ) -> None:
        for stain, fill in zip((eosin, blue), self._fills[material], strict=True):
            stain.paste(fill, (0, 0), mask)

    def _bent_fibres(self, place: tuple[int, int], side: int) -> Image.Image:
        """Cut a block out of the endless texture of fibres, bent as the plan says."""
        step = QUAD_PX // 2
        count = -(-side // step)
        column, row = (part * (BLOCK_PX // QUAD_PX) for part in place)
        corners = (slice(row, row + count + 1), slice(column, column + count + 1))
        x, y = self._scene.along[corners], self._scene.across[corners]
        x = x - x.min() // _TEXTURE_PX[0] * _TEXTURE_PX[0]
        y = y - y.min() // _TEXTURE_PX[1] * _TEXTURE_PX[1]
        ring = ((0, 0), (1, 0), (1, 1), (0, 1))
        mesh = [
            (
                (j * step, i * step, (j + 1) * step, (i + 1) * step),
                tuple(float(part[i + di, j + dj]) for di, dj in ring for part in (x, y)),
            )
            for i in range(count)
            for j in range(count)
        ]
        return self._fibres.transform(
            (side, side), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR
        )


def _map_of_grain(stain: float, grain: Field) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(stain * (1 + 0.13 * grain)), 0, 255).astype(np.uint8))


def _sharp(middle: float, width: float) -> list[int]:
    """Return a table that makes a soft edge a sharp one."""
    return [round(255 * min(1, max(0, (it - middle) / width + 0.5))) for it in range(256)]
