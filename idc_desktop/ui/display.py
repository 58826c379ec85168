"""How the map of a slide is shown: a value that can be kept, undone and brought back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from PySide6.QtGui import QUndoCommand

from idc_desktop.maps.colormap import DEFAULT, NAMES
from idc_desktop.maps.layers import KINDS, PATCH
from idc_desktop.ui.numbers import UM_AT_1X
from idc_desktop.ui.tone import Tone

EXTENTS = {
    "all": "Every patch",
    "positive": "At or above the threshold",
    "outline": "Outline only",
}
"""What can be painted of a map, the most first, and how it is called."""

FADES = (0.0, 10.0, 20.0, 40.0)
"""The magnifications at which the map may have faded away; 0 is none."""

_FADES_OVER = 4.0  # from a quarter of that magnification on
_ONE_GESTURE_S = 1.0
_LABELS = {
    "layer": "Show another layer",
    "thresholds": "Change threshold",
    "common": "Change the threshold of all slides",
    "colormap": "Change colours",
    "opacity": "Change opacity",
    "visible": "Show or hide the map",
    "smooth": "Smooth the map",
    "outlined": "Outline the map",
    "extent": "Paint more or less of the map",
    "fades_at": "Change where the map fades",
    "regions": "Show or hide the regions",
    "legend": "Show or hide the legend",
    "mask": "Show or hide the tissue mask",
    "shielded": "Leave out or count artefacts",
    "brightness": "Change brightness",
    "contrast": "Change contrast",
    "gamma": "Change gamma",
}


@dataclass(frozen=True)
class Display:
    """What the user chose about the map.

    Attributes
    ----------
    thresholds : mapping of str to float
        By model and map (`threshold_key`): a patch is IDC if its probability is at least this. A
        map that is not in it is shown at its model's own threshold.
    common : mapping of str to float, or None
        Thresholds of all slides, in the place of those of each; None if each has its own.
    colormap : str
        A name of `colormap.NAMES`.
    opacity : float
        Of the most probable patches, 0 to 1.
    visible, smooth, outlined : bool
        Whether the map is painted, interpolated between patches, and with the outline of what is
        at or above the threshold.
    extent : str
        One of `EXTENTS`.
    fades_at : float
        One of `FADES`: enlarged so many times, the slide is seen without the colours of the map.
        The outline stays.
    regions : bool
        Whether regions are painted.
    legend : bool
        Whether its colours are explained in a corner of the view.
    mask : bool
        Whether the tissue mask is shown.
    shielded : bool
        Whether patches that the shield found something on are left out of the map and all figures.
    layer : str or None
        Name of the layer that is shown; None, and of a map that does not have it, is the best.
    brightness, contrast, gamma : float
        How the slide itself is shown, as `ui.tone` means them. Nothing but the view heeds them.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    colormap: str = DEFAULT
    opacity: float = 0.5
    visible: bool = True
    smooth: bool = False
    outlined: bool = True
    extent: str = "all"
    fades_at: float = 40.0
    regions: bool = True
    brightness: float = 0.0
    contrast: float = 1.0
    gamma: float = 1.0
    legend: bool = True
    mask: bool = False
    shielded: bool = True
    layer: str | None = None
    common: Mapping[str, float] | None = None

    @classmethod
    def from_dict(cls, values: object) -> Display | None:
        """Take over stored values, all others as they are at first; None if one makes no sense.

        What another version of the program stored beside them is left out.
        """
        if not isinstance(values, dict):
            return None
        known = {it.name for it in fields(cls)}
        found = cls(**{name: value for name, value in values.items() if name in known})
        common = {} if found.common is None else found.common
        if not isinstance(found.thresholds, dict) or not isinstance(common, dict):
            return None
        numbers = (found.opacity, *found.thresholds.values(), *common.values())
        flags = (
            *(found.visible, found.smooth, found.outlined, found.legend, found.regions),
            *(found.shielded, found.mask),
        )
        is_sound = (
            found.colormap in NAMES
            and (found.layer is None or found.layer in KINDS)
            and found.extent in EXTENTS
            and found.fades_at in FADES
            and all(isinstance(it, int | float) and 0 <= it <= 1 for it in numbers)
            and all(isinstance(it, bool) for it in flags)
            and Tone.is_sound(found.brightness, found.contrast, found.gamma)
        )
        return found if is_sound else None

    @property
    def tone(self) -> Tone:
        """How light and dark of the slide are shown."""
        return Tone(self.brightness, self.contrast, self.gamma)

    @property
    def has_outline(self) -> bool:
        """Whether what is at or above the threshold is outlined."""
        return self.outlined or self.extent == "outline"

    def opacity_at(self, um_per_px: float | None) -> float:
        """Return the opacity where a pixel of the screen is so many µm (None: unknown) wide."""
        if not self.fades_at or um_per_px is None:
            return self.opacity
        left = math.log(self.fades_at * um_per_px / UM_AT_1X) / math.log(_FADES_OVER)
        return self.opacity * min(max(left, 0.0), 1.0)

    def threshold(self, key: str, own: float) -> float:
        """Return the threshold of a map (`threshold_key`); `own` is the model's."""
        chosen = self.thresholds if self.common is None else self.common
        return chosen.get(key, own)

    def for_another_slide(self) -> Display:
        """Return how another slide is shown at first: alike, with the figures of the model.

        They are at its own threshold (or that of all slides) and with the shield.
        """
        plain = asdict(Tone())
        return replace(self, thresholds={}, visible=True, regions=True, shielded=True, **plain)


def threshold_key(sha256: str, name: str) -> str:
    """Return under what the threshold of a model's map is kept: the patch map's by the model."""
    return sha256 if name == PATCH else f"{sha256} {name}"


class DisplayStep(QUndoCommand):
    """A change of the display in the history; what a drag does in a row is one step.

    Attributes
    ----------
    after : mapping
        The fields of `Display` that it changes, and their new values.
    at : float
        When it was made, seconds.
    """

    def __init__(
        self,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
        show: Callable[[Mapping[str, Any]], None],
    ) -> None:
        super().__init__(_LABELS[next(iter(after))])
        self._before, self.after = before, after
        self._show = show
        self.at = time.monotonic()

    def id(self) -> int:
        """Return what steps must share to become one."""
        return 1

    def mergeWith(self, other: QUndoCommand) -> bool:
        """Take over a step that follows at once and changes the same."""
        if not isinstance(other, DisplayStep) or other.after.keys() != self.after.keys():
            return False
        if other.at - self.at > _ONE_GESTURE_S:
            return False
        self.after, self.at = other.after, other.at
        self.setObsolete(self.after == self._before)
        return True

    def undo(self) -> None:
        """Show the map as before."""
        self._show(self._before)

    def redo(self) -> None:
        """Show the map as after."""
        self._show(self.after)
