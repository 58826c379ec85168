"""The engine: a child process that opens slides and models, and runs one job after the other.

It is started by `supervisor` only, gets its job as the first message on stdin and answers on
stdout; unless the job says that it is to stay for another, it ends with it. When stdin closes, the
parent is gone and the engine ends at once, losing nothing that was committed. Jobs and their
answers are in `engine_messages`.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idc_desktop.children.serving import Listen, Outbox, serve
from idc_desktop.errors import ModelError, cancelled
from idc_desktop.processes.cut_messages import CutJob
from idc_desktop.processes.engine_messages import (
    ENGINE_JOBS,
    OVERVIEW_SIDE_PX,
    AnalyzeJob,
    Doctor,
    DoctorJob,
    Done,
    InfoJob,
    ModelVerified,
    Note,
    OverviewStrip,
    Plan,
    RecallJob,
    StoredModel,
    StoredModels,
    Tried,
    Trying,
    VerifyJob,
)
from idc_desktop.processes.message import (
    MAX_TEXT,
    OVERVIEW,
    Cancel,
    JobMessage,
    SlideOpened,
    Started,
)

if TYPE_CHECKING:  # at run time each job imports what it needs: `info` must start fast
    from idc_desktop.analysis.tiling import PatchReader
    from idc_desktop.maps.grid import Block
    from idc_desktop.maps.probability_map import BlockResult
    from idc_desktop.models.card import ModelCard
    from idc_desktop.models.inference import PatchClassifier
    from idc_desktop.models.model_file import ModelFile
    from idc_desktop.models.provider import Provider
    from idc_desktop.slides.reader import Rgb, Slide
    from idc_desktop.storage.run_files import RunStore, StoredRun

_COMMIT_EVERY_S = 0.25
_LOOK_EVERY_S = 0.5
_LONGEST_RUN_LOOKS = 40  # VGG-16 takes a quarter of a second for a batch on two busy cores


def main() -> None:
    """Run the job that arrives on stdin."""
    serve(run_job, (*ENGINE_JOBS, CutJob))


def run_job(job: JobMessage, outbox: Outbox, listen: Listen) -> None:
    """Run a job and send what answers it."""
    if isinstance(job, CutJob):
        from idc_desktop.children.cutting import cut_patches

        cut_patches(job, outbox, listen)
        return
    cancel = threading.Event()
    listen(lambda command: cancel.set() if isinstance(command, Cancel) else None)
    match job:
        case InfoJob():
            _info(job, outbox)
        case DoctorJob():
            _doctor(outbox)
        case VerifyJob():
            _verify(job, outbox)
        case AnalyzeJob():
            _Analysis(job, outbox, cancel).run()
        case RecallJob():
            _Recall(job, outbox, cancel).run()


def _info(job: InfoJob, outbox: Outbox) -> None:
    from idc_desktop.slides.reader import Slide

    with Slide(Path(job.slide)) as slide:
        outbox.send(SlideOpened(slide.describe()))


def _verify(job: VerifyJob, outbox: Outbox) -> None:
    classifier = _try_model(job.model, job.provider, outbox)
    outbox.send(ModelVerified(classifier.provider, classifier.golden_error))


@lru_cache(maxsize=1)
def _read_model(named: str) -> ModelFile:
    """Read a model, once for all jobs of this process: that it is the right one, its hash says."""
    from idc_desktop.models.model_file import find_model, read_model

    return read_model(find_model(named))


@lru_cache(maxsize=1)
def _try_model(named: str, provider: Provider, outbox: Outbox) -> PatchClassifier:
    """Load a model and run it, once for all jobs of this process.

    If that is the end of the process, the parent knows of what.
    """
    from idc_desktop.models.inference import PatchClassifier

    model = _read_model(named)
    name = model.path.name
    classifier = PatchClassifier(model, provider, lambda on: outbox.send(Trying(name, on)))
    outbox.send(Tried())
    threading.Thread(target=_watch_runs, args=(classifier, name, outbox), daemon=True).start()
    return classifier


def _watch_runs(classifier: PatchClassifier, name: str, outbox: Outbox) -> None:
    """End this process should the model come to no end, as on a number of patches not tried."""
    while classifier.look_at_runs() <= _LONGEST_RUN_LOOKS:
        # Looks are counted and not seconds: a machine that slept has not looked.
        time.sleep(_LOOK_EVERY_S)
    limit_s = _LONGEST_RUN_LOOKS * _LOOK_EVERY_S
    message = (
        f"{name}: The model did not come to an end within {limit_s:g} s. What was analyzed is "
        "kept. Choose another model."
    )
    outbox.give_up(ModelError(message))


def _doctor(outbox: Outbox) -> None:
    from idc_desktop.models.inference import available_providers, cuda_problem

    outbox.send(Doctor(_versions(), tuple(available_providers()), cuda_problem()))


def _versions() -> dict[str, str]:
    import platform
    import sqlite3

    import numpy as np

    from idc_desktop import __version__
    from idc_desktop.analysis.shield import SHIELD_VERSION
    from idc_desktop.analysis.tiling import PREPROCESSING_VERSION
    from idc_desktop.models.inference import RUNTIME_VERSION
    from idc_desktop.slides.reader import OPENSLIDE_VERSION

    return {
        "idc-desktop": __version__,
        "preprocessing": str(PREPROCESSING_VERSION),
        "shield": str(SHIELD_VERSION),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": RUNTIME_VERSION,
        "openslide": OPENSLIDE_VERSION,
        "sqlite": sqlite3.sqlite_version,
    }


@cache
def _bundled_model(sha256: str) -> ModelFile | None:
    """Return the bundled model of a hash, if there is one."""
    from idc_desktop.models.model_file import bundled_models, read_model

    for path in bundled_models().values():
        if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return read_model(path)
    return None


def _models_not_at_hand(runs: list[StoredRun], chosen: ModelFile) -> tuple[StoredModel, ...]:
    """Return the models of runs, each with its newest, that are neither chosen nor bundled."""
    newest: dict[str, tuple[ModelCard, str | None]] = {}
    for run in runs:
        if run.settings["model"] != chosen.sha256 and (model := run.model) is not None:
            newest.setdefault(model.sha256, (model.card, run.analyzed))
    for sha256 in list(newest):
        if _bundled_model(sha256) is not None:
            del newest[sha256]
    return tuple(
        StoredModel(sha256, card.name, card.version, analyzed)
        for sha256, (card, analyzed) in newest.items()
    )


def _warnings(slide: Slide) -> list[str]:
    doubt = slide.describe().scale_doubt
    return [*slide.warnings, *([doubt] if doubt else [])]


class _SlideJob:
    """A job on a slide that ends with a map."""

    def __init__(
        self, job: AnalyzeJob | RecallJob, outbox: Outbox, cancel: threading.Event
    ) -> None:
        self._threads, self._crashed = job.threads, dict(job.crashed)
        self._outbox = outbox
        self._cancel = cancel

    def _note(self, text: str) -> None:
        self._outbox.send(Note(text[:MAX_TEXT]))

    def _send_overview(self, slide: Slide) -> None:
        import numpy as np

        from idc_desktop.analysis.appearance import Appearance

        plan, appearance = slide.overview(OVERVIEW_SIDE_PX), Appearance()
        if OVERVIEW in self._crashed:
            note = "Its overview kills the reader process; the overlay shows the map on white."
            self._note(f"{slide.name}: {note}")
            blank = np.full((1, plan.width, 3), 255, np.uint8)
            strips: Iterator[Rgb] = (blank for _ in range(plan.height))
        else:
            self._outbox.send(Started(OVERVIEW))
            strips = slide.overview_strips(plan, self._threads, appearance.leave_out)
        row = 0
        for strip in strips:
            if self._cancel.is_set():
                raise cancelled(slide.name)
            self._outbox.send(
                OverviewStrip(
                    plan.width,
                    plan.height,
                    plan.px_l0,
                    row,
                    len(strip),
                    payload=strip.tobytes(),
                )
            )
            row += len(strip)
            appearance.add(strip)
        for note in appearance.notes():
            self._note(f"{slide.name}: {note}")

    def _tell_run(self, slide: Slide, run: StoredRun, card: Mapping[str, Any] | None) -> None:
        """Tell a finished run from its file, and the model's card if it has no file."""
        from idc_desktop.maps.grid import PatchGrid
        from idc_desktop.maps.tissue import TissueSettings
        from idc_desktop.processes.record import block_done

        self._outbox.send(
            Plan(
                model=run.settings["model"],
                card=None if card is None else json.dumps(card),
                grid=PatchGrid(**run.settings["grid"]),
                tissue=TissueSettings(**run.settings["tissue"]),
                provider=run.provider,
                versions=run.versions,
                blocks=len(run.results),
                restored_blocks=len(run.results),
            )
        )
        for result in run.results:
            self._outbox.send(block_done(result))
        self._send_overview(slide)
        self._outbox.send(Done(run.analyzed))


