"""DICOM segmentation and parametric map of a DICOM slide, one pixel per patch.

They refer to the slide by its identifiers and hold nothing else of it: no patient, no physician,
no specimen, no date. Their own identifiers follow from the content, and the date that DICOM asks
for is the model's.
"""

from __future__ import annotations

import contextlib
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import highdicom
import numpy as np
import numpy.typing as npt
import pydicom
from highdicom.content import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID

from idc_desktop import RESEARCH_USE_NOTICE, __version__
from idc_desktop.errors import FormatError
from idc_desktop.export.content import Analysis, Content
from idc_desktop.export.writers import Writer

_NOT_ANALYZED = -1.0
_NEEDED = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
    "FrameOfReferenceUID", "Modality", "ImageType", "Rows", "Columns", "NumberOfFrames",
    "TotalPixelMatrixRows", "TotalPixelMatrixColumns", "ImageOrientationSlide",
    "DimensionOrganizationType", "SamplesPerPixel", "PhotometricInterpretation",
    "NumberOfOpticalPaths", "TotalPixelMatrixFocalPlanes", "ImagedVolumeWidth",
    "ImagedVolumeHeight", "ImagedVolumeDepth", "LossyImageCompression",
    "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "ContainerIdentifier",
)  # fmt: skip


def dicom_files(content: Content) -> dict[str, Writer]:
    """Return the writers of both objects.

    Raises
    ------
    FormatError
        The slide's DICOM files lack what the objects must refer to.
    """
    analysis = content.analysis
    assert analysis.source is not None
    try:
        with _unworried():
            place = _Place(_level_0(analysis.source, analysis), analysis)
    except (OSError, AttributeError, IndexError, ValueError, KeyError) as error:
        why = f"the slide's DICOM headers lack what a segmentation refers to ({error})"
        raise FormatError(analysis.source.name, "dicom", why) from error
    return {
        "segmentation.dcm": lambda file: _save(file, _segmentation, place, analysis),
        "parametric-map.dcm": lambda file: _save(file, _parametric_map, place, analysis),
    }


@contextlib.contextmanager
def _unworried() -> Iterator[None]:
    """Keep to ourselves what pydicom thinks of the slide's own values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


class _Place:
    """Where the map lies: the slide's level 0 without anything personal, and the map's pixels."""

    def __init__(self, level_0: Dataset, analysis: Analysis) -> None:
        grid = analysis.map.grid
        self.source = _stripped(level_0)
        measures = level_0.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        down_mm, across_mm = (float(it) for it in measures.PixelSpacing)
        self.measures = PixelMeasuresSequence(
            pixel_spacing=[_ds(down_mm * grid.step_y_l0), _ds(across_mm * grid.step_x_l0)],
            slice_thickness=_ds(float(measures.get("SliceThickness", 0.001))),
        )
        orientation = [float(it) for it in level_0.ImageOrientationSlide]
        self.orientation = PlaneOrientationSequence("SLIDE", orientation)
        along, below = np.array(orientation[:3]), np.array(orientation[3:])
        # DICOM places the centre of the first pixel.
        x_px = grid.origin_x_l0 + grid.step_x_l0 / 2 - 0.5
        y_px = grid.origin_y_l0 + grid.step_y_l0 / 2 - 0.5
        first = _origin_mm(level_0) + along * x_px * across_mm + below * y_px * down_mm
        self.position = PlanePositionSequence("SLIDE", [_ds(it) for it in first], (1, 1))

    def arguments(self, analysis: Analysis, name: str, number: int) -> dict[str, Any]:
        """Return what both objects are made of alike."""
        shape = analysis.map.states.shape
        return {
            "source_images": [self.source],
            "series_instance_uid": _uid(analysis, f"{name} series"),
            "series_number": number,
            "sop_instance_uid": _uid(analysis, name),
            "instance_number": 1,
            "manufacturer": "IDC Desktop",
            "manufacturer_model_name": analysis.model.card.name,
            "software_versions": __version__,
            "device_serial_number": analysis.model.sha256[:16],
            "content_description": RESEARCH_USE_NOTICE[:64],
            "pixel_measures": self.measures,
            "plane_orientation": self.orientation,
            "plane_positions": [self.position],
            "tile_pixel_array": True,
            "tile_size": shape,
            "dimension_organization_type": "TILED_FULL",
        }


def _segmentation(place: _Place, analysis: Analysis) -> Dataset:
    positive = analysis.layer.positive(analysis.threshold)
    card = analysis.model.card
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=card.name,
        version=card.version,
        family=codes.DCM.ArtificialIntelligence,
        parameters={
            "threshold": repr(analysis.threshold),
            "model SHA-256": analysis.model.sha256,
            "map": analysis.map_kind,
            "provider": analysis.provider.used,
        },
    )
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="IDC",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=highdicom.sr.CodedConcept(
            "82711006", "SCT", "Infiltrating duct carcinoma"
        ),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
        tracking_uid=_uid(analysis, "segment"),
        tracking_id="IDC",
    )
    return highdicom.seg.Segmentation(
        pixel_array=positive.astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[segment],
        content_label="IDC",
        omit_empty_frames=False,
        **place.arguments(analysis, f"segmentation at {analysis.threshold!r}", 9001),
    )


def _parametric_map(place: _Place, analysis: Analysis) -> Dataset:
    values: npt.NDArray[np.float32] = np.where(
        analysis.layer.analyzed, analysis.layer.values, _NOT_ANALYZED
    ).astype(np.float32)
    kind = analysis.layer.kind
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label="P(IDC)",
        lut_explanation=f"{kind.title} ({kind.name} map); research use only",
        unit=codes.UCUM.NoUnits,
        # With the padding: highdicom, as it reads by default, refuses a value that is outside.
        value_range=(_NOT_ANALYZED, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=highdicom.sr.CodedConcept("111047", "DCM", "Probability of cancer"),
    )
    found = highdicom.pm.ParametricMap(
        pixel_array=values,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[
            highdicom.VOILUTTransformation(window_center=0.5, window_width=1.0)
        ],
        content_label="PROBABILITY",
        **place.arguments(analysis, "parametric map", 9002),
    )
    found.FloatPixelPaddingValue = _NOT_ANALYZED
    return found


def _level_0(source: Path, analysis: Analysis) -> Dataset:
    """Return the header of the slide's largest image."""
    wanted = analysis.slide.width_l0, analysis.slide.height_l0
    own = None if source.is_dir() else pydicom.dcmread(source, stop_before_pixels=True)
    for header in _headers(source if source.is_dir() else source.parent):
        is_same_slide = own is None or header.SeriesInstanceUID == own.SeriesInstanceUID
        size = header.get("TotalPixelMatrixColumns"), header.get("TotalPixelMatrixRows")
        if is_same_slide and size == wanted:
            return header
    raise ValueError("no image of the size of level 0")


