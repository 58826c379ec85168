"""How a job ends: cancelled, hanging, its parent gone, or with a defect."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from idc_desktop.errors import (
    AnalysisCancelledError,
    DefectError,
    OutputError,
    SlideError,
)
from idc_desktop.maps.probability_map import ProbabilityMap
from idc_desktop.processes import child as child_module
from idc_desktop.processes.child import Child, ChildCrashedError
from idc_desktop.processes.engine_messages import (
    AnalyzeJob,
    BlockDone,
    InfoJob,
    OverviewStrip,
    Plan,
)
from idc_desktop.processes.message import Event, SlideOpened, Started
from idc_desktop.processes.supervisor import Job, ask
from tests.supervisor.support import (
    COLS,
    CRASHING,
    ROWS,
    assert_equal_but_for,
    cancel_at,
    follow,
)
from tests.support.crashing_engine import VARIABLE, Crash
from tests.support.processes import ends_within, engines_of, is_alive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

REPOSITORY = Path(__file__).resolve().parents[2]
PARENT = """
import sys
from idc_desktop.processes.engine_messages import AnalyzeJob
from idc_desktop.processes.supervisor import Job
slide, model, folder = sys.argv[1:]
job = AnalyzeJob(slide, model, None, "cpu", 1, folder)
for event in Job(job, "s.tiff", "tests.support.crashing_engine").events():
    print(event.NAME, flush=True)
"""


def test_cancel_keeps_what_was_committed(
    job: AnalyzeJob, clean: ProbabilityMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, Crash("slow", "blocks").variable())
    running = Job(replace(job, threads=1), "s.tiff", CRASHING)
    seen: set[int] = set()

    def cancel_after_three(event: Event) -> None:
        if isinstance(event, BlockDone):
            seen.add(event.number)
            if len(seen) >= 3:
                running.cancel()

    with pytest.raises(AnalysisCancelledError):
        follow(running, cancel_after_three)

    assert 3 <= len(seen) < ROWS * COLS
    again = follow(Job(job, "s.tiff"))
    assert again.restored == [len(seen)]
    assert_equal_but_for(again, clean, set())


def test_cancel_ends_an_engine_that_hangs(job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, Crash("hang", "blocks").variable())
    running = Job(job, "s.tiff", CRASHING)
    began = time.monotonic()

    with pytest.raises(AnalysisCancelledError, match=r"s\.tiff: Cancelled\."):
        follow(running, cancel_at(Started, running))

    assert time.monotonic() - began < 20
    assert not engines_of(os.getpid())


def test_cancel_ends_the_overview(job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a slide without a pyramid it can take as long as the analysis."""
    monkeypatch.setenv(VARIABLE, Crash("slow", "overview").variable())
    running = Job(job, "s.tiff", CRASHING)

    with pytest.raises(AnalysisCancelledError, match="kept"):
        follow(running, cancel_at(OverviewStrip, running))


def test_no_engine_is_started_after_a_cancel(
    job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, Crash("hang", "blocks").variable())
    running = Job(job, "s.tiff", CRASHING)
    engines: set[int] = set()

    def cancel_and_kill(event: Event) -> None:
        engines.update(engines_of(os.getpid()))
        if isinstance(event, Started):
            running.cancel()
            for pid in engines:
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(AnalysisCancelledError):
        follow(running, cancel_and_kill)

    assert len(engines) == 1


@pytest.mark.parametrize("cancelled", [True, False])
def test_engine_that_cannot_be_killed_is_abandoned(
    job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    """As one that waits for a network drive; here it is stopped, and nothing kills it."""
    monkeypatch.setattr(child_module, "_END_WITHIN_S", 1.0)
    monkeypatch.setenv(VARIABLE, Crash("slow", "blocks").variable())
    running = Job(job, "s.tiff", CRASHING)
    process = running._child._process

    def stop(event: Event) -> None:
        if isinstance(event, Started):
            running._child.deadline_s = 2.0  # not before: it may be slow to start
            monkeypatch.setattr(process, "kill", lambda: None)
            process.send_signal(signal.SIGSTOP)
            if cancelled:
                running.cancel()

    try:
        expected = AnalysisCancelledError if cancelled else SlideError
        with pytest.raises(expected, match=rf"s\.tiff: .*\({process.pid}\) cannot be ended"):
            follow(running, stop)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        running._child._reader.join()


def test_hung_child_is_killed_at_the_deadline(
    job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, Crash("hang", "blocks").variable())
    began = time.monotonic()
    with Child(CRASHING, job, deadline_s=4.0) as child:
        pid = child.pid
        with pytest.raises(ChildCrashedError, match="said nothing for 4 s") as caught:
            list(child.events())

    assert not caught.value.killed_from_outside
    assert time.monotonic() - began < 15
    assert not is_alive(pid)


def test_closing_a_job_ends_a_child_that_hangs(
    job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, Crash("hang", "open").variable())
    running = Job(job, "s.tiff", CRASHING)
    (pid,) = engines_of(os.getpid())

    running.close()

    assert not is_alive(pid)


@pytest.mark.parametrize("how", ["slow", "hang"])
def test_no_engine_outlives_its_parent(job: AnalyzeJob, how: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, job.slide, job.model, job.data_folder],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, VARIABLE: Crash(how, "blocks").variable()},
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        while parent.stdout.readline() != "start\n":
            assert parent.poll() is None
        (engine,) = engines_of(parent.pid)
        parent.kill()

        assert ends_within(engine, 2)


def test_defect_in_the_engine_comes_with_its_traceback(
    job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, Crash("raise", "open").variable())
    with pytest.raises(DefectError, match=r"Traceback[\s\S]*on purpose") as caught:
        follow(Job(job, "s.tiff", CRASHING))
    assert caught.value.summary == "RuntimeError: on purpose"


def test_expected_failure_is_rebuilt_as_what_it_was(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"none\.svs: There is no such file"):
        ask(InfoJob(str(tmp_path / "none.svs")), SlideOpened, "none.svs")


def test_module_that_does_not_start_is_not_waited_for(job: AnalyzeJob) -> None:
    with pytest.raises(SlideError, match="No module named"):
        follow(Job(job, "s.tiff", "tests.support.there_is_no_such_engine"))


def test_store_of_a_running_job_is_held(job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, Crash("hang", "blocks").variable())
    running = Job(job, "s.tiff", CRASHING)
    events = running.events()  # the engine ends with them
    try:
        assert any(isinstance(event, Plan) for event in events)

        with pytest.raises(OutputError, match=r"^s\.tiff: Another process"):
            follow(Job(job, "s.tiff"))
    finally:
        running.close()
