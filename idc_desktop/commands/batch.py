"""The ``analyze`` and ``export`` commands: several slides, one engine after the other."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.cohorts.report import Listener, Report
from idc_desktop.cohorts.slide_job import (
    JobInputs,
    JobOptions,
    analyze_one,
    read_inputs,
    start_engine,
)
from idc_desktop.commands.cancelling import Cancel, cancelling
from idc_desktop.console import (
    EXIT_CANCELLED,
    absolute,
    complain,
    complaint,
    print_json,
    print_line,
    report_defect,
    severest,
)
from idc_desktop.errors import DefectError, IdcError, UsageError
from idc_desktop.export.results import as_one_folder, results_name
from idc_desktop.plain_text import counted, one_line
from idc_desktop.processes.supervisor import Job

FORMAT_NAMES = ("report", "measurements", "regions", "qupath", "wsinfer", "dsa", "dicom")
"""What ``--format`` takes: `export.formats.FORMATS`, which the start must not wait for."""

_PLAIN_PROGRESS_EVERY_S = 5.0


def analyze_slides(given: argparse.Namespace) -> int:
    """Run either command; return its exit code."""
    slides = [absolute(it) for it in given.slides]
    _refuse_one_folder_for_two(slides, given.slides)
    if given.regions is not None and len(slides) > 1 and not given.regions_for_all:
        raise UsageError(
            f"{given.regions}: One file of regions for {len(slides)} slides. Analyze each slide "
            "with its own, or add --regions-for-all to lay this one on each of them."
        )
    options = replace(job_options(given), is_alone=len(slides) == 1)
    reports = [Report(slide) for slide in slides]
    # The first engine is at work while this process reads what all slides have in common.
    job = start_engine(slides[0], options)
    is_cancelled = False
    try:
        inputs = read_inputs(options, slides, _note)
    except IdcError as error:
        job.close()
        for report in reports:
            report.fail(error)
        complain(str(error))
    else:
        is_cancelled = _analyze_all(reports, job, options, inputs, is_json=given.json)
    if given.json:
        named = zip(given.slides, reports, strict=True)
        print_json({"slides": [{"slide": name, **it.as_dict()} for name, it in named]})
    return severest({report.exit_code for report in reports}, is_cancelled=is_cancelled)


def job_options(given: argparse.Namespace) -> JobOptions:
    """Return what the arguments of either command ask for."""
    return JobOptions(
        out=Path(given.out),
        model=given.model,
        regions=None if given.regions is None else Path(given.regions),
        regions_origin=given.regions_origin,
        threshold=given.threshold,
        map=given.map,
        mpp=given.mpp,
        provider=given.provider,
        threads=given.threads,
        has_tissue_mask=not given.no_tissue_mask,
        is_anonymous=given.anonymous,
        formats=tuple(given.formats),
        overwrites=given.overwrite,
        restarts=given.restart,
        recalls=given.recall,
        has_shield=not given.no_shield,
    )


def _refuse_one_folder_for_two(slides: list[Path], given: list[str]) -> None:
    taken: dict[str, int] = {}
    for number, slide in enumerate(slides):
        name = results_name(slide)
        other = taken.setdefault(as_one_folder(name), number)
        if other != number:
            also = results_name(slides[other])
            folder = name if name == also else f"{name}, which is {also} on some systems"
            raise UsageError(
                f"{given[other]} and {given[number]}: Both results would go to the folder "
                f"{folder}. Analyze them with two --out folders."
            )


def _analyze_all(
    reports: list[Report], first: Job, options: JobOptions, inputs: JobInputs, *, is_json: bool
) -> bool:
    """Work on one slide after the other; return whether that was cancelled."""
    job: Job | None = first
    for number, slide in enumerate([it.slide for it in reports]):
        with cancelling() as cancel:
            progress = _Progress(slide.name, is_json, cancel)
            report = reports[number] = analyze_one(
                slide, options, inputs, job=job, listener=progress
            )
            try:
                _tell(report, options, is_json=is_json)
            except IdcError as error:  # standard output is full: that costs no other slide
                report.fail(error)
                complain(str(error))
        job = None
        if cancel.is_asked_for:
            if report.exit_code != EXIT_CANCELLED:  # it had nothing left to stop
                complain("Cancelled.")
            return True
    return False


def _tell(report: Report, options: JobOptions, *, is_json: bool) -> None:
    if isinstance(report.failure, DefectError):
        report_defect(str(report.failure))
    elif report.failure is not None:
        complain(str(report.failure))
    for remark in (*report.shortfall, *report.remarks):
        complain(remark)
    if report.counts is not None and not is_json:
        counts = report.counts
        stored = ", all of it stored before" if report.is_stored else ""
        excluded = f", {counts['excluded']:,} excluded" if counts["excluded"] else ""
        verb = "exported" if options.recalls else "analyzed"
        print_line(
            f"{report.slide.name}: {counted(counts['ok'], 'patch')} {verb}, "
            f"{counts['background']:,} background, {report.failed_patches:,} failed{excluded}, "
            f"{report.seconds:.1f} s on the {report.provider}{stored}"
        )
        for line in report.excluded:
            print_line(f"  {line}")
        print_line(f"  results in {report.out}   ({RESEARCH_USE_NOTICE})")


def _note(text: str) -> None:
    complain(f"note: {text}")


class _Progress(Listener):
    """A bar with rate and time left on a terminal, a plain line now and then elsewhere."""

    def __init__(self, name: str, silent: bool, cancel: Cancel) -> None:
        self._name = name
        self._silent = silent
        self._cancel = cancel
        self._bar: Any = None
        self._total = 0
        self._first: tuple[float, int] | None = None
        self._said = 0.0

    def started(self, job: Job) -> None:
        self._cancel.take(job)

    def begin(self, total: int) -> None:
        self._total = total
        if self._bar is None and not self._silent and sys.stderr.isatty():
            from tqdm import tqdm

            name = one_line(self._name)
            self._bar = tqdm(total=total, desc=name, unit="patch", dynamic_ncols=True)

    def reach(self, done: int) -> None:
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif self._first is None:
            self._first, self._said = (now, done), now
        elif not self._silent and now - self._said >= _PLAIN_PROGRESS_EVERY_S:
            self._said = now
            rate = (done - self._first[1]) / (now - self._first[0])
            left = f", {(self._total - done) / rate:.0f} s left" if rate > 0 else ""
            print_line(
                f"{self._name}: {done:,} of {counted(self._total, 'patch')}, {rate:,.0f}/s{left}"
            )

    def note(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(complaint(f"note: {text}"), file=sys.stderr)
        else:
            _note(text)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
