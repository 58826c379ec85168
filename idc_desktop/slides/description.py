"""What is known of a slide without its pixels: said by who opened it, read by everyone else."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from idc_desktop.typed_json import Matching, Sized, Within

MAX_SIDE_PX = 1 << 22
"""No slide is larger."""

MPP_RANGE = (0.05, 100.0)
"""µm per pixel beyond which a resolution is taken for nonsense."""

_UM_TIMES_POWER = 10.0  # 0.25 µm at 40x, 0.5 at 20x
_LEAST_POWER, _MOST_POWER = 1.0, 100.0
_DOUBTFUL_FACTOR = 1.8  # scanners of one objective differ by 1.1 at most
_PSEUDONYM_DIGITS = 12

_SidePx = Annotated[int, Within(1, MAX_SIDE_PX)]
_PlacePx = Annotated[int, Within(0, MAX_SIDE_PX)]
_AnywherePx = Annotated[float, Within(-1e9, 1e9)]
_Scale = Annotated[float, Within(1e-3, 2 * MAX_SIDE_PX)]
_Mpp = Annotated[float, Within(*MPP_RANGE)]
_LevelMpp = Annotated[float, Within(MPP_RANGE[0] * 1e-3, MPP_RANGE[1] * 2 * MAX_SIDE_PX)]


@dataclass(frozen=True)
class LevelDescription:
    """A level of the pyramid: size in its own pixels, and their size in level-0 pixels and µm."""

    width: _SidePx
    height: _SidePx
    downsample: _Scale
    mpp_x: _LevelMpp | None
    mpp_y: _LevelMpp | None


@dataclass(frozen=True)
class SlideDescription:
    """What the process that has opened a slide says of it, and ``info --json`` prints.

    Attributes
    ----------
    file : str
        The file's name, without its folder.
    width_l0, height_l0 : int
    levels : tuple of LevelDescription
        Level 0 first.
    mpp_x, mpp_y : float or None
        Level-0 resolution, µm per pixel.
    mpp_source : {"file", "user"} or None
    objective_power : float or None
    bounds : (x, y, width, height) or None
        The part of level 0 that was scanned, where the file says so.
    identity : str
        SHA-256 of what the slide is made of, in hex digits.
    identity_kind : str
        The rule by which it was found.
    warnings : tuple of str
        What a user should know before trusting a result.
    glass_middle_l0 : (x, y) or None
        Where the middle of the glass lies, level-0 pixels, if the file says so (Hamamatsu).
    """

    file: str
    vendor: str
    width_l0: _SidePx
    height_l0: _SidePx
    levels: Annotated[tuple[LevelDescription, ...], Sized(1, 1 << 16)]
    mpp_x: _Mpp | None
    mpp_y: _Mpp | None
    mpp_source: Literal["file", "user"] | None
    objective_power: Annotated[float, Within(0, 1e308)] | None
    bounds: tuple[_PlacePx, _PlacePx, _SidePx, _SidePx] | None
    identity: Annotated[str, Matching("[0-9a-f]{64}")]
    identity_kind: Annotated[str, Matching("[ -~]{1,200}")]
    warnings: tuple[str, ...]
    glass_middle_l0: tuple[_AnywherePx, _AnywherePx] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what ``info --json`` prints of it."""
        said = asdict(self)
        del said["glass_middle_l0"]
        return said

    @property
    def bounds_origin_l0(self) -> tuple[int, int]:
        """Top left of what was scanned, which QuPath counts from: of the bounds, or (0, 0)."""
        return self.bounds[:2] if self.bounds is not None else (0, 0)

    @property
    def mpp_xy(self) -> tuple[float, float] | None:
        """Level-0 resolution, µm per pixel, if known."""
        if self.mpp_x is None or self.mpp_y is None:
            return None
        return self.mpp_x, self.mpp_y

    @property
    def mpp_of_objective(self) -> float | None:
        """What pixels usually measure with the objective that the file names, µm; None: unknown."""
        power = self.objective_power
        is_usual = power is not None and _LEAST_POWER <= power <= _MOST_POWER
        return _UM_TIMES_POWER / power if power is not None and is_usual else None

    @property
    def scale_doubt(self) -> str:
        """Say why the resolution may be wrong; empty without a reason, or where it is unknown."""
        usual, known = self.mpp_of_objective, self.mpp_xy
        if usual is None or known is None:
            return ""
        factor = max(known) / usual
        if 1 / _DOUBTFUL_FACTOR < factor < _DOUBTFUL_FACTOR:
            return ""
        by = "is stated" if self.mpp_source == "file" else "was given"
        return (
            f"Its objective ({self.objective_power:g}x) gives pixels of about {usual:.3g} µm, but "
            f"{known[0]:g} µm/px {by}: one of them is wrong, or the scan was reduced. With a wrong "
            "scale all areas are wrong, by its square."
        )

    @property
    def pseudonym(self) -> str:
        """What stands for the file's name where that is to be left out."""
        return self.identity[:_PSEUDONYM_DIGITS]
