"""Other processes: who is whose child, who is still alive. Linux only."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path


def engines_of(parent: int) -> list[int]:
    """Return the process ids of the engines that `parent` started."""
    return children_of(parent, "engine")


def children_of(parent: int, name: str) -> list[int]:
    """Return the process ids of the children of `parent` with a name in their command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(status[1]) == parent and status[0] != "Z" and name.encode() in command:
            found.append(int(folder.name))
    return found


def child_processes() -> set[int]:
    """Return the process ids of all children of this process that still run."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that ends meanwhile
            found.update(map(int, (task / "children").read_text().split()))
    return {pid for pid in found if is_alive(pid)}


def is_alive(pid: int) -> bool:
    """Whether a process still runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ends_within(pid: int, seconds: float) -> bool:
    """Wait for a process that is not our child to end."""
    deadline = time.monotonic() + seconds
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
