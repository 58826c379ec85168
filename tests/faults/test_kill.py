"""SIGKILL at random moments: whatever dies, the numbers at the end are the same (T50, T54, T62)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.command import environment, file_sha256, run_cli
from tests.support.models import TinyModel
from tests.support.processes import ends_within, engines_of
from tests.support.scenes import write_tissue_slide

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

MPP = 7.9
CSV_FILES = ("patches.csv", "regions.csv")


@dataclass(frozen=True)
class Work:
    """An analysis to kill, and what it gives when nobody does."""

    slide: Path
    model: Path
    seconds: float
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
    """A slide of 48 blocks, 3,072 patches."""
    base = tmp_path_factory.mktemp("work")
    side = 8 * 400 / MPP
    slide = write_tissue_slide(base / "s.tiff", (int(8 * side), int(6 * side)), MPP).path
    unmeasured = Work(slide, tiny_model.path, 0.0, {})
    began = time.monotonic()
    outcome = run_cli(*unmeasured.arguments(base), data_dir=base / "data")
    assert outcome.code == 0, outcome
    return Work(slide, tiny_model.path, time.monotonic() - began, hashes(base))


def kill_engine(work: Work, base: Path, choice: random.Random) -> bool:
    """Kill the engine of a run that goes on by itself; tell whether it was there."""
    hit = False
    with work.start(base) as process:
        time.sleep(choice.uniform(0.2, 0.9) * work.seconds)
        for engine in engines_of(process.pid):
            os.kill(engine, signal.SIGKILL)
            hit = True
        assert process.wait(60) == 0
    return hit


def kill_everything(work: Work, base: Path, choice: random.Random) -> bool:
    """Kill the command and its engine at once."""
    with work.start(base) as process:
        time.sleep(choice.uniform(0.2, 0.9) * work.seconds)
        if process.poll() is not None:
            return False
        os.killpg(process.pid, signal.SIGKILL)
    return True


def kill_parent(work: Work, base: Path, choice: random.Random) -> bool:
    """Kill only the command; the engine must follow it."""
    with work.start(base) as process:
        time.sleep(choice.uniform(0.2, 0.9) * work.seconds)
        engines = engines_of(process.pid)
        hit = process.poll() is None
        process.kill()
        assert all(ends_within(engine, 2) for engine in engines)
    return hit


# The last lets the run come to its end.
KILLS = (kill_everything, kill_parent, kill_engine)


def kill_and_resume(work: Work, base: Path, kills: int, seed: int) -> None:
    """Kill runs that share a data folder, then let one finish and compare."""
    choice = random.Random(seed)
    hits = sum(KILLS[number % len(KILLS)](work, base, choice) for number in range(kills))
    assert hits, f"seed {seed}"

    outcome = run_cli(*work.arguments(base), data_dir=base / "data")

    assert outcome.code == 0, outcome
    assert hashes(base) == work.hashes, f"seed {seed}"
    left = {path.name for path in (base / "out" / "s").iterdir()}
    assert not [name for name in left if name.endswith(".tmp")]
    assert not list(base.rglob("*damaged*"))
    assert run_cli("verify", base / "out" / "s", data_dir=base / "data").code == 0


def test_killed_run_is_resumed_to_the_same_bytes(work: Work, tmp_path: Path) -> None:
    kill_and_resume(work, tmp_path, 3, seed=5)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10))
def test_killed_runs_are_resumed_to_the_same_bytes(work: Work, tmp_path: Path, seed: int) -> None:
    """Thirty kills in all, of every kind."""
    kill_and_resume(work, tmp_path, 3, seed)
