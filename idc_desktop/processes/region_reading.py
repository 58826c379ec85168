"""Reads a file of regions in a child process that may take neither much time nor much memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from idc_desktop.closing import Closing
from idc_desktop.errors import GarbledMessageError, RegionsError
from idc_desktop.processes.child import Child, ChildCrashedError
from idc_desktop.processes.memory import MEMORY_VARIABLE
from idc_desktop.processes.region_messages import (
    MAX_MARKS,
    MAX_POINTS,
    CheckingArea,
    MarksFound,
    ReadRegionsJob,
    RegionsDone,
    RegionsFound,
)
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import Point, Region
from idc_desktop.slides.description import SlideDescription

_DEADLINE_S = 60.0  # the child speaks twice a second, but for the seconds that JSON is parsed
_SHARE_OF_MEMORY = 0.5


@dataclass(frozen=True)
class ReadRegions:
    """What was read from a file.

    Attributes
    ----------
    regions : list of Region
    notes : tuple of str
        What was left out, repaired or taken otherwise than it stands in the file.
    states_origin : bool
        The file says where it counts from: the regions are in level-0 pixels.
    in_nm_of_glass : bool
        They are in nanometres from the middle of the glass, as in the files of Hamamatsu's viewer.
    name : str
        Of the file.
    marks : tuple of Mark
        The measurements and marks of a file that we wrote.
    """

    regions: list[Region]
    notes: tuple[str, ...]
    states_origin: bool
    in_nm_of_glass: bool = False
    name: str = ""
    marks: tuple[Mark, ...] = ()

    def placed(self, slide: SlideDescription | None, origin_l0: Point) -> list[Region]:
        """Return the regions in level-0 pixels of a slide.

        Parameters
        ----------
        slide : SlideDescription or None
            None: it is not open yet.
        origin_l0 : (x, y)
            Where the file's (0, 0) lies on the slide: for a file of QuPath, which crops a slide
            to its bounds, the corner of the bounds. A file that says its own is right.

        Raises
        ------
        RegionsError
            The file counts from the middle of the glass, and the slide does not say where that is.
        """
        if self.in_nm_of_glass:
            if slide is None or slide.glass_middle_l0 is None or slide.mpp_xy is None:
                which = "the slide" if slide is None else slide.file
                raise RegionsError(
                    f"{self.name}: Its coordinates are nanometres from the middle of the glass, "
                    f"and {which} does not say where that is; only Hamamatsu's own slides do. "
                    "Export the annotations as GeoJSON, for instance from QuPath."
                )
            (x, y), (mpp_x, mpp_y) = slide.glass_middle_l0, slide.mpp_xy
            scale = 1e-3 / mpp_x, 1e-3 / mpp_y
            return [replace(it, shape=it.shape.resized(*scale).moved(x, y)) for it in self.regions]
        if self.states_origin or not any(origin_l0):
            return self.regions
        return [replace(it, shape=it.shape.moved(*origin_l0)) for it in self.regions]

    def placed_marks(self, origin_l0: Point) -> tuple[Mark, ...]:
        """Return the marks in level-0 pixels of a slide; `origin_l0` as of `placed`."""
        if self.states_origin or not any(origin_l0):
            return self.marks
        return tuple(it.moved(*origin_l0) for it in self.marks)


class RegionReading(Closing):
    """The reading of one file, which begins at once.

    Parameters
    ----------
    path : Path
    module : str
        What to run as the reader.
    """

    def __init__(self, path: Path, module: str = "idc_desktop.children.region_reader") -> None:
        self._name = path.name
        self._is_cancelled = False
        job = ReadRegionsJob(str(path.absolute()))
        self._child = Child(module, job, _DEADLINE_S, share_of_memory=_SHARE_OF_MEMORY)

    def result(self) -> ReadRegions:
        """Wait for the end, and return what was read: all of the file or nothing.

        Raises
        ------
        RegionsError
            The file is unreadable, too large, in none of the formats or holds no area; a
            coordinate of an area is none; or it takes too much time or memory.
        """
        regions: list[Region] = []
        marks: list[Mark] = []
        points, at = 0, ""
        try:
            with self:
                for event in self._child.events():
                    if isinstance(event, CheckingArea):
                        at = event.what
                    elif isinstance(event, RegionsFound):
                        points += event.points
                        if points > MAX_POINTS:
                            raise GarbledMessageError(f"{points:,} corners")
                        regions += self._checked(event)
                    elif isinstance(event, MarksFound):
                        marks += [it.mark() for it in event.marks]
                        if len(marks) > MAX_MARKS:
                            raise GarbledMessageError(f"{len(marks):,} marks")
                    elif isinstance(event, RegionsDone):
                        return ReadRegions(
                            *(regions, event.notes, event.states_origin),
                            *(event.in_nm_of_glass, self._name, tuple(marks)),
                        )
        except ChildCrashedError as crash:
            if not self._is_cancelled:
                raise self._lost(crash, at) from crash
        raise RegionsError(f"{self._name}: The regions were not read to the end. Read them again.")

    def cancel(self) -> None:
        """End it; `result` fails. Safe from any thread."""
        self._is_cancelled = True
        self._child.cancel()

    def close(self) -> None:
        """End the reader if it still runs."""
        self._child.close()

    def _checked(self, event: RegionsFound) -> list[Region]:
        try:
            return list(event.regions())
        except ValueError as error:
            raise GarbledMessageError(f"regions: {error}") from error

    def _lost(self, crash: ChildCrashedError, at: str) -> RegionsError:
        where = f" at {at}" if at else ""
        remedy = "Simplify the areas, or export fewer"
        if crash.is_excessive:
            remedy += f"; if you trust the file, allow more with {MEMORY_VARIABLE}"
        return RegionsError(
            f"{self._name}: The process that read the regions {str(crash).splitlines()[0]}{where}. "
            f"{remedy}."
        )
