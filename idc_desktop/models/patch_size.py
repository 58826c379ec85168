"""What a model sees at once: how many pixels of which resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from idc_desktop.typed_json import Within

SIDE_RANGE_PX = (32, 512)
SPACING_RANGE_UM_PX = (0.25, 16.0)
EDGE_RANGE_UM = (100.0, 1000.0)
"""What a side of a patch may be on the slide."""


@dataclass(frozen=True)
class PatchSize:
    """The square that is one patch.

    Attributes
    ----------
    side_px : int
    spacing_um_px : float
        Side of one of its pixels on the slide, µm.

    Raises
    ------
    ValueError
        Its edge on the slide is too short or too long.
    """

    side_px: Annotated[int, Within(*SIDE_RANGE_PX)]
    spacing_um_px: Annotated[float, Within(*SPACING_RANGE_UM_PX)]

    def __post_init__(self) -> None:
        low, high = EDGE_RANGE_UM
        if not low <= self.edge_um <= high:
            raise ValueError(
                f"a patch of {self.side_px} px at {self.spacing_um_px:g} µm/px has an edge of "
                f"{self.edge_um:g} µm, which is not within {low:g} to {high:g} µm"
            )

    @property
    def edge_um(self) -> float:
        """Its side on the slide, µm."""
        return self.side_px * self.spacing_um_px
