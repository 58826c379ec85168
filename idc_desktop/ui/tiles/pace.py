"""How much to ask of a decoder at once."""

from __future__ import annotations

_AHEAD_S = 0.05
_FEWEST, _MOST = 3, 24  # it has two threads: a third request waits at its door
_FIRST_S = 0.0125  # an answer, before any was measured
_NEWS = 0.2  # weight of what was measured last


class Pace:
    """Follows how fast a decoder answers.

    It is given work for a twentieth of a second. With less it would stand idle while the window
    paints; with more, what is no longer wanted would be read before what is, when the view jumps
    on a slide whose tiles take long.
    """

    def __init__(self) -> None:
        self._each_s = _FIRST_S
        self._since_s: float | None = None

    @property
    def at_once(self) -> int:
        """How many requests to have under way."""
        return min(_MOST, max(_FEWEST, round(_AHEAD_S / self._each_s)))

    def asked(self, now_s: float) -> None:
        """Note that a request was sent."""
        if self._since_s is None:
            self._since_s = now_s

    def answered(self, now_s: float, *, is_last: bool) -> None:
        """Note an answer, and whether nothing is under way any more: then time does not count."""
        if self._since_s is not None:
            self._each_s += _NEWS * (max(1e-4, now_s - self._since_s) - self._each_s)
        self._since_s = None if is_last else now_s
