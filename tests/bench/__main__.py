"""Measure, print a table, and exit 1 if a figure misses its target."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import bare, trainer
from tests.bench.cohort import cohort_figures, sharing_figures
from tests.bench.figure import Figure
from tests.bench.measure import Memory, peak_memory, seconds
from tests.bench.regions import region_figures
from tests.bench.slide import FLAT, STANDARD, TENFOLD, BenchSlide
from tests.support.command import SIX_FILES, environment, read_json

ROOT = Path(__file__).resolve().parents[2]
CORES = 2

OVER_BARE_S = 1.5
INFO_S = 0.8
ENGINE_MB = 400.0
"""For a slide of any size."""


class Bench:
    """Runs the commands, each into its own fresh folder."""

    def __init__(self, model: str, scratch: Path) -> None:
        self._model = model
        self._scratch = scratch
        self._env = environment(scratch / "data")
        self._runs = 0

    def app(self, *arguments: str | Path) -> list[str | Path]:
        return [sys.executable, "-m", "idc_desktop", *arguments]

    def analyze(self, slide: Path) -> tuple[list[str | Path], Path]:
        """Return the command that analyzes a slide anew, and the folder it fills."""
        self._runs += 1
        out = self._scratch / f"out-{self._runs}"
        command = self.app(
            "analyze", slide, "--out", out, "--model", self._model, "--provider", "cpu",
            "--restart",
        )  # fmt: skip
        return command, out / slide.stem

    def bare(self, slide: Path) -> list[str | Path]:
        """Return the command to compare with."""
        model = Path(self._model)
        if not model.is_file():
            model = ROOT / "resources" / "models" / f"{self._model}.onnx"
        return [sys.executable, str(bare.__file__), slide, model]

    def compare(self, slide: Path, rounds: int) -> list[Figure]:
        """Time analyze and the bare script in turn, after a run of each to warm up."""
        times: dict[str, list[float]] = {"bare": [], "app": []}
        analyzed, output = 0, ""
        for number in range(rounds + 1):
            took, output = seconds(self.bare(slide), self._env)
            command, folder = self.analyze(slide)
            took_app, _ = seconds(command, self._env)
            if {path.name for path in folder.iterdir()} != set(SIX_FILES):
                raise SystemExit(f"{folder} does not hold the six files")
            analyzed = read_json(folder / "provenance.json")["counts"]["ok"]
            if number:
                times["bare"].append(took)
                times["app"].append(took_app)
        bare_s, app_s = statistics.median(times["bare"]), statistics.median(times["app"])
        return [
            Figure("patches, bare script", float(output.split()[0]), ""),
            Figure("patches, analyze", float(analyzed), ""),
            Figure("bare script, wall time", bare_s, "s"),
            Figure("analyze, wall time, six files", app_s, "s", bare_s + OVER_BARE_S),
        ]

    def info(self, slide: Path, rounds: int) -> Figure:
        """Time ``info``."""
        times = [seconds(self.app("info", slide), self._env)[0] for _ in range(rounds + 1)]
        return Figure("info, wall time", statistics.median(times[1:]), "s", INFO_S)

    def memory(self, slide: Path) -> Memory:
        """Watch the memory of one analysis."""
        return peak_memory(self.analyze(slide)[0], self._env)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--model", default="baseline", help="bundled name or ONNX file")
    parser.add_argument("--rounds", type=int, default=5, help="runs of which the median counts")
    parser.add_argument("--small", action="store_true", help="leave the tenfold slide out")
    options = parser.parse_args(arguments)
    if not sys.platform.startswith("linux"):
        sys.stderr.write("The bench reads /proc and pins processors: it runs on Linux only.\n")
        return 2
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    figures = region_figures()
    slide = _made(STANDARD)
    with tempfile.TemporaryDirectory(prefix="idc-desktop-bench-") as folder:
        bench = Bench(options.model, Path(folder))
        figures += bench.compare(slide, options.rounds)
        figures.append(bench.info(slide, options.rounds))
        memory = bench.memory(slide)
        figures.append(Figure("engine, peak memory", memory.engine, "MB", ENGINE_MB))
        figures.append(Figure("its parent, peak memory", memory.parent, "MB"))
        flat = bench.memory(_made(FLAT))
        figures.append(Figure("engine, slide without a pyramid", flat.engine, "MB", ENGINE_MB))
        if not options.small:
            tenfold = bench.memory(_made(TENFOLD))
            figures.append(Figure("engine, tenfold slide", tenfold.engine, "MB", ENGINE_MB))
            figures.append(Figure("  times the standard one", tenfold.engine / memory.engine, ""))
            figures.append(Figure("its parent, tenfold slide", tenfold.parent, "MB"))
        figures += cohort_figures(Path(folder), options.model)
        figures += sharing_figures(Path(folder))
    figures += trainer.figures(options.rounds)
    sys.stdout.write("".join(f"{figure}\n" for figure in figures))
    return 0 if all(figure.passed for figure in figures) else 1


def _made(slide: BenchSlide) -> Path:
    start = time.perf_counter()
    path = slide.path()
    took = time.perf_counter() - start
    sys.stdout.write(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB, made in {took:.1f} s\n")
    sys.stdout.flush()
    return path


if __name__ == "__main__":
    sys.exit(main())
