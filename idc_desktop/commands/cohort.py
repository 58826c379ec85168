"""The ``cohort`` command: many slides, each as `analyze` does it, and the tables of all."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.cohorts.claims import Claims
from idc_desktop.cohorts.members import Member, find_members
from idc_desktop.cohorts.slide_job import JobOptions, read_inputs
from idc_desktop.cohorts.states import STATUSES, CohortFolder, Listed, SlideState
from idc_desktop.commands.batch import job_options
from idc_desktop.commands.cancelling import Cancel, cancelling
from idc_desktop.commands.cohort_local import LocalRun, Turns
from idc_desktop.commands.cohort_progress import Progress
from idc_desktop.commands.cohort_work import CohortWork, refuse_shared_store
from idc_desktop.console import absolute, complain, print_json, print_line, severest
from idc_desktop.errors import UsageError
from idc_desktop.plain_text import counted


@dataclass(frozen=True)
class Cohort:
    """What a command was asked to do.

    Attributes
    ----------
    members : list of Member
    options : JobOptions
    """

    members: list[Member]
    options: JobOptions

    @property
    def folder(self) -> CohortFolder:
        """Where the results go."""
        return CohortFolder(self.options.out)


def analyze_cohort(given: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    _refuse_together(given)
    if given.scheduler is not None:
        # Nothing of it is loaded, or need be installed, without the option.
        from idc_desktop.commands import cohort_dask

        cohort_dask.check_address(given.scheduler, is_insecure=given.insecure)
    cohort, notes = _cohort(given)
    for note in notes:
        complain(f"note: {note}")
    slides = [it.slide for it in cohort.members]
    inputs = read_inputs(cohort.options, slides, lambda text: complain(f"note: {text}"))
    with CohortWork(cohort.options, inputs) as work, cancelling() as cancel:
        _list(cohort, work)
        _forget(cohort, is_all=given.restart, is_failed=given.retry is not None)
        found = [(it, work.finished(it)) for it in cohort.members]
        todo = [it for it, state in found if state is None]
        before = [state for _, state in found if state is not None]
        progress = Progress(len(found), before, is_silent=given.json)
        try:
            if given.scheduler is not None:
                cohort_dask.DaskRun(
                    given.scheduler, work, todo, progress, cancel, cohort.options
                ).run()
            else:
                with Claims(cohort.options.out) as claims:
                    turns = Turns(_from(todo, given.shard), claims, work, cancel)
                    LocalRun(work, turns, progress, cancel, cohort.options).run()
        finally:
            progress.end()
            work.write_tables()
    return _tell(cohort, cancel, is_json=given.json)


def _cohort(given: argparse.Namespace) -> tuple[Cohort, list[str]]:
    options = job_options(given)
    # Workers stand elsewhere.
    options = replace(
        options,
        out=absolute(given.out),
        model=_absolute_model(options.model),
        regions=None if given.regions is None else absolute(given.regions),
    )
    regions_folder = None
    if options.regions is not None and options.regions.is_dir():
        regions_folder, options = options.regions, replace(options, regions=None)
    members, notes = find_members(given.slides, options.out, regions_folder)
    if options.regions is not None and len(members) > 1 and not given.regions_for_all:
        raise UsageError(
            f"{given.regions}: One file of regions for {len(members)} slides. Give a folder with a "
            "file for each, or a list with a column regions, or add --regions-for-all to lay this "
            "one on each of them."
        )
    return Cohort(members, options), notes


def _absolute_model(model: str | None) -> str | None:
    is_file = model is not None and model.lower().endswith(".onnx")
    return str(absolute(model)) if model is not None and is_file else model


def _refuse_together(given: argparse.Namespace) -> None:
    if given.shard is not None and given.scheduler is not None:
        raise UsageError("--shard and --scheduler: Choose one of the two ways to share the work.")
    if given.shard is not None and given.restart:
        raise UsageError(
            "--restart and --shard: Each shard would forget what the others did. Run once with "
            "--restart alone, or choose another folder with --out."
        )
    if given.shard is not None:
        refuse_shared_store()


def _list(cohort: Cohort, work: CohortWork) -> None:
    folder = cohort.folder
    folder.list(
        Listed(
            it.id,
            work.image(it),
            it.group,
            None if cohort.options.is_anonymous else folder.place_of(it.slide),
        )
        for it in cohort.members
    )


def _forget(cohort: Cohort, *, is_all: bool, is_failed: bool) -> None:
    """Forget what is to be done again, whatever became of it."""
    folder = cohort.folder
    for member in cohort.members if is_all or is_failed else ():
        state = folder.state(member.id)
        if is_all or (state is not None and state.status in ("refused", "failed")):
            folder.forget(member.id)


def _from(todo: list[Member], shard: tuple[int, int] | None) -> list[Member]:
    """Return the slides in the order in which a shard takes them: each begins elsewhere."""
    number, count = shard or (1, 1)
    start = (number - 1) * len(todo) // count
    return [*todo[start:], *todo[:start]]


def _tell(cohort: Cohort, cancel: Cancel, *, is_json: bool) -> int:
    """Say what became of all slides; return the exit code."""
    out, folder = cohort.options.out, cohort.folder
    states = folder.states()
    found = [(it, states.get(it.id)) for it in cohort.members]
    counts = Counter("pending" if state is None else state.status for _, state in found)
    if is_json:
        print_json(
            {
                "slides": [_as_dict(out, member, state) for member, state in found],
                "counts": {it: counts[it] for it in STATUSES},
            }
        )
    else:
        summary = ", ".join(f"{counts[it]:,} {it}" for it in STATUSES if counts[it])
        print_line(f"{counted(len(found), 'slide')}: {summary}")
        print_line(
            f"  results in {out}, tables cohort.csv and cohort.html   ({RESEARCH_USE_NOTICE})"
        )
    if counts["refused"] + counts["failed"]:
        complain("note: Slides that were refused or failed are tried again with --retry failed.")
    if cancel.is_asked_for:
        complain("Cancelled. What was done is kept: run the same command to go on.")
    codes = {state.exit_code for _, state in found if state is not None}
    return severest(codes, is_cancelled=cancel.is_asked_for)


def _as_dict(out: Path, member: Member, state: SlideState | None) -> dict[str, str | None]:
    has_results = state is not None and state.folder
    return {
        "slide": str(member.slide),
        "status": "pending" if state is None else state.status,
        "out": str(out / state.folder) if state is not None and has_results else None,
        "error": (state.error or None) if state is not None else None,
    }