def _headers(folder: Path) -> Iterator[Dataset]:
    for path in sorted(folder.iterdir()):
        try:
            if path.is_file():
                yield pydicom.dcmread(path, stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:
            continue


def _stripped(header: Dataset) -> Dataset:
    source = Dataset()
    for keyword in _NEEDED:
        if keyword in header:
            source[keyword] = header[keyword]
    for keyword in _EMPTY:
        setattr(source, keyword, "")
    source.PositionReferenceIndicator = "SLIDE_CORNER"
    source.TotalPixelMatrixOriginSequence = [_origin_item(_origin_mm(header))]
    groups, measures = Dataset(), header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    groups.PixelMeasuresSequence = measures
    source.SharedFunctionalGroupsSequence = [groups]
    source.SpecimenDescriptionSequence = []
    source.IssuerOfTheContainerIdentifierSequence = []
    source.ContainerTypeCodeSequence = []
    return source


def _origin_mm(header: Dataset) -> npt.NDArray[np.float64]:
    """Return where the first pixel lies on the glass; old files do not say, and count from 0."""
    item = header.get("TotalPixelMatrixOriginSequence", [Dataset()])[0]
    names = ("XOffsetInSlideCoordinateSystem", "YOffsetInSlideCoordinateSystem")
    return np.array([*(float(item.get(name) or 0) for name in names), 0.0])


def _origin_item(origin_mm: npt.NDArray[np.float64]) -> Dataset:
    item = Dataset()
    item.XOffsetInSlideCoordinateSystem = _ds(origin_mm[0])
    item.YOffsetInSlideCoordinateSystem = _ds(origin_mm[1])
    return item


def _ds(value: float) -> Any:  # noqa: ANN401 - pydicom's decimal string
    """Round to the 16 characters of a decimal string."""
    return pydicom.valuerep.DSfloat(float(value), auto_format=True)


def _uid(analysis: Analysis, part: str) -> UID:
    return UID(f"2.25.{uuid.UUID(analysis.identifier(f'dicom {part}')).int}")


def _save(
    file: BinaryIO,
    make: Callable[[_Place, Analysis], Dataset],
    place: _Place,
    analysis: Analysis,
) -> None:
    with _unworried():
        found = make(place, analysis)
        _settle(found, analysis.model.card.created.replace("-", ""))
        found.save_as(file, enforce_file_format=True)


def _settle(found: Dataset, date: str) -> None:
    """Take out of an object what depends on the hour and on chance."""
    dimension = found.DimensionOrganizationSequence[0].DimensionOrganizationUID
    steady = UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, str(found.SOPInstanceUID)).int}")

    def settle(_: Dataset, element: pydicom.DataElement) -> None:
        if element.VR == "UI" and element.value == dimension:
            element.value = steady

    found.walk(settle)
    del found.InstanceCreationDate, found.InstanceCreationTime
    for equipment in found.get("ContributingEquipmentSequence", []):
        del equipment.ContributionDateTime
    found.ContentDate, found.ContentTime = date, "000000"
