"""The command line, run as a user runs it: in its own process, with its own data folder."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIX_FILES = (
    "regions.csv",
    "patches.csv",
    "patches.geojson",
    "overlay.png",
    "probability.ome.tiff",
    "provenance.json",
)


@dataclass(frozen=True)
class Outcome:
    """What a finished command left behind."""

    arguments: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document that ``--json`` promises."""
        return json.loads(self.stdout)

    @property
    def error_lines(self) -> list[str]:
        """Lines on standard error that say something."""
        return [line for line in self.stderr.splitlines() if line.strip()]

    def __str__(self) -> str:
        line = " ".join(self.arguments)
        return f"idc-desktop {line}\nexit {self.code}\n{self.stdout}\n{self.stderr}"


def run_cli(
    *arguments: str | Path,
    data_dir: Path,
    timeout: float = 120,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Outcome:
    """Run ``python -m idc_desktop`` to its end.

    Parameters
    ----------
    data_dir : Path
        The application's data folder in this run; need not exist.
    timeout : float
        Seconds until the process and all its children are killed and the test fails.
    env : mapping, optional
        Environment variables beside those of the tests.
    cwd : Path, optional
        Working folder; by default the parent of `data_dir`, never the repository.
    """
    texts = tuple(str(argument) for argument in arguments)
    process = subprocess.Popen(
        [sys.executable, "-m", "idc_desktop", *texts],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment(data_dir, env),
        cwd=cwd or data_dir.parent,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        raise AssertionError(f"no end after {timeout} s: {texts}\n{stdout}\n{stderr}") from None
    return Outcome(texts, process.returncode, stdout, stderr)


def run_many(commands: Iterable[Iterable[object]], data_dir: Path) -> list[Outcome]:
    """Run commands, as many at a time as there are processors, each with its own data folder."""

    def run(job: tuple[int, Iterable[object]]) -> Outcome:
        number, command = job
        own = data_dir / str(number)
        own.parent.mkdir(exist_ok=True)
        return run_cli(*map(str, command), data_dir=own)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(run, enumerate(commands)))


def environment(data_dir: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which the application keeps its data in `data_dir`."""
    return {
        **os.environ,
        "XDG_DATA_HOME": str(data_dir),
        "IDC_DESKTOP_DATA_DIR": str(data_dir),
        "PYTHONIOENCODING": "utf-8",
        **(extra or {}),
    }


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a CSV file with a header; every cell is the text that stands there."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, strict=True))


def read_header(path: Path) -> list[str]:
    """Return the column names of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return next(csv.reader(stream, strict=True))


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
