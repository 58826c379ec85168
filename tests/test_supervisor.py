"""The supervisor: whatever kills the reader process, the job ends and the right block is blamed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from idc_desktop.errors import (
    AnalysisCancelledError,
    DefectError,
    ModelError,
    OutputError,
    SlideError,
)
from idc_desktop.maps.probability_map import PatchState, ProbabilityMap
from idc_desktop.processes.child import Child, ChildCrashedError
from idc_desktop.processes.engine_messages import (
    AnalyzeJob,
    BlockDone,
    Done,
    InfoJob,
    Note,
    OverviewStrip,
    Plan,
    VerifyJob,
)
from idc_desktop.processes.message import Event, SlideOpened, Started
from idc_desktop.processes.record import block_result
from idc_desktop.processes.supervisor import Job, ask
from tests.support.crashing_engine import VARIABLE, Crash
from tests.support.models import TinyModel
from tests.support.processes import ends_within, engines_of, is_alive
from tests.support.scenes import write_tissue_slide

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

ENGINE, CRASHING = "idc_desktop.children.engine", "tests.support.crashing_engine"
MPP = 7.9
COLS, ROWS = 4, 3  # blocks
SIDE_PX = 8 * 400 / MPP
REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of 4 x 3 blocks of 8 x 8 cells, all tissue."""
    path = tmp_path_factory.mktemp("slide") / "s.tiff"
    return write_tissue_slide(path, (int(COLS * SIDE_PX), int(ROWS * SIDE_PX)), MPP).path


@pytest.fixture
def job(slide: Path, tiny_model: TinyModel, data_dir: Path) -> AnalyzeJob:
    return job_on(slide, tiny_model, data_dir)


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


def cancel_at(kind: type[Event], running: Job) -> Callable[[Event], None]:
    """Return what cancels a job as soon as its engine says a certain thing."""
    return lambda event: running.cancel() if isinstance(event, kind) else None


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


def spoiled(
    model: TinyModel, path: Path, operator: str, *inputs: str, **attributes: object
) -> Path:
    """Write a model whose probability passes through one more operator.

    Beside ``before``, the sound probability, it may take the constants ``yes`` and ``huge``.
    """
    proto = onnx.load(model.path)
    last = next(node for node in proto.graph.node if "probability" in node.output)
    last.output[0] = "before"
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1 << 34]), "huge"))
    node = helper.make_node(operator, list(inputs), ["probability"], **attributes)
    proto.graph.node.append(node)
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("kind", ["analyze", "verify"])
def test_model_that_comes_to_no_end_is_told_at_the_deadline_and_tried_once(
    job: AnalyzeJob, tiny_model: TinyModel, tmp_path: Path, kind: str
) -> None:
    def value(name: str, of: int, *shape: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, of, shape)

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["again"], ["once_more"]),
            helper.make_node("Identity", ["p"], ["the_same"]),
        ],
        "for_ever",
        [
            value("turn", TensorProto.INT64),
            value("again", TensorProto.BOOL),
            value("p", TensorProto.FLOAT, "n"),
        ],
        [value("once_more", TensorProto.BOOL), value("the_same", TensorProto.FLOAT, "n")],
    )
    path = spoiled(tiny_model, tmp_path / "endless.onnx", "Loop", "", "yes", "before", body=body)
    doomed = replace(job, model=str(path)) if kind == "analyze" else VerifyJob(str(path), "cpu")
    seen: list[str] = []

    with pytest.raises(ModelError, match=r"^endless\.onnx: .* said nothing for 4 s\. .* another"):
        follow(
            Job(doomed, "s.tiff", deadline_s=4.0),
            lambda event: seen.append(event.NAME),
        )

    assert seen.count("trying") == 1
    assert not engines_of(os.getpid())


@pytest.mark.parametrize(
    ("how", "why", "engines"), [("abort", "SIGABRT", 1), ("exit", "code 3", 1), ("kill", "KILL", 4)]
)
def test_model_that_kills_the_engine_is_told_and_not_the_slide(
    job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch, how: str, why: str, engines: int
) -> None:
    """A kill comes from a person, or from the system that is out of memory."""
    monkeypatch.setenv(VARIABLE, Crash(how, "model").variable())
    seen: list[str] = []

    with pytest.raises(ModelError, match=rf"^tiny\.onnx: .*{why}\. .* another one\.$"):
        follow(Job(job, "s.tiff", CRASHING), lambda event: seen.append(event.NAME))

    assert seen.count("trying") == engines


def test_model_that_may_have_failed_on_cuda_can_run_on_the_cpu(
    job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, Crash("segv", "model", on_cuda=True).variable())

    with pytest.raises(ModelError, match=r"or run it on the CPU\.$"):
        follow(Job(replace(job, provider="auto"), "s.tiff", CRASHING))


def test_single_kill_while_the_model_is_tried_costs_nothing(
    job: AnalyzeJob, clean: ProbabilityMap, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    once = str(tmp_path / "killed")
    monkeypatch.setenv(VARIABLE, Crash("kill", "model", once=once).variable())

    said = follow(Job(job, "s.tiff", CRASHING))

    assert Path(once).exists()
    assert said.done
    assert_equal_but_for(said, clean, set())


def test_kills_while_a_model_is_tried_are_forgotten_once_it_was_tried(
    job: AnalyzeJob, clean: ProbabilityMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three, one later, and three again; four in a row would be the end."""
    monkeypatch.setenv(VARIABLE, Crash("slow", "model").variable())
    seen: Counter[str] = Counter()

    def kill(event: Event) -> None:
        seen[event.NAME] += 1
        if (event.NAME, seen[event.NAME]) in {
            ("plan", 1),
            *(("trying", n) for n in (1, 2, 3, 5, 6, 7)),
        }:
            for pid in engines_of(os.getpid()):
                os.kill(pid, signal.SIGKILL)

    said = follow(Job(job, "s.tiff", CRASHING), kill)

    assert seen["trying"] == 8
    assert said.done
    assert_equal_but_for(said, clean, set())


def test_model_that_wants_more_memory_than_there_is_is_told(
    job: AnalyzeJob, tiny_model: TinyModel, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")
    path = spoiled(tiny_model, tmp_path / "bomb.onnx", "ConstantOfShape", "huge")
    running = Job(VerifyJob(str(path), "cpu"), "bomb.onnx")
    limit = 8 << 30
    resource.prlimit(running._child.pid, resource.RLIMIT_AS, (limit, limit))

    with pytest.raises(ModelError, match=r"^bomb\.onnx: .* 68719476736\)\. Choose another one\.$"):
        follow(running)


PARENT = """
import sys
from idc_desktop.processes.engine_messages import AnalyzeJob
from idc_desktop.processes.supervisor import Job
slide, model, folder = sys.argv[1:]
job = AnalyzeJob(slide, model, None, "cpu", 1, folder)
for event in Job(job, "s.tiff", "tests.support.crashing_engine").events():
    print(event.NAME, flush=True)
"""


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
