"""Opens mutants as our child processes and parsers do, each in a process forked for it.

``python -m tests.faults.harness`` takes a list of `Task` as JSON on stdin and prints a `Tally` for
each. It is a process of its own since only one without threads can be forked safely. Linux only.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

from idc_desktop.analysis.tiling import PatchReader
from idc_desktop.children.decoder import read_tile
from idc_desktop.errors import IdcError, SlideReadError
from idc_desktop.export.verify import verify_folder
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models.model_file import read_model
from idc_desktop.models.patch_size import PatchSize
from idc_desktop.processes import supervisor
from idc_desktop.processes.engine_messages import OVERVIEW_SIDE_PX
from idc_desktop.processes.memory import memory_limit, resident_bytes
from idc_desktop.regions.book import RegionBook
from idc_desktop.slides.reader import Slide
from idc_desktop.storage.run_files import finished_runs
from tests.faults.mutants import Seed, mutants
from tests.support.region_files import read_regions
from tests.test_store import IDENTITY, open_store

LONGEST_S = 30.0
"""Of the processor's time without a word: it hangs."""

_LONGEST_WAIT_S = 600.0  # for a processor, a disk or a pipe
_PARTS, _STRIPS, _BLOCKS = 2, 2, 3  # so much of a slide tells whether it can be read


@dataclass(frozen=True)
class Task:
    """What to do: `count` mutants of a seed, in a scratch folder."""

    seed: str
    opened: str
    kind: str
    folder: str
    count: int
    number: int


@dataclass
class Tally:
    """What came of mutants.

    Attributes
    ----------
    outcomes : dict
        How many were ``read``, ``refused``, ended by a ``signal``, or for taking too much
        ``memory``; and, which must not be, ended in a ``defect`` or ``hang``.
    peak_mb : float
        The most memory that any took.
    slowest_s : float
        The most time of the processor that any took.
    wrong : list of str
        The mutants that ended as they must not, and how.
    """

    outcomes: dict[str, int]
    peak_mb: float = 0.0
    slowest_s: float = 0.0
    wrong: list[str] = field(default_factory=list)


class _EnoughError(Exception):
    """The rest is more of the same."""


def look_at_slide(path: Path) -> None:
    """Do what decoder and engine do, without a model."""
    with Slide(path) as slide:
        slide.describe()
        for name in slide.associated_names:
            with contextlib.suppress(SlideReadError):
                slide.read_associated(name)

        def stop_early(left: int, parts: list[int]) -> None:
            parts.append(left)
            if len(parts) == _PARTS:
                raise _EnoughError

        side = max(slide.width_l0, slide.height_l0)
        for zoom in (max(0, math.ceil(math.log2(side / 256))), 0):
            seen: list[int] = []
            with contextlib.suppress(SlideReadError, _EnoughError):
                read_tile(slide, zoom, 0, 0, lambda left, seen=seen: stop_early(left, seen))
        plan = slide.overview(OVERVIEW_SIDE_PX)
        for _ in islice(slide.overview_strips(plan), _STRIPS):
            pass
        if slide.mpp is not None:
            reader = PatchReader(slide, PatchSize(50, 8.0), TissueSettings())
            for block in islice(reader.blocks(), _BLOCKS):
                with contextlib.suppress(SlideReadError):
                    reader.read(block)


def look_at_run(folder: Path) -> None:
    """Do what the engine does with a run that was not finished, and with those that were."""
    with open_store(folder) as store:
        list(store.results())
    finished_runs(folder, IDENTITY)


def look_at_book(folder: Path) -> None:
    """Do what the window does with a slide's regions."""
    with RegionBook(folder) as book:
        assert isinstance(book.regions, tuple)


WORK: dict[str, Callable[[Path], object]] = {
    "slide": look_at_slide,
    "model": read_model,
    "regions": read_regions,
    "run": look_at_run,
    "book": look_at_book,
    "results": verify_folder,
}


@dataclass(frozen=True)
class _Forked:
    path: Path
    began: float


def survey(work: Callable[[Path], object], paths: Iterator[Path]) -> Tally:
    """Open each path in a process of its own, as many at a time as there are processors."""
    counts: Counter[str] = Counter()
    tally = Tally({})
    running: dict[int, _Forked] = {}
    ended: dict[int, str] = {}  # by us, and why
    at_once = min(4, supervisor.usable_threads())
    more = True
    while running or more:
        while more and len(running) < at_once:
            path = next(paths, None)
            if path is None:
                more = False
                break
            running[_fork(work, path)] = _Forked(path, time.monotonic())
        for pid, job in list(running.items()):
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if not done:
                if (reason := _excess(pid, job)) and pid not in ended:
                    ended[pid] = reason
                    os.kill(pid, 9)
                continue
            del running[pid]
            how = ended.pop(pid, None) or _name(status)
            counts[how] += 1
            tally.peak_mb = max(tally.peak_mb, usage.ru_maxrss / 1000)
            tally.slowest_s = max(tally.slowest_s, usage.ru_utime + usage.ru_stime)
            if how in ("defect", "hang"):
                said = _report(job.path)
                why = said.read_text(encoding="utf-8") if said.exists() else ""
                tally.wrong.append(f"{how}: {job.path}\n{why}")
            else:
                shutil.rmtree(_home(job.path))
        time.sleep(0.002)
    tally.outcomes = dict(counts)
    return tally


def _home(path: Path) -> Path:
    """Return the folder of a mutant."""
    return next(it for it in (path, *path.parents) if it.parent.name == "mutants")


def _report(path: Path) -> Path:
    return _home(path) / "traceback.txt"


def _fork(work: Callable[[Path], object], path: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries say of damage
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        work(path)
        code = 0
    except IdcError:
        code = 3
    except BaseException:  # noqa: BLE001 - this is the edge of the process
        _report(path).write_text(traceback.format_exc(), encoding="utf-8", errors="replace")
    finally:
        os._exit(code)


def _excess(pid: int, job: _Forked) -> str:
    """Say what a process takes too much of."""
    if (resident_bytes(pid) or 0) > memory_limit():
        return "memory"
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    used_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    waited_s = time.monotonic() - job.began
    return "hang" if used_s > LONGEST_S or waited_s > _LONGEST_WAIT_S else ""


def _name(status: int) -> str:
    if os.WIFSIGNALED(status):
        return "signal"
    return {0: "read", 3: "refused"}.get(os.WEXITSTATUS(status), "defect")


def main() -> None:
    """Run the tasks that stand on stdin."""
    tallies = []
    for task in [Task(**it) for it in json.load(sys.stdin)]:
        seed = Seed(Path(task.seed), task.opened, task.kind)
        scratch = Path(task.folder) / "mutants"
        scratch.mkdir(exist_ok=True)
        paths = mutants(seed, scratch, task.count, task.number)
        tallies.append(asdict(survey(WORK[task.kind], paths)))
    json.dump(tallies, sys.stdout)


if __name__ == "__main__":
    main()
