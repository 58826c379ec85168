"""What is known of a slide without its pixels: said by who opened it, read by everyone else."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from idc_desktop.wire import Message

_PSEUDONYM_DIGITS = 12


@dataclass(frozen=True)
class LevelDescription:
    """A level of the pyramid: size in its own pixels, and their size in level-0 pixels and µm."""

    width: int
    height: int
    downsample: float
    mpp_x: float | None
    mpp_y: float | None


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
    warnings : tuple of str
        What a user should know before trusting a result.
    """

    file: str
    vendor: str
    width_l0: int
    height_l0: int
    levels: tuple[LevelDescription, ...]
    mpp_x: float | None
    mpp_y: float | None
    mpp_source: str | None
    objective_power: float | None
    bounds: tuple[int, int, int, int] | None
    identity: str
    warnings: tuple[str, ...]

    @classmethod
    def from_message(cls, message: Message) -> SlideDescription:
        """Read the ``slide`` message of an engine or a decoder."""
        values = {it.name: message[it.name] for it in fields(cls)}
        values["levels"] = tuple(LevelDescription(**it) for it in message["levels"])
        values["bounds"] = tuple(message["bounds"]) if message["bounds"] else None
        values["warnings"] = tuple(message["warnings"])
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

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
    def pseudonym(self) -> str:
        """What stands for the file's name where that is to be left out."""
        return self.identity[:_PSEUDONYM_DIGITS]


def results_name(slide: Path) -> str:
    """Return what a slide's results go by: its file's name without the suffix, or its folder's."""
    return slide.name if slide.is_dir() else slide.stem
