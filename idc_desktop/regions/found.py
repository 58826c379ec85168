"""What the readers of region files find, before any geometry is checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from idc_desktop.regions.marks import MarkKind
from idc_desktop.regions.shape import Point, Rgb, Roi, Verdict

_QUOTED_CHARS = 40


@dataclass(frozen=True)
class Found:
    """An entry of a file, not yet checked.

    Attributes
    ----------
    what : str
        Such as ``Feature 3 (annotation 'Tumor')``, for messages.
    polygons : callable
        Returns the rings of each polygon, or fails if they are none.
    """

    what: str
    polygons: Callable[[], Sequence[Sequence[Any]]]
    name: str
    classification: str = ""
    color: Rgb | None = None
    id: str | None = None
    roi: Roi = "Polygon"
    is_locked: bool = False
    verdict: Verdict = ""
    note: str = ""


@dataclass(frozen=True)
class FoundMark:
    """A measurement or mark of a file of ours, not yet checked.

    Attributes
    ----------
    what : str
        As of `Found`.
    points : list
        As many as its kind has; whatever stands there.
    """

    what: str
    kind: MarkKind
    points: list[Any]
    name: str
    id: str | None = None


@dataclass
class Tally:
    """What many entries of a file have in common: how many they are, and the first of them."""

    count: int = 0
    first: str = ""

    def add(self, what: str) -> None:
        """Count one more; `what` is remembered of the first."""
        self.first = self.first or what
        self.count += 1

    def sentence(self, subject: str, verb: str) -> str:
        """Say it in one sentence, such as ``3 entries were left out, the first: Feature 2 …``."""
        one, many = verb.split("/")
        if self.count == 1:
            return f"1 {subject} {one}: {self.first}."
        plural = f"{subject.removesuffix('y')}ies" if subject.endswith("y") else f"{subject}s"
        return f"{self.count:,} {plural} {many}, the first: {self.first}."


@dataclass(frozen=True)
class FoundFile:
    """The entries of a file that may be areas, its marks, and what should be known of the rest.

    Attributes
    ----------
    entries : list of Found
    marks : list of FoundMark
    origin_l0 : (x, y) or None
        Where its (0, 0) lies, level-0 pixels, if it says so.
    left_out : Tally
        Entries that are no areas: points, lines, things unknown.
    notes : tuple of str
    in_nm_of_glass : bool
        Coordinates are nanometres from the middle of the glass, not pixels.
    """

    entries: list[Found]
    marks: list[FoundMark] = field(default_factory=list)
    origin_l0: Point | None = None
    left_out: Tally = field(default_factory=Tally)
    notes: tuple[str, ...] = ()
    in_nm_of_glass: bool = False


class ElementReader(Protocol):
    """Collects the annotations of one kind of XML file."""

    def start(self, tag: str, attributes: dict[str, str], line: int) -> None:
        """Take an element that begins."""

    def end(self, tag: str, text: str) -> None:
        """Take an element that ends, with the text in it."""

    def file(self) -> FoundFile:
        """Return what was found, once the whole file was read."""


def quoted(text: str) -> str:
    """Quote a text of a file for a message: short, printable and in one line."""
    shown = text if len(text) <= _QUOTED_CHARS else f"{text[:_QUOTED_CHARS]}…"
    return repr(shown)
