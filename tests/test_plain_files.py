"""What is no file is not waited for, wherever a file is expected."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from idc_desktop import console
from idc_desktop.commands.cli import main
from idc_desktop.plain_files import open_file, read_bytes, read_json, read_text
from idc_desktop.regions.kept import FILE, read_kept
from idc_desktop.storage.run_files import run_path
from idc_desktop.storage.user_data import data_folder, slide_folder
from trainer.cli import main as train

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has none of these"),
]


def put_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def put_socket(path: Path) -> None:
    # A path of a socket may have 100 bytes only.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(before)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "device": put_link_to_device,
    "socket": put_socket,
    "folder": Path.mkdir,
}
no_files = pytest.mark.parametrize("put", NO_FILES.values(), ids=NO_FILES)


@no_files
def test_only_a_file_is_opened(tmp_path: Path, put: Callable[[Path], object]) -> None:
    path = tmp_path / "odd"
    put(path)

    with pytest.raises(OSError, match="odd"):
        open_file(path)


def test_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffä".encode())

    assert read_text(path, "utf-8-sig") == "ä"
    assert read_bytes(path, most=5) == path.read_bytes()
    with pytest.raises(OSError, match="larger than"):
        read_bytes(path, most=4)


def test_json_that_is_nested_too_deeply_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" * 100_000, encoding="utf-8")

    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(path)


@no_files
def test_list_of_a_cohort_that_is_none_is_refused(
    tmp_path: Path, put: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "list.csv")

    assert main(["cohort", str(tmp_path / "list.csv"), "--out", str(tmp_path / "out")]) == 3

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(str(tmp_path))


def test_pipe_as_the_regions_of_a_slide_keeps_no_cohort_waiting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "r.geojson")
    (tmp_path / "a.svs").write_bytes(b"no slide")
    listed = tmp_path / "list.csv"
    listed.write_text("slide,regions\na.svs,r.geojson\n")

    assert main(["cohort", str(listed), "--out", str(tmp_path / "out")]) == 3

    assert "r.geojson: This is not a file" in capsys.readouterr().err


def test_pipe_in_the_place_of_the_log_keeps_no_message_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "data"))
    (data_folder() / "logs").mkdir(parents=True)
    os.mkfifo(data_folder() / "logs" / "defects.log")

    assert console.report_defect("ValueError: odd") == 1

    assert "defects.log cannot be written" in capsys.readouterr().err


@no_files
def test_store_waits_for_no_pipe(tmp_path: Path, put: Callable[[Path], object]) -> None:
    place = slide_folder(tmp_path, "a" * 64)
    place.mkdir(parents=True)
    put(place / FILE)
    put(place / f"run-{'0' * 32}.sqlite")

    assert run_path(tmp_path, "a" * 64, {"slide": "a" * 64}).parent == place
    with pytest.raises(OSError, match=FILE):
        read_kept(place)


@no_files
@pytest.mark.parametrize(
    "arguments",
    [
        ["prepare", "odd.csv", "--out", "store"],
        ["train", "--data", "store", "--settings", "odd.csv", "--out", "run"],
    ],
    ids=lambda it: it[0],
)
def test_trainer_waits_for_no_pipe(
    tmp_path: Path,
    put: Callable[[Path], object],
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "odd.csv")

    assert train(arguments) in (2, 3)

    assert len(capsys.readouterr().err.splitlines()) == 1
