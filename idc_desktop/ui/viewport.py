"""Where a view looks: a value, and the geometry that follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from PySide6.QtCore import QPointF, QRectF, QSizeF
from PySide6.QtGui import QTransform

_FITTED = 0.98  # of the view that a fitted slide takes


@dataclass(frozen=True)
class Viewport:
    """The part of a slide that a view shows.

    Attributes
    ----------
    x_l0, y_l0 : float
        The level-0 point in the middle of the view.
    scale : float
        Screen pixels (device-independent) per level-0 pixel.
    angle_deg : float
        Clockwise turn around the middle.
    mirrored : bool
        Whether the slide is seen from behind (left and right exchanged, before it is turned).
    is_fitted : bool
        Whether it is to show the whole slide, whatever the size of the view.
    """

    x_l0: float = 0.0
    y_l0: float = 0.0
    scale: float = 1.0
    angle_deg: float = 0.0
    mirrored: bool = False
    is_fitted: bool = False

    @classmethod
    def from_dict(cls, values: object) -> Viewport | None:
        """Take over stored values; None where they make no sense, or do not say where it looks.

        What another version of the program stored beside them is left out; what that one did not
        know yet is as it is at first.
        """
        if not isinstance(values, dict) or not values.keys() >= {"x_l0", "y_l0", "scale"}:
            return None
        known = {it.name for it in fields(cls)}
        found = cls(**{name: value for name, value in values.items() if name in known})
        flags = (found.mirrored, found.is_fitted)
        numbers = (found.x_l0, found.y_l0, found.scale, found.angle_deg)
        is_sound = all(isinstance(it, bool) for it in flags) and all(
            isinstance(it, int | float) and math.isfinite(it) for it in numbers
        )
        return found if is_sound and found.scale > 0 else None

    def fitted(self, extent_l0: QRectF, size: QSizeF) -> Viewport:
        """Return the viewport that shows a whole rectangle, turned as this one is."""
        centre = extent_l0.center()
        turn = QTransform().rotate(self.angle_deg)
        across = turn.mapRect(QRectF(0, 0, extent_l0.width(), extent_l0.height()))
        scale = min(size.width() / across.width(), size.height() / across.height())
        return replace(
            self, x_l0=centre.x(), y_l0=centre.y(), scale=scale * _FITTED, is_fitted=True
        )

    def centred(self, point_l0: QPointF) -> Viewport:
        """Return the viewport with another point in the middle."""
        return replace(self, x_l0=point_l0.x(), y_l0=point_l0.y(), is_fitted=False)

    def zoomed(self, scale: float, at: QPointF, size: QSizeF) -> Viewport:
        """Return the viewport at another scale; what lies under the widget point `at` stays."""
        fixed = self.to_l0(at, size)
        zoomed = replace(self, scale=scale, is_fitted=False)
        moved = fixed - zoomed.to_l0(at, size)
        return replace(zoomed, x_l0=self.x_l0 + moved.x(), y_l0=self.y_l0 + moved.y())

    def turned(self, degrees: float) -> Viewport:
        """Return the viewport turned further clockwise."""
        return replace(self, angle_deg=(self.angle_deg + degrees) % 360)

    def flipped_across(self) -> Viewport:
        """Return the viewport with left and right of the screen exchanged."""
        return replace(self, angle_deg=-self.angle_deg % 360, mirrored=not self.mirrored)

    def flipped_down(self) -> Viewport:
        """Return the viewport with top and bottom of the screen exchanged."""
        return self.flipped_across().turned(180)

    @property
    def is_upright(self) -> bool:
        """Whether the slide is neither turned nor mirrored."""
        return self.angle_deg == 0 and not self.mirrored

    def um_across(self, mpp_xy: tuple[float, float]) -> float:
        """Return how many µm of the slide one pixel across the view is, also where it is turned.

        Parameters
        ----------
        mpp_xy : (x, y)
            Level-0 resolution, µm per pixel: pixels need not be square.
        """
        turn = math.radians(self.angle_deg)
        return math.hypot(math.cos(turn) * mpp_xy[0], math.sin(turn) * mpp_xy[1]) / self.scale

    def transform(self, size: QSizeF) -> QTransform:
        """Return the transform from level-0 pixels to the pixels of a widget."""
        transform = QTransform()
        transform.translate(size.width() / 2, size.height() / 2)
        transform.rotate(self.angle_deg)
        transform.scale(-self.scale if self.mirrored else self.scale, self.scale)
        transform.translate(-self.x_l0, -self.y_l0)
        return transform

    def to_l0(self, position: QPointF, size: QSizeF) -> QPointF:
        """Return the level-0 point under a widget position."""
        inverse, _ = self.transform(size).inverted()
        return inverse.map(position)
