"""How much memory a process may take: a hostile file must not take all that there is.

Looked at from outside and often, since the ways in which a system limits memory by itself count
what is reserved and not what is used: CUDA reserves far more than any machine has.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from idc_desktop.errors import UsageError

MEMORY_VARIABLE = "IDC_DESKTOP_MEMORY_MB"
"""Environment variable: megabytes (10^6) that a child may take on the CPU."""

_DEFAULT_MB = 1000
_BYTES_PER_MB = 1_000_000
_LOOK_EVERY_S, _LOOK_CLOSELY_EVERY_S = 0.1, 0.02
_CLOSE = 1 / 3  # of the limit: the rest cannot be filled between two looks


def memory_limit() -> int:
    """Return how many bytes a child may take on the CPU.

    Raises
    ------
    UsageError
        The environment variable is no positive number.
    """
    text = os.environ.get(MEMORY_VARIABLE, str(_DEFAULT_MB))
    if not text.isdecimal() or not int(text):
        raise UsageError(f"{MEMORY_VARIABLE} must be a whole number of megabytes, not {text!r}.")
    return int(text) * _BYTES_PER_MB


class MemoryWatch:
    """Kills a process as soon as it takes more memory than it may.

    Parameters
    ----------
    process : Popen
    most_bytes : int

    Attributes
    ----------
    most_bytes : int
        May be changed at any time.
    excess : str or None
        How it was killed, for a message; None if it was not.
    """

    def __init__(self, process: subprocess.Popen[bytes], most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.excess: str | None = None
        self._process = process
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    def _watch(self) -> None:
        pause = _LOOK_CLOSELY_EVERY_S
        while not self._ended.wait(pause):
            taken = resident_bytes(self._process.pid)
            if taken is None:
                return
            if taken > self.most_bytes:
                limit = self.most_bytes // _BYTES_PER_MB
                self.excess = f"took more than {limit:,} MB of memory"
                self._process.kill()
                return
            is_close = taken > self.most_bytes * _CLOSE
            pause = _LOOK_CLOSELY_EVERY_S if is_close else _LOOK_EVERY_S


def resident_bytes(pid: int) -> int | None:
    """Return how much memory a process takes; None if it is gone."""
    if sys.platform == "linux":
        try:
            pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
        except OSError:
            return None
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    import psutil

    try:
        taken: int = psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return None
    return taken
