"""Tables and figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trainer.scoring.metrics import Interval


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [_row(header), "|---" * len(header) + "|", *map(_row, rows)]


def interval(one: Interval, digits: int = 3) -> str:
    """Return a figure with its 95 % interval, where it has one."""
    text = f"{one.value:.{digits}f}"
    if one.low is None or one.high is None:
        return text
    return f"{text} ({one.low:.{digits}f}–{one.high:.{digits}f})"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
