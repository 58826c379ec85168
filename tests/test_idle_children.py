"""Engines that take job after job: loaded once, given up wherever anything was wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from idc_desktop.errors import AnalysisCancelledError, SlideError
from idc_desktop.processes.child import IdleChildren
from idc_desktop.processes.engine_messages import AnalyzeJob, BlockDone, Done, Plan, Trying
from idc_desktop.processes.message import Event, SlideOpened
from idc_desktop.processes.supervisor import Job
from tests.support.crashing_engine import VARIABLE, Crash
from tests.support.models import TinyModel
from tests.support.scenes import Scene, write_tissue_slide

CRASHING = "tests.support.crashing_engine"


@pytest.fixture
def idle() -> Iterator[IdleChildren]:
    with IdleChildren() as idle:
        yield idle


@pytest.fixture
def job(tiny_slide: Scene, tiny_model: TinyModel, data_dir: Path) -> AnalyzeJob:
    return AnalyzeJob(
        slide=str(tiny_slide.path), model=str(tiny_model.path), mpp=None, provider="cpu",
        threads=1, data_folder=str(data_dir),
    )  # fmt: skip


class Ended:
    """A job that was followed to its end."""

    def __init__(
        self, job: AnalyzeJob, idle: IdleChildren, module: str = "idc_desktop.children.engine"
    ) -> None:
        running = Job(job, Path(job.slide).name, module, idle=idle)
        self.pid = running._child.pid
        self.events: list[Event] = []
        with contextlib.closing(running):
            for event in running.events():
                self.events.append(event)

    def has(self, kind: type[Event]) -> bool:
        return any(isinstance(it, kind) for it in self.events)


def test_engine_takes_the_next_job_with_the_model_at_hand(
    job: AnalyzeJob, idle: IdleChildren, tmp_path: Path
) -> None:
    other = replace(job, slide=str(write_tissue_slide(tmp_path / "o.tiff", (900, 700), 2.0).path))

    first, second, again = Ended(job, idle), Ended(other, idle), Ended(job, idle)

    assert first.pid == second.pid == again.pid
    assert [it.has(Trying) for it in (first, second, again)] == [True, False, False]
    assert all(isinstance(it.events[-1], Done) for it in (first, second, again))
    names = [it.slide.file for it in second.events if isinstance(it, SlideOpened)]
    assert names == ["o.tiff"]
    blocks = [[it for it in run.events if isinstance(it, BlockDone)] for run in (first, again)]
    assert blocks[0] == blocks[1]


def test_another_model_is_tried_by_the_same_engine(
    job: AnalyzeJob, idle: IdleChildren, tmp_path: Path, tiny_model: TinyModel
) -> None:
    copy = shutil.copy(tiny_model.path, tmp_path / "copy.onnx")
    first, second = Ended(job, idle), Ended(replace(job, model=str(copy)), idle)

    assert first.pid == second.pid
    assert second.has(Trying)
    assert {it.model for run in (first, second) for it in run.events if isinstance(it, Plan)} == {
        tiny_model.sha256
    }


def test_engine_that_was_at_a_bad_slide_is_not_used_again(
    job: AnalyzeJob, idle: IdleChildren, tmp_path: Path
) -> None:
    first = Ended(job, idle)
    bad = tmp_path / "bad.svs"
    bad.write_bytes(b"no slide" * 99)

    with pytest.raises(SlideError, match=r"bad\.svs"):
        Ended(replace(job, slide=str(bad)), idle)

    assert Ended(job, idle).pid != first.pid


def test_engine_that_is_killed_while_it_waits_costs_nothing(
    job: AnalyzeJob, idle: IdleChildren
) -> None:
    first = Ended(job, idle)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)

    second = Ended(job, idle)

    assert isinstance(second.events[-1], Done)
    assert Ended(job, idle).pid not in (None, first.pid)


def test_block_that_kills_a_warm_engine_is_marked_and_the_engine_replaced(
    job: AnalyzeJob, idle: IdleChildren, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, Crash("abort", "blocks", box=(0, 0, 9e9, 9e9)).variable())
    first = Ended(job, idle, CRASHING)
    assert any(it.reasons for it in first.events if isinstance(it, BlockDone))

    monkeypatch.setenv(VARIABLE, Crash("slow", "overview").variable())
    slide = write_tissue_slide(tmp_path / "o.tiff", (900, 700), 2.0)
    second = Ended(replace(job, slide=str(slide.path)), idle, CRASHING)

    assert second.pid != first.pid
    assert not any(it.reasons for it in second.events if isinstance(it, BlockDone))


def test_cancel_that_comes_with_the_job_is_heard_by_this_job(
    job: AnalyzeJob, idle: IdleChildren, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Ended(job, idle)
    running = Job(job, "tiny.tiff", idle=idle)
    assert running._child.pid == first.pid
    running.cancel()
    with contextlib.closing(running), pytest.raises(AnalysisCancelledError):
        list(running.events())

    over = Job(job, "tiny.tiff", idle=idle)
    with contextlib.closing(over):
        list(over.events())
    again = Job(job, "tiny.tiff", idle=idle)
    over.cancel()  # of a job that has ended: the engine is at another by now
    with contextlib.closing(again):
        assert isinstance(list(again.events())[-1], Done)


def test_engines_end_with_their_owner(job: AnalyzeJob) -> None:
    with IdleChildren() as idle:
        pid = Ended(job, idle).pid
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
