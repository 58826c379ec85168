"""The end of the window is the end of all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.command import environment
from tests.support.models import TinyModel
from tests.support.processes import children_of, ends_within
from tests.support.scenes import write_tissue_slide

WAIT_S = 600


@pytest.mark.timeout(1900)
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_children_that_hang_end_with_the_window(tmp_path: Path, tiny_model: TinyModel) -> None:
    slide = write_tissue_slide(tmp_path / "s.tiff", (3000, 3000), 7.9).path
    command = ["open", str(slide), "--model", str(tiny_model.path), "--screenshot", "s.png"]
    process = subprocess.Popen(
        [sys.executable, "-m", "idc_desktop", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(tmp_path / "data", {"QT_QPA_PLATFORM": "offscreen"}),
        cwd=tmp_path,
    )
    hanging = []
    try:
        # The decoder comes first, but without it there is no engine.
        for name in (".engine", ".decoder"):
            deadline = time.monotonic() + WAIT_S
            while not (found := children_of(process.pid, name)) and time.monotonic() < deadline:
                assert process.poll() is None
                time.sleep(0.02)
            os.kill(found[0], signal.SIGSTOP)
            hanging.append(found[0])

        process.send_signal(signal.SIGINT)  # closes the window

        assert process.wait(WAIT_S) == 130
        assert all(ends_within(pid, WAIT_S) for pid in hanging)
    finally:
        process.kill()
        process.wait()
        for pid in hanging:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
