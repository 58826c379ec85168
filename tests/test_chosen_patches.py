"""Patches that are asked for alone: inside regions, and by a tissue mask that the user changed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idc_desktop.analysis import blocks
from idc_desktop.children import models_at_hand
from idc_desktop.children.slide_jobs import Analysis, Recall
from idc_desktop.export.content import mask_notes
from idc_desktop.maps.mask import cells_of, spans_of
from idc_desktop.maps.probability_map import PatchState, ProbabilityMap
from idc_desktop.models.inference import PatchClassifier
from idc_desktop.models.model_file import read_model
from idc_desktop.processes.engine_messages import AnalyzeJob, RecallJob
from idc_desktop.processes.message import Event
from idc_desktop.processes.record import RunRecord
from idc_desktop.regions.book import RegionBook
from idc_desktop.regions.mask import mask_areas, mask_edits, outline
from idc_desktop.regions.shape import MASK_ADDED, MASK_REMOVED, Region, rectangle
from idc_desktop.slides.slide_files import SlideFiles
from idc_desktop.storage.user_data import slide_folder
from tests.support.models import TinyModel
from tests.support.scenes import Scene

PX = 200  # of a cell
GLASS = Region("glass", rectangle(0, 0, PX, PX), MASK_ADDED)  # cell (0, 0)
TISSUE = Region("tissue", rectangle(PX, PX, 2 * PX, 2 * PX), MASK_REMOVED)  # cell (1, 1)
INNER = rectangle(1.5 * PX, 1.5 * PX, 2.5 * PX, 2.2 * PX)  # touches four cells
OK, BACKGROUND, PENDING = PatchState.OK, PatchState.BACKGROUND, PatchState.PENDING


class Engine:
    """Runs jobs in this process, and counts the patches that a job computed."""

    def __init__(self, slide: Scene, model: TinyModel, data: Path) -> None:
        self.slide, self.model, self.data = slide, model, data
        self.computed = 0

    def analyze(self, **changes: Any) -> ProbabilityMap:
        head = (str(self.slide.path), str(self.model.path), None, "cpu", 1, str(self.data))
        return self._run(AnalyzeJob(*head, **changes))

    def recall(self) -> ProbabilityMap:
        return self._run(RecallJob(str(self.slide.path), str(self.data), None, "auto", 1))

    def _run(self, job: AnalyzeJob | RecallJob) -> ProbabilityMap:
        record = self.record = RunRecord(read_model(self.model.path).card)

        class Outbox:
            def send(self, event: Event) -> None:
                record.take(event)

        kind: Any = Analysis if isinstance(job, AnalyzeJob) else Recall
        self.computed = 0
        kind(job, Outbox(), threading.Event()).run()
        assert record.map is not None
        return record.map

    @property
    def is_partial(self) -> bool:
        return self.record.plan is not None and self.record.plan.is_partial


@pytest.fixture
def engine(
    tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Engine:
    found = Engine(tiny_slide, tiny_model, tmp_path)
    classify = blocks._classify

    def counted(readings: list[blocks.BlockReading], classifier: PatchClassifier) -> Any:
        found.computed += sum(len(it.patches) for it in readings)
        return classify(readings, classifier)

    monkeypatch.setattr(blocks, "_classify", counted)
    monkeypatch.setattr(models_at_hand, "_watch_runs", lambda *_: None)  # it ends with the process
    return found


@pytest.fixture
def whole(engine: Engine, tmp_path: Path) -> ProbabilityMap:
    """What a run that nobody interrupted finds."""
    return Engine(engine.slide, engine.model, tmp_path / "whole").analyze()


def assert_equal(one: ProbabilityMap, two: ProbabilityMap) -> None:
    assert one.states.tolist() == two.states.tolist()
    assert np.array_equal(one.layer().values, two.layer().values, equal_nan=True)


def test_only_patches_that_touch_a_region_are_computed_and_none_twice(
    engine: Engine, whole: ProbabilityMap
) -> None:
    part = engine.analyze(inside=(outline(INNER),))

    assert np.argwhere(part.states != PENDING).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert engine.computed == 4
    assert engine.is_partial
    again = engine.analyze(recall=True)  # as when the slide is opened once more
    assert (engine.computed, engine.is_partial) == (0, True)
    assert_equal(again, part)
    assert_equal(engine.analyze(inside=(outline(INNER),)), part)
    assert engine.computed == 0

    rest = engine.analyze()

    assert engine.computed == np.count_nonzero(whole.states == OK) - 4
    assert not engine.is_partial
    assert_equal(rest, whole)
    assert_equal(engine.recall(), whole)


def test_region_off_the_slide_is_nothing_to_do(engine: Engine) -> None:
    found = engine.analyze(inside=(outline(rectangle(-900, -900, -100, -100)),))

    assert not found.states.any()
    assert engine.computed == 0


def test_changed_mask_computes_only_what_is_missing_and_is_taken_back(
    engine: Engine, whole: ProbabilityMap
) -> None:
    engine.analyze()

    changed = engine.analyze(mask=mask_areas([GLASS, TISSUE]))

    assert engine.computed == 1
    assert (whole.states[0, 0], whole.states[1, 1]) == (BACKGROUND, OK)
    assert (changed.states[0, 0], changed.states[1, 1]) == (OK, BACKGROUND)
    assert changed.state_at(0, 0) is PatchState.EXCLUDED  # the shield sees that it is blank
    changed.is_shielded = whole.is_shielded = False
    assert changed.layer().value_at(0, 0) is not None
    assert changed.layer().value_at(1, 1) is None
    assert changed.counts() == whole.counts()  # one came, one went
    assert mask_notes(changed) == [
        "The tissue mask was changed by hand in 2 areas: 1 patch added as tissue, 1 patch left out "
        "as background."
    ]
    former = engine.analyze(mask=())
    former.is_shielded = False
    assert_equal(former, whole)
    assert engine.computed == 0
    assert mask_notes(former) == []
    again = engine.analyze(mask=mask_areas([GLASS, TISSUE]))
    again.is_shielded = False
    assert_equal(again, changed)
    assert engine.computed == 0  # what was computed for it was kept


def test_mask_that_was_changed_before_the_first_analysis_gives_the_same(
    engine: Engine, whole: ProbabilityMap
) -> None:
    changed = engine.analyze(mask=mask_areas([GLASS]))

    assert engine.computed == np.count_nonzero(whole.states == OK) + 1
    assert changed.states[0, 0] == OK
    assert_equal(engine.analyze(mask=()), whole)


def test_mask_is_taken_as_it_is_kept_of_the_slide(engine: Engine, whole: ProbabilityMap) -> None:
    place = slide_folder(engine.data, SlideFiles(engine.slide.path).identity)
    with RegionBook(place) as book:
        book.edit([GLASS, Region("other", rectangle(0, 0, 50, 50), "IDC")])
    assert engine.analyze().states[0, 0] == OK
    assert engine.recall().states[0, 0] == OK
    with RegionBook(place) as book:
        book.edit(remove=[GLASS.id])
    assert_equal(engine.recall(), whole)


def test_uppermost_area_says_what_a_patch_is_and_its_centre_counts(whole: ProbabilityMap) -> None:
    over = Region("over", rectangle(0, 0, 3 * PX, 1.4 * PX), MASK_REMOVED)
    edits = mask_edits([GLASS, over], whole.grid)
    assert edits is not None
    assert not edits.added.any()
    assert np.argwhere(edits.removed).tolist() == [[0, 0], [0, 1], [0, 2]]
    assert mask_edits([Region("drawn", GLASS.shape)], whole.grid) is None
    random = np.random.default_rng(3).random((5, 7)) > 0.5
    assert np.array_equal(cells_of(spans_of(random), random.shape), random)
    with pytest.raises(ValueError, match="off the grid"):
        cells_of([(5, 0, 1)], random.shape)
