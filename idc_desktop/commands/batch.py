"""The ``analyze`` and ``export`` commands: several slides, one engine after the other."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.commands.slide_job import (
    JobInputs,
    JobOptions,
    Listener,
    Report,
    analyze_one,
    read_inputs,
    start_engine,
)
from idc_desktop.console import (
    EXIT_CANCELLED,
    EXIT_DEFECT,
    EXIT_INPUT,
    EXIT_OUTPUT,
    EXIT_PARTIAL,
    absolute,
    complain,
    complaint,
    print_json,
    print_line,
    report_defect,
)
from idc_desktop.errors import DefectError, IdcError, UsageError
from idc_desktop.export.results import as_one_folder, results_name
from idc_desktop.plain_text import one_line
from idc_desktop.processes.supervisor import Job

FORMAT_NAMES = ("report", "regions", "qupath", "wsinfer", "dsa", "dicom")
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
    options = job_options(given)
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
    codes = {report.exit_code for report in reports}
    if is_cancelled:
        codes.add(EXIT_CANCELLED)
    severest = (EXIT_CANCELLED, EXIT_DEFECT, EXIT_OUTPUT, EXIT_INPUT, EXIT_PARTIAL)
    return next((code for code in severest if code in codes), 0)


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
        with _cancelling() as cancel:
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
    for remark in report.remarks:
        complain(remark)
    if report.counts is not None and not is_json:
        counts = report.counts
        stored = ", all of it stored before" if report.is_stored else ""
        verb = "exported" if options.recalls else "analyzed"
        print_line(
            f"{report.slide.name}: {counts['ok']:,} patches {verb}, {counts['background']:,} "
            f"background, {report.failed_patches:,} failed, {report.seconds:.1f} s on the "
            f"{report.provider}{stored}"
        )
        print_line(f"  results in {report.out}   ({RESEARCH_USE_NOTICE})")


def _note(text: str) -> None:
    complain(f"note: {text}")


class _Progress(Listener):
    """A bar with rate and time left on a terminal, a plain line now and then elsewhere."""

    def __init__(self, name: str, silent: bool, cancel: _Cancel) -> None:
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
            print_line(f"{self._name}: {done:,} of {self._total:,} patches, {rate:,.0f}/s{left}")

    def note(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(complaint(f"note: {text}"), file=sys.stderr)
        else:
            _note(text)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Cancel:
    """Whether Ctrl-C or SIGTERM came, and what is cancelled by it.

    Attributes
    ----------
    is_asked_for : bool
    """

    def __init__(self) -> None:
        self.is_asked_for = False
        self._job: Job | None = None

    def take(self, job: Job) -> None:
        """Cancel this engine when it is asked for, or now if it was."""
        self._job = job
        if self.is_asked_for:
            job.cancel()

    def ask(self) -> None:
        """Cancel."""
        # Noted here, too: the job may have ended already while its files are being written.
        self.is_asked_for = True
        if self._job is not None:
            self._job.cancel()


@contextlib.contextmanager
def _cancelling() -> Iterator[_Cancel]:
    """Let Ctrl-C and SIGTERM cancel the job instead of tearing this process down."""
    cancel = _Cancel()

    def on_signal(number: int, frame: FrameType | None) -> None:
        cancel.ask()
        # A second signal is taken by the usual handler.
        for name, handler in before.items():
            signal.signal(name, handler)

    before = {name: signal.signal(name, on_signal) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
