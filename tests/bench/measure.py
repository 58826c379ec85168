"""Wall time of a command, and peak memory of each process that it starts. Linux only."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_S = 300
_POLL_S = 0.01


@dataclass(frozen=True)
class Memory:
    """Highest resident set of the started process and of its largest descendant, MB (10^6)."""

    parent: float
    engine: float


def seconds(command: Sequence[str | Path], env: Mapping[str, str]) -> tuple[float, str]:
    """Run a command to its end; return how long that took and what it wrote to stdout."""
    start = time.perf_counter()
    done = subprocess.run(
        command,
        env=env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=_TIMEOUT_S,
        check=False,
    )
    took = time.perf_counter() - start
    if done.returncode != 0:
        raise SystemExit(f"exit {done.returncode} of {' '.join(map(str, command))}\n{done.stderr}")
    return took, done.stdout


def peak_memory(command: Sequence[str | Path], env: Mapping[str, str]) -> Memory:
    """Run a command and watch ``VmHWM`` of its whole process tree; it only ever rises."""
    process = subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    peaks: dict[int, float] = {}
    deadline = time.monotonic() + _TIMEOUT_S
    while process.poll() is None:
        for pid in _tree(process.pid):
            peaks[pid] = max(peaks.get(pid, 0.0), _high_water_mb(pid))
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(_POLL_S)
    if process.returncode != 0:
        raise SystemExit(f"exit {process.returncode} of {' '.join(map(str, command))}")
    parent = peaks.pop(process.pid)
    return Memory(parent, max(peaks.values(), default=parent))


def _tree(pid: int) -> list[int]:
    found, pending = [], [pid]
    while pending:
        current = pending.pop()
        found.append(current)
        with suppress(OSError):
            for task in Path(f"/proc/{current}/task").iterdir():
                with suppress(OSError):
                    pending.extend(map(int, (task / "children").read_text().split()))
    return found


def _high_water_mb(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0
