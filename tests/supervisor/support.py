"""A job on a slide of 4 x 3 blocks, followed to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from idc_desktop.maps.probability_map import PatchState, ProbabilityMap
from idc_desktop.processes.engine_messages import (
    AnalyzeJob,
    BlockDone,
    Done,
    Note,
    OverviewStrip,
    Plan,
)
from idc_desktop.processes.message import Event
from idc_desktop.processes.record import block_result
from idc_desktop.processes.supervisor import Job
from tests.support.models import TinyModel

ENGINE, CRASHING = "idc_desktop.children.engine", "tests.support.crashing_engine"
MPP = 7.9
COLS, ROWS = 4, 3  # blocks
SIDE_PX = 8 * 400 / MPP


def job_on(slide: Path, model: TinyModel, data_dir: Path, threads: int = 2) -> AnalyzeJob:
    return AnalyzeJob(str(slide), str(model.path), None, "cpu", threads, str(data_dir))


@dataclass
class Followed:
    """What a job said."""

    map: ProbabilityMap | None = None
    restored: list[int] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)
    overview: tuple[int, int] = (0, 0)
    done: bool = False

    @property
    def failed_blocks(self) -> set[int]:
        assert self.map is not None
        cells = np.argwhere(self.map.states == PatchState.FAILED)
        return {int(row // 8 * COLS + col // 8) for row, col in cells}


def follow(job: Job, on_event: Callable[[Event], None] = lambda event: None) -> Followed:
    """Follow a job to its end."""
    said = Followed()
    try:
        for event in job.events():
            match event:
                case Plan():
                    said.map = said.map or ProbabilityMap(event.grid)
                    said.restored.append(event.restored_blocks)
                case BlockDone() if said.map is not None:
                    said.map.add(block_result(event))
                case Note(text):
                    said.notes.add(text)
                case OverviewStrip():
                    said.overview = (event.height, event.width)
                case Done():
                    said.done = True
            on_event(event)
    finally:
        job.close()
    return said


def middle_of(block: int) -> tuple[float, float, float, float]:
    row, col = divmod(block, COLS)
    x, y = (col + 0.5) * SIDE_PX, (row + 0.5) * SIDE_PX
    return (x - 5, y - 5, x + 5, y + 5)


def assert_equal_but_for(said: Followed, clean: ProbabilityMap, blocks: set[int]) -> None:
    assert said.map is not None
    assert said.failed_blocks == blocks
    spared = said.map.states != PatchState.FAILED
    assert spared.sum() == (ROWS * COLS - len(blocks)) * 64
    assert np.array_equal(said.map.states[spared], clean.states[spared])
    assert np.array_equal(said.map.layer().stored[spared], clean.layer().stored[spared])


def cancel_at(kind: type[Event], running: Job) -> Callable[[Event], None]:
    """Return what cancels a job as soon as its engine says a certain thing."""
    return lambda event: running.cancel() if isinstance(event, kind) else None
