"""A child process: where it stands, and what it may take."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from idc_desktop.errors import ModelError, SlideError, UsageError
from idc_desktop.models.inference import CPU_BATCH
from idc_desktop.processes import supervisor
from idc_desktop.processes.child import Child
from idc_desktop.processes.engine_messages import AnalyzeJob, BlockDone, Done, InfoJob, VerifyJob
from idc_desktop.processes.memory import MEMORY_VARIABLE, resident_bytes
from idc_desktop.processes.message import Event, JobMessage
from idc_desktop.processes.supervisor import Job
from tests.support.crashing_engine import VARIABLE, Crash
from tests.support.models import TinyModel, Trap, write_tiny_model
from tests.support.processes import ends_within
from tests.support.scenes import Scene, write_tissue_slide

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

CRASHING = "tests.support.crashing_engine"


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Child:
    monkeypatch.setenv(VARIABLE, Crash("hang", "open").variable())
    return Child(CRASHING, InfoJob(str(tmp_path / "s.tiff")))


def folder_of(child: Child) -> Path:
    """Return where a child stands."""
    return Path(f"/proc/{child.pid}/cwd").readlink()


def test_child_stands_in_an_empty_folder_that_goes_with_it(hanging: Child) -> None:
    with hanging:
        folder = folder_of(hanging)
        assert folder != Path.cwd()
        assert list(folder.iterdir()) == []

    assert not folder.exists()


def test_who_waits_for_messages_is_told_that_the_child_was_closed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read = Child._read

    def linger(child: Child, stdout: IO[bytes]) -> None:
        read(child, stdout)
        time.sleep(0.3)  # so it is `close` that takes the end

    monkeypatch.setattr(Child, "_read", linger)
    monkeypatch.setenv(VARIABLE, Crash("hang", "open").variable())
    child = Child(CRASHING, InfoJob(str(tmp_path / "s.tiff")))
    child.close()
    waiting = threading.Thread(target=lambda: list(child.events(wait_forever=True)), daemon=True)
    waiting.start()
    waiting.join(5)
    assert not waiting.is_alive()


def test_folder_goes_with_a_child_whose_parent_is_gone(hanging: Child) -> None:
    with hanging:
        folder = folder_of(hanging)
        hanging._stdin.close()  # as the system does when the parent ends
        assert ends_within(hanging.pid, 5)
        assert not folder.exists()


@pytest.fixture
def job(tiny_slide: Scene, tiny_model: TinyModel, data_dir: Path) -> AnalyzeJob:
    return AnalyzeJob(
        slide=str(tiny_slide.path), model=str(tiny_model.path), mpp=None, provider="auto",
        threads=1, tissue=True, restart=False, recall=False, data_folder=str(data_dir),
    )  # fmt: skip


Crashing = Callable[..., None]


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> Crashing:
    """Set how the next engine crashes; it may take 300 MB."""

    def set_up(how: str, at: str, **more: Any) -> None:
        monkeypatch.setenv(MEMORY_VARIABLE, "300")
        monkeypatch.setenv(VARIABLE, Crash(how, at, **more).variable())

    return set_up


def run(job: JobMessage, subject: str = "tiny.tiff", module: str = CRASHING) -> list[Event]:
    running = Job(job, subject, module)
    with contextlib.closing(running):
        return list(running.events())


@pytest.mark.parametrize("kind", ["info", "analyze"])
def test_slide_that_takes_all_memory_is_refused_at_once_with_the_reason(
    job: AnalyzeJob, crashing: Crashing, kind: str
) -> None:
    crashing("eat", "open")
    began = time.monotonic()

    with pytest.raises(SlideError, match=r"tiny\.tiff: .* took more than 300 MB of memory\. The"):
        run(InfoJob(job.slide) if kind == "info" else job)

    assert time.monotonic() - began < 20


def test_model_that_takes_all_memory_is_refused_with_the_reason(
    job: AnalyzeJob, crashing: Crashing
) -> None:
    crashing("eat", "model")

    with pytest.raises(ModelError, match=rf"^tiny\.onnx: .* 300 MB of .*{MEMORY_VARIABLE}\.$"):
        run(job)


@pytest.mark.parametrize(
    ("trap", "told"),
    [("greedy", "took more than 300 MB of memory"), ("endless", "said nothing for 1 s")],
)
def test_model_is_tried_on_as_many_patches_as_it_will_get(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: Trap, told: str
) -> None:
    model = write_tiny_model(tmp_path / "m.onnx", trap=(trap, CPU_BATCH))
    monkeypatch.setenv(MEMORY_VARIABLE, "300")
    monkeypatch.setattr(supervisor, "_TRIAL_DEADLINE_S", {"cpu": 1.0 if trap == "endless" else 60})

    with pytest.raises(ModelError, match=rf"^m\.onnx: The process that tried the model {told}"):
        run(VerifyJob(str(model.path), "cpu"), module="idc_desktop.children.engine")


def test_block_that_takes_all_memory_is_failed_and_no_other(
    job: AnalyzeJob, crashing: Crashing, tmp_path: Path
) -> None:
    path = write_tissue_slide(tmp_path / "s.tiff", (800, 400), 8.0).path
    crashing("eat", "blocks", box=(500, 5, 510, 10))

    events = run(replace(job, slide=str(path)), "s.tiff")

    reasons = [it.reasons for it in events if isinstance(it, BlockDone) and it.reasons]
    assert reasons
    assert {why for block in reasons for _, _, why in block} == {
        "the reader process took more than 300 MB of memory on this block twice"
    }
    assert isinstance(events[-1], Done)


def test_libraries_of_cuda_may_take_more(job: AnalyzeJob, crashing: Crashing) -> None:
    crashing("fill", "model", on_cuda=True)

    assert isinstance(run(job)[-1], Done)


def test_what_cuda_may_take_is_not_for_the_cpu(job: AnalyzeJob, crashing: Crashing) -> None:
    crashing("fill", "model")

    with pytest.raises(ModelError, match="took more than 300 MB"):
        run(job)


def test_memory_may_be_allowed(
    job: AnalyzeJob, crashing: Crashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing("fill", "model")
    monkeypatch.setenv(MEMORY_VARIABLE, "1500")

    assert isinstance(run(job)[-1], Done)


@pytest.mark.parametrize("text", ["", "0", "-5", "1.5", "plenty", "1e3", "²"])
def test_limit_that_is_no_number_is_a_mistake_of_usage(
    job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(MEMORY_VARIABLE, text)

    with pytest.raises(UsageError, match=rf"^{MEMORY_VARIABLE} must be"):
        Job(job, "tiny.tiff")


def test_memory_is_what_is_used_and_not_what_is_reserved() -> None:
    before = resident_bytes(os.getpid())
    assert before is not None
    reserved = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE)
    used = b"1" * 200_000_000
    after = resident_bytes(os.getpid())

    assert after is not None
    assert len(used) * 0.9 < after - before < len(used) * 1.5
    reserved.close()
    assert resident_bytes(2**22 + 1) is None
