"""The proof of folders that were made to do harm: refused in a line, in no time."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idc_desktop.errors import ExportError
from idc_desktop.export import verify as verify_module
from idc_desktop.export.folder import write_folder
from idc_desktop.export.verify import PROVENANCE, verify_folder
from idc_desktop.storage.atomic import locked
from tests.support.command import SIX_FILES, run_cli
from tests.support.models import TinyModel
from tests.test_export import analysis

pytestmark = pytest.mark.timeout(20)
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


@pytest.fixture
def folder(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """An intact export."""
    write_folder(tmp_path / "export", analysis(tiny_model.path), [])
    return tmp_path / "export"


def edit(folder: Path, **changes: Any) -> None:
    """Change the provenance."""
    path = folder / PROVENANCE
    document = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps(document), encoding="utf-8")


def name_more(folder: Path, name: str, digest: str = "0" * 64) -> None:
    """Let the provenance name one more file."""
    document = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    edit(folder, files={**document["files"], name: digest})


def put(folder: Path, name: str, make: Callable[[Path], object]) -> None:
    """Put something in the place of a file."""
    (folder / name).unlink()
    make(folder / name)


def to_sparse(folder: Path) -> None:
    os.truncate(folder / "patches.csv", 1 << 40)


def to_huge_provenance(folder: Path) -> None:
    os.truncate(folder / PROVENANCE, 1 << 40)


def many_files(folder: Path) -> None:
    edit(folder, files=dict.fromkeys([*SIX_FILES, *map(str, range(30_000))], "0" * 64))


def crowded_format(folder: Path) -> None:
    (folder / "wsinfer").mkdir()
    for number in range(12_000):
        (folder / "wsinfer" / str(number)).mkdir()


def put_text(folder: Path, end: str) -> None:
    text = (folder / PROVENANCE).read_text("utf-8")
    (folder / PROVENANCE).write_text(text.rstrip().removesuffix("}") + end, encoding="utf-8")


HOSTILE: dict[str, Callable[[Path], object]] = {
    "NUL in a name": lambda it: name_more(it, "a\0b"),
    "half a surrogate pair": lambda it: name_more(it, "a\ud800b"),
    "controls in a name": lambda it: name_more(it, "a\n\x1b[2Jb"),
    "name too long": lambda it: name_more(it, "a" * 300),
    "path too long": lambda it: name_more(it, "a/" * 100_000),
    "empty name": lambda it: name_more(it, ""),
    "the folder itself": lambda it: name_more(it, "."),
    "absolute": lambda it: name_more(it, "/etc/passwd"),
    "parent": lambda it: name_more(it, "a/../../b"),
    "drive": lambda it: name_more(it, "C:b"),
    "files is a list": lambda it: edit(it, files=[[name, "0" * 64] for name in SIX_FILES]),
    "files is a list of names": lambda it: edit(it, files=list(SIX_FILES)),
    "files is a number": lambda it: edit(it, files=7),
    "files is nothing": lambda it: edit(it, files=None),
    "hash is a list": lambda it: edit(it, files={name: [] for name in SIX_FILES}),
    "very many files": many_files,
    "identity is a number": lambda it: edit(it, slide={"identity": 1e308}),
    "identity is huge": lambda it: edit(it, slide={"identity": "a" * 1_000_000}),
    "model is a list": lambda it: edit(it, model=["sha256"]),
    "model without a name": lambda it: edit(it, model={"sha256": "a", "version": "1"}),
    "version is huge": lambda it: edit(
        it, model={"sha256": "a", "name": "b", "version": "1" * 1_000_000}
    ),
    "infinite number": lambda it: put_text(it, ', "x": 1e999}'),
    "a name twice": lambda it: put_text(it, ', "x": 1, "x": 2}'),
    "nested without end": lambda it: put_text(it, f', "x": {"[" * 5000}{"]" * 5000}}}'),
    "huge number": lambda it: (it / PROVENANCE).write_text("1" * 1_000_000, encoding="utf-8"),
    "no UTF-8": lambda it: (it / PROVENANCE).write_bytes(b"\xff" * 100_000),
    "half of it": lambda it: os.truncate(it / PROVENANCE, 1000),
    "huge file": to_sparse,
    "huge provenance": to_huge_provenance,
    "very many files of a format": crowded_format,
}
HOSTILE_POSIX: dict[str, Callable[[Path], object]] = {
    "pipe": lambda it: put(it, "patches.csv", os.mkfifo),
    "pipe for the provenance": lambda it: put(it, PROVENANCE, os.mkfifo),
    "pipe for a format": lambda it: os.mkfifo(it / "report.pdf"),
    "device": lambda it: put(it, "patches.csv", lambda at: at.symlink_to("/dev/zero")),
    "device for the provenance": lambda it: put(
        it, PROVENANCE, lambda at: at.symlink_to("/dev/zero")
    ),
    "link out": lambda it: put(it, "overlay.png", lambda at: at.symlink_to("/etc/passwd")),
    "folder that leads out": lambda it: (
        (it / "further").symlink_to("/etc"),
        name_more(
            it, "further/passwd", hashlib.sha256(Path("/etc/passwd").read_bytes()).hexdigest()
        ),
    ),
    "link to itself": lambda it: put(it, "overlay.png", lambda at: at.symlink_to(at)),
    "broken link": lambda it: put(it, "overlay.png", lambda at: at.symlink_to(it / "none")),
    "format that leads to the root": lambda it: (it / "wsinfer").symlink_to("/"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_hostile_folder_is_refused(folder: Path, how: str) -> None:
    HOSTILE[how](folder)
    with pytest.raises(ExportError, match=r"^export: ") as caught:
        verify_folder(folder)
    assert len(str(caught.value)) < 2_000


@posix
@pytest.mark.parametrize("how", HOSTILE_POSIX)
def test_what_is_no_file_of_the_folder_is_not_opened(folder: Path, how: str) -> None:
    HOSTILE_POSIX[how](folder)
    with pytest.raises(ExportError, match=r"^export: "):
        verify_folder(folder)


def test_command_says_it_in_one_line(folder: Path, tmp_path: Path) -> None:
    name_more(folder, "a\n\x1b[2Jb\ud800")
    outcome = run_cli("verify", folder, data_dir=tmp_path / "data")
    assert outcome.code == 3, outcome
    (line,) = outcome.error_lines
    assert "\x1b" not in line
    assert line.startswith("export: ")


@posix
def test_link_within_the_folder_is_a_file_of_it(folder: Path) -> None:
    (folder / "overlay.png").rename(folder / "kept.png")
    (folder / "overlay.png").symlink_to("kept.png")
    assert verify_folder(folder)["files"].keys() == set(SIX_FILES) - {PROVENANCE}


def test_folder_goes_by_its_name_however_it_is_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "overlay.png").unlink()
    monkeypatch.chdir(folder)
    with pytest.raises(ExportError, match=r"^export: overlay\.png is missing\."):
        verify_folder(Path())


def test_folder_that_is_being_written_is_looked_at_when_it_is_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the first look fell between two renames of another process."""
    prove, looks = verify_module._prove, []

    def look(at: Path) -> dict[str, Any]:
        looks.append(at)
        if len(looks) == 1:
            (folder / "new").touch()
            raise ExportError("export: patches.csv is not the file that was exported.")
        return prove(at)

    monkeypatch.setattr(verify_module, "_prove", look)
    assert verify_folder(folder)["files"]
    assert len(looks) == 2

    looks.clear()
    (folder / "new").unlink()
    monkeypatch.setattr(verify_module, "locked", lambda at: locked(at, 0.0))
    with locked(folder), pytest.raises(ExportError, match="is not the file"):
        verify_folder(folder)
    assert len(looks) == 1
