"""What became of one slide's job, and who hears how it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idc_desktop.console import EXIT_CANCELLED, EXIT_DEFECT, EXIT_OUTPUT
from idc_desktop.errors import IdcError
from idc_desktop.processes.supervisor import Job

if TYPE_CHECKING:
    from idc_desktop.export.content import Analysis
    from idc_desktop.regions.shape import Region


class Listener:
    """Hears how a job goes; one that does not care."""

    def started(self, job: Job) -> None:
        """Hear which engine is at work; it can be cancelled, from any thread."""

    def note(self, text: str) -> None:
        """Hear something that the user should know."""

    def begin(self, total: int) -> None:
        """Hear how many patches there are."""

    def reach(self, done: int) -> None:
        """Hear how many of them have a state."""

    def end(self) -> None:
        """Hear that the engine has ended; files are written next, if all went well."""

    def written(self, analysis: Analysis, regions: Sequence[Region]) -> None:
        """Hear what the files that were written are of."""


@dataclass
class Report:
    """What became of one slide.

    Attributes
    ----------
    status : {"pending", "done", "partial", "refused", "not written", "cancelled", "defect"}
    out : Path or None
        The folder with the results.
    counts : dict or None
        Patches by state.
    provider : {"cpu", "cuda"} or None
        What it ran on.
    seconds, patches_per_second : float or None
    is_stored : bool
        Whether nothing of it had to be computed.
    failure : IdcError or None
        What ended it.
    excluded : list of str
        What is left out of the figures because of artefacts.
    remarks : list of str
        What is worth knowing of the results.
    shortfall : list of str
        Formats that it cannot be written in.
    identity, drawn : str
        Of the slide that was written, and what stands for its share of the window in it
        (`idc_desktop.cohorts.drawn.digest`).
    exit_code : int
        That of a command with this slide only.
    """

    slide: Path
    status: str = "pending"
    out: Path | None = None
    counts: dict[str, int] | None = None
    provider: str | None = None
    seconds: float | None = None
    patches_per_second: float | None = None
    is_stored: bool = False
    failure: IdcError | None = None
    excluded: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    shortfall: list[str] = field(default_factory=list)
    identity: str = ""
    drawn: str = ""
    exit_code: int = 0

    @property
    def error(self) -> str:
        """What could not be done; empty where all was."""
        return " ".join(self.shortfall) if self.failure is None else str(self.failure)

    @property
    def failed_patches(self) -> int:
        """How many patches were tried in vain."""
        counts = self.counts or {}
        return counts.get("failed", 0) + counts.get("invalid_output", 0)

    def fail(self, failure: IdcError) -> None:
        """Note what ended it."""
        self.failure, self.exit_code = failure, failure.exit_code
        names = {EXIT_OUTPUT: "not written", EXIT_CANCELLED: "cancelled", EXIT_DEFECT: "defect"}
        self.status = names.get(failure.exit_code, "refused")

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it, but for the slide."""
        return {
            "status": self.status,
            "out": str(self.out) if self.out else None,
            "counts": self.counts,
            "provider": self.provider,
            "seconds": self.seconds,
            "patches_per_second": self.patches_per_second,
            "error": self.error or None,
        }
