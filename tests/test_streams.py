"""Commands that are started without standard streams, or without room for temporary files."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from idc_desktop.errors import OutputError
from idc_desktop.export.verify import verify_folder
from idc_desktop.processes.child import Child
from idc_desktop.processes.engine_messages import DoctorJob
from idc_desktop.processes.supervisor import Job
from tests.support.command import environment, run_cli
from tests.support.models import TinyModel
from tests.support.scenes import Scene

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
CLOSED = ("<&-", ">&-", "2>&-", "<&- >&- 2>&-")

NO_TEMPORARY_FILES = """
import sys, tempfile
def refuse(*_): raise FileNotFoundError(2, "No usable temporary directory found in [...]")
tempfile.gettempdir = refuse
tempfile._get_default_tempdir = refuse
from idc_desktop.commands.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run_closed(
    words: list[object], closed: str, data_dir: Path, module: str = "idc_desktop"
) -> subprocess.CompletedProcess[str]:
    """Run a command with some of its standard streams closed."""
    line = shlex.join(map(str, (sys.executable, "-m", module, *words)))
    return subprocess.run(
        ["sh", "-c", f"{line} {closed}"],
        capture_output=True, text=True, encoding="utf-8",
        env=environment(data_dir), timeout=60, check=False,
    )  # fmt: skip


@posix
@pytest.mark.parametrize("closed", CLOSED)
def test_analysis_needs_no_standard_streams(
    tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path, closed: str
) -> None:
    words = [
        "analyze", tiny_slide.path, "--model", tiny_model.path, "--out", tmp_path / "out",
        "--provider", "cpu", "--json",
    ]  # fmt: skip
    done = run_closed(words, closed, tmp_path / "data")
    assert done.returncode == 0, done
    verify_folder(tmp_path / "out" / "tiny")
    assert done.stderr == ""
    if ">&-" not in closed.replace("2>&-", ""):
        assert json.loads(done.stdout)["slides"][0]["status"] == "done"


@posix
@pytest.mark.parametrize("closed", CLOSED)
def test_refusal_keeps_its_exit_code_without_standard_streams(tmp_path: Path, closed: str) -> None:
    done = run_closed(["info", tmp_path / "none.svs"], closed, tmp_path / "data")
    assert done.returncode == 3, done
    assert done.stdout == ""  # what is meant for stderr is not said on stdout


@posix
@pytest.mark.parametrize("closed", CLOSED)
def test_trainer_needs_no_standard_streams(tmp_path: Path, closed: str) -> None:
    words = ["prepare", tmp_path / "none", "--out", tmp_path / "store"]
    done = run_closed(words, closed, tmp_path / "data", "trainer")
    assert done.returncode == 3, done
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["info", "analyze"])
def test_no_room_for_temporary_files_is_told_in_one_line(
    tiny_slide: Scene, tmp_path: Path, command: str
) -> None:
    words = ["--out", str(tmp_path / "out")] if command == "analyze" else []
    done = subprocess.run(
        [sys.executable, "-c", NO_TEMPORARY_FILES, command, tiny_slide.path, *words],
        capture_output=True, text=True, env=environment(tmp_path / "data"), timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 5, done
    (line,) = done.stderr.splitlines()
    assert line == (
        "Temporary files cannot be written (no folder takes any). Free some space, or name another "
        "folder for them in TMPDIR."
    )


def test_child_that_cannot_be_started_tells_it_as_it_tells_all_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the window says it where it says why a slide cannot be read."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with (
        Child("idc_desktop.children.engine", DoctorJob()) as child,
        pytest.raises(OutputError, match="TMPDIR"),
    ):
        list(child.events(wait_forever=True))
    job = Job(DoctorJob(), "doctor")
    job.cancel()
    with pytest.raises(OutputError, match="TMPDIR"):
        list(job.events())
    job.close()


@pytest.mark.parametrize(
    "place",
    ["", "settings.json", "slides", "logs", "slides/IDENTITY/RUN", "slides/IDENTITY/RUN-journal"],
)
def test_what_is_in_the_way_in_the_data_folder_is_told(
    tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path, place: str
) -> None:
    """A folder in place of a file, and the other way round."""
    words = [
        "analyze", tiny_slide.path, "--model", tiny_model.path, "--out", tmp_path / "out",
        "--provider", "cpu",
    ]  # fmt: skip
    data = tmp_path / "data"
    if "IDENTITY" in place:
        assert run_cli(*words, data_dir=data).code == 0
        (run,) = data.rglob("run-*.sqlite")
        run.unlink()
        (run.parent / (run.name + place.partition("RUN")[2])).mkdir()
        reason = "it is a folder"
    elif place == "settings.json":
        (data / place).mkdir(parents=True)
        reason = ""
    else:
        (data / place).parent.mkdir(parents=True, exist_ok=True)
        (data / place).write_bytes(b"a file")
        reason = "" if place == "logs" else "Not a directory"

    outcome = run_cli(*words, data_dir=data, cwd=tmp_path)

    assert outcome.code == (5 if reason else 0), outcome
    if reason:
        (line,) = outcome.error_lines
        assert f"The data folder cannot be written ({reason})" in line
        assert "move away what is there" in line
        assert "free some space" not in line


def test_results_that_cannot_be_written_name_the_real_cause(
    tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "out" / "tiny" / "overlay.png").mkdir(parents=True)
    causes = {
        tmp_path / "file": "move away what is there",
        tmp_path / "file" / "below": "move away what is there",
        tmp_path / ("a" * 300): "shorten the name",
        tmp_path / "out": "move away what is there",
    }
    for out, remedy in causes.items():
        outcome = run_cli(
            "analyze", tiny_slide.path, "--model", tiny_model.path, "--out", out,
            "--provider", "cpu", data_dir=tmp_path / "data",
        )  # fmt: skip
        assert outcome.code == 5, outcome
        (line,) = outcome.error_lines
        assert remedy in line.lower()
        assert "free some space" not in line.lower()
