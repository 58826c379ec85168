"""Writers of slides of several files: MIRAX, DICOM, and Hamamatsu's uncompressed VMU."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.slides import Rgb

_SLIDE_ID = "0123456789ABCDEF0123456789ABCDEF"


def write_mirax(
    path: Path, levels: Sequence[Rgb], *, mpp: float, tile: int = 64, data_files: int = 2
) -> Path:
    """Write a MIRAX slide: `path` and its data folder; each level half the size of the one before.

    Parameters
    ----------
    levels : sequence of arrays
        Of sides that `tile` divides. They take turns in the data files.
    """
    folder = path.with_suffix("")
    folder.mkdir()
    path.write_bytes(b"\xff\xd8\xff\xe0")
    rows, cols = (side // tile for side in levels[0].shape[:2])
    data = [io.BytesIO() for _ in range(data_files)]
    pages = []
    for level, pixels in enumerate(levels):
        entries = []
        for y, x in np.ndindex(*(side // tile for side in pixels.shape[:2])):
            file = data[level % data_files]
            png = io.BytesIO()
            square = pixels[y * tile : (y + 1) * tile, x * tile : (x + 1) * tile]
            Image.fromarray(square).save(png, "PNG")
            number = (y << level) * cols + (x << level)
            entries += [(number, file.tell(), png.tell(), level % data_files)]
            file.write(png.getvalue())
        pages.append(entries)
    for number, file in enumerate(data):
        (folder / f"Data{number:04}.dat").write_bytes(file.getvalue())
    (folder / "Index.dat").write_bytes(_mirax_index(pages))
    names = {"HIER_COUNT": 1, "NONHIER_COUNT": 0, "INDEXFILE": "Index.dat"}
    names |= {"HIER_0_NAME": "Slide zoom level", "HIER_0_COUNT": len(levels)}
    groups: dict[str, dict[str, object]] = {
        "GENERAL": {
            "SLIDE_VERSION": "01.02", "SLIDE_ID": _SLIDE_ID, "IMAGENUMBER_X": cols,
            "IMAGENUMBER_Y": rows, "OBJECTIVE_MAGNIFICATION": 20, "CameraImageDivisionsPerSide": 1,
        },
        "HIERARCHICAL": names,
        "DATAFILE": {"FILE_COUNT": data_files}
        | {f"FILE_{number}": f"Data{number:04}.dat" for number in range(data_files)},
    }  # fmt: skip
    for level in range(len(levels)):
        section = f"LAYER_0_LEVEL_{level}_SECTION"
        names[f"HIER_0_VAL_{level}"] = f"ZoomLevel_{level}"
        names[f"HIER_0_VAL_{level}_SECTION"] = section
        groups[section] = {
            "OVERLAP_X": 0, "OVERLAP_Y": 0, "IMAGE_FORMAT": "PNG", "IMAGE_FILL_COLOR_BGR": 16777215,
            "MICROMETER_PER_PIXEL_X": mpp * 2**level, "MICROMETER_PER_PIXEL_Y": mpp * 2**level,
            "DIGITIZER_WIDTH": tile, "DIGITIZER_HEIGHT": tile,
            "IMAGE_CONCAT_FACTOR": int(level > 0),
        }  # fmt: skip
    text = ""
    for group, keys in groups.items():
        text += f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
    (folder / "Slidedat.ini").write_text(text, encoding="utf-8-sig")
    return path


def _mirax_index(pages: list[list[tuple[int, int, int, int]]]) -> bytes:
    head = b"01.02" + _SLIDE_ID.encode()
    table = len(head) + 8
    first = table + 4 * len(pages)
    pointers, body = [table, table], bytearray()
    for entries in pages:
        start = first + len(body)
        pointers.append(start)
        body += struct.pack("<iiii", 0, start + 8, len(entries), 0)
        for entry in entries:
            body += struct.pack("<iiii", *entry)
    return head + struct.pack(f"<{len(pointers)}i", *pointers) + body


def write_dicom(
    path: Path,
    pixels: Rgb,
    *,
    mpp: float,
    number: int,
    series: int = 1,
    frames: int | None = None,
    is_reduced: bool = False,
) -> Path:
    """Write one level of a slide as a DICOM file, uncompressed.

    Parameters
    ----------
    number, series : int
        Make the UIDs of the file and of its series.
    frames : int, optional
        How many tiles the file says to hold, where that is a lie.
    is_reduced : bool
        The file says that it was made from a larger level.
    """
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset

    tile = 64
    rows, cols = (-(-side // tile) for side in pixels.shape[:2])
    padded = np.full((rows * tile, cols * tile, 3), 255, np.uint8)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    tiles = padded.reshape(rows, tile, cols, tile, 3).swapaxes(1, 2)
    slide = Dataset()
    slide.file_meta = FileMetaDataset()
    slide.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    slide.SOPClassUID = pydicom.uid.VLWholeSlideMicroscopyImageStorage
    slide.SOPInstanceUID, slide.StudyInstanceUID = f"1.2.3.{series}.{number}", "1.2.3"
    slide.SeriesInstanceUID = f"1.2.3.{series}"
    slide.FrameOfReferenceUID = "1.2.4"
    made = ("DERIVED", "RESAMPLED") if is_reduced else ("ORIGINAL", "NONE")
    slide.Modality, slide.ImageType = "SM", [made[0], "PRIMARY", "VOLUME", made[1]]
    slide.Rows = slide.Columns = tile
    slide.NumberOfFrames, slide.SamplesPerPixel = frames or rows * cols, 3
    slide.PhotometricInterpretation, slide.PlanarConfiguration = "RGB", 0
    slide.BitsAllocated, slide.BitsStored, slide.HighBit, slide.PixelRepresentation = 8, 8, 7, 0
    slide.TotalPixelMatrixRows, slide.TotalPixelMatrixColumns = pixels.shape[:2]
    slide.TotalPixelMatrixFocalPlanes = 1
    slide.DimensionOrganizationType = "TILED_FULL"
    measures, groups = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [mpp / 1000, mpp / 1000], "0.001"
    groups.PixelMeasuresSequence = [measures]
    slide.SharedFunctionalGroupsSequence = [groups]
    slide.PixelData = tiles.tobytes()
    slide.save_as(path, enforce_file_format=True)
    return path


def write_vmu(path: Path, pixels: Rgb) -> Path:
    """Write a Hamamatsu VMU slide: the key file, an image and a map, 1/4 of its size."""
    names = []
    for kind, step in (("image", 1), ("map", 4)):
        part = pixels[::step, ::step].astype("<u2") << 4
        height, width = part.shape[:2]
        head = struct.pack("<2sxxiii8xi", b"GN", width, height, width, 28)
        names.append(f"{path.stem}_{kind}.ngr")
        (path.parent / names[-1]).write_bytes(head + part.tobytes())
    path.write_text(
        "[Uncompressed Virtual Microscope Specimen]\nNoLayers=1\nBitsPerPixel=36\nPixelOrder=RGB\n"
        f"ImageFile={names[0]}\nMapFile={names[1]}\n",
        encoding="ascii",
    )
    return path
