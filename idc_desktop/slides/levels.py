"""The levels of a slide's pyramid, and which of them a picture of the whole is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from idc_desktop.slides.description import MAX_SIDE_PX

UNREADABLE_GREY = 160
"""Stands in pictures where pixels cannot be decoded."""


@dataclass(frozen=True)
class Level:
    """One level of the pyramid; `number` is what OpenSlide calls it."""

    number: int
    width: int
    height: int
    downsample: float

    @property
    def has_possible_size(self) -> bool:
        """Whether a slide, or a reduction of one, can have this size."""
        return min(self.width, self.height) >= 1 and max(self.width, self.height) <= MAX_SIDE_PX

    def is_reduction_of(self, base: Level) -> bool:
        """Whether one factor explains both sides, give or take 1 % and 2 pixels."""
        sides = ((base.width, self.width), (base.height, self.height))
        least = max(whole / (1.01 * side + 2) for whole, side in sides)
        most = min(whole / max(0.99 * side - 2, 1e-9) for whole, side in sides)
        return least <= most


@dataclass(frozen=True)
class Overview:
    """A picture of the slide's extent: a part of a level, reduced by a whole number.

    Attributes
    ----------
    x, y : int
        Where it begins, pixels of the level.
    width, height : int
        Size of the picture.
    px_l0 : float
        Side of one of its pixels, level-0 pixels.
    """

    level: int
    factor: int
    x: int
    y: int
    width: int
    height: int
    px_l0: float


def plan_overview(
    levels: Sequence[Level], extent_l0: tuple[int, int, int, int], max_side_px: int
) -> Overview:
    """Plan a picture of an extent (x, y, width, height) of at most `max_side_px` a side.

    The largest level that fits is taken as it is; the next finer one, reduced by a whole number,
    if that shows less than a quarter of what would fit.
    """
    x, y, width, height = extent_l0
    side = max(width, height)
    fitting = [k for k, it in enumerate(levels) if side / it.downsample <= max_side_px]
    level = min(fitting, key=lambda k: levels[k].downsample, default=-1)
    if level < 0 or side / levels[level].downsample < min(side, max_side_px) / 4:
        finer = [k for k in range(len(levels)) if k not in fitting]
        level = max(finer, key=lambda k: levels[k].downsample)
    downsample = levels[level].downsample
    factor = math.ceil(side / downsample / max_side_px)
    return Overview(
        level=level,
        factor=factor,
        x=int(x / downsample),
        y=int(y / downsample),
        width=max(1, int(width / downsample) // factor),
        height=max(1, int(height / downsample) // factor),
        px_l0=downsample * factor,
    )
