"""The head of DICOM files, read without a decoder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idc_desktop.errors import SlideError
from idc_desktop.slides.dicom_header import is_dicom, read_header
from idc_desktop.slides.reader import Slide
from tests.support.scans import write_dicom

pydicom = pytest.importorskip("pydicom")

PIXELS = np.random.default_rng(3).integers(60, 220, (200, 300, 3)).astype(np.uint8)  # 4 x 5 tiles


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dicom(tmp_path_factory.mktemp("dicom") / "s.dcm", PIXELS, mpp=2.0, number=5)


def nested(undefined: bool) -> Any:
    """Return a sequence of sequences, with the UIDs of another object in each."""
    inner, outer = pydicom.Dataset(), pydicom.Dataset()
    inner.SOPInstanceUID = inner.SeriesInstanceUID = "9.9"
    inner.Rows = 3
    outer.ReferencedSeriesSequence = [inner, inner]
    outer.SOPInstanceUID = outer.SeriesInstanceUID = "9.8"
    sequence = pydicom.Sequence([outer, outer])
    for item in (outer, inner):
        item.is_undefined_length_sequence_item = undefined
    outer["ReferencedSeriesSequence"].is_undefined_length = undefined
    return sequence


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("undefined", [False, True])
def test_head_is_read_in_every_encoding(
    sound: Path, tmp_path: Path, implicit: bool, undefined: bool
) -> None:
    slide = pydicom.dcmread(sound)
    for name in ("ReferencedStudySequence", "SourceImageSequence", "OpticalPathSequence"):
        setattr(slide, name, nested(undefined))
        slide[name].is_undefined_length = undefined
    slide.add_new(0x0009_0010, "LO", "PRIVATE")
    slide.add_new(0x0009_1001, "UN", b"\xfe\xff\x00\xe0" * 9)
    if implicit:
        slide.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    path = tmp_path / "s.dcm"
    slide.save_as(path, implicit_vr=implicit, little_endian=True)

    header = read_header(path)

    assert header is not None
    assert (header.instance_uid, header.series_uid) == ("1.2.3.1.5", "1.2.3.1")
    assert header.is_level
    assert (header.frames, header.missing_frames) == (20, 0)
    assert header.problem(path.stat().st_size) is None


def test_head_of_what_is_no_level(sound: Path, tmp_path: Path) -> None:
    for name, old, new in (
        ("label.dcm", rb"PRIMARY\VOLUME", rb"PRIMARY\LABEL "),
        ("other.dcm", b"1.2.840.10008.5.1.4.1.1.77.1.6", b"1.2.840.10008.5.1.4.1.1.66.4\0\0"),
    ):
        path = tmp_path / name
        path.write_bytes(sound.read_bytes().replace(old, new))
        header = read_header(path)
        assert header is not None
        assert not header.is_level
        assert header.series_uid == "1.2.3.1"


def test_other_files_have_no_head(tmp_path: Path) -> None:
    for data in (b"", b"DICM", bytes(131), bytes(128) + b"DICN" + bytes(100)):
        path = tmp_path / "other"
        path.write_bytes(data)
        assert not is_dicom(path)
        assert read_header(path) is None
    assert read_header(tmp_path / "missing") is None


@given(st.lists(st.tuples(st.integers(132, 1400), st.integers(0, 255)), max_size=6), st.booleans())
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_head_is_read_or_not_but_nothing_else_happens(
    sound: Path, tmp_path: Path, edits: list[tuple[int, int]], cut: bool
) -> None:
    data = bytearray(sound.read_bytes()[:2000])
    for at, value in edits:
        data[at] = value
    path = tmp_path / "s.dcm"
    path.write_bytes(data[: edits[0][0]] if cut and edits else data)
    began = time.process_time()

    header = read_header(path)

    assert header is None or isinstance(header.problem(len(data)), str | None)
    assert time.process_time() - began < 2


def changed(sound: Path, path: Path, **values: object) -> Path:
    slide = pydicom.dcmread(sound)
    for name, value in values.items():
        setattr(slide, name, value)
    slide.save_as(path)
    return path


LIES = {
    "size of 107,584 tiles and holds 20": {
        "TotalPixelMatrixRows": 328 * 64,
        "TotalPixelMatrixColumns": 328 * 64,
    },
    "107,584 tiles in": {
        "TotalPixelMatrixRows": 328 * 64,
        "TotalPixelMatrixColumns": 328 * 64,
        "NumberOfFrames": 328 * 328,
    },
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("opened", ["itself", "another level"])
def test_size_that_the_file_cannot_hold_is_refused(
    sound: Path, tmp_path: Path, lie: str, opened: str
) -> None:
    """Each of its patches would have been tried, and failed."""
    path = changed(sound, tmp_path / "lie.dcm", **LIES[lie])
    other = write_dicom(tmp_path / "b.dcm", PIXELS[::2, ::2], mpp=4.0, number=6)

    with pytest.raises(SlideError, match=rf"^lie\.dcm: It claims .*{lie}.*damaged"):
        Slide(path if opened == "itself" else other)


def test_few_missing_tiles_are_failed_patches(sound: Path, tmp_path: Path) -> None:
    with Slide(changed(sound, tmp_path / "s.dcm", NumberOfFrames=11)) as slide:
        assert (slide.width_l0, slide.height_l0) == (300, 200)
    with pytest.raises(SlideError, match="holds 9"):
        Slide(changed(sound, tmp_path / "s.dcm", NumberOfFrames=9))


def test_sparse_slide_may_leave_tiles_out(sound: Path, tmp_path: Path) -> None:
    path = changed(
        sound, tmp_path / "s.dcm", NumberOfFrames=1, DimensionOrganizationType="TILED_SPARSE"
    )
    header = read_header(path)

    assert header is not None
    assert header.problem(path.stat().st_size) is None


def test_head_of_hundreds_of_megabytes_is_refused(sound: Path, tmp_path: Path) -> None:
    """As a colour profile of that size, which a decoder would take into memory three times."""
    data = sound.read_bytes()
    at = data.index(b"\x48\x00\x06\x00")  # before the size of the whole
    profile = b"\x48\x00\x05\x00OB\0\0" + (500 << 20).to_bytes(4, "little")
    path = tmp_path / "s.dcm"
    with path.open("wb") as file:
        file.write(data[:at] + profile)
        file.seek(500 << 20, 1)
        file.write(data[at:])

    with pytest.raises(SlideError, match=r"^s\.dcm: Its DICOM header claims 500 MiB"):
        Slide(path)
