"""What all slides of the list say together: one table as a file, and what failed."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from idc_desktop.plain_text import counted, one_line
from idc_desktop.ui.outcome import Outcome
from idc_desktop.ui.slide_status import SlideStatus

Told = Iterable[tuple[Path, SlideStatus]]
"""Slides, and how far each is."""


def write_slides(path: Path, told: Told) -> None:
    """Write a row for each slide, as ``cohort.csv`` has them; for any thread.

    Raises
    ------
    OutputError
        It cannot be written; a file that was there is untouched.
    """
    from idc_desktop.cohorts.states import SlideState
    from idc_desktop.cohorts.tables import Row, write_table

    rows = []
    for slide, status in told:
        outcome = status.outcome
        state = SlideState(
            image=slide.name,
            status=status.status,
            task="",
            stamp="",
            figures=None if outcome is None else _figures(outcome),
            notes=outcome.details.notes if outcome is not None and outcome.details else "",
            error=status.reason,
        )
        rows.append(Row(state, "", True))
    write_table(path, rows)


def _figures(outcome: Outcome) -> dict[str, str]:
    """Return the cells of a slide: those that are known before its details are."""
    if outcome.details is not None:
        return dict(outcome.details.figures)
    fraction = outcome.idc_fraction
    return {
        "Patches failed": repr(outcome.failed_patches),
        "IDC area µm^2": repr(outcome.idc_area_um2),
        "IDC fraction": "" if fraction is None else repr(fraction),
        "Threshold": repr(outcome.threshold),
        "Model": outcome.model,
        "Map": outcome.map,
    }


def has_failed(status: SlideStatus) -> bool:
    """Whether a slide failed, or some of its patches did."""
    outcome = status.outcome
    return bool(status.reason) or (outcome is not None and outcome.failed_patches > 0)


def failures_page(told: Told) -> str:
    """Return how many slides are how far, and of those that failed the reason, as HTML."""
    counts: dict[str, int] = {}
    failed: dict[str, list[str]] = {}
    partly = []
    for slide, status in told:
        name = one_line(slide.name)
        counts[status.state or status.words] = counts.get(status.state or status.words, 0) + 1
        if status.reason:
            failed.setdefault(status.reason.removeprefix(f"{slide.name}: "), []).append(name)
        elif status.outcome is not None and status.outcome.failed_patches:
            partly.append(f"{name}: {counted(status.outcome.failed_patches, 'patch')} failed")
    parts = [f"<p>{escape(', '.join(f'{count:,} {words}' for words, count in counts.items()))}</p>"]
    for reason, names in sorted(failed.items(), key=lambda it: -len(it[1])):
        parts.append(f"<h3>{escape(one_line(reason))}</h3>{_list(names)}")
    if partly:
        parts.append(f"<h3>Analyzed, but not all of it</h3>{_list(partly)}")
    if not failed and not partly:
        parts.append("<p>Nothing failed.</p>")
    return "".join(parts)


def _list(texts: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(it)}</li>" for it in texts) + "</ul>"
