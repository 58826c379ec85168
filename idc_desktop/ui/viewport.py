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
        """Take over stored values; None where they make no sense."""
        if not isinstance(values, dict) or values.keys() != {it.name for it in fields(cls)}:
            return None
        flags = (values["mirrored"], values["is_fitted"])
        numbers = [values[name] for name in ("x_l0", "y_l0", "scale", "angle_deg")]
        is_sound = all(isinstance(it, bool) for it in flags) and all(
            isinstance(it, int | float) and math.isfinite(it) for it in numbers
        )
        return cls(**values) if is_sound and values["scale"] > 0 else None

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
