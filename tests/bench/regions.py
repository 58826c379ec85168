"""How fast regions are measured, undone and found: figures of one process, no slide needed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.probability_map import ProbabilityMap
from idc_desktop.models.context_settings import ContextSettings
from idc_desktop.regions.book import RegionBook
from idc_desktop.regions.editing import draw_polygon
from idc_desktop.regions.foci import find_foci
from idc_desktop.regions.shape import Region, Shape
from idc_desktop.regions.statistics import RegionMeter
from tests.bench.figure import Figure
from tests.support.models import CONTEXT

MPP = (0.25, 0.25)
STEP_PX = 1_600

THRESHOLD_MS = 50.0
MANY_S = 2.0
UNDO_MS = 100.0
CONTEXT_MS = 300.0


def region_figures() -> list[Figure]:
    """Measure 200 regions on 50,000 patches, 1,000 on 200,000, and undo among 1,000."""
    few, many = _scene(200, 250, 200), _scene(400, 500, 1_000)
    meter = RegionMeter(few[0].layer(), MPP)
    first = _seconds(lambda: meter.measure(few[1], 0.5))
    threshold = min(_seconds(lambda: meter.measure(few[1], 0.6)) for _ in range(5))
    all_new = _seconds(lambda: RegionMeter(many[0].layer(), MPP).measure(many[1], 0.5))
    foci = _seconds(lambda: find_foci(many[0].layer(), MPP, 0.5))
    grown = ProbabilityMap(few[0].grid, ContextSettings.from_document(CONTEXT))
    grown.states[:100] = few[0].states[:100]
    grown.layer().stored[:100] = few[0].layer().stored[:100]
    context = _seconds(lambda: grown.layer("context").stored)
    return [
        Figure("context and uncertainty, 25,000 patches", 1e3 * context, "ms", CONTEXT_MS),
        Figure("200 regions, 50,000 patches, first time", 1e3 * first, "ms"),
        Figure("  another threshold", 1e3 * threshold, "ms", THRESHOLD_MS),
        Figure("1,000 regions, 200,000 patches", all_new, "s", MANY_S),
        Figure("foci of 200,000 patches", foci, "s"),
        Figure(
            "undo among 1,000 regions, the longest", 1e3 * _longest_undo(many[1]), "ms", UNDO_MS
        ),
    ]


def _scene(rows: int, cols: int, count: int) -> tuple[ProbabilityMap, list[Shape]]:
    """Return a map with smooth hills and polygons of 60 corners, 2 to 40 cells in radius."""
    rng = np.random.default_rng(rows)
    size = cols * STEP_PX, rows * STEP_PX
    probability_map = ProbabilityMap(PatchGrid.over((0, 0, *size), MPP, 400.0))
    probability_map.states[:] = 1
    y, x = np.indices((rows, cols)) / 17
    hills = 0.25 * (2 + np.sin(x + np.cos(y)) + np.cos(1.3 * y))
    noise = rng.normal(0, 0.05, (rows, cols))
    probability_map.layer().stored[:] = np.rint(np.clip(hills + noise, 0, 1) * 1e6)
    shapes = []
    for _ in range(count):
        radii = rng.uniform(0.5, 1, 60) * rng.uniform(2, 40) * STEP_PX
        angles = np.sort(rng.uniform(0, 2 * np.pi, 60))
        star = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        shapes.append(draw_polygon(star + rng.uniform((0, 0), size)).shape)
    return probability_map, shapes


def _longest_undo(shapes: list[Shape]) -> float:
    with tempfile.TemporaryDirectory() as folder, RegionBook(Path(folder)) as book:
        book.edit(put=[Region(str(n), it, id=str(n)) for n, it in enumerate(shapes)])
        steps = []
        for step in range(1_000):
            region = book.regions[step]
            steps.append(book.kept)
            book.edit(put=[replace(region, shape=region.shape.moved(3, 3))])
        return max(_seconds(partial(book.go_back, former)) for former in reversed(steps))


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
