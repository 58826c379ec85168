"""Projects as files: what is read, what is refused, and what several processes make of one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from idc_desktop.errors import OutputError, ProjectError
from idc_desktop.storage.project_files import (
    MAX_SLIDES,
    added,
    change_project,
    create_project,
    found_again,
    moved,
    put_back,
    read_project,
    rename_project,
    without,
)

WHOLE = {"format": "IDC Desktop project", "version": 1, "slides": ["a.svs"]}


def test_slides_beside_a_project_move_with_it(tmp_path: Path) -> None:
    study, elsewhere = tmp_path / "study", tmp_path / "elsewhere" / "c.svs"
    study.mkdir()
    project = study / "Mamma.idcproject"
    create_project(project, [study / "a.svs", study / "deep" / "b.svs", elsewhere])
    named = json.loads(project.read_text("utf-8"))["slides"]
    assert named == ["a.svs", "deep/b.svs", str(elsewhere)]
    shutil.move(study, tmp_path / "moved")
    now = tmp_path / "moved"
    assert read_project(now / "Mamma.idcproject") == [
        now / "a.svs",
        now / "deep" / "b.svs",
        elsewhere,
    ]


def test_names_that_are_no_utf8_come_back(tmp_path: Path) -> None:
    slide = tmp_path / os.fsdecode(b"caf\xe9, 1.svs")
    create_project(tmp_path / "p.idcproject", [slide])
    assert read_project(tmp_path / "p.idcproject") == [slide]


@pytest.mark.parametrize(
    "changed",
    [
        {"format": "QuPath"},
        {"version": 0},
        {"version": "1"},
        {"version": True},
        {"slides": "a.svs"},
        {"slides": [1]},
        {"slides": [""]},
        {"slides": ["a\0b"]},
        {"slides": ["a" * 5000]},
        {"slides": [f"{number}.svs" for number in range(MAX_SLIDES + 1)]},
        {"more": 1},
    ],
    ids=range(11),
)
def test_what_is_no_project_is_refused_in_one_line(tmp_path: Path, changed: dict[str, Any]) -> None:
    path = tmp_path / "p.idcproject"
    path.write_text(json.dumps({**WHOLE, **changed}), "utf-8")
    with pytest.raises(ProjectError) as caught:
        read_project(path)
    text = str(caught.value)
    assert text.startswith("p.idcproject: ")
    assert "\n" not in text
    assert len(text) < 400


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"slides": [], "slides": [], "format": "IDC Desktop project", "version": 1}',
        b"[" + b"0," * 600_000 + b"0]",
    ],
    ids=range(7),
)
def test_hostile_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "p.idcproject"
    path.write_bytes(data)
    with pytest.raises(ProjectError, match="no project of IDC Desktop"):
        read_project(path)
    with pytest.raises(ProjectError):
        change_project(path, [partial(added, new=[tmp_path / "a.svs"])])
    assert path.read_bytes() == data


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    path = tmp_path / "p.idcproject"
    with pytest.raises(ProjectError, match="is not there"):
        read_project(path)
    os.mkfifo(path)
    with pytest.raises(ProjectError, match="pipe or a device"):
        read_project(path)
    path.unlink()
    path.write_bytes(b" " * ((16 << 20) + 1))
    with pytest.raises(ProjectError, match="larger than 16 MiB"):
        read_project(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ProjectError, match="directory"):
        read_project(path)
    path.rmdir()
    path.write_text(json.dumps({**WHOLE, "version": 2, "of": "later"}), "utf-8")
    with pytest.raises(ProjectError, match="newer version"):
        read_project(path)


def test_two_processes_lose_none_of_their_changes(tmp_path: Path) -> None:
    path = tmp_path / "p.idcproject"
    create_project(path, [])
    code = (
        "import sys; from functools import partial; from pathlib import Path\n"
        "from idc_desktop.storage.project_files import added, change_project\n"
        "path, name = Path(sys.argv[1]), sys.argv[2]\n"
        "for number in range(20):\n"
        "    new = [path.parent / f'{name}-{number}.svs']\n"
        "    change_project(path, [partial(added, new=new)])\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in ("a", "b")]
    assert [it.wait() for it in both] == [0, 0]
    expected = {f"{name}-{number}.svs" for name in "ab" for number in range(20)}
    assert {it.name for it in read_project(path)} == expected
    assert [it.name for it in tmp_path.iterdir()] == ["p.idcproject"]


def test_a_project_that_cannot_be_written_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "p.idcproject"
    create_project(path, [tmp_path / "a.svs"])

    def fail(_slides: list[Path]) -> list[Path]:
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"p\.idcproject.*No space.*Free some space"):
        change_project(path, [fail])
    assert read_project(path) == [tmp_path / "a.svs"]


def test_a_private_project_stays_private(tmp_path: Path) -> None:
    path = tmp_path / "p.idcproject"
    create_project(path, [])
    path.chmod(0o600)
    change_project(path, [partial(added, new=[tmp_path / "a.svs"])])
    assert path.stat().st_mode & 0o777 == 0o600


def test_renaming_replaces_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "p.idcproject"
    create_project(path, [tmp_path / "a.svs"])
    (tmp_path / "other.idcproject").write_text("kept")
    for name in ("other", "", "a/b", " a", ".a"):
        with pytest.raises(ProjectError):
            rename_project(path, name)
    assert (tmp_path / "other.idcproject").read_text() == "kept"
    named = rename_project(path, "Mamma 2026")
    assert named == tmp_path / "Mamma 2026.idcproject"
    assert read_project(named) == [tmp_path / "a.svs"]


def test_lists_are_changed_in_their_order() -> None:
    a, b, c, d = (Path(f"/{name}") for name in "abcd")
    assert added([a, b], [b, c]) == [b, c, a]
    assert without([a, b, c], [b]) == [a, c]
    assert put_back([b], [(0, a), (2, c)]) == [a, b, c]
    assert moved([a, b, c], [(a, d), (c, b)]) == [d, b]
    many = [Path(f"/{number}") for number in range(MAX_SLIDES)]
    assert added(many, [a]) == [a, *many[:-1]]


def test_what_moved_along_with_a_slide_is_found(tmp_path: Path) -> None:
    for name in ("new/deep/a.svs", "new/b.svs"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    old, new = tmp_path / "old", tmp_path / "new"
    others = [old / "b.svs", old / "gone.svs", tmp_path / "other" / "b.svs", old / "deep" / "a.svs"]
    assert found_again(old / "deep" / "a.svs", new / "deep" / "a.svs", others) == (
        (old / "deep" / "a.svs", new / "deep" / "a.svs"),
        (old / "b.svs", new / "b.svs"),
    )
    assert found_again(old / "x.svs", new / "b.svs", others) == ((old / "x.svs", new / "b.svs"),)
