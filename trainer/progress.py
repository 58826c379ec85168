"""How far something long is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Say = Callable[[str], None]

_SAID_EVERY_S = 5.0


class Progress:
    """A bar on a terminal, a plain line now and then elsewhere."""

    def __init__(self, name: str, say: Say, unit: str = "patch") -> None:
        self._name, self._say, self._unit = re.sub(r"\s", " ", name), say, unit
        self._bar: Any = None
        self._started = self._said = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        if self._first is None:
            self._first = done
        if sys.stderr.isatty():
            if self._bar is None:
                from tqdm import tqdm

                self._bar = tqdm(
                    total=total, desc=self._name, unit=self._unit, initial=done, dynamic_ncols=True
                )
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if now - self._said >= _SAID_EVERY_S:
            self._said = now
            rate = (done - self._first) / (now - self._started)
            left = f", {(total - done) / rate:.0f} s left" if rate > 0 else ""
            self._say(f"{self._name}: {done:,} of {total:,}, {rate:,.0f}/s{left}")

    def end(self) -> None:
        """Leave the terminal."""
        if self._bar is not None:
            self._bar.close()


@contextmanager
def progress_of(name: str, say: Say, unit: str = "patch") -> Iterator[Progress]:
    """Show how far something is until the block ends."""
    progress = Progress(name, say, unit)
    try:
        yield progress
    finally:
        progress.end()
