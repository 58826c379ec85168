"""Two cameras that move together: by the same µm, at the same magnification, turned alike."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, QPointF, Signal

from idc_desktop.ui.camera import Camera
from idc_desktop.ui.viewport import Viewport


@dataclass(frozen=True)
class Turn:
    """A turn of the plane, clockwise, after exchanging left and right or not.

    Points are complex numbers, x to the right and y down.
    """

    degrees: float = 0.0
    is_mirrored: bool = False

    @classmethod
    def of(cls, viewport: Viewport) -> Turn:
        """Return how a viewport turns the slide on the screen."""
        return cls(viewport.angle_deg, viewport.mirrored)

    def __call__(self, point: complex) -> complex:
        """Return a point turned around zero."""
        flipped = -point.conjugate() if self.is_mirrored else point
        return cmath.rect(1, math.radians(self.degrees)) * flipped

    def after(self, first: Turn) -> Turn:
        """Return the turn that does another one first, and then this one."""
        turned = -first.degrees if self.is_mirrored else first.degrees
        return Turn((self.degrees + turned) % 360, self.is_mirrored != first.is_mirrored)

    def inverse(self) -> Turn:
        """Return the turn that undoes this one."""
        return self if self.is_mirrored else Turn(-self.degrees % 360)


class CameraLink(QObject):
    """Takes two cameras along with each other.

    What lies in the middle of one and of the other when they are joined belongs together from then
    on, turned against each other as the two were. So two sections are laid side by side as a user
    finds right, and stay so until one of the cameras looks at another slide.
    """

    changed = Signal()
    """The cameras were joined, or set free."""

    def __init__(self, first: Camera, second: Camera, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._cameras = (first, second)
        self._anchors = (0j, 0j)
        self._between = Turn()
        self._known = [first.viewport, second.viewport]
        self.is_joined = False
        for number, camera in enumerate(self._cameras):
            # A method, not a lambda: Qt lets go of it with the link.
            camera.aimed.connect(self.set_free)
            camera.moved.connect((self._on_first_moved, self._on_second_moved)[number])

    @property
    def can_join(self) -> bool:
        """Whether there is a common measure: both slides have a resolution, or neither has."""
        first, second = self._cameras
        return (first.mpp_xy is None) == (second.mpp_xy is None)

    def join(self) -> None:
        """Move the cameras together from now on; the second takes the first's magnification."""
        first, second = self._cameras
        if self.can_join:
            self._anchors = (_middle(first), _middle(second))
            opposite = Turn.of(first.viewport).inverse()
            self._between = opposite.after(Turn.of(second.viewport))
            self.is_joined = True
            self._take_along(0)
            self.changed.emit()

    def set_free(self) -> None:
        """Let each camera move alone."""
        if self.is_joined:
            self.is_joined = False
            self.changed.emit()

    def opposite(self, number: int, point_l0: QPointF) -> QPointF:
        """Return the point of the other slide that belongs to one of the first (0) or second."""
        to = 1 - number
        turn = self._between if to == 0 else self._between.inverse()
        offset = _in_um(point_l0, self._cameras[number]) - self._anchors[number]
        return _in_l0(self._anchors[to] + turn(offset), self._cameras[to])

    def _on_first_moved(self) -> None:
        self._on_moved(0)

    def _on_second_moved(self) -> None:
        self._on_moved(1)

    def _on_moved(self, number: int) -> None:
        # A view of another size looks at the same place: nobody is taken along.
        if self._cameras[number].viewport != self._known[number]:
            self._take_along(number)

    def _take_along(self, number: int) -> None:
        leader, follower = self._cameras[number], self._cameras[1 - number]
        self._known[number] = leader.viewport
        if not self.is_joined:
            return
        between = self._between if number == 0 else self._between.inverse()
        turn = Turn.of(leader.viewport).after(between)
        middle = self.opposite(number, leader.centre)
        alone = Viewport(middle.x(), middle.y(), 1.0, turn.degrees, turn.is_mirrored)
        wanted = leader.viewport.um_across(_measure(leader))
        viewport = replace(alone, scale=alone.um_across(_measure(follower)) / wanted)
        self._known[1 - number] = viewport
        follower.viewport = viewport


def _measure(camera: Camera) -> tuple[float, float]:
    return camera.mpp_xy or (1.0, 1.0)


def _in_um(point_l0: QPointF, camera: Camera) -> complex:
    mpp = _measure(camera)
    return complex(point_l0.x() * mpp[0], point_l0.y() * mpp[1])


def _in_l0(point_um: complex, camera: Camera) -> QPointF:
    mpp = _measure(camera)
    return QPointF(point_um.real / mpp[0], point_um.imag / mpp[1])


def _middle(camera: Camera) -> complex:
    return _in_um(camera.centre, camera)
