"""How far a cohort is: a bar with slides, patches a second and time left, or plain lines."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from idc_desktop.cohorts.states import STATUSES, SlideState
from idc_desktop.console import complain, complaint, print_line
from idc_desktop.plain_text import counted

_PLAIN_PROGRESS_EVERY_S = 10.0


class Progress:
    """Shows how far a cohort is.

    Parameters
    ----------
    total : int
        Slides.
    before : sequence of SlideState
        What became of some of them in an earlier command, and stays.
    is_silent : bool
        Only complaints are said.
    """

    def __init__(self, total: int, before: Sequence[SlideState], *, is_silent: bool) -> None:
        self._total = total
        self._before = self._done = len(before)
        self._patches = 0
        self._is_silent = is_silent
        self._began = self._said = time.monotonic()
        self._bar: Any = None
        if before and not is_silent:
            print_line(_told(total, before))
        if total > len(before) and not is_silent and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=len(before), unit="slide", dynamic_ncols=True)

    def add_patches(self, count: int) -> None:
        """Take that so many more patches have a state."""
        self._patches += count
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._rate:,.0f} patches/s", refresh=False)
            self._bar.update(0)
        elif not self._is_silent and time.monotonic() - self._said >= _PLAIN_PROGRESS_EVERY_S:
            self._said = time.monotonic()
            print_line(
                f"{self._done:,} of {counted(self._total, 'slide')}, "
                f"{self._rate:,.0f} patches/s{self._left}"
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
                f"{state.image}: {state.status}, "
                f"{counted(int(figures['Patches analyzed']), 'patch')} analyzed, "
                f"{int(figures['Patches excluded']):,} left out, "
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


def _told(total: int, before: Sequence[SlideState]) -> str:
    counts = Counter(it.status for it in before)
    done = counts.pop("done", 0)
    others = "".join(f", {counts[it]:,} {it}" for it in STATUSES if counts[it])
    verb = "was" if 1 in (done, total) else "were"
    return f"{done:,} of {counted(total, 'slide')} {verb} done before{others}"
