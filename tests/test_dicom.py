"""DICOM segmentation and parametric map, read by pydicom and highdicom."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.errors import ExportError, FormatError
from idc_desktop.export.content import Analysis
from idc_desktop.export.folder import write_folder
from idc_desktop.export.formats import FORMATS
from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.probability_map import PatchState, ProbabilityMap
from tests.support.command import SIX_FILES
from tests.support.models import TinyModel
from tests.test_export import analysis, contents

CANARY = "K4N4R13NV0GEL"


def dicom_slide(folder: Path, canary: str) -> Path:
    """Write the header of a slide of 6000 x 4000 px with a canary in every text."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset

    slide = Dataset()
    slide.file_meta = FileMetaDataset()
    slide.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    slide.SOPClassUID = pydicom.uid.VLWholeSlideMicroscopyImageStorage
    slide.SOPInstanceUID, slide.StudyInstanceUID = "1.2.3.1", "1.2.3.2"
    slide.SeriesInstanceUID, slide.FrameOfReferenceUID = "1.2.3.3", "1.2.3.4"
    slide.Modality, slide.ImageType = "SM", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    for name in (
        "PatientName", "PatientID", "AccessionNumber", "StudyID", "ReferringPhysicianName",
        "InstitutionName", "StationName", "OperatorsName", "ContainerIdentifier",
        "StudyDescription", "SeriesDescription", "DeviceSerialNumber", "Manufacturer",
        "ManufacturerModelName", "SoftwareVersions", "PatientComments", "ImageComments",
    ):  # fmt: skip
        setattr(slide, name, canary[:16])
    slide.PatientBirthDate = slide.StudyDate = slide.ContentDate = "19531117"
    slide.PatientSex = "F"
    specimen = Dataset()
    specimen.SpecimenIdentifier, specimen.SpecimenUID = canary, "1.2.3.5"
    slide.SpecimenDescriptionSequence = [specimen]
    slide.Rows = slide.Columns = 1000
    slide.NumberOfFrames, slide.SamplesPerPixel = 24, 3
    slide.PhotometricInterpretation = "RGB"
    slide.TotalPixelMatrixColumns, slide.TotalPixelMatrixRows = 6000, 4000
    slide.TotalPixelMatrixFocalPlanes = slide.NumberOfOpticalPaths = 1
    slide.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = "25.0"
    origin.YOffsetInSlideCoordinateSystem = "50.0"
    slide.TotalPixelMatrixOriginSequence = [origin]
    slide.DimensionOrganizationType = "TILED_FULL"
    measures, groups = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["0.002", "0.002"], "0.001"
    groups.PixelMeasuresSequence = [measures]
    slide.SharedFunctionalGroupsSequence = [groups]
    slide.save_as(folder / "S04-1234.dcm", enforce_file_format=True)
    (folder / "notes.txt").write_text("not DICOM", encoding="utf-8")
    return folder / "S04-1234.dcm"


def dicom_analysis(model: Path, source: Path, *, seed: int = 0) -> Analysis:
    found = analysis(model, seed=seed)
    return replace(found, source=source, slide=replace(found.slide, vendor="dicom"))


@pytest.mark.parametrize("named", ["file", "folder"])
def test_dicom_objects_lie_on_the_slide(tiny_model: TinyModel, tmp_path: Path, named: str) -> None:
    highdicom, pydicom = pytest.importorskip("highdicom"), pytest.importorskip("pydicom")
    (tmp_path / "series").mkdir()
    slide = dicom_slide(tmp_path / "series", CANARY)
    found = dicom_analysis(tiny_model.path, slide if named == "file" else slide.parent)

    write_folder(tmp_path / "out", found, [], ("dicom",))

    segmentation = highdicom.seg.segread(tmp_path / "out" / "segmentation.dcm")
    mapped = pydicom.dcmread(tmp_path / "out" / "parametric-map.dcm")
    read = highdicom.imread(tmp_path / "out" / "parametric-map.dcm").get_total_pixel_matrix()
    positive = found.layer.analyzed & (found.layer.values >= found.threshold)
    np.testing.assert_array_equal(segmentation.pixel_array, positive)
    values = np.where(found.layer.analyzed, found.layer.values, -1).astype(np.float32)
    assert (values == -1).any()
    np.testing.assert_array_equal(mapped.pixel_array, values)
    np.testing.assert_array_equal(read, values)
    assert mapped.FloatPixelPaddingValue == -1
    assert segmentation.get_segment_description(1).segment_label == "IDC"
    for it in (segmentation, mapped):
        assert it.FrameOfReferenceUID == "1.2.3.4"
        assert it.StudyInstanceUID == "1.2.3.2"
        assert it.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.1"
        (measures,) = it.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        assert [float(value) for value in measures.PixelSpacing] == [0.4, 0.4]
        assert (it.TotalPixelMatrixColumns, it.TotalPixelMatrixRows) == (30, 20)
        # The first pixel's centre: 99.5 px of 2 µm to the right and down, along turned axes.
        (origin,) = it.TotalPixelMatrixOriginSequence
        assert float(origin.XOffsetInSlideCoordinateSystem) == pytest.approx(25 - 0.199)
        assert float(origin.YOffsetInSlideCoordinateSystem) == pytest.approx(50 - 0.199)


