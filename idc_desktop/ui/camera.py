"""Where a view looks, as a model of its own: panels and keys move it, the view follows."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QObject, QPointF, QRectF, QSizeF, Signal
from PySide6.QtGui import QTransform

from idc_desktop.ui.viewport import Viewport

_LARGEST_SCALE = 8.0  # screen px per level-0 pixel
_SMALLEST_PART = 0.5  # of the scale at which the slide fits
_FIRST_SIZE = QSizeF(640, 480)  # a widget's until it is shown


class Camera(QObject):
    """Looks at a slide through a viewport of the size of a view.

    Attributes
    ----------
    size : QSizeF
        Of the view, device-independent pixels.
    pixel_ratio : float
        Pixels of the screen per device-independent pixel.
    """

    moved = Signal()
    """It looks elsewhere, or the view has another size."""
    aimed = Signal()
    """It is about to look at another slide."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.size = _FIRST_SIZE
        self.pixel_ratio = 1.0
        self._viewport = Viewport()
        self._extent_l0: QRectF | None = None
        self._mpp_xy: tuple[float, float] | None = None

    @property
    def viewport(self) -> Viewport:
        """Where it looks, as a value."""
        return self._viewport

    @viewport.setter
    def viewport(self, value: Viewport) -> None:
        if value.is_fitted and self._extent_l0 is not None:
            value = value.fitted(self._extent_l0, self.size)
        if value != self._viewport:
            self._viewport = value
            self.moved.emit()

    def aim(
        self,
        extent_l0: QRectF,
        mpp_xy: tuple[float, float] | None,
        viewport: Viewport | None = None,
    ) -> None:
        """Look at another slide.

        Parameters
        ----------
        extent_l0 : QRectF
            What the whole slide is.
        mpp_xy : (x, y) or None
            Level-0 resolution, µm per pixel, if it is known.
        viewport : Viewport or None
            Where to look first; without one, at the whole slide.
        """
        self.aimed.emit()
        self._extent_l0, self._mpp_xy = extent_l0, mpp_xy
        self.viewport = viewport or Viewport(is_fitted=True)

    def resize(self, size: QSizeF, pixel_ratio: float) -> None:
        """Take the size of the view; a fitted slide stays fitted."""
        self.size, self.pixel_ratio = size, pixel_ratio
        if self._extent_l0 is not None and self._viewport.is_fitted:
            self._viewport = self._viewport.fitted(self._extent_l0, size)
        self.moved.emit()

    @property
    def mpp_xy(self) -> tuple[float, float] | None:
        """Level-0 resolution of the slide, µm per pixel, if it is known."""
        return self._mpp_xy

    @property
    def scale(self) -> float:
        """Device-independent pixels per level-0 pixel."""
        return self._viewport.scale

    @property
    def screen_scale(self) -> float:
        """Pixels of the screen per level-0 pixel."""
        return self._viewport.scale * self.pixel_ratio

    @property
    def centre(self) -> QPointF:
        """The level-0 point in the middle of the view."""
        return QPointF(self._viewport.x_l0, self._viewport.y_l0)

    @property
    def is_at_limit(self) -> bool:
        """Whether the slide is shown as large as it gets."""
        return self.scale >= _LARGEST_SCALE

    @property
    def um_per_px(self) -> float | None:
        """Micrometres per pixel of the screen, along its width, if the resolution is known."""
        mpp = self._mpp_xy
        return mpp and self._viewport.um_across(mpp) / self.pixel_ratio

    @property
    def seen_l0(self) -> QRectF:
        """The level-0 rectangle around what is seen."""
        inverse, _ = self.to_device().inverted()
        return inverse.mapRect(QRectF(QPointF(), self.size))

    def to_device(self) -> QTransform:
        """Return the transform from level-0 pixels to those of the view."""
        return self._viewport.transform(self.size)

    def to_l0(self, position: QPointF) -> QPointF:
        """Return the level-0 point under a position in the view."""
        return self._viewport.to_l0(position, self.size)

    def fit(self) -> None:
        """Show the whole slide."""
        self.viewport = replace(self._viewport, is_fitted=True)

    def set_scale(self, scale: float, at: QPointF | None = None) -> None:
        """Zoom, keeping the level-0 point under the position `at` of the view (else the centre)."""
        if self._extent_l0 is None:
            return
        smallest = self._viewport.fitted(self._extent_l0, self.size).scale * _SMALLEST_PART
        scale = min(max(scale, min(smallest, 1.0)), _LARGEST_SCALE)
        at = QPointF(self.size.width() / 2, self.size.height() / 2) if at is None else at
        self.viewport = self._viewport.zoomed(scale, at, self.size)

    def show_area(self, area_l0: QRectF) -> None:
        """Bring a part of the slide into sight, with what is around it."""
        margin = max(area_l0.width(), area_l0.height()) / 2
        around = area_l0.adjusted(-margin, -margin, margin, margin)
        fitted = self._viewport.fitted(around, self.size)
        scale = min(fitted.scale, 1 / self.pixel_ratio)
        self.viewport = replace(fitted, scale=scale, is_fitted=False)

    def show_pixels(self) -> None:
        """Show each level-0 pixel as one pixel of the screen."""
        self.set_scale(1 / self.pixel_ratio)

    def show_um_per_px(self, um_per_px: float) -> None:
        """Zoom to a resolution, micrometres per pixel of the screen."""
        if self.um_per_px is not None:
            self.set_scale(self.scale * self.um_per_px / um_per_px)

    def centre_on(self, point_l0: QPointF) -> None:
        """Bring a point to the centre."""
        self.viewport = self._viewport.centred(point_l0)

    def rotate(self, degrees: float) -> None:
        """Turn clockwise around the centre."""
        self.viewport = self._viewport.turned(degrees)

    def flip_across(self) -> None:
        """Exchange left and right."""
        self.viewport = self._viewport.flipped_across()

    def flip_down(self) -> None:
        """Exchange top and bottom."""
        self.viewport = self._viewport.flipped_down()

    def set_upright(self) -> None:
        """Undo every turn and flip."""
        self.viewport = replace(self._viewport, angle_deg=0.0, mirrored=False)
