"""What became of each slide of a cohort: one file a slide, in a hidden folder of the results.

Each is written whole, by whoever worked on the slide, so any number of processes on any number of
machines can share the folder, and a kill at any moment costs the slide that was under way.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from idc_desktop.errors import not_written
from idc_desktop.plain_files import read_bytes
from idc_desktop.storage.atomic import replacing
from idc_desktop.typed_json import MismatchError, build, decode, encode

STATES_FOLDER = ".cohort"
"""In the folder of the results; hidden, so that no slide's results can have its name."""

COHORT, COHORT_REGIONS, COHORT_PAGE = "cohort.csv", "cohort_regions.csv", "cohort.html"
TABLES = (COHORT, COHORT_REGIONS, COHORT_PAGE)
"""Files of all slides together, beside the folders of each."""

Status = Literal["done", "partial", "refused", "failed", "pending"]
STATUSES: tuple[Status, ...] = get_args(Status)

_LISTING = "slides.json"


@dataclass(frozen=True)
class SlideState:
    """What became of a slide.

    Attributes
    ----------
    image : str
        What stands for it in the tables.
    task : str
        Stands for all that was asked for; with another one, the slide is to be done again.
    stamp : str
        Stands for the slide's file as it was (`Member.stamp`).
    exit_code : int
        Of a command with this slide only.
    folder : str
        Of its results, below that of the cohort; empty if there are none.
    provenance : str
        SHA-256 of their ``provenance.json``.
    figures : dict
        Cells of the tables, by column.
    regions : int
        Rows of its ``regions.csv`` beside that of the whole slide.
    notes : str
    error : str
    thumbnail : str
        The slide with its map: a JPEG in base64.
    identity, drawn : str
        As in `idc_desktop.cohorts.report.Report`.
    """

    image: str
    status: Status
    task: str
    stamp: str
    group: str = ""
    exit_code: int = 0
    folder: str = ""
    provenance: str = ""
    figures: dict[str, str] | None = None
    regions: int = 0
    notes: str = ""
    error: str = ""
    thumbnail: str = ""
    identity: str = ""
    drawn: str = ""

    def __post_init__(self) -> None:
        place = PurePosixPath(self.folder)
        if place.is_absolute() or ".." in place.parts:  # the folder may be shared with others
            raise ValueError(f"{self.folder!r} leads out of the results")


@dataclass(frozen=True)
class Listed:
    """A slide as the latest command listed it.

    Attributes
    ----------
    id : str
        Of its state file.
    image : str
        What stands for it in the tables as long as it has no state.
    place : str or None
        The slide, relative to the folder of the results where that is possible; None where the
        files are to say nothing of it.
    """

    id: str
    image: str
    group: str
    place: str | None


@dataclass(frozen=True)
class _Listing:
    slides: tuple[Listed, ...]


class CohortFolder:
    """The folder of a cohort's results, with what it knows of each slide.

    Parameters
    ----------
    out : Path
        Need not exist yet.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._place = out / STATES_FOLDER
        self._states = self._place / "states"

    @property
    def is_one(self) -> bool:
        """Whether it holds a cohort."""
        return (self._place / _LISTING).is_file()

    def list(self, slides: Iterable[Listed]) -> None:
        """Keep which slides the cohort has now.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        self._write(self._place / _LISTING, _Listing(tuple(slides)))

    def listed(self) -> tuple[Listed, ...]:
        """Return which slides the latest command listed; none if that cannot be read."""
        with contextlib.suppress(OSError, MismatchError):
            return build(_Listing, decode(read_bytes(self._place / _LISTING))).slides
        return ()

    def place_of(self, slide: Path) -> str:
        """Return how a slide is named in the listing: the folder may be mounted elsewhere."""
        try:
            return os.path.relpath(slide, self.out)
        except ValueError:  # another drive of Windows
            return str(slide)

    def keep(self, slide_id: str, state: SlideState) -> None:
        """Keep what became of a slide, in the place of what was kept before.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        self._write(self._state_file(slide_id), state)

    def forget(self, slide_id: str) -> None:
        """Forget what became of a slide."""
        with contextlib.suppress(OSError):
            self._state_file(slide_id).unlink()

    def state(self, slide_id: str) -> SlideState | None:
        """Return what became of a slide; None if that is not known, or damaged."""
        with contextlib.suppress(OSError, MismatchError):
            return build(SlideState, decode(read_bytes(self._state_file(slide_id))))
        return None

    def states(self) -> dict[str, SlideState]:
        """Return what became of all slides, by the ids; also of those that are listed no more."""
        found = {it: self.state(it) for it in self.stamps()}
        return {it: state for it, state in found.items() if state is not None}

    def stamps(self) -> dict[str, int]:
        """Return when each state was written (ns), by the ids: another one is another state."""
        stamps = {}
        with contextlib.suppress(OSError), os.scandir(self._states) as entries:
            for entry in entries:
                name, _, suffix = entry.name.partition(".")
                if suffix == "json":
                    with contextlib.suppress(OSError):
                        stamps[name] = entry.stat().st_mtime_ns
        return stamps

    def _state_file(self, slide_id: str) -> Path:
        return self._states / f"{slide_id}.json"

    def _write(self, path: Path, value: object) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write(encode(value))
        except OSError as error:
            raise not_written(
                f"{self.out}: What became of the slides cannot be kept",
                error,
                "choose another folder with --out",
                "what was done is kept: run the same command again",
            ) from error
