"""Tables and figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trainer.evaluation import Interval


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [_row(header), "|---" * len(header) + "|", *map(_row, rows)]


def interval(one: Interval) -> str:
    """Return a figure with its 95 % interval."""
    return f"{one.value:.3f} ({one.low:.3f}–{one.high:.3f})"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
