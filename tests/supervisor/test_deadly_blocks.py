"""Parts of a slide that kill their reader: the right one is blamed, the rest is analyzed."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from idc_desktop.errors import (
    SlideError,
)
from idc_desktop.maps.probability_map import ProbabilityMap
from idc_desktop.processes.engine_messages import (
    AnalyzeJob,
    InfoJob,
)
from idc_desktop.processes.supervisor import Job
from tests.supervisor.support import (
    COLS,
    CRASHING,
    ROWS,
    SIDE_PX,
    assert_equal_but_for,
    follow,
    middle_of,
)
from tests.support.crashing_engine import VARIABLE, Crash
from tests.support.processes import engines_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")


@pytest.mark.parametrize(
    ("how", "why", "threads"), [("abort", "SIGABRT", 3), ("segv", "SIGSEGV", 1), ("exit", "3", 2)]
)
def test_block_that_kills_the_reader_twice_is_failed_and_no_other(
    job: AnalyzeJob,
    clean: ProbabilityMap,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    why: str,
    threads: int,
) -> None:
    monkeypatch.setenv(VARIABLE, Crash(how, "blocks", middle_of(5)).variable())

    said = follow(Job(replace(job, threads=threads), "s.tiff", CRASHING))

    assert said.done
    assert_equal_but_for(said, clean, {5})
    assert said.map is not None
    assert len(said.map.reasons) == 64
    assert all(why in reason and "twice" in reason for reason in said.map.reasons.values())
    assert max(said.overview) > 100


def test_several_deadly_blocks_are_found_one_by_one(
    job: AnalyzeJob, clean: ProbabilityMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The box lies over the corner of blocks 1, 2, 5 and 6."""
    corner = (2 * SIDE_PX - 9, SIDE_PX - 9, 2 * SIDE_PX + 9, SIDE_PX + 9)
    monkeypatch.setenv(VARIABLE, Crash("abort", "blocks", corner).variable())

    said = follow(Job(job, "s.tiff", CRASHING))

    assert said.done
    assert_equal_but_for(said, clean, {1, 2, 5, 6})


def test_failed_block_stays_failed_when_the_run_is_read_again(
    job: AnalyzeJob, clean: ProbabilityMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, Crash("abort", "blocks", middle_of(0)).variable())
    follow(Job(job, "s.tiff", CRASHING))

    again = follow(Job(job, "s.tiff"))

    assert again.restored == [ROWS * COLS]
    assert_equal_but_for(again, clean, {0})


def test_single_crash_costs_nothing(
    job: AnalyzeJob, clean: ProbabilityMap, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    once = str(tmp_path / "crashed")
    monkeypatch.setenv(VARIABLE, Crash("segv", "blocks", middle_of(7), once).variable())

    said = follow(Job(job, "s.tiff", CRASHING))

    assert Path(once).exists()
    assert said.done
    assert len(said.restored) == 2
    assert_equal_but_for(said, clean, set())


def test_restart_does_not_forget_what_this_job_computed(
    job: AnalyzeJob, clean: ProbabilityMap, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    follow(Job(job, "s.tiff"))
    once = str(tmp_path / "crashed")
    box = middle_of(ROWS * COLS - 1)
    monkeypatch.setenv(VARIABLE, Crash("abort", "blocks", box, once).variable())

    said = follow(Job(replace(job, restart=True, threads=1), "s.tiff", CRASHING))

    assert said.restored[0] == 0
    assert_equal_but_for(said, clean, set())


@pytest.mark.parametrize(("how", "why"), [("abort", "SIGABRT"), ("segv", "SIGSEGV")])
def test_file_that_kills_every_open_is_refused_quickly(
    job: AnalyzeJob, slide: Path, monkeypatch: pytest.MonkeyPatch, how: str, why: str
) -> None:
    monkeypatch.setenv(VARIABLE, Crash(how, "open").variable())
    for doomed in (InfoJob(str(slide)), job):
        began = time.monotonic()

        with pytest.raises(SlideError, match=rf"^s\.tiff: .*{why}"):
            follow(Job(doomed, "s.tiff", CRASHING))

        assert time.monotonic() - began < 15


def test_overview_that_kills_the_reader_does_not_cost_the_analysis(
    job: AnalyzeJob, clean: ProbabilityMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, Crash("abort", "overview").variable())

    said = follow(Job(job, "s.tiff", CRASHING))

    assert said.done
    assert_equal_but_for(said, clean, set())
    assert any("overview" in note for note in said.notes)
    assert min(said.overview) > 0


@pytest.mark.parametrize("how", ["abort", "eat"])
def test_look_around_that_kills_the_reader_does_not_cost_the_analysis(
    job: AnalyzeJob, clean: ProbabilityMap, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv(VARIABLE, Crash(how, "survey").variable())

    said = follow(Job(job, "s.tiff", CRASHING))

    assert said.done
    assert_equal_but_for(said, clean, set())
    assert any("look around" in note for note in said.notes)


def test_deadly_blocks_one_after_the_other_are_found(
    job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, Crash("exit", "blocks", (0, 0, 3 * SIDE_PX - 9, 5)).variable())

    said = follow(Job(job, "s.tiff", CRASHING))

    assert said.done
    assert said.failed_blocks == {0, 1, 2}


@pytest.mark.parametrize("seed", [1, 2])
def test_kills_from_outside_blame_no_block(
    job: AnalyzeJob, clean: ProbabilityMap, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Three SIGKILLs at random moments, of an engine that takes 0.1 s for each block."""
    monkeypatch.setenv(VARIABLE, Crash("slow", "blocks").variable())
    choice = random.Random(seed)
    killed: list[int] = []
    running = Job(job, "s.tiff", CRASHING)
    ended = threading.Event()

    def kill() -> None:
        for _ in range(3):
            if ended.wait(choice.uniform(0.2, 0.6)):
                return
            for pid in engines_of(os.getpid()):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        said = follow(running)
    finally:
        ended.set()
        killer.join()

    assert killed
    assert said.done
    assert_equal_but_for(said, clean, set())


def test_engine_that_is_killed_again_and_again_gives_up_in_the_end(
    job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system does when memory runs out; no block is to blame, but there is no end."""
    monkeypatch.setenv(VARIABLE, Crash("hang", "open").variable())
    running = Job(job, "s.tiff", CRASHING)
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(0.02):
            for pid in engines_of(os.getpid()):
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(SlideError, match="SIGKILL"):
            follow(running)
    finally:
        ended.set()
        killer.join()
