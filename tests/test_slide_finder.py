"""Which slides a folder holds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.slides.reader import Slide
from idc_desktop.slides.slide_finder import slides_in
from tests.support.scans import write_dicom
from tests.support.slides import write_tiff

MOST = 100
PICTURE = np.full((130, 130, 3), 190, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two slides and a text."""
    made = tmp_path / "case"
    made.mkdir()
    for name in ("b.tiff", "a.SVS", "notes.txt"):
        (made / name).write_bytes(b"any")
    return made


def names(folder: Path) -> list[str]:
    return [str(it.relative_to(folder)) for it in slides_in(folder, MOST).slides]


def write_series(folder: Path, series: int, suffix: str = ".dcm") -> Path:
    folder.mkdir(exist_ok=True)
    for number in (1, 2):
        reduced = PICTURE[::number, ::number]
        path = folder / f"s{series}-{number}{suffix}"
        write_dicom(path, reduced, mpp=2.0 * number, number=number, series=series)
    return folder


def test_slide_stands_for_itself_and_a_folder_for_its_slides(folder: Path) -> None:
    assert slides_in(folder / "b.tiff", MOST).slides == (folder / "b.tiff",)
    assert slides_in(folder, MOST).slides == (folder / "a.SVS", folder / "b.tiff")
    assert slides_in(folder, MOST).notes == ()


def test_hidden_files_are_no_slides(folder: Path) -> None:
    """macOS leaves one beside each file on a disk of another system."""
    for name in ("._a.SVS", ".b.tiff"):
        (folder / name).write_bytes(b"any")
    (folder / ".trash").mkdir()
    write_series(folder / ".trash", 1)
    assert names(folder) == ["a.SVS", "b.tiff"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes among files there")
def test_what_is_no_file_is_no_slide(folder: Path) -> None:
    os.mkfifo(folder / "pipe.svs")
    os.mkfifo(folder / "pipe")
    (folder / "folder.svs").mkdir()
    (folder / "nowhere.svs").symlink_to(folder / "gone.svs")
    assert names(folder) == ["a.SVS", "b.tiff"]


def test_dicom_file_among_slides_takes_no_other_one_away(folder: Path) -> None:
    (folder / "report.dcm").write_bytes(bytes(128) + b"DICM")
    assert names(folder) == ["a.SVS", "b.tiff"]
    write_series(folder, 1)
    assert names(folder) == ["a.SVS", "b.tiff", "s1-1.dcm"]


@pytest.mark.parametrize("suffix", [".dcm", ".DCM", "", ".17"])
def test_dicom_series_is_its_folder(tmp_path: Path, suffix: str) -> None:
    series = write_series(tmp_path / "series", 1, suffix)
    (series / "DICOMDIR").write_bytes(b"any")
    (series / "report.dcm").write_bytes(bytes(128) + b"DICM")
    assert slides_in(series, MOST).slides == (series,)


def test_each_of_several_series_is_a_slide_that_can_be_read(tmp_path: Path) -> None:
    for number in (1, 2):
        write_series(tmp_path / "both", number)
    found = slides_in(tmp_path / "both", MOST).slides
    assert [it.name for it in found] == ["s1-1.dcm", "s2-1.dcm"]
    identities = set()
    for path in found:
        with Slide(path) as slide:
            assert len(slide.levels) == 2
            identities.add(slide.identity())
    assert len(identities) == 2


def test_folders_of_series_are_found_in_a_folder(folder: Path) -> None:
    write_series(folder / "one", 1)
    write_series(folder / "two", 2, "")
    write_tiff(folder / "one" / "other.tiff", [PICTURE], mpp=2.0)  # as the files of MIRAX are
    (folder / "empty").mkdir()
    assert names(folder) == ["a.SVS", "b.tiff", "one", "two"]


def test_what_is_left_out_is_told(folder: Path, tmp_path: Path) -> None:
    assert slides_in(folder, 1).slides == (folder / "a.SVS",)
    assert slides_in(folder, 1).notes == (
        "case: Of 2 slides in this folder the first 1 are listed.",
    )
    (tmp_path / "empty").mkdir()
    assert slides_in(tmp_path / "empty", 1).notes == ("empty: There is no slide in this folder.",)


def test_folder_that_cannot_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "closed").mkdir()
    real = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = slides_in(folder, MOST)
    assert [it.name for it in found.slides] == ["a.SVS", "b.tiff"]
    assert found.notes == ("closed: The folder cannot be read (Permission denied).",)
    with pytest.raises(PermissionError):
        slides_in(folder / "closed", MOST)
