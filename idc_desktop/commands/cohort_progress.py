"""How far a cohort is: a bar with slides, patches a second and time left, or plain lines."""

from __future__ import annotations

import sys
import time
from typing import Any

from idc_desktop.cohorts.states import SlideState
from idc_desktop.console import complain, complaint, print_line

_PLAIN_PROGRESS_EVERY_S = 10.0


class Progress:
    """Shows how far a cohort is.

    Parameters
    ----------
    total, done : int
        Slides, and how many of them were done before.
    is_silent : bool
        Only complaints are said.
    """

    def __init__(self, total: int, done: int, *, is_silent: bool) -> None:
        self._total = total
        self._before = self._done = done
        self._patches = 0
        self._is_silent = is_silent
        self._began = self._said = time.monotonic()
        self._bar: Any = None
        if done and not is_silent:
            print_line(f"{done:,} of {total:,} slides were done before")
        if total > done and not is_silent and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=done, unit="slide", dynamic_ncols=True)

    def add_patches(self, count: int) -> None:
        """Take that so many more patches have a state."""
        self._patches += count
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._rate:,.0f} patches/s", refresh=False)
            self._bar.update(0)
        elif not self._is_silent and time.monotonic() - self._said >= _PLAIN_PROGRESS_EVERY_S:
            self._said = time.monotonic()
            print_line(
                f"{self._done:,} of {self._total:,} slides, {self._rate:,.0f} patches/s{self._left}"
            )

    def finish(self, state: SlideState) -> None:
        """Take what became of a slide."""
        self._done += 1
        if state.error:
            self._complain(state.error)
        figures = state.figures or {}
        if self._bar is not None:
            self._bar.update(1)
        elif not self._is_silent and state.folder:
            print_line(
                f"{state.image}: {state.status}, {int(figures['Patches analyzed']):,} patches "
                f"analyzed, {int(figures['Patches excluded']):,} left out, "
                f"{int(figures['Patches failed']):,} failed"
            )

    def note(self, text: str) -> None:
        """Say something that the user should know."""
        self._complain(f"note: {text}")

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    @property
    def _rate(self) -> float:
        return self._patches / max(time.monotonic() - self._began, 1e-3)

    @property
    def _left(self) -> str:
        done = self._done - self._before
        if not done:
            return ""
        left_s = (time.monotonic() - self._began) / done * (self._total - self._done)
        minutes, seconds = divmod(round(left_s), 60)
        return f", {minutes:,} min {seconds} s left"

    def _complain(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(complaint(text), file=sys.stderr)
        else:
            complain(text)
