"""A job on a slide of 4 x 3 blocks, and the map that it makes undisturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from idc_desktop.maps.probability_map import PatchState, ProbabilityMap
from idc_desktop.processes.engine_messages import (
    AnalyzeJob,
)
from idc_desktop.processes.supervisor import Job
from tests.supervisor.support import (
    COLS,
    MPP,
    ROWS,
    SIDE_PX,
    follow,
    job_on,
)
from tests.support.models import TinyModel
from tests.support.scenes import write_tissue_slide


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of 4 x 3 blocks of 8 x 8 cells, all tissue."""
    path = tmp_path_factory.mktemp("slide") / "s.tiff"
    return write_tissue_slide(path, (int(COLS * SIDE_PX), int(ROWS * SIDE_PX)), MPP).path


@pytest.fixture
def job(slide: Path, tiny_model: TinyModel, data_dir: Path) -> AnalyzeJob:
    return job_on(slide, tiny_model, data_dir)


@pytest.fixture(scope="module")
def clean(
    slide: Path, tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory
) -> ProbabilityMap:
    alone = job_on(slide, tiny_model, tmp_path_factory.mktemp("clean"), threads=1)
    said = follow(Job(alone, "s.tiff"))
    assert said.done
    assert said.map is not None
    assert said.map.states.shape == (ROWS * 8, COLS * 8)
    assert (said.map.states == PatchState.OK).all()
    return said.map