class _Recall(_SlideJob):
    """One ``recall`` job."""

    def __init__(self, job: RecallJob, outbox: Outbox, cancel: threading.Event) -> None:
        super().__init__(job, outbox, cancel)
        self._job = job

    def run(self) -> None:
        from idc_desktop.slides.reader import Slide
        from idc_desktop.storage.run_files import adopt, finished_runs

        job, path = self._job, Path(self._job.slide)
        mpp = None if job.mpp is None else (job.mpp, job.mpp)
        with Slide(path, job.mpp) as slide:
            description = slide.describe()
            adopt(Path(job.data_folder), description.identity, slide.former_identities)
        for run in finished_runs(Path(job.data_folder), description.identity):
            wanted = run.matches(job.model, mpp, job.provider, job.tissue)
            # Version 1 kept no card.
            model = (run.model or _bundled_model(run.settings["model"])) if wanted else None
            if model is not None:
                break
        else:
            self._outbox.send(SlideOpened(description))
            self._outbox.send(Done())
            return
        had = tuple(run.settings["mpp"])
        # What the file does not say, or says otherwise, was given by hand.
        with Slide(path, job.mpp if had == description.mpp_xy else had[0]) as slide:
            self._outbox.send(SlideOpened(slide.describe()))
            for note in _warnings(slide):
                self._note(f"{slide.name}: {note}")
            self._tell_run(slide, run, model.card.without_golden())


