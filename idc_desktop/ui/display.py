"""How the map of a slide is shown: a value that can be kept, undone and brought back."""

from __future__ import annotations

from dataclasses import dataclass

from idc_desktop.colormap import DEFAULT


@dataclass(frozen=True)
class Display:
    """What the user chose about the map.

    Attributes
    ----------
    threshold : float or None
        A patch is IDC if its probability is at least this; None: the model's own threshold.
    colormap : str
        A name of `colormap.NAMES`.
    opacity : float
        Of the most probable patches, 0 to 1.
    visible, smooth, outlined : bool
        Whether the map is painted, interpolated between patches, and with the outline of what is
        at or above the threshold.
    """

    threshold: float | None = None
    colormap: str = DEFAULT
    opacity: float = 0.5
    visible: bool = True
    smooth: bool = False
    outlined: bool = True
