"""The data folder tells where slides are and what was found: it is closed to other users."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from idc_desktop.console import report_defect
from idc_desktop.regions.book import RegionBook
from idc_desktop.storage import user_data
from idc_desktop.storage.user_data import make_folder, slide_folder
from tests.support.command import run_cli
from tests.support.models import TinyModel
from tests.support.scenes import Scene

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")

IDENTITY = "a" * 64


def modes(folder: Path) -> dict[str, int]:
    found = {it: it.lstat().st_mode for it in (folder, *folder.rglob("*"))}
    return {str(it.relative_to(folder)): stat.S_IMODE(mode) for it, mode in found.items()}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder that is not there yet, where the user's umask closes nothing."""
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "share" / "data"))
    before = os.umask(0)
    yield tmp_path / "share" / "data"
    os.umask(before)


def test_what_is_made_is_closed(data: Path) -> None:
    with RegionBook(slide_folder(data, IDENTITY)):
        pass
    report_defect("Traceback of a test")

    assert modes(data) == {
        ".": 0o700,
        "slides": 0o700,
        f"slides/{IDENTITY[:32]}": 0o700,
        f"slides/{IDENTITY[:32]}/regions.sqlite": 0o600,
        "logs": 0o700,
        "logs/defects.log": 0o600,
    }


def test_what_was_open_is_closed(data: Path) -> None:
    with RegionBook(slide_folder(data, IDENTITY)) as book:
        pass
    place = slide_folder(data, IDENTITY)
    for path in (data, place, place / "regions.sqlite"):
        path.chmod(0o777)

    with RegionBook(place) as book:
        assert book.notes == ()

    assert modes(data)["."] == 0o700
    assert {it & 0o077 for it in modes(place).values()} == {0}


def test_analysis_closes_an_older_data_folder(
    data: Path, tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path
) -> None:
    data.mkdir(parents=True)
    outcome = run_cli(
        "analyze", tiny_slide.path, "--out", tmp_path / "out", "--model", tiny_model.path,
        "--provider", "cpu", data_dir=data,
    )  # fmt: skip

    assert outcome.code == 0, outcome
    assert len(modes(data)) == 4
    assert {it & 0o077 for it in modes(data).values()} == {0}
    # What the user asked for is no secret.
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o777


def test_folder_that_cannot_be_closed_is_used(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data.mkdir(parents=True)

    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(1, "not yours")

    monkeypatch.setattr(Path, "chmod", refuse)
    with RegionBook(slide_folder(data, IDENTITY)):
        pass
    assert modes(data)["."] == 0o777
    assert slide_folder(data, IDENTITY).is_dir()


def test_file_in_the_place_of_a_folder_is_told(data: Path) -> None:
    data.parent.mkdir()
    data.write_text("in the way")
    for place in (data, data / "slides"):
        with pytest.raises(OSError, match=r"File exists|Not a directory"):
            make_folder(place)


def test_network_drive_is_known_by_the_mount_that_a_path_lies_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    lines = ["/dev/sda / ext4 rw 0 0", "nas:/h /home nfs4 rw 0 0", "/dev/sdb /home/my\\040disk xfs"]
    mounts.write_text("".join(f"{it}\n" for it in lines))
    monkeypatch.setattr(user_data, "_MOUNTS", mounts)

    assert user_data.network_drive(Path("/home/me/data")) == "nfs4"
    assert user_data.network_drive(Path("/home/my disk/data")) is None
    assert user_data.network_drive(Path("/homely")) is None
    monkeypatch.setattr(user_data, "_MOUNTS", tmp_path / "none")
    assert user_data.network_drive(Path("/home/me")) is None
