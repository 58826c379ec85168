"""One slide's job: analyze it, or take what is stored of it, and write the files.

It prints nothing: what there is to say is heard by a `Listener` or stands in the `Report`. Imports
are made where they are needed, so that a child process is at work while this one loads.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from idc_desktop.cohorts.report import Listener, Report
from idc_desktop.console import EXIT_PARTIAL, absolute
from idc_desktop.errors import (
    DefectError,
    ExportError,
    FormatError,
    IdcError,
    ModelError,
    not_written,
)
from idc_desktop.export.results import refuse_scan_folder, results_folder
from idc_desktop.maps.layers import CONTEXT
from idc_desktop.models.provider import Provider
from idc_desktop.plain_text import counted
from idc_desktop.processes.child import IdleChildren
from idc_desktop.processes.engine_messages import AnalyzeJob, BlockDone, Plan, RecallJob
from idc_desktop.processes.supervisor import Job, usable_threads

if TYPE_CHECKING:
    from idc_desktop.export.content import Analysis
    from idc_desktop.models.card import Model
    from idc_desktop.models.model_file import ModelFile
    from idc_desktop.processes.record import RunRecord
    from idc_desktop.processes.region_reading import ReadRegions
    from idc_desktop.regions.shape import Region
    from idc_desktop.slides.description import SlideDescription


@dataclass(frozen=True)
class JobOptions:
    """What is asked for of each slide.

    Attributes
    ----------
    out : Path
        Gets a folder for each slide.
    model : str or None
        Name or file; None is that of the newest analysis that is stored.
    regions : Path or None
        File of regions that get rows of their own.
    regions_origin : {"image", "bounds"}
        Where (0, 0) of that file is.
    threshold : float or None
        None is the model's.
    map : {"patch", "context"} or None
        None is the best that the model has.
    mpp : float or None
        Resolution given by the user, µm per pixel.
    provider : {"auto", "cpu", "cuda"}
    threads : int
    has_tissue_mask : bool
        Whether glass and background are left out.
    is_anonymous : bool
        Whether a part of the slide's identity stands for its file name.
    formats : tuple of str
        Of `idc_desktop.export.formats.FORMATS`, beside the six files.
    overwrites : bool
        Whether results of another slide are replaced, too.
    restarts : bool
        Whether what was computed before is forgotten.
    recalls : bool
        Whether only what is stored is taken, and nothing computed.
    folder : str or None
        Name of the slide's folder in `out`; None is that of the slide.
    has_shield : bool
        Whether patches that the shield found something on are left out of the figures.
    is_alone : bool
        The only slide of the command: refused if it can be written in none of `formats`. One of
        several is written without those that cannot hold it.
    """

    out: Path
    model: str | None
    regions: Path | None = None
    regions_origin: str = "image"
    threshold: float | None = None
    map: str | None = None
    mpp: float | None = None
    provider: Provider = "auto"
    threads: int = field(default_factory=usable_threads)
    has_tissue_mask: bool = True
    is_anonymous: bool = False
    formats: tuple[str, ...] = ()
    overwrites: bool = False
    restarts: bool = False
    recalls: bool = False
    folder: str | None = None
    has_shield: bool = True
    is_alone: bool = False


@dataclass(frozen=True)
class JobInputs:
    """What is read once for all slides.

    Attributes
    ----------
    model : ModelFile or None
        None if it is to be that of a stored run.
    regions : ReadRegions
    """

    model: ModelFile | None
    regions: ReadRegions


def start_engine(slide: Path, options: JobOptions, idle: IdleChildren | None = None) -> Job:
    """Have an engine begin with a slide, one of those that wait where there are any."""
    from idc_desktop.storage.user_data import data_folder

    if options.model is None:
        recall = RecallJob(
            slide=str(slide),
            data_folder=str(data_folder()),
            mpp=options.mpp,
            provider=options.provider,
            threads=options.threads,
            tissue=None if options.has_tissue_mask else False,
        )
        return Job(recall, slide.name, idle=idle)
    # Wherever the engine stands, a file is found by its absolute path.
    is_file = options.model.lower().endswith(".onnx")
    job = AnalyzeJob(
        slide=str(slide),
        model=str(absolute(options.model)) if is_file else options.model,
        mpp=options.mpp,
        provider=options.provider,
        threads=options.threads,
        data_folder=str(data_folder()),
        tissue=options.has_tissue_mask,
        restart=options.restarts,
        recall=options.recalls,
    )
    return Job(job, slide.name, idle=idle)


def read_inputs(
    options: JobOptions, slides: Iterable[Path], note: Callable[[str], object]
) -> JobInputs:
    """Read what all slides have in common, and make the folder of the results.

    Raises
    ------
    IdcError
        Model or regions cannot be used, or the folder cannot be made or is one of a scan's own.
    """
    from idc_desktop.models.model_file import find_model, read_model
    from idc_desktop.processes.region_reading import ReadRegions, RegionReading

    refuse_scan_folder(options.out, list(slides), gets_files=False)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        elsewhere = "choose another folder with --out"
        raise not_written(f"{options.out}: The folder cannot be made", error, elsewhere) from error
    model: ModelFile | None = None
    regions = ReadRegions([], (), states_origin=True)
    if options.model is not None:
        model = read_model(find_model(options.model))
        _refuse_context(model, model.path.name, options)
    if options.regions is not None:
        regions = RegionReading(options.regions).result()
        for text in regions.notes:
            note(text)
    return JobInputs(model, regions)


def analyze_one(
    slide: Path,
    options: JobOptions,
    inputs: JobInputs,
    *,
    job: Job | None = None,
    idle: IdleChildren | None = None,
    listener: Listener | None = None,
) -> Report:
    """Analyze a slide and write its files; whatever ends that stands in the report.

    Parameters
    ----------
    job : Job or None
        The engine, if it was started already (`start_engine`).
    idle : IdleChildren or None
        Engines that wait for a job, where the one of this job is left afterwards.
    listener : Listener or None
        Hears how it goes; what it raises as `BrokenPipeError` ends the job and is raised here.
    """
    report, listener = Report(slide), listener or Listener()
    try:
        _work(report, job or start_engine(slide, options, idle), options, inputs, listener)
    except BrokenPipeError:
        raise
    except IdcError as error:
        report.fail(error)
    except Exception:  # noqa: BLE001 - a defect on one slide costs no other
        report.fail(DefectError(traceback.format_exc()))
    return report


def _work(
    report: Report, job: Job, options: JobOptions, inputs: JobInputs, listener: Listener
) -> None:
    began = time.monotonic()
    listener.started(job)
    with contextlib.closing(job):
        # Loads the libraries of the export while the engine is at work.
        from idc_desktop.cohorts.drawn import digest, marks_of, regions_of, stored
        from idc_desktop.export.folder import write_folder
        from idc_desktop.maps.shield_notes import shield_notes

        analysis = _collect(report.slide, job, options, inputs, listener)
        kept = stored(report.slide.name, analysis.slide, listener.note)
        origin_l0 = _origin_l0(options, analysis.slide)
        regions = regions_of(kept, inputs.regions, analysis.slide, origin_l0)
        out = _folder(report.slide, analysis.slide, options)
        write = partial(
            write_folder,
            out,
            analysis,
            regions,
            marks=marks_of(kept, inputs.regions, origin_l0),
            sheet=kept.sheet.nameless if options.is_anonymous else kept.sheet,
            overwrite=options.overwrites,
        )
        outdated = _written(report, options, lambda formats: write(formats=formats))
    report.identity, report.drawn = analysis.slide.identity, digest(kept)
    counts = report.counts = analysis.map.counts()
    failed = analysis.map.failed_patches
    is_partial = bool(failed or report.shortfall)
    report.status, report.out = ("partial" if is_partial else "done"), out
    report.exit_code = EXIT_PARTIAL if is_partial else 0
    report.provider, report.is_stored = analysis.provider.used, analysis.is_recalled
    report.seconds = round(time.monotonic() - began, 3)
    report.patches_per_second = round(
        (counts["ok"] + counts["excluded"]) / max(report.seconds, 1e-3), 1
    )
    report.excluded = shield_notes(analysis.map)
    report.remarks = _remarks(report.slide.name, analysis, regions, outdated)
    listener.written(analysis, regions)


def _written(
    report: Report, options: JobOptions, write: Callable[[list[str]], list[str]]
) -> list[str]:
    """Write in those formats that can hold the slide; return what `write` does of the last try."""
    formats = list(dict.fromkeys(options.formats))
    while True:
        try:
            return write(formats)
        except FormatError as error:
            formats.remove(error.format)
            if options.is_alone and not formats:
                raise
            report.shortfall.append(str(error))


def _remarks(
    name: str, analysis: Analysis, regions: list[Region], outdated: list[str]
) -> list[str]:
    from idc_desktop.regions.statistics import overlaps_slide

    remarks, failed = [], analysis.map.failed_patches
    if failed:
        (row, col), why = min(analysis.map.reasons.items())
        they = "It is" if failed == 1 else "They are"
        remarks.append(
            f"{name}: {counted(failed, 'patch')} failed, the first at row {row}, column {col} "
            f"({why}). {they} listed in patches.csv and left out of statistics."
        )
    counts = analysis.map.counts()
    remarks += [f"note: {name}: {text}" for text in analysis.tissue.notes(counts)]
    off = [region.name for region in regions if not overlaps_slide(region, analysis.map.grid)]
    if off:
        which = (
            f"The region {off[0]!r} lies"
            if len(off) == 1
            else f"{len(off):,} of {len(regions):,} regions, the first: {off[0]!r}, lie"
        )
        remarks.append(
            f"note: {name}: {which} off the slide. Coordinates must be "
            "level-0 pixels of this slide (see --regions-origin)."
        )
    if outdated:
        remarks.append(
            f"note: {name}: Of an earlier export, and not written again: {', '.join(outdated)}. "
            "Delete what is outdated, or export again in these formats."
        )
    return remarks


def _refuse_context(model: Model, file: str, options: JobOptions) -> None:
    if options.map == CONTEXT and model.card.context is None:
        raise ModelError(f"{file}: The model has no context map. Leave out --map context.")


def _origin_l0(options: JobOptions, slide: SlideDescription) -> tuple[float, float]:
    """Return where (0, 0) of a file of regions lies that does not say so itself."""
    return (0.0, 0.0) if options.regions_origin == "image" else slide.bounds_origin_l0


def _folder(slide: Path, description: SlideDescription, options: JobOptions) -> Path:
    if options.folder is not None:
        return options.out / options.folder
    return results_folder(options.out, slide, description, anonymous=options.is_anonymous)


def _refuse_output(
    slide: Path, description: SlideDescription, options: JobOptions, listener: Listener
) -> None:
    """Refuse what cannot be written of this slide, before anything is computed."""
    from idc_desktop.export.earlier import require_replaceable
    from idc_desktop.export.formats import FORMATS
    from idc_desktop.export.verify import PROVENANCE

    refusals = [FORMATS[it].refusal(description, options.is_anonymous) for it in options.formats]
    if options.is_alone and refusals and None not in refusals:
        raise FormatError(slide.name, options.formats[0], refusals[0] or "")
    out = _folder(slide, description, options)
    refuse_scan_folder(out, [slide])
    replaced = []
    if not options.overwrites:
        replaced = require_replaceable(out, description, options.formats, slide)
    if replaced:
        listener.note(
            f"{slide.name}: The folder {out.name} holds {', '.join(replaced)} without a "
            f"{PROVENANCE}, as after an export that was interrupted. They are replaced."
        )


def _collect(
    slide: Path, job: Job, options: JobOptions, inputs: JobInputs, listener: Listener
) -> Analysis:
    """Follow the engine to the end and put its messages together."""
    from idc_desktop.export.content import Analysis
    from idc_desktop.processes.record import RunRecord

    card = inputs.model.card if inputs.model is not None else None
    record = RunRecord(card, is_shielded=options.has_shield)
    try:
        _follow(record, slide, job, options, inputs, listener)
    finally:
        listener.end()
    model = record.model or inputs.model
    if record.slide is None or record.map is None or not record.map.states.all() or model is None:
        missing = _missing_of_mask(record)
        if missing and model is not None:
            raise ExportError(
                f"{slide.name}: {missing:,} patches that were added to the tissue mask are not "
                "analyzed yet. Run idc-desktop analyze first."
            )
        others = [f"{it.name} {it.version}" for it in record.stored_models]
        way_out = (
            f"There is one by {others[0]}: leave out --model to export it."
            if others
            else "Run idc-desktop analyze first."
        )
        raise ExportError(
            f"{slide.name}: There is no finished analysis with these options (model, mpp, "
            f"provider, tissue mask). {way_out}"
        )
    if record.model is not None:
        when = f", finished {record.analyzed}" if record.analyzed else ""
        listener.note(
            f"{slide.name}: The newest analysis is by {model.words} ({model.sha256[:12]}){when}."
        )
    image = record.slide.pseudonym if options.is_anonymous else slide.name
    name = options.map or model.card.best_map
    own = model.card.operation(name).threshold
    threshold = own if options.threshold is None else options.threshold
    return Analysis.of(record, model, image, threshold, name, slide)


def _missing_of_mask(record: RunRecord) -> int:
    """Return how many patches are missing, if they are all of the user's additions to the mask."""
    import numpy as np

    if record.map is None or record.map.mask is None:
        return 0
    is_missing = np.equal(record.map.states, 0)
    return int(is_missing.sum()) if not (is_missing & ~record.map.mask.added).any() else 0


def _follow(
    record: RunRecord,
    slide: Path,
    job: Job,
    options: JobOptions,
    inputs: JobInputs,
    listener: Listener,
) -> None:
    from idc_desktop.processes.record import require_model

    chosen = inputs.model
    for event in job.events():
        said, is_known = len(record.notes), record.slide is not None
        if chosen is not None:
            require_model(event, chosen.path.name, chosen.sha256)
        record.take(event)
        if record.slide is not None and not is_known:
            _refuse_output(slide, record.slide, options, listener)
        for note in record.notes[said:]:
            listener.note(note)
        if isinstance(event, Plan):
            listener.begin(event.grid.rows * event.grid.cols)
            if record.model is not None:
                _refuse_context(record.model, record.model.words, options)
        elif isinstance(event, BlockDone):
            listener.reach(record.done_patches)
