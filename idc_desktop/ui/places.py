"""Places of a slide that are worth coming back to: named looks at it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoCommand, QUndoStack

from idc_desktop.ui.camera import Camera
from idc_desktop.ui.viewport import Viewport

_MOST = 1_000
_MOST_LETTERS = 200
_NUMBERED = re.compile("Place ([0-9]{1,9})")


@dataclass(frozen=True)
class Place:
    """A look at the slide, with its magnification and turn.

    Attributes
    ----------
    name : str
    viewport : Viewport
    """

    name: str
    viewport: Viewport


class Places(QObject):
    """The places of the open slide, in the order in which they were kept.

    Parameters
    ----------
    history : QUndoStack
        Gets every change as a step.
    camera : Camera
        Goes there.

    Attributes
    ----------
    all : tuple of Place
    current : int or None
        Number of the place that was gone to last.
    """

    changed = Signal()

    def __init__(self, history: QUndoStack, camera: Camera, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._history = history
        self._camera = camera
        self.all: tuple[Place, ...] = ()
        self.current: int | None = None

    def add(self) -> None:
        """Keep where the camera looks."""
        numbers = [int(it[1]) for place in self.all if (it := _NUMBERED.fullmatch(place.name))]
        place = Place(f"Place {max(numbers, default=0) + 1}", self._camera.viewport)
        if len(self.all) < _MOST:
            self.current = len(self.all)
            self._push("Keep a place", (*self.all, place))

    def rename(self, number: int, name: str) -> None:
        """Give a place another name; an empty one changes nothing."""
        name = name.strip()[:_MOST_LETTERS]
        if name and name != self.all[number].name:
            renamed = replace(self.all[number], name=name)
            self._push("Rename a place", (*self.all[:number], renamed, *self.all[number + 1 :]))

    def remove(self, number: int) -> None:
        """Forget a place."""
        self._push("Forget a place", (*self.all[:number], *self.all[number + 1 :]))

    def go_to(self, number: int) -> None:
        """Look at a place."""
        self.current = number
        self._camera.viewport = self.all[number].viewport
        self.changed.emit()

    def step(self, by: int) -> None:
        """Look at the next place, or the one before."""
        if self.all:
            at = -1 if self.current is None and by > 0 else self.current or 0
            self.go_to((at + by) % len(self.all))

    def kept(self) -> list[dict[str, Any]]:
        """Return what is to be stored."""
        return [{"name": it.name, "viewport": asdict(it.viewport)} for it in self.all]

    def take(self, kept: object) -> None:
        """Take what was stored with another slide; what makes no sense is left out."""
        self.all, self.current = tuple(_read(kept)), None
        self.changed.emit()

    def take_late(self, kept: object) -> None:
        """Take what was stored, before what was added meanwhile."""
        late = tuple(it for it in _read(kept) if it not in self.all)
        if late:
            self._push("Find kept places", (*late, *self.all))

    def _push(self, text: str, after: tuple[Place, ...]) -> None:
        self._history.push(_Step(text, self.all, after, self._set))

    def _set(self, places: tuple[Place, ...]) -> None:
        self.all = places
        if self.current is not None and self.current >= len(places):
            self.current = None
        self.changed.emit()


class _Step(QUndoCommand):
    """The places before and after a change."""

    def __init__(
        self,
        text: str,
        before: tuple[Place, ...],
        after: tuple[Place, ...],
        show: Callable[[tuple[Place, ...]], None],
    ) -> None:
        super().__init__(text)
        self._before, self._after, self._show = before, after, show

    def undo(self) -> None:
        self._show(self._before)

    def redo(self) -> None:
        self._show(self._after)


def _read(kept: object) -> list[Place]:
    found = []
    for it in kept if isinstance(kept, list) else ():
        if isinstance(it, dict) and isinstance(it.get("name"), str):
            viewport = Viewport.from_dict(it.get("viewport"))
            if viewport is not None and it["name"]:
                found.append(Place(it["name"][:_MOST_LETTERS], viewport))
    return found[:_MOST]
