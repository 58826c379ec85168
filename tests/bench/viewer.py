"""Measure the window on slides: start, frames, jumps, event-loop gaps, memory.

``python -m tests.bench.viewer [SLIDE ...]``; without slides, the phantom and, where the test data
are at hand, a real scan. Linux only. Uses the display if there is one, else Qt's offscreen
platform.
Exits 1 if a figure misses its target.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.layers import STEPS
from idc_desktop.maps.probability_map import PatchState, ProbabilityMap
from idc_desktop.regions.shape import rectangle
from idc_desktop.ui.run import RunState
from tests.bench.figure import Figure

if TYPE_CHECKING:
    from idc_desktop.ui.view.slide_view import SlideView

FRAME_MS, ROTATED_MS, GAP_MS = 16.0, 25.0, 50.0
START_S = 1.5
UNDO_MS = 100.0
FIRST_PICTURE_S, SHARP_MS, MEMORY_MB = 0.5, 300.0, 400.0
SIZE = (1600, 1000)
FRAMES, JUMPS, MANY_JUMPS = 200, 200, 2000
TIMEOUT_S = 120.0
CELLS = 20_000
REAL_SLIDE = "slides/CMU-1-Small-Region.svs"
START = """
from PySide6.QtWidgets import QApplication
from idc_desktop.ui.app import create_window
from idc_desktop.ui.settings import Settings
application = QApplication([])
window = create_window(Settings())
window.show()
while not window.windowHandle().isExposed():
    application.processEvents()
window.repaint()
window.close()
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.viewer", description=__doc__)
    parser.add_argument("slides", type=Path, nargs="*")
    parser.add_argument("--quick", action="store_true", help="leave the 2,000 jumps out")
    options = parser.parse_args(arguments)
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from idc_desktop.phantom.making import cache_folder, make_phantom

    slides = options.slides or [make_phantom(cache_folder()).slide, *real_slides()]
    figures = []
    with tempfile.TemporaryDirectory(prefix="idc-desktop-bench-") as folder:
        os.environ["IDC_DESKTOP_DATA_DIR"] = folder
        figures.append(Figure("start to painted window", _start_s(), "s", START_S))
        for slide in slides:
            # Each in a process of its own, so that memory is one slide's.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                found = pool.submit(_measure, slide, options.quick).result()
            sys.stdout.write(f"{slide.name}\n" + "".join(f"{figure}\n" for figure in found))
            figures += found
    sys.stdout.write(f"{figures[0]}\n")
    return 0 if all(figure.passed for figure in figures) else 1


def real_slides() -> list[Path]:
    """Return a real scan if the test data are at hand."""
    data = Path(os.environ.get("IDC_TEST_DATA", Path(__file__).parents[3] / "shared"))
    return [path for path in (data / REAL_SLIDE,) if path.exists()]


