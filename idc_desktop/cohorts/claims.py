"""Who is at work on which slide, among any number of processes that share a folder.

A claim is a file that only one process can make. Its time is set again and again while its owner
lives; one that stands still is stale, and the next process makes a claim of the next number beside
it, which again only one can make. So nothing is ever replaced or removed that is another's, and no
lock is needed, which few network drives have.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from idc_desktop.closing import Closing
from idc_desktop.cohorts.states import STATES_FOLDER
from idc_desktop.errors import not_written
from idc_desktop.plain_files import read_bytes
from idc_desktop.typed_json import MismatchError, build, decode, encode

_BEAT_EVERY_S = 10.0
STALE_AFTER_S = 120.0
"""A network drive may show the time of a file as it was a minute ago."""


@dataclass(frozen=True)
class _Owner:
    """What tells one process from all others, on all machines."""

    pid: int
    host: str
    began: str

    @classmethod
    def this(cls) -> _Owner:
        return cls(os.getpid(), _host(), _began(os.getpid()))

    @property
    def has_died(self) -> bool:
        """Whether it was a process of this machine, and is no more."""
        if sys.platform == "win32" or self.host != _host() or self.pid <= 0:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return self.began != _began(self.pid)


class Claims(Closing):
    """The claims of this process; safe to use from several threads.

    Parameters
    ----------
    out : Path
        Folder of the cohort's results.
    stale_after_s : float
        After so long without a sign of life a claim of another machine is stale.
    """

    def __init__(self, out: Path, stale_after_s: float = STALE_AFTER_S) -> None:
        self._out = out
        self._place = out / STATES_FOLDER / "claims"
        self._stale_after_s = stale_after_s
        self._held: dict[str, Path] = {}
        self._seen: dict[Path, tuple[int, float]] = {}  # time of a file, and since when it is so
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()

    def take(self, slide_id: str) -> bool:
        """Claim a slide; False if another process, or thread, is at work on it.

        Whoever has it looks first whether there is anything left to do.

        Raises
        ------
        OutputError
            Claims cannot be written.
        """
        try:
            self._place.mkdir(parents=True, exist_ok=True)
            last = max(self._numbers(slide_id), default=-1)
            if last >= 0 and not self._is_stale(self._file(slide_id, last)):
                return False
            path = self._file(slide_id, last + 1)
            with path.open("xb") as file:
                file.write(encode(_Owner.this()))
        except FileExistsError:
            return False
        except OSError as error:
            raise not_written(
                f"{self._out}: The slides cannot be shared out",
                error,
                "choose another folder with --out",
            ) from error
        self._held[slide_id] = path
        return True

    def release(self, slide_id: str) -> None:
        """Give a slide free."""
        path = self._held.pop(slide_id)
        mine = int(path.suffix[1:])
        for number in sorted(it for it in self._numbers(slide_id) if it <= mine):
            with contextlib.suppress(OSError):
                self._file(slide_id, number).unlink()

    def close(self) -> None:
        """Give all slides free."""
        self._ended.set()
        self._heart.join()
        for slide_id in list(self._held):
            self.release(slide_id)

    def _numbers(self, slide_id: str) -> list[int]:
        found = (it.suffix[1:] for it in self._place.glob(f"{slide_id}.*"))
        return [int(it) for it in found if it.isdecimal()]

    def _file(self, slide_id: str, number: int) -> Path:
        return self._place / f"{slide_id}.{number}"

    def _is_stale(self, path: Path) -> bool:
        try:
            beat, data = path.stat().st_mtime_ns, read_bytes(path)
        except FileNotFoundError:  # given free just now
            return False
        with contextlib.suppress(MismatchError):  # it is just being written
            if build(_Owner, decode(data)).has_died:
                return True
        # By our own clock: that of the other machine may be wrong.
        now = time.monotonic()
        known, since = self._seen.get(path, (None, now))
        if known != beat:
            self._seen[path] = (beat, now)
            return False
        return now - since >= self._stale_after_s

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_EVERY_S):
            for path in list(self._held.values()):
                with contextlib.suppress(OSError):  # it was stale to another, who has finished
                    os.utime(path)


def _host() -> str:
    """Return the name of this machine, with the start and the container that process ids are of."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _began(pid: int) -> str:
    """Return when a process began, since ids are given again; empty where nobody tells."""
    with contextlib.suppress(OSError, IndexError):
        about = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        state, *others = about.rpartition(")")[2].split()
        return others[18] if state not in "ZX" else "it has ended"
    return ""
