"""Many small slides: one command that keeps its engines warm, against a command for each."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.bench.figure import Figure
from tests.bench.measure import seconds
from tests.support.command import environment
from tests.support.scenes import write_tissue_slide

_SLIDES = 50
_SIZE, _MPP = (1600, 1200), 2.0
_MOST_SHARE = 0.6

_SHARED_SLIDES = 8
_SHARED_SIZE = (4000, 3200)
_LEAST_SPEED_UP = 1.7


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


def sharing_figures(scratch: Path, model: str = "vgg16-features") -> list[Figure]:
    """Time one worker of one thread, two of them, and one of two threads, on larger slides."""
    slides = scratch / "larger"
    slides.mkdir()
    for number in range(_SHARED_SLIDES):
        path = slides / f"{number}.tiff"
        write_tissue_slide(path, _SHARED_SIZE, _MPP, downsamples=(1, 4), seed=number)

    def timed(name: str, threads: int, shards: int) -> float:
        command = [
            *(sys.executable, "-m", "idc_desktop", "cohort", slides, "--out", scratch / name),
            *("--model", model, "--provider", "cpu", "--threads", str(threads)),
        ]
        start = time.perf_counter()
        workers = [
            subprocess.Popen(
                [*command, "--shard", f"{number}/{shards}"],
                env=environment(scratch / f"{name}-{number}"),
                stdout=subprocess.DEVNULL,
            )
            for number in range(1, shards + 1)
        ]
        codes = [it.wait() for it in workers]
        if any(codes):
            raise SystemExit(f"a shard of {name} failed")
        return time.perf_counter() - start

    one_s, two_s, threads_s = timed("one", 1, 1), timed("two", 1, 2), timed("threads", 2, 1)
    return [
        Figure(f"{_SHARED_SLIDES} slides, {model}, one thread", one_s, "s"),
        Figure(
            "  two shards of one thread, times as fast", one_s / two_s, "", floor=_LEAST_SPEED_UP
        ),
        Figure("  one worker of two threads, of their time", threads_s / two_s, ""),
    ]
