"""What the commands say, and where it cannot be said."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
from pathlib import Path

import pytest

from idc_desktop.commands.cli import main
from idc_desktop.console import printing
from idc_desktop.errors import OutputError
from tests.support.command import SIX_FILES, environment
from tests.support.models import TinyModel
from tests.support.scenes import Scene

FULL = Path("/dev/full")
COMMANDS = {
    "info": "info SLIDE",
    "info as JSON": "info SLIDE --json",
    "models": "models list",
    "model": "models show MODEL",
    "model as JSON": "models show baseline --json",
    "check of a model": "models verify MODEL --provider cpu",
    "doctor": "doctor",
    "doctor as JSON": "doctor --json",
    "help": "--help",
    "analysis": "analyze SLIDE --model MODEL --out OUT --provider cpu",
    "analysis as JSON": "analyze SLIDE --model MODEL --out OUT --provider cpu --json",
}


@pytest.mark.skipif(not FULL.exists(), reason="has no device that is always full")
@pytest.mark.parametrize("name", COMMANDS)
def test_output_that_cannot_be_written_is_told_in_one_line(
    tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path, name: str
) -> None:
    names = {"SLIDE": tiny_slide.path, "MODEL": tiny_model.path, "OUT": tmp_path / "out"}
    words = [str(names.get(word, word)) for word in COMMANDS[name].split()]
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "idc_desktop", *words],
            stdout=full, stderr=subprocess.PIPE, text=True,
            env=environment(tmp_path / "data", {"PYTHONUNBUFFERED": ""}), timeout=60, check=False,
        )  # fmt: skip

    assert done.returncode == 5, done.stderr
    assert done.stderr.splitlines() == [
        "Standard output cannot be written (No space left on device). Free some space, or send it "
        "elsewhere."
    ]
    if "OUT" in COMMANDS[name]:
        assert {path.name for path in (tmp_path / "out" / "tiny").iterdir()} == set(SIX_FILES)


@pytest.mark.skipif(not FULL.exists(), reason="has no device that is always full")
@pytest.mark.parametrize(("words", "code"), [(["info", "none.svs"], 3), (["infos"], 2)])
def test_complaint_that_cannot_be_written_changes_no_exit_code(
    tmp_path: Path, words: list[str], code: int
) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "idc_desktop", *words],
            stdout=subprocess.PIPE, stderr=full,
            env=environment(tmp_path / "data"), timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == code
    assert done.stdout == b""


class LeftPipe(io.StringIO):
    """A pipe that nobody reads, as Windows tells it."""

    def flush(self) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    def fileno(self) -> int:
        raise io.UnsupportedOperation


@pytest.mark.parametrize("system", ["win32", "linux"])
def test_reader_that_leaves_is_no_full_disk(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(sys, "stdout", LeftPipe())
    expected = BrokenPipeError if system == "win32" else OutputError
    with pytest.raises(expected), printing():
        pass


def test_demo_that_cannot_keep_its_slide_is_told_in_one_line(
    tmp_path: Path,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "cache"
    folder.write_text("a file where the folder would be", encoding="utf-8")
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(data_dir))
    monkeypatch.setenv("IDC_DESKTOP_CACHE_DIR", str(folder))

    assert main(["demo"]) == 5

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder}: The phantom slide cannot be written there (")
