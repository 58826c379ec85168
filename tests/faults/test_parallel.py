"""Many commands at once that write the results of one slide into one folder (T55)."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from idc_desktop.export.verify import verify_folder
from tests.support.command import environment, run_cli
from tests.support.models import TinyModel
from tests.support.scenes import Scene

LONGEST_S = 600.0


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("count", [4, pytest.param(20, marks=pytest.mark.long)])
def test_parallel_commands_leave_a_folder_that_is_intact(
    tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path, count: int
) -> None:
    """Analyses and exports in turn, two of each on one run file, each at a threshold of its own."""
    model = ("--model", tiny_model.path, "--provider", "cpu")
    ready = run_cli(
        "analyze", tiny_slide.path, "--out", tmp_path / "first", *model, data_dir=tmp_path / "0"
    )
    assert ready.code == 0, ready
    folder = tmp_path / "out" / tiny_slide.path.stem

    def start(number: int) -> subprocess.Popen[str]:
        kind = ("analyze", "export")[number % 2]
        data = "0" if kind == "export" else f"of-{number // 4}"
        threshold = ("--threshold", str((1 + number) / 100))
        arguments = (kind, tiny_slide.path, "--out", tmp_path / "out", *model, *threshold)
        return subprocess.Popen(
            [sys.executable, "-m", "idc_desktop", *map(str, arguments)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(tmp_path / data),
            cwd=tmp_path,
        )

    processes = [start(number) for number in range(count)]
    verified, until = 0, time.monotonic() + LONGEST_S
    while any(process.poll() is None for process in processes):
        assert time.monotonic() < until
        if (folder / "provenance.json").exists():
            verify_folder(folder)
            verified += 1
        time.sleep(0.05)

    codes: Counter[int] = Counter()
    for process in processes:
        _, said = process.communicate()
        codes[process.returncode] += 1
        assert process.returncode in (0, 5), said
        if process.returncode == 5:  # an analysis whose run file another one has
            assert said.splitlines()[-1].startswith(f"{tiny_slide.path.name}: Another process"), (
                said
            )
    assert codes[0] >= count // 2, codes
    assert verified
    assert verify_folder(folder)
    assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]
