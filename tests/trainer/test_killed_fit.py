"""``fit`` is killed in the folds, in the official twin and before the file: nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.conftest import write_case

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")

from trainer.data.preparing import prepare
from trainer.release.onnx_file import PARITY_PATCHES
from trainer.training.checkpoint import CHECKPOINT
from trainer.training.runs import RUN_FILE

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

_SPLIT = {"train": range(8), "val": range(8, 10), "test": range(10, 12)}
_LONGEST_S = 900

PLACES = {
    "in the folds": (f"folds/fold2/{CHECKPOINT}", "folds/fold2.json"),
    "in the official twin": (f"official/{CHECKPOINT}", f"official/{RUN_FILE}"),
    "in the final training": (f"final/{CHECKPOINT}", f"final/{RUN_FILE}"),
    "before the file": (f"final/{RUN_FILE}", "killed.onnx"),
}
"""What is there already, and what is not yet, when the command is killed."""


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command, but for its folder: twelve cases, as many patches as an export wants."""
    root = tmp_path_factory.mktemp("killed")
    rng = np.random.default_rng(6)
    of_class = -(-PARITY_PATCHES // (2 * len(_SPLIT["train"])))
    for case in range(12):
        write_case(root / "data", f"{case:02d}", of_class, rng)
    prepare(root / "data", root / "store")
    for part, cases in _SPLIT.items():
        names = "".join(f"{case:02d}\n" for case in cases)
        (root / f"official_{part}.txt").write_text(names, encoding="utf-8")
    data = ["--data", str(root / "store"), "--splits", str(root), "--name", "killed"]
    return [sys.executable, "-m", "trainer", "fit", *data, "--epochs", "3", "--batch", "128"]


def _killed(command: list[str], there: Path, not_yet: Path, log: Path) -> None:
    """Run a command until one file is there, and kill it."""
    with log.open("ab") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
    end_by = time.monotonic() + _LONGEST_S
    try:
        while not there.exists():
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < end_by
            time.sleep(0.005)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not not_yet.exists(), "it was over before it was killed"


def test_fit_that_is_killed_again_and_again_ends_with_the_same_file(
    command: list[str], tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, "--out", str(whole)], check=True, capture_output=True)
    for there, not_yet in PLACES.values():
        again = [*command, "--out", str(killed)]
        _killed(again, killed / there, killed / not_yet, tmp_path / "log.txt")
    subprocess.run(again, check=True, capture_output=True)

    assert (killed / "killed.onnx").read_bytes() == (whole / "killed.onnx").read_bytes()
    leftovers = [it for it in killed.rglob("*.tmp") if it.is_file()]
    assert leftovers == []
