"""The ``analyze`` and ``export`` commands: several slides, one engine after the other.

Imports are made where they are needed, so that a child process is at work while this one loads.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from idc_desktop import RESEARCH_USE_NOTICE
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
from idc_desktop.engine_messages import AnalyzeJob, BlockDone, Plan, RecallJob
from idc_desktop.errors import (
    DefectError,
    ExportError,
    IdcError,
    ModelError,
    UsageError,
    not_written,
)
from idc_desktop.plain_text import one_line
from idc_desktop.results import as_one_folder, refuse_scan_folder, results_folder, results_name
from idc_desktop.supervisor import Job

if TYPE_CHECKING:
    from idc_desktop.card import Model
    from idc_desktop.description import SlideDescription
    from idc_desktop.export import Analysis
    from idc_desktop.model_file import ModelFile
    from idc_desktop.region_reading import ReadRegions
    from idc_desktop.regions import Region

FORMAT_NAMES = ("report", "regions", "qupath", "wsinfer", "dsa", "dicom")
"""What ``--format`` takes: `idc_desktop.export.FORMATS`, which the start must not wait for."""

_PLAIN_PROGRESS_EVERY_S = 5.0


@dataclass
class _Run:
    """One slide of an ``analyze`` command and what became of it."""

    slide: Path
    given: str
    status: str = "pending"
    out: Path | None = None
    counts: dict[str, int] | None = None
    provider: str | None = None
    seconds: float | None = None
    patches_per_second: float | None = None
    error: str | None = None
    exit_code: int = 0
    is_cancelled: bool = False

    def fail(self, error: IdcError) -> None:
        """Note an expected failure."""
        self.error, self.exit_code = str(error), error.exit_code
        names = {EXIT_OUTPUT: "not written", EXIT_CANCELLED: "cancelled", EXIT_DEFECT: "defect"}
        self.status = names.get(error.exit_code, "refused")

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        return {
            "slide": self.given,
            "status": self.status,
            "out": str(self.out) if self.out else None,
            "counts": self.counts,
            "provider": self.provider,
            "seconds": self.seconds,
            "patches_per_second": self.patches_per_second,
            "error": self.error,
        }


def analyze_slides(options: argparse.Namespace) -> int:
    """Run either command; return its exit code."""
    runs = [_Run(absolute(given), given) for given in options.slides]
    _refuse_one_folder_for_two(runs)
    if options.regions is not None and len(runs) > 1 and not options.regions_for_all:
        raise UsageError(
            f"{options.regions}: One file of regions for {len(runs)} slides. Analyze each slide "
            "with its own, or add --regions-for-all to lay this one on each of them."
        )
    # The first engine is at work while this process reads what all slides have in common.
    job: Job | None = _start(runs[0], options)
    try:
        common = _read_common(runs, options)
    except IdcError as error:
        assert job is not None
        job.close()
        for run in runs:
            run.fail(error)
        complain(str(error))
    else:
        for run in runs:
            try:
                _analyze_slide(run, job or _start(run, options), common, options)
            except BrokenPipeError:  # nobody reads what we say: the edge of the program ends it
                raise
            except IdcError as error:
                run.fail(error)
                if isinstance(error, DefectError):
                    report_defect(str(error))
                else:
                    complain(str(error))
            except Exception:  # noqa: BLE001 - a defect on one slide costs no other
                text = traceback.format_exc()
                run.fail(DefectError(text))
                report_defect(text)
            job = None
            if run.is_cancelled:
                if run.exit_code != EXIT_CANCELLED:  # it had nothing left to stop
                    complain("Cancelled.")
                break
    if options.json:
        print_json({"slides": [run.as_dict() for run in runs]})
    codes = {EXIT_CANCELLED if run.is_cancelled else run.exit_code for run in runs}
    severest = (EXIT_CANCELLED, EXIT_DEFECT, EXIT_OUTPUT, EXIT_INPUT, EXIT_PARTIAL)
    return next((code for code in severest if code in codes), 0)


def _refuse_one_folder_for_two(runs: list[_Run]) -> None:
    taken: dict[str, _Run] = {}
    for run in runs:
        name = results_name(run.slide)
        other = taken.setdefault(as_one_folder(name), run)
        if other is not run:
            also = results_name(other.slide)
            folder = name if name == also else f"{name}, which is {also} on some systems"
            raise UsageError(
                f"{other.given} and {run.given}: Both results would go to the folder {folder}. "
                "Analyze them with two --out folders."
            )


def _start(run: _Run, options: argparse.Namespace) -> Job:
    from idc_desktop.user_data import data_folder

    if options.model is None:
        recall = RecallJob(
            slide=str(run.slide),
            data_folder=str(data_folder()),
            mpp=options.mpp,
            provider=options.provider,
            threads=options.threads,
            tissue=False if options.no_tissue_mask else None,
        )
        return Job(recall, run.slide.name)
    job = AnalyzeJob(
        slide=str(run.slide),
        model=_model_for_engine(options.model),
        mpp=options.mpp,
        provider=options.provider,
        threads=options.threads,
        data_folder=str(data_folder()),
        tissue=not options.no_tissue_mask,
        restart=options.restart,
        recall=options.recall,
    )
    return Job(job, run.slide.name)


def _model_for_engine(given: str) -> str:
    """Return what names the model wherever the engine stands."""
    return str(absolute(given)) if given.lower().endswith(".onnx") else given


@dataclass(frozen=True)
class _Common:
    """What all slides of one command have in common."""

    out: Path
    model: ModelFile | None
    regions: ReadRegions


def _read_common(runs: list[_Run], options: argparse.Namespace) -> _Common:
    out = Path(options.out)
    refuse_scan_folder(out, [run.slide for run in runs], gets_files=False)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        elsewhere = "choose another folder with --out"
        raise not_written(f"{out}: The folder cannot be made", error, elsewhere) from error
    return _Common(out, _read_model(options), _read_regions(options))


def _analyze_slide(run: _Run, job: Job, common: _Common, options: argparse.Namespace) -> None:
    began = time.monotonic()
    with contextlib.closing(job), _cancelling(job, run):
        # Loads the libraries of the export while the engine is at work.
        from idc_desktop.export import write_folder
        from idc_desktop.regions import overlaps_slide

        analysis = _collect(job, common, run, options)
        regions = _placed(common.regions, analysis, options)
        out = _folder(run, analysis.slide, common, options)
        outdated = write_folder(
            out, analysis, regions, options.formats, overwrite=options.overwrite
        )
    counts = analysis.map.counts()
    failed = analysis.map.failed_patches
    run.status, run.out, run.counts = ("partial" if failed else "done"), out, counts
    run.provider = analysis.provider.used
    run.seconds = round(time.monotonic() - began, 3)
    run.patches_per_second = round(counts["ok"] / max(run.seconds, 1e-3), 1)
    if failed:
        run.exit_code = EXIT_PARTIAL
        (row, col), why = min(analysis.map.reasons.items())
        complain(
            f"{run.slide.name}: {failed:,} patches failed, the first at row {row}, column {col} "
            f"({why}). They are listed in patches.csv and left out of statistics."
        )
    if counts["ok"] + failed == 0:
        complain(
            f"note: {run.slide.name}: No tissue was found, so nothing was analyzed. "
            "--no-tissue-mask analyzes everything."
        )
    for region in regions:
        if not overlaps_slide(region, analysis.map.grid):
            complain(
                f"note: {run.slide.name}: The region {region.name!r} lies off the slide. Its "
                "coordinates must be level-0 pixels (see --regions-origin)."
            )
    if outdated:
        complain(
            f"note: {run.slide.name}: Of an earlier export, and not written again: "
            f"{', '.join(outdated)}. Delete what is outdated, or export again in these formats."
        )
    if not options.json:
        stored = ", all of it stored before" if analysis.is_recalled else ""
        verb = "exported" if options.recall else "analyzed"
        print_line(
            f"{run.slide.name}: {counts['ok']:,} patches {verb}, {counts['background']:,} "
            f"background, {failed:,} failed, {run.seconds:.1f} s on the {run.provider}{stored}"
        )
        print_line(f"  results in {run.out}   ({RESEARCH_USE_NOTICE})")


def _read_model(options: argparse.Namespace) -> ModelFile | None:
    """Return the model that was given; None if it is to be that of a stored run."""
    from idc_desktop.model_file import find_model, read_model

    if options.model is None:
        return None
    model = read_model(find_model(options.model))
    _refuse_context(model, model.path.name, options)
    return model


def _refuse_context(model: Model, file: str, options: argparse.Namespace) -> None:
    if options.map == "context":
        if not model.card.has_context_map:
            raise ModelError(f"{file}: The model has no context map. Leave out --map context.")
        raise ModelError(
            f"{file}: This version of IDC Desktop computes no context maps. Leave out "
            "--map context."
        )


def _read_regions(options: argparse.Namespace) -> ReadRegions:
    from idc_desktop.region_reading import ReadRegions, RegionReading

    if options.regions is None:
        return ReadRegions([], (), states_origin=True)
    read = RegionReading(Path(options.regions)).result()
    for note in read.notes:
        complain(f"note: {note}")
    return read


def _placed(read: ReadRegions, analysis: Analysis, options: argparse.Namespace) -> list[Region]:
    """Return the regions in level-0 pixels of this slide."""
    return read.placed(
        (0.0, 0.0) if options.regions_origin == "image" else analysis.slide.bounds_origin_l0
    )


def _folder(
    run: _Run, description: SlideDescription, common: _Common, options: argparse.Namespace
) -> Path:
    return results_folder(common.out, run.slide, description, anonymous=options.anonymous)


def _refuse_output(
    run: _Run, description: SlideDescription, common: _Common, options: argparse.Namespace
) -> None:
    """Refuse what cannot be written of this slide, before anything is computed."""
    from idc_desktop.export import FORMATS, PROVENANCE, require_replaceable

    for name in options.formats:
        reason = FORMATS[name].refusal(description, options.anonymous)
        if reason is not None:
            raise ExportError(f"{run.slide.name}: --format {name} is not possible: {reason}.")
    out = _folder(run, description, common, options)
    refuse_scan_folder(out, [run.slide])
    replaced = []
    if not options.overwrite:
        replaced = require_replaceable(out, description, options.formats, run.slide)
    if replaced:
        complain(
            f"note: {run.slide.name}: The folder {out.name} holds {', '.join(replaced)} without a "
            f"{PROVENANCE}, as after an export that was interrupted. They are replaced."
        )


def _collect(job: Job, common: _Common, run: _Run, options: argparse.Namespace) -> Analysis:
    """Follow the engine to the end and put its messages together."""
    from idc_desktop.export import Analysis
    from idc_desktop.record import RunRecord, require_model

    chosen, record = common.model, RunRecord()
    with _Progress(run.slide.name, options.json) as progress:
        for event in job.events():
            said, is_known = len(record.notes), record.slide is not None
            if chosen is not None:
                require_model(event, chosen.path.name, chosen.sha256)
            record.take(event)
            if record.slide is not None and not is_known:
                _refuse_output(run, record.slide, common, options)
            for note in record.notes[said:]:
                progress.say(f"note: {note}")
            if isinstance(event, Plan):
                progress.begin(event.grid.rows * event.grid.cols)
                if record.model is not None:
                    _refuse_context(record.model, record.model.words, options)
            elif isinstance(event, BlockDone):
                progress.reach(record.done_patches)
    model = record.model or chosen
    if record.slide is None or record.map is None or not record.map.states.all() or model is None:
        others = [f"{it.name} {it.version}" for it in record.stored_models]
        way_out = (
            f"There is one by {others[0]}: leave out --model to export it."
            if others
            else "Run idc-desktop analyze first."
        )
        raise ExportError(
            f"{run.slide.name}: There is no finished analysis with these options (model, mpp, "
            f"provider, tissue mask). {way_out}"
        )
    if record.model is not None:
        when = f", finished {record.analyzed}" if record.analyzed else ""
        complain(
            f"note: {run.slide.name}: The newest analysis is by {model.words} "
            f"({model.sha256[:12]}){when}."
        )
    image = record.slide.pseudonym if options.anonymous else run.slide.name
    threshold = model.card.threshold if options.threshold is None else options.threshold
    return Analysis.of(record, model, image, threshold, options.map, run.slide)


class _Progress:
    """A bar with rate and time left on a terminal, a plain line now and then elsewhere."""

    def __init__(self, name: str, silent: bool) -> None:
        self._name = name
        self._silent = silent
        self._bar: Any = None
        self._total = 0
        self._first: tuple[float, int] | None = None
        self._said = 0.0

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

    def say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(complaint(text), file=sys.stderr)
        else:
            complain(text)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


@contextlib.contextmanager
def _cancelling(job: Job, run: _Run) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM cancel the job instead of tearing this process down."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        # Noted here, too: the job may have ended already while its files are being written.
        run.is_cancelled = True
        job.cancel()
        # A second signal is taken by the usual handler.
        for name, handler in before.items():
            signal.signal(name, handler)

    before = {name: signal.signal(name, on_signal) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
