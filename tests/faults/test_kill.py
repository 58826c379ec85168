"""SIGKILL at random moments: whatever dies, the numbers at the end are the same (T50, T54, T62)."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.command import environment, file_sha256, run_cli
from tests.support.models import TinyModel
from tests.support.processes import ends_within, engines_of
from tests.support.scenes import write_tissue_slide

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

log = logging.getLogger(__name__)

MPP = 7.9
CSV_FILES = ("patches.csv", "regions.csv")
PATIENCE_S = 600.0
"""The machine may be busy: the end counts, not when it comes."""


@dataclass(frozen=True)
class Work:
    """An analysis to kill, and what it gives when nobody does."""

    slide: Path
    model: Path
    hashes: dict[str, str]

    def arguments(self, base: Path) -> list[str]:
        return [
            "analyze", str(self.slide), "--out", str(base / "out"), "--model", str(self.model),
            "--provider", "cpu", "--threads", "2",
        ]  # fmt: skip

    def start(self, base: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "idc_desktop", *self.arguments(base)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(base / "data"),
            cwd=base,
            start_new_session=True,
        )


def hashes(base: Path) -> dict[str, str]:
    return {name: file_sha256(base / "out" / "s" / name) for name in CSV_FILES}


@pytest.fixture(scope="module")
def work(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """A slide of 16 blocks, 1,024 patches."""
    base = tmp_path_factory.mktemp("work")
    side = 8 * 400 / MPP
    slide = write_tissue_slide(base / "s.tiff", (int(4 * side), int(4 * side)), MPP).path
    sound = Work(slide, tiny_model.path, {})
    outcome = run_cli(*sound.arguments(base), data_dir=base / "data", timeout=PATIENCE_S)
    assert outcome.code == 0, outcome
    return replace(sound, hashes=hashes(base))


def wait_for_commits(process: subprocess.Popen[bytes], base: Path, choice: random.Random) -> None:
    """Wait until a run has committed some times, or not at all, and a moment; or until its end."""

    def changed_ns() -> list[int]:
        with contextlib.suppress(FileNotFoundError):
            return [it.stat().st_mtime_ns for it in (base / "data").rglob("run-*.sqlite")]
        return []

    commits, last = choice.randrange(5), changed_ns()
    while commits > 0 and process.poll() is None:
        time.sleep(0.002)
        if (now := changed_ns()) != last:
            commits, last = commits - 1, now
    time.sleep(choice.uniform(0, 0.3))


def kill_engine(work: Work, base: Path, choice: random.Random) -> bool:
    """Kill the engine of a run that goes on by itself; tell whether it was there."""
    hit = False
    with work.start(base) as process:
        wait_for_commits(process, base, choice)
        for engine in engines_of(process.pid):
            os.kill(engine, signal.SIGKILL)
            hit = True
        assert process.wait(PATIENCE_S) == 0
    return hit


def kill_everything(work: Work, base: Path, choice: random.Random) -> bool:
    """Kill the command and its engine at once."""
    with work.start(base) as process:
        wait_for_commits(process, base, choice)
        if process.poll() is not None:
            return False
        os.killpg(process.pid, signal.SIGKILL)
    return True


def kill_parent(work: Work, base: Path, choice: random.Random) -> bool:
    """Kill only the command; the engine must follow it."""
    with work.start(base) as process:
        wait_for_commits(process, base, choice)
        engines = engines_of(process.pid)
        hit = process.poll() is None
        process.kill()
        assert all(ends_within(engine, 30) for engine in engines)
    return hit


# The last lets the run come to its end.
KILLS = (kill_everything, kill_parent, kill_engine)


def kill_and_resume(work: Work, base: Path, kills: int, seed: int) -> int:
    """Kill runs that share a data folder, then let one finish and compare; return the hits."""
    base.mkdir(exist_ok=True)
    choice = random.Random(seed)
    hits = sum(KILLS[number % len(KILLS)](work, base, choice) for number in range(kills))

    outcome = run_cli(*work.arguments(base), data_dir=base / "data", timeout=PATIENCE_S)

    assert outcome.code == 0, outcome
    assert hashes(base) == work.hashes, f"seed {seed}"
    left = {path.name for path in (base / "out" / "s").iterdir()}
    assert not [name for name in left if name.endswith(".tmp")]
    assert not list(base.rglob("*damaged*"))
    assert run_cli("verify", base / "out" / "s", data_dir=base / "data").code == 0
    return hits


@pytest.mark.timeout(1200)
def test_killed_run_is_resumed_to_the_same_bytes(work: Work, tmp_path: Path) -> None:
    # Where the processor has much else to do, all three may come when a run has ended.
    assert any(kill_and_resume(work, tmp_path / str(seed), 3, seed) for seed in range(5, 15))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_killed_runs_are_resumed_to_the_same_bytes(work: Work, tmp_path: Path) -> None:
    """Two hundred kills in all, of every kind; not all come while a run is under way."""
    hits = sum(kill_and_resume(work, tmp_path / str(seed), 3, seed) for seed in range(67))
    log.info("%d of 201 kills met a run that was under way", hits)
    assert hits > 100
