"""What the reader of a file of regions and its parent say to each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Annotated, Self

import numpy as np

from idc_desktop.processes.message import Cancel, Event, JobMessage, Text
from idc_desktop.regions.marks import Mark, MarkKind
from idc_desktop.regions.shape import (
    MAX_COORDINATE,
    MAX_NAME_CHARS,
    MAX_NOTE_CHARS,
    Region,
    Roi,
    Shape,
    Verdict,
)
from idc_desktop.typed_json import Matching, Sized, Within

MAX_POINTS = 4_000_000
"""Corners of all regions of a file, those that repairs added included."""

_POINT_BYTES = 16  # x and y, little-endian float64
MAX_BATCH = 1 << 10
"""Regions, or marks, of one message."""

MAX_MARKS = 100_000
"""Marks of a file."""

RegionName = Annotated[str, Sized(0, MAX_NAME_CHARS)]
Uuid = Annotated[str, Matching("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")]
Coordinate = Annotated[float, Within(-MAX_COORDINATE, MAX_COORDINATE)]
Byte = Annotated[int, Within(0, 255)]
RingPoints = Annotated[int, Within(3, MAX_POINTS)]
PolygonRings = Annotated[tuple[RingPoints, ...], Sized(1, MAX_POINTS)]


@dataclass(frozen=True)
class RegionHead:
    """All of a region but its corners.

    Attributes
    ----------
    rings : tuple of tuples of int
        How many corners each ring of each polygon has.
    """

    name: RegionName
    classification: RegionName
    color: tuple[Byte, Byte, Byte] | None
    id: Uuid
    is_locked: bool
    verdict: Verdict
    note: Annotated[str, Sized(0, MAX_NOTE_CHARS)]
    roi: Roi
    rings: Annotated[tuple[PolygonRings, ...], Sized(1, MAX_POINTS)]


@dataclass(frozen=True)
class RegionsFound(Event):
    """Some regions of the file; their corners follow, ring by ring."""

    NAME = "regions"

    heads: Annotated[tuple[RegionHead, ...], Sized(1, MAX_BATCH)]

    def __post_init__(self) -> None:
        if self.points > MAX_POINTS:
            raise ValueError(f"{self.points:,} corners are too many")

    @classmethod
    def of(cls, regions: Sequence[Region]) -> Self:
        """Return the message that tells some regions."""
        heads = tuple(
            RegionHead(
                it.name,
                it.classification,
                it.color,
                it.id,
                it.is_locked,
                it.verdict,
                it.note,
                it.shape.roi,
                tuple(tuple(map(len, polygon)) for polygon in it.shape.polygons),
            )
            for it in regions
        )
        rings = [ring.astype("<f8", copy=False) for it in regions for ring in it.shape.rings]
        return cls(heads, payload=b"".join(map(np.ndarray.tobytes, rings)))

    @property
    def points(self) -> int:
        """Number of corners."""
        return sum(sum(map(sum, head.rings)) for head in self.heads)

    @property
    def payload_bytes(self) -> int:
        """How many raw bytes belong to it."""
        return self.points * _POINT_BYTES

    def regions(self) -> Iterator[Region]:
        """Yield the regions; `ValueError` where a corner is none."""
        points = np.frombuffer(self.payload, "<f8").reshape(-1, 2)
        if not np.all(np.abs(points) <= MAX_COORDINATE):
            raise ValueError("a corner is not finite, or far beyond any slide")
        at = 0
        for head in self.heads:
            polygons = []
            for sizes in head.rings:
                ends = [*accumulate(sizes, initial=at)]
                polygons.append(tuple(points[i:j] for i, j in pairwise(ends)))
                at = ends[-1]
            yield Region(
                head.name,
                Shape(tuple(polygons), head.roi),
                head.classification,
                head.color,
                head.id,
                is_locked=head.is_locked,
                verdict=head.verdict,
                note=head.note,
            )


@dataclass(frozen=True)
class MarkFound:
    """A measurement or mark of the file."""

    kind: MarkKind
    points: Annotated[tuple[tuple[Coordinate, Coordinate], ...], Sized(1, 3)]
    name: RegionName
    id: Uuid

    def __post_init__(self) -> None:
        self.mark()

    def mark(self) -> Mark:
        """Return it; `ValueError` where its kind has another number of points."""
        return Mark(self.kind, self.points, self.name, self.id)


@dataclass(frozen=True)
class MarksFound(Event):
    """Some measurements and marks of the file."""

    NAME = "marks"

    marks: Annotated[tuple[MarkFound, ...], Sized(1, MAX_BATCH)]

    @classmethod
    def of(cls, marks: Sequence[Mark]) -> Self:
        """Return the message that tells some."""
        return cls(tuple(MarkFound(it.kind, it.points, it.name, it.id) for it in marks))


@dataclass(frozen=True)
class CheckingArea(Event):
    """A sign of life: which entry of the file is being checked; nothing before the first."""

    NAME = "checking"

    what: Text


@dataclass(frozen=True)
class RegionsDone(Event):
    """The file is read: what should be known of it, and where it counts from (`ReadRegions`)."""

    NAME = "regions done"

    notes: tuple[Text, ...]
    states_origin: bool
    in_nm_of_glass: bool = False


@dataclass(frozen=True)
class ReadRegionsJob(JobMessage):
    """Read a file of regions, given by its absolute path."""

    NAME = "read regions"
    ANSWERS = (CheckingArea, RegionsFound, MarksFound, RegionsDone)
    COMMANDS = (Cancel,)

    path: str
