"""What the window and its decoder say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from idc_desktop.models.patch_size import PatchSize
from idc_desktop.processes.message import (
    Cell,
    Command,
    Count,
    Event,
    JobMessage,
    SlideOpened,
    Started,
    Text,
)
from idc_desktop.typed_json import AnyNumber, Within

TILE_PX = 256
"""Side of the tiles that the decoder sends to the window."""

MAX_PICTURE_PX = 64 << 20
"""Pixels of the largest picture that the decoder sends: a label or macro image."""

PictureSide = Annotated[int, Within(1, MAX_PICTURE_PX)]


@dataclass(frozen=True)
class Reading(Event):
    """A sign of life between the parts of a request that takes long."""

    NAME = "reading"

    request: Count
    parts_left: Annotated[int, Within(1, TILE_PX * TILE_PX)]


@dataclass(frozen=True)
class Pixels(Event):
    """The picture that was asked for: 32-bit pixels as Qt has them, B, G, R, 255."""

    NAME = "pixels"

    request: Count
    width: PictureSide
    height: PictureSide

    def __post_init__(self) -> None:
        if self.width * self.height > MAX_PICTURE_PX:
            raise ValueError(f"{self.width} x {self.height} pixels are too many")

    @property
    def payload_bytes(self) -> int:
        """How many raw bytes belong to it."""
        return self.width * self.height * 4


@dataclass(frozen=True)
class Unreadable(Event):
    """What was asked for cannot be read."""

    NAME = "failed"

    request: Count
    message: Text


@dataclass(frozen=True)
class ReadTile(Command):
    """Asks for a tile; at zoom z a pixel of it covers 2^z level-0 pixels."""

    NAME = "tile"

    request: Count
    zoom: Annotated[int, Within(0, 64)]
    col: Count
    row: Count


@dataclass(frozen=True)
class ReadPatch(Command):
    """Asks for the pixels that a model sees of a grid cell and of its eight neighbours."""

    NAME = "patch"

    request: Count
    patch: PatchSize
    row: Cell
    col: Cell


@dataclass(frozen=True)
class ReadAssociated(Command):
    """Asks for a picture that came with the scan.

    They are read only when asked for, since they may show a patient's name.
    """

    NAME = "associated"

    request: Count
    name: str


@dataclass(frozen=True)
class ViewJob(JobMessage):
    """Open a slide and read what is asked for, until the parent closes the pipe."""

    NAME = "view"
    ANSWERS = (SlideOpened, Started, Reading, Pixels, Unreadable)
    COMMANDS = (ReadTile, ReadPatch, ReadAssociated)

    slide: str
    mpp: AnyNumber | None
    data_folder: str
