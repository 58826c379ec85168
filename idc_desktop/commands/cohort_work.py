"""One slide of a cohort: whether there is anything to do, the work, and the state that is kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from idc_desktop import __version__
from idc_desktop.closing import Closing
from idc_desktop.cohorts.members import Member
from idc_desktop.cohorts.report import Listener, Report
from idc_desktop.cohorts.slide_job import (
    JobInputs,
    JobOptions,
    analyze_one,
)
from idc_desktop.cohorts.states import CohortFolder, SlideState, Status
from idc_desktop.commands.cancelling import Cancel
from idc_desktop.console import EXIT_CANCELLED, complaint
from idc_desktop.errors import IdcError, ModelError, OutputError, UsageError
from idc_desktop.export.formats import FILES
from idc_desktop.export.verify import PROVENANCE
from idc_desktop.plain_files import open_file
from idc_desktop.processes.child import IdleChildren
from idc_desktop.processes.supervisor import Job
from idc_desktop.storage.user_data import data_folder, network_drive

if TYPE_CHECKING:
    from idc_desktop.export.content import Analysis
    from idc_desktop.regions.shape import Region

_STATUS: dict[str, Status] = {"done": "done", "partial": "partial", "refused": "refused"}
_WITHOUT_INFLUENCE = (
    "out",
    "folder",
    "model",
    "regions",
    "mpp",
    "threads",
    "overwrites",
    "is_alone",
)
_DEEDS = ("restarts", "recalls")  # what is asked for once, and is no property of the results


class CohortWork(Closing):
    """Does slides of a cohort, each as `analyze` would; safe to use from several threads.

    Its engines stay, each with the model at hand, until it is closed.

    Parameters
    ----------
    options : JobOptions
        Of all slides.
    inputs : JobInputs
        What is read once.
    """

    def __init__(self, options: JobOptions, inputs: JobInputs) -> None:
        self._options = options
        self._inputs = inputs
        self._folder = CohortFolder(options.out)
        self._idle = IdleChildren()

    def close(self) -> None:
        """End the engines."""
        self._idle.close()

    def image(self, member: Member) -> str:
        """Return what stands for a slide in the tables as long as it was not opened."""
        return member.id[:12] if self._options.is_anonymous else member.name

    @property
    def is_listed(self) -> bool:
        """Whether the folder of the results is seen from here."""
        return self._folder.is_one

    def finished(self, member: Member) -> SlideState | None:
        """Return what became of a slide; None if there is something to do."""
        state = self._folder.state(member.id)
        if state is None or (state.task, state.stamp) != (self._task(member), member.stamp):
            return None
        return state if self._has_results(state) and _is_as_drawn(state) else None

    def do(self, member: Member, threads: int, listener: CohortListener) -> SlideState | None:
        """Analyze a slide, write its files and keep what became of it.

        Parameters
        ----------
        threads : int
            Of its engine.

        Returns
        -------
        SlideState or None
            None if it was cancelled.

        Raises
        ------
        ModelError
            The model cannot be used for any slide.
        OutputError
            What became of the slide cannot be kept.
        """
        task, stamp = self._task(member), member.stamp
        report = self._report(member, threads, listener)
        if report.exit_code == EXIT_CANCELLED:
            return None
        if isinstance(report.failure, ModelError) and not listener.has_begun:
            raise report.failure
        image = listener.image or self.image(member)
        state = SlideState(
            image=image,
            status=_STATUS.get(report.status, "failed"),
            task=task,
            stamp=stamp,
            group=member.group,
            exit_code=report.exit_code,
            error=self._error(report, member, image),
        )
        if report.out is not None:
            folder = report.out.relative_to(self._options.out).as_posix()
            state = replace(
                state,
                folder=folder,
                provenance=self._provenance(folder),
                figures=listener.figures,
                regions=listener.regions,
                notes=listener.notes,
                thumbnail=listener.thumbnail,
                identity=report.identity,
                drawn=report.drawn,
            )
        self._folder.keep(member.id, state)
        return state

    def give_up(self, member: Member, why: str) -> SlideState:
        """Keep that a slide could not be done, for a reason that lies outside of it."""
        report = Report(member.slide)
        report.fail(OutputError(why))
        image = self.image(member)
        state = SlideState(
            image=image,
            status="failed",
            task=self._task(member),
            stamp=member.stamp,
            group=member.group,
            exit_code=report.exit_code,
            error=self._error(report, member, image),
        )
        self._folder.keep(member.id, state)
        return state

    def write_tables(self) -> None:
        """Write the tables of all slides, as far as there are states."""
        from idc_desktop.cohorts.tables import write_tables

        write_tables(self._options.out)

    def _report(self, member: Member, threads: int, listener: CohortListener) -> Report:
        try:
            inputs = self._inputs_of(member, listener)
        except IdcError as error:
            report = Report(member.slide)
            report.fail(error)
            return report
        options = replace(self._options_of(member), threads=threads)
        return analyze_one(member.slide, options, inputs, idle=self._idle, listener=listener)

    def _options_of(self, member: Member) -> JobOptions:
        options = self._options
        if member.mpp is not None:
            options = replace(options, mpp=member.mpp)
        if options.is_anonymous:  # the folders that slides lie in have names, too
            return options
        place = options.out / member.folder
        return replace(options, out=place.parent, folder=place.name)

    def _inputs_of(self, member: Member, listener: Listener) -> JobInputs:
        if member.regions is None:
            return self._inputs
        from idc_desktop.processes.region_reading import RegionReading

        regions = RegionReading(member.regions).result()
        for text in regions.notes:
            listener.note(text)
        return replace(self._inputs, regions=regions)

    def _task(self, member: Member) -> str:
        """Return what stands for all that decides the results of a slide."""
        options, model = asdict(self._options), self._inputs.model
        for name in (*_WITHOUT_INFLUENCE, *_DEEDS):
            del options[name]
        regions = member.regions or self._options.regions
        options |= {
            "version": __version__,
            "model": None if model is None else model.sha256,
            "mpp": self._options.mpp if member.mpp is None else member.mpp,
            "regions": None if regions is None else _digest(regions),
            "folder": "" if self._options.is_anonymous else member.folder,
        }
        return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:32]

    def _provenance(self, folder: str) -> str:
        return _digest(self._options.out / folder / PROVENANCE) if folder else ""

    def _has_results(self, state: SlideState) -> bool:
        """Whether the files are there that a state speaks of, and are of this very export."""
        place = self._options.out / state.folder
        return not state.folder or (
            all((place / it).is_file() for it in FILES)
            and self._provenance(state.folder) == state.provenance
        )

    def _error(self, report: Report, member: Member, image: str) -> str:
        if not report.error:
            return ""
        text = complaint(report.error.strip().splitlines()[-1])
        if self._options.is_anonymous:
            slide = member.slide
            for name in (member.name, slide.name, slide.stem, slide.parent.name):
                text = _nameless(text, name, image)
        return text


class CohortListener(Listener):
    """Hears one slide's job, and keeps what the tables say of it.

    Attributes
    ----------
    has_begun : bool
        The model was accepted, and computed or recalled something.
    image : str
        What stands for the slide in the tables; empty if it was not opened.
    figures, regions, notes, thumbnail
        As in `SlideState`.
    """

    def __init__(self, member: Member, is_anonymous: bool, cancel: Cancel) -> None:
        self._member = member
        self._is_anonymous = is_anonymous
        self._cancel = cancel
        self.has_begun = False
        self.image = ""
        self.figures: dict[str, str] | None = None
        self.regions = 0
        self.notes = self.thumbnail = ""

    def started(self, job: Job) -> None:
        """Have the engine cancelled when that is asked for."""
        self._cancel.take(job)

    def begin(self, total: int) -> None:
        """Take that there is a plan."""
        self.has_begun = True

    def written(self, analysis: Analysis, regions: Sequence[Region]) -> None:
        """Take what the tables say."""
        from idc_desktop.cohorts.figures import figures_of, thumbnail_of

        self.image = analysis.image if self._is_anonymous else self._member.name
        self.figures, self.thumbnail = figures_of(analysis), thumbnail_of(analysis)
        self.regions = len(regions)
        self.notes = " ".join(analysis.notes)


def _is_as_drawn(state: SlideState) -> bool:
    """Whether a window of this machine has changed nothing since that goes into the results."""
    if not state.identity:
        return True
    from idc_desktop.cohorts.drawn import stored_digest

    return stored_digest(state.identity) in (None, state.drawn)


def _nameless(text: str, name: str, image: str) -> str:
    """Put `image` in the place of a name, and of no word of ours that happens to be the same."""
    place = re.escape(complaint(name))
    found = rf"(?<!\w){place}(?!\w)"
    if name.isalpha():  # a folder may be called "slide"
        found = rf"^{place}(?=[:/\\])|(?<=folder ){found}|(?<=[/\\'\"]){found}|{found}(?=[/\\'\"])"
    return re.sub(found, lambda _: image, text) if name else text


def _digest(path: Path) -> str:
    try:
        with open_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def refuse_shared_store() -> None:
    """Refuse a data folder that several machines may share: SQLite cannot be.

    Raises
    ------
    UsageError
        It lies on a network drive.
    """
    kind = network_drive(data_folder())
    if kind is not None:
        raise UsageError(
            f"{data_folder()}: The data folder lies on a network drive ({kind}), which several "
            "machines must not share. Name a folder on a local disk in IDC_DESKTOP_DATA_DIR."
        )
