"""An engine that dies, hangs or dawdles on purpose, as a decoder does on a hostile slide.

Run as ``python -m tests.support.crashing_engine`` in place of ``idc_desktop.children.engine``. The
environment variable `VARIABLE` holds a `Crash` as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VARIABLE = "IDC_TEST_CRASH"
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Crash:
    """What happens, and where.

    Attributes
    ----------
    how : {"abort", "segv", "kill", "exit", "raise", "hang", "slow", "eat", "fill"}
        ``raise`` is a defect of the engine; ``slow`` sleeps 0.1 s and goes on; ``eat`` takes memory
        until it is killed, or 2 GB; ``fill`` takes 600 MB and goes on after 0.3 s.
    at : {"open", "model", "survey", "blocks", "overview"}
    box : (left, top, right, bottom), optional
        Of the reads of survey or blocks, only those that touch this part of level 0.
    once : str
        Path of a file that is made at the first crash and prevents further ones.
    on_cuda : bool
        The machine seems to have CUDA.
    """

    how: str
    at: str
    box: tuple[float, float, float, float] | None = None
    once: str = ""
    on_cuda: bool = False

    def variable(self) -> str:
        """Return the value of the environment variable."""
        return json.dumps(asdict(self))

    def happens(self) -> None:
        """Let it happen."""
        if self.once:
            if Path(self.once).exists():
                return
            Path(self.once).touch()
        if self.how == "abort":
            os.abort()
        elif self.how == "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.how == "exit":
            os._exit(3)
        elif self.how == "raise":
            raise RuntimeError("on purpose")
        elif self.how == "eat":
            taken = []
            while len(taken) < 2000:
                taken.append(b"1" * MEGABYTE)
                time.sleep(0.001)
            os._exit(3)
        elif self.how == "fill":
            filled = b"1" * (600 * MEGABYTE)
            time.sleep(0.3)
            del filled
            return
        time.sleep(0.1 if self.how == "slow" else 3600)

    def touches(self, left: float, top: float, width: float, height: float) -> bool:
        """Whether a rectangle of level 0 overlaps the box."""
        if self.box is None:
            return True
        x1, y1, x2, y2 = self.box
        return left < x2 and left + width > x1 and top < y2 and top + height > y1


def main() -> None:
    """Run the engine with the crash built in."""
    from idc_desktop.analysis.tiling import PatchReader
    from idc_desktop.children import engine
    from idc_desktop.models import inference
    from idc_desktop.slides.reader import Slide

    crash = Crash(**json.loads(os.environ[VARIABLE]))
    in_overview, in_survey = threading.Event(), threading.Event()
    look_around = PatchReader.look_around
    opened, read, overview = Slide.__init__, Slide.read_region, Slide.overview_strips
    make_session = inference._session

    def init(slide: Slide, *arguments: Any) -> None:
        if crash.at == "open":
            crash.happens()
        opened(slide, *arguments)

    def session(*arguments: Any) -> Any:
        if crash.at == "model":
            crash.happens()
        return make_session(*arguments)

    def read_region(slide: Slide, level: int, x: int, y: int, width: int, height: int) -> Any:
        scale = slide.levels[level].downsample
        box = (x * scale, y * scale, width * scale, height * scale)
        at = "survey" if in_survey.is_set() else "overview" if in_overview.is_set() else "blocks"
        if crash.at == at != "overview" and crash.touches(*box):
            crash.happens()
        return read(slide, level, x, y, width, height)

    def surveyed(reader: PatchReader) -> None:
        in_survey.set()
        look_around(reader)
        in_survey.clear()

    def overview_strips(slide: Slide, *arguments: Any) -> Iterator[Any]:
        in_overview.set()  # by then every block is done
        for strip in overview(slide, *arguments):
            if crash.at == "overview":
                crash.happens()
            yield strip

    PatchReader.look_around = surveyed  # type: ignore[method-assign]
    Slide.__init__ = init  # type: ignore[method-assign]
    inference._session = session
    if crash.on_cuda:
        inference.cuda_problem = lambda: None
    Slide.read_region = read_region  # type: ignore[method-assign]
    Slide.overview_strips = overview_strips  # type: ignore[method-assign]
    engine.main()


if __name__ == "__main__":
    main()
