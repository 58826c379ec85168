"""What is measured and marked on a slide: lines, angles, points, arrows and texts.

All geometry is in level-0 pixels, points are (x, y).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from idc_desktop.plain_text import counted
from idc_desktop.regions.shape import Point, length_of, new_id

MarkKind = Literal["line", "angle", "point", "arrow", "text"]

POINTS: dict[MarkKind, int] = {"line": 2, "angle": 3, "point": 1, "arrow": 2, "text": 1}
"""How many points each kind has: of an angle the second is its corner, of an arrow the tip."""

_ROUNDING_PX = 1e-6


@dataclass(frozen=True)
class Mark:
    """A named measurement or mark.

    Attributes
    ----------
    kind : {"line", "angle", "point", "arrow", "text"}
    points : tuple of (x, y)
        As many as `POINTS` says; else `ValueError`.
    name : str
        Of a text, what it says.
    id : str
        UUID, kept through all edits.
    """

    kind: MarkKind
    points: tuple[Point, ...]
    name: str
    id: str = field(default_factory=new_id)

    def __post_init__(self) -> None:
        if len(self.points) != POINTS.get(self.kind):
            raise ValueError(f"no {self.kind} of {counted(len(self.points), 'point')}")

    def length(self, scale: Point) -> float | None:
        """Return how long a line is; None for all else. `scale` is the size of a pixel (x, y)."""
        return length_of(self.points, scale) if self.kind == "line" else None

    def angle_deg(self, scale: Point) -> float | None:
        """Return an angle, 0 to 180°; None for all else, and where a leg has no length."""
        if self.kind != "angle":
            return None
        (x1, y1), (x, y), (x2, y2) = ((px * scale[0], py * scale[1]) for px, py in self.points)
        one, two = (x1 - x, y1 - y), (x2 - x, y2 - y)
        if not (any(one) and any(two)):
            return None
        across, along = one[0] * two[1] - one[1] * two[0], one[0] * two[0] + one[1] * two[1]
        return math.degrees(math.atan2(abs(across), along))

    def agrees_with(self, other: Mark | None) -> bool:
        """Whether a file that has one of them says nothing new of the other."""
        return (
            other is not None
            and (self.kind, self.name, self.id) == (other.kind, other.name, other.id)
            and all(
                abs(mine - its) <= _ROUNDING_PX
                for one, two in zip(self.points, other.points, strict=True)
                for mine, its in zip(one, two, strict=True)
            )
        )

    def moved(self, dx: float, dy: float) -> Self:
        """Return it elsewhere."""
        return replace(self, points=tuple((x + dx, y + dy) for x, y in self.points))