class _Analysis(_SlideJob):
    """One ``analyze`` job."""

    def __init__(self, job: AnalyzeJob, outbox: Outbox, cancel: threading.Event) -> None:
        super().__init__(job, outbox, cancel)
        self._job = job

    def run(self) -> None:
        from idc_desktop.analysis.blocks import OutputCheck
        from idc_desktop.analysis.tiling import PatchReader
        from idc_desktop.maps.tissue import TissueSettings
        from idc_desktop.processes.record import block_done
        from idc_desktop.slides.reader import Slide
        from idc_desktop.storage.run_files import RunFacts, RunStore, adopt

        job, outbox = self._job, self._outbox
        with Slide(Path(job.slide), job.mpp) as slide:
            slide.require_mpp()
            description = slide.describe()
            outbox.send(SlideOpened(description))
            model = _read_model(job.model)
            tissue = TissueSettings(enabled=job.tissue)
            reader = PatchReader(slide, model.card.patch, tissue)
            classifier = _try_model(job.model, job.provider, outbox)
            choice = classifier.provider
            if choice.requested == "cuda" and choice.fallback_reason:
                text = f"CUDA cannot be used ({choice.fallback_reason}); running on the CPU."
                self._note(text)
            grid = reader.grid
            self._check = OutputCheck(model.path.name, slide.name, grid.rows * grid.cols)
            settings = {
                "slide": description.identity,
                "model": model.sha256,
                "mpp": [slide.require_mpp().x, slide.require_mpp().y],
                "grid": asdict(grid),
                "tissue": tissue.as_dict(),
                "provider": choice.used,
                "onnxruntime": _versions()["onnxruntime"],
                "preprocessing": _versions()["preprocessing"],
            }
            folder = Path(job.data_folder)
            adopt(folder, description.identity, slide.former_identities)
            if job.recall and self._recall_older(slide, model, settings):
                return
            for note in (*_warnings(slide), *reader.notes):
                self._note(f"{slide.name}: {note}")
            about = RunFacts(model.card.without_golden(), asdict(choice), _versions())
            with RunStore(
                folder, description.identity, settings, job.restart, about, slide.name
            ) as store:
                for note in store.notes:
                    self._note(note)
                outbox.send(
                    Plan(
                        model=model.sha256,
                        grid=grid,
                        tissue=tissue,
                        provider=choice,
                        versions=_versions(),
                        blocks=reader.block_count(),
                        restored_blocks=len(store.restored),
                    )
                )
                for result in store.results():
                    outbox.send(block_done(result))
                    self._check.count(result)
                is_complete = len(store.restored) == reader.block_count()
                if not is_complete and not job.recall:
                    self._analyze_missing(slide, reader, classifier, store)
                self._check.finish()
            if is_complete or not job.recall:
                self._send_overview(slide)
            outbox.send(Done(store.analyzed))

    def _recall_older(self, slide: Slide, model: ModelFile, settings: Mapping[str, Any]) -> bool:
        """Tell what else is stored; return whether there is nothing of this very run.

        Then a finished one by the same model counts, which an earlier version computed.
        """
        from idc_desktop.storage.run_files import finished_runs, run_path

        job, identity = self._job, settings["slide"]
        runs = finished_runs(Path(job.data_folder), identity)
        self._outbox.send(StoredModels(_models_not_at_hand(runs, model)))
        if run_path(Path(job.data_folder), identity, settings).exists():
            return False
        mpp_x, mpp_y = settings["mpp"]
        for run in runs:
            if run.matches(model.sha256, (mpp_x, mpp_y), job.provider, job.tissue):
                made = ", ".join(f"{name} {it}" for name, it in sorted(run.versions.items()))
                made_by = f"This analysis was made by an earlier version ({made})."
                for note in (*_warnings(slide), made_by):
                    self._note(f"{slide.name}: {note}")
                self._tell_run(slide, run, None)
                return True
        self._outbox.send(Done())
        return True

    def _analyze_missing(
        self, slide: Slide, reader: PatchReader, classifier: PatchClassifier, store: RunStore
    ) -> None:
        from idc_desktop.maps.probability_map import BlockResult

        known = set(store.restored)
        crashed = dict(self._job.crashed)
        careful = set(self._job.careful) - crashed.keys()

        first = self._job.first
        done = known | crashed.keys()

        def missing() -> Iterator[Block]:
            """Yield what is still to do: what the user looks at, then all else."""
            for in_view in (True, False) if first else (True,):
                for block in reader.blocks():
                    wanted = first is None or reader.grid.touches(block, first) == in_view
                    if wanted and block.number not in done | careful:
                        yield block

        lost = [block for block in reader.blocks() if block.number in crashed.keys() - known]
        if lost:
            self._commit(store, [BlockResult.failed(it, crashed[it.number]) for it in lost])
        # A suspect runs alone, so that a second crash convicts it and nothing else.
        for block in reader.blocks():
            if block.number in careful - done:
                self._run(slide, reader, classifier, store, [block], threads=1)
        self._run(slide, reader, classifier, store, missing(), threads=self._job.threads)

    def _run(
        self,
        slide: Slide,
        reader: PatchReader,
        classifier: PatchClassifier,
        store: RunStore,
        blocks: Iterable[Block],
        *,
        threads: int,
    ) -> None:
        from idc_desktop.analysis.blocks import analyze_blocks

        def announce(block: Block) -> None:
            self._outbox.send(Started(block.number))

        pending: list[BlockResult] = []
        committed = time.monotonic()
        try:
            for result in analyze_blocks(
                slide,
                reader,
                classifier,
                blocks,
                threads=threads,
                cancel=self._cancel,
                on_start=announce,
            ):
                pending.append(result)
                self._check.count(result)
                if time.monotonic() - committed >= _COMMIT_EVERY_S:
                    self._commit(store, pending)
                    pending, committed = [], time.monotonic()
        finally:
            self._commit(store, pending)

    def _commit(self, store: RunStore, results: list[BlockResult]) -> None:
        from idc_desktop.processes.record import block_done

        if results:
            store.commit(results)
        for result in results:
            self._outbox.send(block_done(result))


if __name__ == "__main__":
    main()