def test_dicom_objects_hold_no_word_of_the_slide(tiny_model: TinyModel, tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    slide = dicom_slide(tmp_path, CANARY)

    write_folder(tmp_path / "out", dicom_analysis(tiny_model.path, slide), [], ("dicom",))

    assert CANARY.encode() in slide.read_bytes()
    for path in (tmp_path / "out").iterdir():
        data = path.read_bytes()
        assert CANARY.encode() not in data, path.name
        assert b"19531117" not in data, path.name
        assert b"S04-1234" not in data, path.name


@pytest.mark.parametrize("runs", [2, pytest.param(10, marks=pytest.mark.long)])
def test_dicom_objects_are_the_same_every_time(
    tiny_model: TinyModel, tmp_path: Path, runs: int
) -> None:
    pytest.importorskip("highdicom")
    slide = dicom_slide(tmp_path, CANARY)
    found = dicom_analysis(tiny_model.path, slide)
    seen = []
    for number in range(runs):
        write_folder(tmp_path / str(number), found, [], ("dicom",))
        seen.append(contents(tmp_path / str(number)))

    assert set(seen[0]) == {*SIX_FILES, "segmentation.dcm", "parametric-map.dcm"}
    assert all(it == seen[0] for it in seen)


def test_dicom_without_its_headers_is_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    slide = dicom_slide(tmp_path, CANARY)
    found = dicom_analysis(tiny_model.path, slide)
    found = replace(found, slide=replace(found.slide, width_l0=5000))

    with pytest.raises(ExportError, match="no image of the size of level 0"):
        write_folder(tmp_path / "out", found, [], ("dicom",))

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("vendor", "nameless", "words"),
    [
        ("aperio", False, "this one is aperio"),
        ("dicom", True, "--anonymous"),
        ("dicom", False, None),
    ],
)
def test_dicom_is_refused_with_the_reason(
    tiny_model: TinyModel, vendor: str, nameless: bool, words: str | None
) -> None:
    pytest.importorskip("highdicom")
    slide = replace(analysis(tiny_model.path).slide, vendor=vendor)

    reason = FORMATS["dicom"].refusal(slide, nameless)

    assert reason is None if words is None else words in str(reason)


@pytest.mark.parametrize("nameless", [False, True])
def test_slide_that_dicom_cannot_hold_is_refused_by_whoever_asks(
    tiny_model: TinyModel, tmp_path: Path, nameless: bool
) -> None:
    found = analysis(tiny_model.path)
    if nameless:
        slide = replace(found.slide, vendor="dicom")
        found = replace(found, slide=slide, image=slide.pseudonym)

    with pytest.raises(FormatError, match="--format dicom is not possible") as caught:
        write_folder(tmp_path / "s", found, [], ["regions", "dicom"])

    assert caught.value.format == "dicom"
    assert not (tmp_path / "s").exists()


def test_real_dicom_slide_is_written_and_read(
    shared_data: Path, tiny_model: TinyModel, tmp_path: Path
) -> None:
    highdicom = pytest.importorskip("highdicom")
    folder = shared_data / "slides" / "CMU-1-small-wsidicomizer-dicom"
    if not folder.is_dir():
        pytest.skip("no DICOM slide in the development data")
    found = analysis(tiny_model.path)
    grid = PatchGrid.over((0, 0, 2220, 2967), (0.499, 0.499), 400.0)
    few = ProbabilityMap(grid)
    few.states[:], few.layer().stored[:] = PatchState.OK, 600_000
    slide = replace(found.slide, vendor="dicom", width_l0=2220, height_l0=2967)
    write_folder(
        tmp_path / "s", replace(found, map=few, slide=slide, source=folder), [], ("dicom",)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pydicom complains of this very slide
        segmentation = highdicom.seg.segread(tmp_path / "s" / "segmentation.dcm")

    assert segmentation.pixel_array.shape == few.states.shape
    assert segmentation.pixel_array.all()
