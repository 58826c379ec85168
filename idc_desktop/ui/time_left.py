"""How long the analysis of the list will take."""

from __future__ import annotations

import time
from collections.abc import Callable

_SURE_AFTER_S = 10.0
_MINUTE_S, _HOUR_S = 60.0, 3600.0


class TimeLeft:
    """Tells from the pace so far; a pause does not count.

    Parameters
    ----------
    clock : callable
        Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._worked_s = 0.0
        self._since: float | None = None

    def begin(self) -> None:
        """Forget what was: other slides are to be done."""
        self._worked_s, self._since = 0.0, None

    def work(self, is_working: bool) -> None:
        """Take that slides are analyzed now, or that it waits."""
        if self._since is not None:
            self._worked_s += self._clock() - self._since
        self._since = self._clock() if is_working else None

    def text(self, done: float, total: int) -> str:
        """Say how long it will take, once that can be told; `done` may be a part of a slide."""
        self.work(self._since is not None)
        if done <= 0 or self._worked_s < _SURE_AFTER_S:
            return ""
        left_s = self._worked_s / done * (total - done)
        if left_s < _MINUTE_S:
            return "less than a minute left"
        if left_s < _HOUR_S:
            return f"about {left_s / _MINUTE_S:.0f} min left"
        return f"about {left_s / _HOUR_S:.1f} h left"
