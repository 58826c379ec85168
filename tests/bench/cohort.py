"""Many small slides: one command that keeps its engines warm, against a command for each."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench.figure import Figure
from tests.bench.measure import seconds
from tests.support.command import environment
from tests.support.scenes import write_tissue_slide

_SLIDES = 50
_SIZE, _MPP = (1600, 1200), 2.0
_MOST_SHARE = 0.6


def cohort_figures(scratch: Path, model: str) -> list[Figure]:
    """Time both, each with a store of its own; they have the same two threads."""
    slides = scratch / "slides"
    slides.mkdir()
    for number in range(_SLIDES):
        path = slides / f"{number:02d}.tiff"
        write_tissue_slide(path, _SIZE, _MPP, downsamples=(1, 4), seed=number)
    common = ("--model", model, "--provider", "cpu", "--threads", "2", "--out")
    app = (sys.executable, "-m", "idc_desktop")
    alone_s = sum(
        seconds([*app, "analyze", path, *common, scratch / "alone"], environment(scratch / "a"))[0]
        for path in sorted(slides.iterdir())
    )
    command = [*app, "cohort", slides, *common, scratch / "cohort"]
    cohort_s = seconds(command, environment(scratch / "b"))[0]
    return [
        Figure(f"{_SLIDES} small slides, a command each", alone_s, "s"),
        Figure("  as a cohort", cohort_s, "s"),
        Figure("  share of the time", cohort_s / alone_s, "", _MOST_SHARE),
    ]
