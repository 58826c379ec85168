"""What the readers of region files find, before any geometry is checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from idc_desktop.regions.shape import Point, Rgb, Roi


@dataclass(frozen=True)
class Found:
    """An entry of a file, not yet checked.

    Attributes
    ----------
    what : str
        Such as ``Feature 3``, for messages.
    line : callable
        Says at which line it begins.
    polygons : callable
        Returns the rings of each polygon, or fails if they are none.
    """

    what: str
    line: Callable[[], int]
    polygons: Callable[[], Sequence[Sequence[Any]]]
    name: str
    classification: str = ""
    color: Rgb | None = None
    id: str | None = None
    roi: Roi = "Polygon"
    is_locked: bool = False


@dataclass(frozen=True)
class FoundFile:
    """The entries of a file; where its (0, 0) lies if it says so; what should be known of it."""

    entries: list[Found]
    origin_l0: Point | None = None
    notes: tuple[str, ...] = ()
