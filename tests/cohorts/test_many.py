"""Two hundred slides, shared and killed in every way: nothing is lost, nothing done twice."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from idc_desktop.cohorts.states import CohortFolder
from tests.cohorts.support import TinyCohort, digests
from tests.support.command import environment
from tests.support.scenes import write_tissue_slide
from tests.support.slides import damage_tile

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform != "linux", reason="finds children in /proc"),
]

_SLIDES = 200
_KILLS = 100
_LONGEST_S = 1500
_PATIENCE_S = 20

log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred different slides in two folders: one damaged, one of them no slide at all."""
    folder = tmp_path_factory.mktemp("many") / "slides"
    for number in range(_SLIDES - 1):
        path = folder / "ab"[number % 2] / f"{number:03d}.tiff"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tissue_slide(path, (1400, 1000), 2.0, downsamples=(1, 4), tile=64, seed=number)
    damage_tile(folder / "b" / "007.tiff", 1, 1, 1)
    (folder / "a" / "bad.svs").write_bytes(b"no slide" * 99)
    return folder


@pytest.fixture(scope="module")
def wanted(many: Path, cohort_of: Callable[[str], TinyCohort]) -> dict[str, str]:
    """What one command makes of them, without any disturbance."""
    cohort = cohort_of("reference")
    process = subprocess.run(
        [sys.executable, "-m", "idc_desktop", *cohort.arguments()],
        env=environment(cohort.out.parent / "data"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 3, process.stderr
    assert list(cohort.statuses.values()).count("partial") == 1
    assert list(cohort.statuses.values()).count("done") == _SLIDES - 2
    return digests(cohort.out)


@pytest.fixture(scope="module")
def cohort_of(
    many: Path, tiny_model: object, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], TinyCohort]:
    """Return a cohort of these slides with results, and data folders, of its own."""
    from tests.support.models import TinyModel

    assert isinstance(tiny_model, TinyModel)

    def cohort_of(name: str) -> TinyCohort:
        folder = tmp_path_factory.mktemp(name)
        return TinyCohort(many, folder / "results", tiny_model.path, many)

    return cohort_of


class Fleet:
    """Commands at work, by name; those that end before all is done are started again."""

    def __init__(self, cohort: TinyCohort) -> None:
        self._folder = cohort.out.parent
        self.commands: dict[str, list[str]] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: list[str]) -> None:
        self.commands[name] = command
        self.running[name] = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment(self._folder / f"data-{name}"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start_again(self, *, even_ended: bool = False) -> None:
        """Start those again that were killed, or also those that ended by themselves."""
        for name, process in list(self.running.items()):
            code = process.poll()
            if code is not None and (even_ended or code < 0):
                self.start(name, self.commands[name])

    def kill_one(self, dice: random.Random) -> str:
        """Kill a command or one of its children; return which."""
        name = dice.choice(sorted(self.running))
        pids = _tree(self.running[name].pid)
        place = dice.randrange(len(pids))
        with suppress(ProcessLookupError):
            os.kill(pids[place], signal.SIGKILL)
        return f"{name}{'' if place == 0 else ' (a child)'}"

    def close(self) -> None:
        for process in self.running.values():
            for pid in reversed(_tree(process.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def _tree(pid: int) -> list[int]:
    pids = [pid]
    for process in pids:  # which grows meanwhile
        with suppress(OSError):
            for task in Path(f"/proc/{process}/task").iterdir():
                pids += [int(it) for it in (task / "children").read_text().split()]
    return pids


@pytest.fixture
def fleet_of() -> Iterator[Callable[[TinyCohort], Fleet]]:
    with ExitStack() as running:

        def fleet_of(cohort: TinyCohort) -> Fleet:
            fleet = Fleet(cohort)
            running.callback(fleet.close)
            return fleet

        yield fleet_of


class Pace:
    """Kills when there is something to lose: after a slide or two, at a random moment."""

    def __init__(self, cohort: TinyCohort, seed: int) -> None:
        self.dice = random.Random(seed)
        self._folder = CohortFolder(cohort.out)
        self._end_by = time.monotonic() + _LONGEST_S

    def wait(self, is_over: Callable[[], bool]) -> None:
        """Wait for the moment, or until it is over."""
        wanted = len(self._folder.stamps()) + self.dice.randrange(1, 3)
        patient_until = time.monotonic() + _PATIENCE_S
        while len(self._folder.stamps()) < min(wanted, _SLIDES) and not is_over():
            assert time.monotonic() < self._end_by
            if time.monotonic() > patient_until:
                break
            time.sleep(0.05)
        time.sleep(self.dice.uniform(0, 0.3))


def require_once_and_whole(cohort: TinyCohort, wanted: dict[str, str]) -> None:
    assert len(CohortFolder(cohort.out).states()) == _SLIDES
    assert digests(cohort.out) == wanted
    leftovers = [it for it in cohort.out.rglob("*.tmp") if it.is_file()]
    assert leftovers == []


def test_shards_that_are_killed_lose_nothing(
    cohort_of: Callable[[str], TinyCohort],
    wanted: dict[str, str],
    fleet_of: Callable[[TinyCohort], Fleet],
) -> None:
    cohort = cohort_of("shards")
    fleet = fleet_of(cohort)
    for shard in ("1/2", "2/2"):
        arguments = cohort.arguments("--threads", "1", "--shard", shard)
        fleet.start(f"shard {shard[0]}", ["idc_desktop", *arguments])

    def is_done() -> bool:
        return any((it.poll() or 0) > 0 for it in fleet.running.values())

    pace, kills = Pace(cohort, 16), 0
    while not is_done():
        pace.wait(is_done)
        if kills < _KILLS and not is_done():
            kills += 1
            log.info("kill %d: %s", kills, fleet.kill_one(pace.dice))
            time.sleep(0.1)
        fleet.start_again()
    log.info("%d kills", kills)
    codes = {it.wait(300) for it in fleet.running.values()}
    assert 3 in codes
    require_once_and_whole(cohort, wanted)


def test_dask_workers_that_are_killed_lose_nothing(
    cohort_of: Callable[[str], TinyCohort],
    wanted: dict[str, str],
    fleet_of: Callable[[TinyCohort], Fleet],
) -> None:
    pytest.importorskip("distributed")
    cohort = cohort_of("dask")
    fleet = fleet_of(cohort)
    place = cohort.out.parent / "scheduler.json"
    port = str(random.randrange(20_000, 30_000))
    listen = ("--host", "127.0.0.1", "--no-dashboard")
    address = f"tcp://127.0.0.1:{port}"
    fleet.start(
        "scheduler",
        ["dask", "scheduler", *listen, "--port", port, "--scheduler-file", str(place)],
    )
    for number in (1, 2):
        many = ("--nthreads", "1", "--memory-limit", "0")
        fleet.start(f"worker {number}", ["dask", "worker", address, *listen, *many])
    arguments = cohort.arguments("--scheduler", address, "--insecure", "--retry", "failed")

    def start_client() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "idc_desktop", *arguments],
            env=environment(cohort.out.parent / "c"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    client = start_client()
    schedulers = fleet.running.pop("scheduler")
    try:
        pace, kills = Pace(cohort, 17), 0
        while client.poll() != 3:
            if client.poll() is not None:  # it was killed, or its scheduler was
                client = start_client()
            pace.wait(partial(_has_ended, client))
            if kills == _KILLS // 4:
                schedulers.kill()
                schedulers.wait()
                fleet.start("scheduler", fleet.commands["scheduler"])
                schedulers = fleet.running.pop("scheduler")
            elif kills % 10 == 9:
                client.kill()
            elif kills < _KILLS:
                log.info("kill %d: %s", kills + 1, fleet.kill_one(pace.dice))
            kills += 1
            time.sleep(0.1)
            fleet.start_again(even_ended=True)  # without their scheduler, workers end
        log.info("%d kills", kills)
        require_once_and_whole(cohort, wanted)
    finally:
        for process in (client, schedulers):
            process.kill()
            process.wait()
