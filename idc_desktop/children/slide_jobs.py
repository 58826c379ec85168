"""The jobs of the engine that end with a map: to analyze a slide, and to recall what is stored."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idc_desktop.children.models_at_hand import (
    bundled_model,
    model_of,
    models_not_at_hand,
    tried_model,
    versions,
)
from idc_desktop.children.serving import Outbox
from idc_desktop.errors import cancelled
from idc_desktop.processes.engine_messages import (
    OVERVIEW_SIDE_PX,
    AnalyzeJob,
    Done,
    Note,
    OverviewStrip,
    Plan,
    RecallJob,
    StoredModels,
)
from idc_desktop.processes.message import MAX_TEXT, OVERVIEW, SURVEY, SlideOpened, Started

if TYPE_CHECKING:  # at run time each job imports what it needs: `info` must start fast
    import numpy as np
    import numpy.typing as npt

    from idc_desktop.analysis.tiling import PatchReader
    from idc_desktop.maps.grid import Block
    from idc_desktop.maps.mask import MaskEdits
    from idc_desktop.maps.probability_map import BlockResult
    from idc_desktop.models.inference import PatchClassifier
    from idc_desktop.models.model_file import ModelFile
    from idc_desktop.slides.reader import Rgb, Slide
    from idc_desktop.storage.run_files import RunStore, StoredRun

_COMMIT_EVERY_S = 0.25


def _warnings(slide: Slide) -> list[str]:
    doubt = slide.describe().scale_doubt
    return [*slide.warnings, *([doubt] if doubt else [])]


class _SlideJob:
    """A job on a slide that ends with a map."""

    def __init__(
        self, job: AnalyzeJob | RecallJob, outbox: Outbox, cancel: threading.Event
    ) -> None:
        self._threads, self._crashed = job.threads, dict(job.crashed)
        self._folder = Path(job.data_folder)
        self._mask = job.mask if isinstance(job, AnalyzeJob) else None
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
        from idc_desktop.children.tissue_mask import tell_mask
        from idc_desktop.maps.grid import PatchGrid
        from idc_desktop.maps.tissue import TissueSettings
        from idc_desktop.processes.record import block_done

        grid = PatchGrid(**run.settings["grid"])
        self._outbox.send(
            Plan(
                model=run.settings["model"],
                card=None if card is None else json.dumps(card),
                grid=grid,
                tissue=TissueSettings.from_dict(run.settings["tissue"]),
                provider=run.provider,
                versions=run.versions,
                blocks=len(run.results),
                restored_blocks=len(run.results),
            )
        )
        tell_mask(self._outbox, grid, self._folder, slide.describe().identity, self._mask)
        for result in run.results:
            self._outbox.send(block_done(result))
        self._send_overview(slide)
        self._outbox.send(Done(run.analyzed))


class Recall(_SlideJob):
    """One ``recall`` job."""

    def __init__(self, job: RecallJob, outbox: Outbox, cancel: threading.Event) -> None:
        super().__init__(job, outbox, cancel)
        self._job = job

    def run(self) -> None:
        """Tell it, or that there is none."""
        from idc_desktop.children.opening import open_slide
        from idc_desktop.storage.run_files import adopt, finished_runs

        job = self._job
        mpp = None if job.mpp is None else (job.mpp, job.mpp)
        with open_slide(self._outbox, job.slide, job.mpp) as slide:
            description = slide.describe()
            adopt(Path(job.data_folder), description.identity, slide.former_identities)
        for run in finished_runs(Path(job.data_folder), description.identity):
            wanted = run.matches(job.model, mpp, job.provider, job.tissue)
            # Version 1 kept no card.
            model = (run.model or bundled_model(run.settings["model"])) if wanted else None
            if model is not None:
                break
        else:
            self._outbox.send(SlideOpened(description))
            self._outbox.send(Done())
            return
        had = tuple(run.settings["mpp"])
        # What the file does not say, or says otherwise, was given by hand.
        given = job.mpp if had == description.mpp_xy else had[0]
        with open_slide(self._outbox, job.slide, given) as slide:
            self._outbox.send(SlideOpened(slide.describe()))
            for note in _warnings(slide):
                self._note(f"{slide.name}: {note}")
            self._tell_run(slide, run, model.card.without_golden())


class Analysis(_SlideJob):
    """One ``analyze`` job."""

    def __init__(self, job: AnalyzeJob, outbox: Outbox, cancel: threading.Event) -> None:
        super().__init__(job, outbox, cancel)
        self._job = job

    def run(self) -> None:
        """Tell what is stored, compute what is missing, and tell that as it comes."""
        import numpy as np

        from idc_desktop.analysis.blocks import OutputCheck
        from idc_desktop.analysis.tiling import PatchReader
        from idc_desktop.children.opening import open_slide
        from idc_desktop.children.tissue_mask import tell_mask
        from idc_desktop.maps.tissue import TissueSettings
        from idc_desktop.processes.record import block_done
        from idc_desktop.storage.run_files import RunFacts, RunStore, adopt

        job, outbox = self._job, self._outbox
        with open_slide(outbox, job.slide, job.mpp) as slide:
            slide.require_mpp()
            description = slide.describe()
            outbox.send(SlideOpened(description))
            model = model_of(job.model)
            reader = PatchReader(slide, model.card.patch, TissueSettings(enabled=job.tissue))
            classifier = tried_model(job.model, job.provider, outbox)
            if SURVEY in self._crashed:
                what = "A look around the slide kills the reader process: glass is taken for white"
                self._note(f"{slide.name}: {what}, and only the darkest folds are found.")
            else:
                outbox.send(Started(SURVEY))
                reader.look_around()
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
                "tissue": reader.tissue.as_dict(),
                "provider": choice.used,
                "onnxruntime": versions()["onnxruntime"],
                "preprocessing": versions()["preprocessing"],
            }
            folder = self._folder
            adopt(folder, description.identity, slide.former_identities)
            if job.recall and self._recall_older(slide, model, settings):
                return
            for note in (*_warnings(slide), *reader.notes):
                self._note(f"{slide.name}: {note}")
            is_partial = bool(job.inside)
            about = RunFacts(model.card.without_golden(), asdict(choice), versions(), is_partial)
            with RunStore(
                folder, description.identity, settings, job.restart, about, slide.name
            ) as store:
                for note in store.notes:
                    self._note(note)
                outbox.send(
                    Plan(
                        model=model.sha256,
                        grid=grid,
                        tissue=reader.tissue,
                        provider=choice,
                        versions=versions(),
                        blocks=reader.block_count(),
                        restored_blocks=len(store.restored),
                        is_partial=is_partial or (job.recall and store.is_partial),
                    )
                )
                edits = tell_mask(outbox, grid, folder, description.identity, self._mask)
                self._states = np.zeros((grid.rows, grid.cols), np.uint8)
                for result in store.results():
                    self._states[result.block.place] = result.states
                    outbox.send(block_done(result))
                    self._check.count(result)
                is_complete = len(store.restored) == reader.block_count()
                if not job.recall:
                    self._analyze_missing(slide, reader, classifier, store, edits)
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
        self._outbox.send(StoredModels(models_not_at_hand(runs, model)))
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
        self,
        slide: Slide,
        reader: PatchReader,
        classifier: PatchClassifier,
        store: RunStore,
        edits: MaskEdits | None,
    ) -> None:
        """Analyze what is asked for and not known; then what is tissue by the user's hand alone."""
        import numpy as np

        from idc_desktop.analysis.tiling import PatchReader
        from idc_desktop.maps.probability_map import PatchState
        from idc_desktop.maps.tissue import TissueSettings
        from idc_desktop.regions.mask import touched

        inside = touched(self._job.inside, reader.grid) if self._job.inside else np.True_
        reader.wanted = np.equal(self._states, PatchState.PENDING) & inside
        self._analyze_wanted(slide, reader, classifier, store, reader.wanted)
        if edits is None:
            return
        wanted = np.equal(self._states, PatchState.BACKGROUND) & edits.added & inside
        if wanted.any():
            unmasked = PatchReader(slide, reader.patch, TissueSettings(enabled=False))
            unmasked.survey = replace(reader.survey, tissue=unmasked.tissue)
            unmasked.wanted = wanted
            self._analyze_wanted(slide, unmasked, classifier, store, wanted)

    def _analyze_wanted(
        self,
        slide: Slide,
        reader: PatchReader,
        classifier: PatchClassifier,
        store: RunStore,
        wanted: npt.NDArray[np.bool_],
    ) -> None:
        from idc_desktop.maps.probability_map import BlockResult

        crashed = dict(self._job.crashed)
        careful = set(self._job.careful) - crashed.keys()
        first = self._job.first

        def is_due(block: Block) -> bool:
            return bool(wanted[block.place].any())

        def missing() -> Iterator[Block]:
            """Yield what is still to do: what the user looks at, then all else."""
            for in_view in (True, False) if first else (True,):
                for block in reader.blocks():
                    is_next = first is None or reader.grid.touches(block, first) == in_view
                    if is_next and is_due(block) and block.number not in crashed.keys() | careful:
                        yield block

        lost = [block for block in reader.blocks() if block.number in crashed and is_due(block)]
        if lost:
            why = [(it, crashed[it.number], wanted[it.place]) for it in lost]
            self._commit(store, [BlockResult.failed(*it) for it in why])
        # A suspect runs alone, so that a second crash convicts it and nothing else.
        for block in reader.blocks():
            if block.number in careful and is_due(block):
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

        for result in store.commit(results) if results else ():
            self._states[result.block.place] = result.states
            self._outbox.send(block_done(result))
