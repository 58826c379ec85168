"""Claims: one process at a time is at work on a slide, and who dies leaves it to others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from idc_desktop.cohorts.claims import Claims
from idc_desktop.errors import OutputError

OWNER = """
import sys, time
from pathlib import Path
from idc_desktop.cohorts.claims import Claims
claims = Claims(Path(sys.argv[1]))
print(claims.take("x"), flush=True)
time.sleep(600)
"""


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[Claims]:
    with Claims(tmp_path) as claims:
        yield claims


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which has claimed ``x``."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "True\n"
        yield process
        process.kill()


def files(folder: Path) -> list[str]:
    return sorted(it.name for it in (folder / ".cohort" / "claims").iterdir())


def test_slide_is_claimed_once_until_it_is_given_free(claims: Claims, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claims.take, ["x"] * 40)) == 1
    assert claims.take("y")

    claims.release("x")

    assert files(tmp_path) == ["y.0"]
    assert claims.take("x")


def test_claims_end_with_their_block(tmp_path: Path) -> None:
    with Claims(tmp_path) as claims:
        assert claims.take("x")
    assert files(tmp_path) == []


def test_claim_of_a_process_that_died_is_taken_over_at_once(
    claims: Claims, other: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert not claims.take("x")
    assert claims.take("y")

    other.send_signal(signal.SIGKILL)
    while not claims.take("x"):  # ends as soon as the system has ended it
        pass

    assert files(tmp_path) == ["x.0", "x.1", "y.0"]
    claims.release("x")
    assert files(tmp_path) == ["y.0"]


def test_claim_of_another_machine_is_stale_when_its_time_stands_still(tmp_path: Path) -> None:
    folder = tmp_path / ".cohort" / "claims"
    folder.mkdir(parents=True)
    claim = folder / "x.3"
    claim.write_text('{"pid":1,"host":"elsewhere","began":"1"}')
    os.utime(claim, (0, 0))  # the clock over there may be wrong
    with Claims(tmp_path, stale_after_s=0.2) as claims:
        for beat in range(3):
            os.utime(claim, (beat, beat))
            assert not claims.take("x")
        with Claims(tmp_path, stale_after_s=60) as patient:
            assert not patient.take("x")
            while not claims.take("x"):
                pass
            assert files(tmp_path) == ["x.3", "x.4"]
            assert not patient.take("x")


def test_damaged_claim_counts_as_alive_until_it_stands_still(tmp_path: Path) -> None:
    folder = tmp_path / ".cohort" / "claims"
    folder.mkdir(parents=True)
    (folder / "x.0").write_bytes(b"")
    with Claims(tmp_path, stale_after_s=0.2) as claims:
        assert not claims.take("x")
        while not claims.take("x"):
            pass


def test_folder_that_takes_no_claims_is_said(tmp_path: Path) -> None:
    (tmp_path / ".cohort").write_bytes(b"")
    with Claims(tmp_path) as claims, pytest.raises(OutputError, match="cannot be shared out"):
        claims.take("x")