def _start_s() -> float:
    """Return the median time from the start of the program to its painted window."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", START], check=True, timeout=TIMEOUT_S)
        times.append(time.perf_counter() - start)
    return sorted(times)[1]


def _measure(slide: Path, quick: bool) -> list[Figure]:
    return _Bench(slide).run(quick)


class _Bench:
    """Drives one window."""

    def __init__(self, slide: Path) -> None:
        from PySide6.QtWidgets import QApplication

        from idc_desktop.ui.document import SlideDocument
        from idc_desktop.ui.main_window import MainWindow
        from idc_desktop.ui.settings import Settings

        self._slide = slide
        self._random = random.Random(1)
        self._application = QApplication([])
        self._application.setStyle("Fusion")
        self._window = MainWindow(Settings(), SlideDocument("baseline"))
        self._window.resize(*SIZE)
        self._window.show()
        self._view, self._document = self._window.view, self._window.document

    def run(self, quick: bool) -> list[Figure]:
        figures = [*self._opening(), *self._analysis()]
        self._show_large_map()
        self._view.camera.fit()
        self._until_sharp()
        figures.append(Figure("frame, whole slide, p95", self._frames(), "ms", FRAME_MS))
        self._view.camera.set_scale(0.2)
        self._until_sharp()
        figures.append(Figure("frame, scale 0.2, p95", self._frames(), "ms", FRAME_MS))
        self._view.camera.rotate(33)
        self._until_sharp()
        figures.append(Figure("frame, rotated, p95", self._frames(), "ms", ROTATED_MS))
        self._view.camera.rotate(-33)
        figures += self._side_by_side()
        jumps = [self._jump() for _ in range(JUMPS)]
        figures.append(Figure("sharp after a jump, p50", float(np.median(jumps)), "ms"))
        figures.append(
            Figure("sharp after a jump, p95", float(np.percentile(jumps, 95)), "ms", SHARP_MS)
        )
        if not quick:
            for _ in range(MANY_JUMPS // 2):
                self._jump(patience_s=0.05)
            half = memory_mb()
            for _ in range(MANY_JUMPS // 2):
                self._jump(patience_s=0.05)
            figures.append(Figure("memory after 2,000 jumps", memory_mb(), "MB", MEMORY_MB))
            figures.append(Figure("  grown in the second half", memory_mb() - half, "MB"))
        figures.append(Figure("undo with 1,000 regions", self._undo_ms(), "ms", UNDO_MS))
        self._window.close()
        return figures

    def _side_by_side(self) -> list[Figure]:
        """Show the slide twice, and move both together."""
        pair, views = self._window.pair, self._window.views
        pair.show()
        assert views.other is not None
        other = views.other
        self._until_sharp()
        self._loop_until(lambda: other.is_sharp)
        mine, others = self._frame_times(other)
        pair.hide()
        self._until_sharp()
        return [
            Figure(f"frame, {which} of two, p95", float(np.percentile(times, 95)), "ms", FRAME_MS)
            for which, times in (("first", mine), ("second", others))
        ]

    def _undo_ms(self) -> float:
        """Move one region of a thousand; return how long it takes to undo and to paint that."""
        document, slide = self._document, self._document.slide
        regions = document.regions
        self._window.docks["Regions"].show()
        self._view.camera.fit()
        width, height = slide.width_l0, slide.height_l0
        side = min(width, height) / 30
        places = [
            (self._random.uniform(0, width - side), self._random.uniform(0, height - side))
            for _ in range(1000)
        ]
        regions.add("Draw", [rectangle(x, y, x + side, y + side / 2) for x, y in places])
        moved = regions.all[500]
        regions.choose([moved.id])
        regions.reshape("Move", {moved: moved.shape.moved(side, side)})
        self._until_sharp()
        times = []
        for undo_or_redo in (document.history.undo, document.history.redo) * 5:
            start = time.perf_counter()
            undo_or_redo()
            self._view.repaint()
            self._application.processEvents()
            times.append((time.perf_counter() - start) * 1000)
        return max(times)

    def _opening(self) -> list[Figure]:
        start = time.perf_counter()
        self._window.open(self._slide)
        gaps = self._loop_until(self._has_picture)
        first = time.perf_counter() - start
        gaps += self._loop_until(lambda: self._view.is_sharp)
        sharp = time.perf_counter() - start
        return [
            Figure("opening to first picture", first, "s", FIRST_PICTURE_S),
            Figure("opening to sharp", sharp, "s"),
            Figure("event-loop gap while opening, p99", _p99(gaps), "ms", GAP_MS),
        ]

    def _analysis(self) -> list[Figure]:
        known = (RunState.READY, RunState.PAUSED, RunState.DONE)
        self._loop_until(lambda: self._document.state in known)
        self._document.analyze()
        gaps = self._loop_until(lambda: self._document.state is not RunState.RUNNING, pan=True)
        if self._document.state is not RunState.DONE or self._document.map is None:
            raise SystemExit(self._document.message)
        cells = float(self._document.map.states.size)
        return [
            Figure("cells of the map", cells, ""),
            Figure("event-loop gap while analyzing, p99", _p99(gaps), "ms", GAP_MS),
            Figure("  the longest", max(gaps), "ms"),
        ]

    def _show_large_map(self) -> None:
        """Put a map of 20,000 cells in the place of the slide's own."""
        document = self._document
        assert document.map is not None
        assert document.mpp_xy is not None
        own = document.map.grid
        extent = (own.origin_x_l0, own.origin_y_l0, own.width_l0, own.height_l0)
        side_um = math.sqrt(own.width_l0 * own.height_l0 / CELLS) * document.mpp_xy[0]
        large = ProbabilityMap(PatchGrid.over(extent, document.mpp_xy, side_um))
        rng = np.random.default_rng(1)
        coarse = rng.random((own.rows // 2 + 2, own.cols // 2 + 2))
        rows = np.linspace(0, coarse.shape[0] - 1, large.grid.rows).round().astype(int)
        cols = np.linspace(0, coarse.shape[1] - 1, large.grid.cols).round().astype(int)
        noisy = coarse[np.ix_(rows, cols)] + rng.normal(0, 0.1, large.states.shape)
        large.layer().stored[:] = np.clip(noisy, 0, 1) * STEPS
        large.states[:] = PatchState.OK
        document.record.map = large
        document.map_changed.emit()

    def _has_picture(self) -> bool:
        tiles = self._document.tiles
        return bool(self._document.slide) and tiles is not None and bool(tiles.loaded_tiles)

    def _frames(self) -> float:
        (times,) = self._frame_times()
        return float(np.percentile(times, 95))

    def _frame_times(self, *others: SlideView) -> list[list[float]]:
        """Move the view, and others that follow it; return the times of each one's frames, ms."""
        from PySide6.QtCore import QPointF

        camera, views = self._view.camera, (self._view, *others)
        times: list[list[float]] = [[] for _ in views]
        for number in range(FRAMES):
            if number % 4 == 0:
                camera.set_scale(camera.scale * (1.05 if number % 8 else 1 / 1.05))
            else:
                step = QPointF(self._random.uniform(-9, 9), self._random.uniform(-9, 9))
                camera.centre_on(camera.centre + step / camera.scale)
            for view, taken in zip(views, times, strict=True):
                start = time.perf_counter()
                view.repaint()
                taken.append((time.perf_counter() - start) * 1000)
            self._application.processEvents()
        return times

    def _jump(self, patience_s: float = TIMEOUT_S) -> float:
        """Go to a random place at a random scale; return how long until it is sharp, ms."""
        from PySide6.QtCore import QPointF

        slide = self._document.slide
        x = self._random.uniform(0, slide.width_l0)
        y = self._random.uniform(0, slide.height_l0)
        self._view.camera.set_scale(2 ** self._random.uniform(-5, 0))
        start = time.perf_counter()
        self._view.camera.centre_on(QPointF(x, y))
        self._loop_until(lambda: self._view.has_all_tiles, patience_s)
        return (time.perf_counter() - start) * 1000

    def _until_sharp(self) -> None:
        self._loop_until(lambda: self._view.is_sharp)

    def _loop_until(
        self, condition: Callable[[], bool], patience_s: float = TIMEOUT_S, pan: bool = False
    ) -> list[float]:
        """Run the event loop; return the times of its rounds, ms."""
        from PySide6.QtCore import QPointF

        rounds = []
        until = time.perf_counter() + patience_s
        while not condition() and time.perf_counter() < until:
            start = time.perf_counter()
            if pan and len(rounds) % 8 == 0:
                self._view.camera.centre_on(
                    self._view.camera.centre + QPointF(4, 2) / self._view.camera.scale
                )
            self._application.processEvents()
            rounds.append((time.perf_counter() - start) * 1000)
            time.sleep(0.001)
        return rounds or [0.0]


def _p99(values: list[float]) -> float:
    return float(np.percentile(values, 99))


def memory_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+)", status)
    if found is None:
        raise SystemExit("no VmRSS in /proc/self/status")
    return int(found[1]) * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())
