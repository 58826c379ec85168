"""Cohorts on Dask workers: the same bytes, whatever dies, and nothing open to others."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from idc_desktop import commands
from idc_desktop.cohorts.members import Member
from idc_desktop.cohorts.slide_job import JobOptions
from idc_desktop.errors import UsageError
from tests.cohorts.support import TinyCohort, digests
from tests.support.command import environment

pytest.importorskip("distributed")

Run = Callable[..., subprocess.Popen[str]]


@dataclass(frozen=True)
class Scheduler:
    """A process, and the file in which it says where it is."""

    process: subprocess.Popen[str]
    place: Path

    @property
    def address(self) -> str:
        address: str = json.loads(self.place.read_text())["address"]
        return address


@pytest.fixture
def start(data_dir: Path) -> Iterator[Run]:
    """Start a Python module, which is ended after the test."""
    with contextlib.ExitStack() as running:

        def start(*arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", *map(str, arguments)],
                env=environment(data_dir, variables),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            running.callback(process.communicate)
            running.callback(process.kill)
            return process

        yield start


def wait_for(condition: Callable[[], object]) -> None:
    end_by = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end_by
        time.sleep(0.02)


def results(cohort: TinyCohort) -> list[Path]:
    return list(cohort.out.rglob("provenance.json"))


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=90)
    return process.returncode, stdout, stderr


def listening(pid: int) -> set[str]:
    """Return at which addresses a process and its children listen, in hex as Linux has them."""
    pids, inodes = [pid], set()
    for process in pids:  # which grows meanwhile
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{process}/task").iterdir():
                pids += [int(it) for it in (task / "children").read_text().split()]
            for link in Path(f"/proc/{process}/fd").iterdir():
                with contextlib.suppress(OSError):
                    inodes.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, address, _, state, *_, inode = line.split()[:10]
            if state == "0A" and inode in inodes:
                found.add(address.partition(":")[0])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks at sockets in /proc")
def test_local_workers_make_the_same_bytes_and_listen_to_this_machine_only(
    cohort: TinyCohort, start: Run, tmp_path: Path
) -> None:
    cohort.add("a.tiff", "sub/b.tiff")
    cohort.add_damaged("bad.svs")
    assert cohort.run() == 3
    wanted, cohort.out = digests(cohort.out), tmp_path / "shared"
    command = start("idc_desktop", *cohort.arguments("--scheduler", "local"))
    heard: set[str] = set()
    while command.poll() is None:
        heard |= listening(command.pid)
        time.sleep(0.02)

    assert ended(command)[0] == 3
    assert digests(cohort.out) == wanted
    assert heard == {"0100007F"}  # 127.0.0.1


@pytest.fixture
def scheduler(start: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    """A scheduler that takes none without a certificate."""
    from distributed import Security

    security = Security.temporary()
    prefix = "DASK_DISTRIBUTED__COMM__TLS__"
    (tmp_path / "ca.pem").write_text(security.tls_ca_file)
    (tmp_path / "pair.pem").write_text(security.tls_worker_cert + security.tls_worker_key)
    monkeypatch.setenv(f"{prefix}CA_FILE", str(tmp_path / "ca.pem"))
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        monkeypatch.setenv(f"{prefix}{role}__CERT", str(tmp_path / "pair.pem"))
    place = tmp_path / "scheduler.json"
    process = start(
        *("dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--protocol", "tls"),
        *("--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", place),
    )
    wait_for(place.exists)
    return Scheduler(process, place)


def worker(start: Run, scheduler: Scheduler) -> subprocess.Popen[str]:
    return start(
        *("dask", "worker", "--scheduler-file", scheduler.place, "--nthreads", "1", "--no-nanny"),
        *("--no-dashboard", "--memory-limit", "0", "--host", "127.0.0.1"),
    )


@pytest.mark.long
def test_workers_that_are_killed_cost_nothing(
    cohort: TinyCohort, start: Run, scheduler: Path, tmp_path: Path
) -> None:
    cohort.add(*(f"{number}.tiff" for number in range(6)))
    assert cohort.run() == 0
    wanted, cohort.out = digests(cohort.out), tmp_path / "shared"
    doomed = worker(start, scheduler)
    command = start("idc_desktop", *cohort.arguments("--scheduler", scheduler.address))
    wait_for(lambda: results(cohort))
    doomed.send_signal(signal.SIGKILL)
    worker(start, scheduler)

    code, stdout, stderr = ended(command)

    assert (code, stderr) == (0, "")
    assert stdout.count(": done") == 6
    assert digests(cohort.out) == wanted


@pytest.mark.long
def test_slide_whose_workers_died_too_often_is_failed_and_can_be_tried_again(
    cohort: TinyCohort, start: Run, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    scheduler: Scheduler = request.getfixturevalue("scheduler")
    cohort.add(*(f"{number}.tiff" for number in range(6)))
    doomed = worker(start, scheduler)
    command = start("idc_desktop", *cohort.arguments("--scheduler", scheduler.address))
    wait_for(lambda: results(cohort))
    doomed.kill()
    worker(start, scheduler)

    code, _, stderr = ended(command)

    assert code == 5
    failed = [it for it in cohort.rows if it["Status"] == "failed"]
    assert failed
    assert all("The workers that had this slide died" in it["Error"] for it in failed)
    assert all(it["Image"] in stderr for it in failed)
    assert cohort.run("--retry", "failed") == 0
    assert set(cohort.statuses.values()) == {"done"}


@pytest.mark.long
def test_lost_scheduler_is_said_and_the_rest_is_done_later(
    cohort: TinyCohort, start: Run, scheduler: Path
) -> None:
    cohort.add(*(f"{number}.tiff" for number in range(5)))
    at_work = worker(start, scheduler)
    command = start("idc_desktop", *cohort.arguments("--scheduler", scheduler.address))
    wait_for(lambda: results(cohort))
    scheduler.process.kill()

    code, _, stderr = ended(command)

    assert code == 130
    assert "The scheduler is gone" in stderr
    at_work.kill()
    assert set(cohort.statuses.values()) <= {"done", "pending"}
    assert cohort.run() == 0
    assert set(cohort.statuses.values()) == {"done"}


@pytest.mark.long
def test_ctrl_c_ends_the_work_of_the_workers(
    cohort: TinyCohort, start: Run, scheduler: Path
) -> None:
    cohort.add(*(f"{number}.tiff" for number in range(6)))
    worker(start, scheduler)
    command = start("idc_desktop", *cohort.arguments("--scheduler", scheduler.address))
    wait_for(lambda: results(cohort))
    command.send_signal(signal.SIGINT)

    code, stdout, stderr = ended(command)

    assert code == 130
    assert "Cancelled." in stderr
    assert "6 slides: " in stdout
    wait_for(lambda: not list((cohort.out / ".cohort" / "claims").iterdir()))
    done = len(results(cohort))
    time.sleep(0.5)
    assert len(results(cohort)) == done < 6


@pytest.mark.long
def test_ctrl_c_at_a_terminal_reaches_local_workers_too_and_nothing_else_is_said(
    cohort: TinyCohort, data_dir: Path
) -> None:
    cohort.add(*(f"{number}.tiff" for number in range(12)))
    command = subprocess.Popen(
        [sys.executable, "-m", "idc_desktop", *cohort.arguments("--scheduler", "local")],
        env=environment(data_dir),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: results(cohort))
    os.killpg(command.pid, signal.SIGINT)

    code, _, stderr = ended(command)

    assert code == 130
    assert stderr.splitlines() == [
        "Cancelled. What was done is kept: run the same command to go on."
    ]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp://127.0.0.1:9", "with --insecure"),
        ("127.0.0.1:9", "tls://HOST:PORT"),
        ("http://127.0.0.1:9", "tls://HOST:PORT"),
    ],
)
def test_scheduler_without_tls_is_refused(
    cohort: TinyCohort, address: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort.add("a.tiff")

    assert cohort.run("--scheduler", address) == 2

    said = capsys.readouterr().err
    assert address in said
    assert reason in said
    assert not cohort.out.exists()


def test_scheduler_that_does_not_answer_is_said(
    cohort: TinyCohort, start: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort.add("a.tiff")
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    arguments = cohort.arguments("--scheduler", "tcp://127.0.0.1:9", "--insecure")

    code, _, stderr = ended(start("idc_desktop", *arguments))

    assert code == 2
    (line,) = stderr.splitlines()
    assert "cannot be reached" in line


def test_without_dask_the_command_says_what_to_install(
    cohort: TinyCohort, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort.add("a.tiff")
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "idc_desktop.commands.cohort_dask", raising=False)
    monkeypatch.delattr(commands, "cohort_dask", raising=False)

    assert cohort.run("--scheduler", "local") == 2

    assert "pip install 'idc-desktop[cohort]'" in capsys.readouterr().err


def test_shards_and_scheduler_are_two_ways(
    cohort: TinyCohort, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort.add("a.tiff")
    assert cohort.run("--scheduler", "local", "--shard", "1/2") == 2
    assert "one of the two" in capsys.readouterr().err


def test_worker_of_another_version_or_without_the_folder_says_so(cohort: TinyCohort) -> None:
    from idc_desktop.commands.cohort_dask import SlideWorker

    cohort.add("a.tiff")
    options = JobOptions(cohort.out, str(cohort.model), provider="cpu")
    member = Member("a.tiff", cohort.slides / "a.tiff", "a")
    for spoil, reason in (("", "does not see"), ("0.0.0", "version")):
        worker = SlideWorker(options, is_ours=False)
        worker._version = spoil or worker._version
        worker.setup(SimpleNamespace(state=SimpleNamespace(nthreads=1)))
        with pytest.raises(UsageError, match=reason):
            worker.do(member)
        worker.teardown(SimpleNamespace())
