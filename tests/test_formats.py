"""The formats beside the six files: as their readers want them, whole, silent and repeatable."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from PIL import Image

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.commands.batch import FORMAT_NAMES
from idc_desktop.errors import ExportError
from idc_desktop.export.content import Analysis
from idc_desktop.export.folder import write_folder, write_regions
from idc_desktop.export.formats import FORMATS
from idc_desktop.export.verify import verify_folder
from idc_desktop.maps.probability_map import PatchState, ProbabilityMap
from idc_desktop.regions.editing import draw_ellipse, subtract, unite
from idc_desktop.regions.shape import Region, rectangle
from tests.support.command import read_csv
from tests.support.models import TinyModel
from tests.support.region_files import read_regions
from tests.test_export import REPOSITORY, analysis

EVERYWHERE = tuple(name for name in FORMAT_NAMES if name != "dicom")


def made_up_regions() -> list[Region]:
    ring = subtract(rectangle(500, 500, 2500, 2500), [rectangle(900, 900, 1500, 1300)])
    assert ring is not None
    parts = unite([rectangle(3000, 100, 3500, 700), rectangle(4000, 100, 4400, 900)])
    named = [
        Region("=1+1", ring, "Tumor"),
        Region("two\tparts µ", parts, "Stroma"),
        Region("", draw_ellipse((100, 2600), (1900, 3900)), "Tumor", (9, 8, 7)),
        Region("off", rectangle(-500, -500, -100, -100)),
    ]
    return [replace(it, id=str(uuid.UUID(int=n))) for n, it in enumerate(named, 1)]


@pytest.fixture(scope="module")
def exported(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every format that needs no DICOM slide."""
    folder = tmp_path_factory.mktemp("formats") / "case 1.b"
    write_folder(folder, analysis(tiny_model.path), made_up_regions(), EVERYWHERE)
    return folder


def files_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_command_line_names_the_formats_that_there_are() -> None:
    assert tuple(FORMATS) == FORMAT_NAMES


def test_folder_names_and_proves_every_file(exported: Path) -> None:
    named = verify_folder(exported)["files"]

    assert set(named) | {"provenance.json"} == set(files_of(exported))
    for name in EVERYWHERE:
        assert set(FORMATS[name].names) <= {file.split("/")[0] for file in named}
    assert "wsinfer/model-outputs-csv/case 1.b.csv" in named


@pytest.mark.parametrize("name", ["report.pdf", "wsinfer/run_metadata.json"])
def test_change_of_any_file_is_found(exported: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    with (folder / name).open("ab") as file:
        file.write(b" ")

    with pytest.raises(ExportError, match=name):
        verify_folder(folder)


def test_file_of_another_export_is_told_from_those_of_this_one(
    exported: Path, tmp_path: Path, tiny_model: TinyModel
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    write_folder(folder, analysis(tiny_model.path, seed=1), [], ("regions",))

    with pytest.raises(ExportError, match="belongs to another export"):
        verify_folder(folder)


def test_results_folder_of_another_export_is_told_too(
    tmp_path: Path, tiny_model: TinyModel
) -> None:
    write_folder(tmp_path, analysis(tiny_model.path), [], ("wsinfer",))
    assert verify_folder(tmp_path)
    write_folder(tmp_path, analysis(tiny_model.path, seed=1), [])

    with pytest.raises(ExportError, match=r"wsinfer/.* belongs to another export"):
        verify_folder(tmp_path)


@pytest.mark.parametrize("runs", [3, pytest.param(10, marks=pytest.mark.long)])
def test_same_input_gives_the_same_bytes(
    exported: Path, tiny_model: TinyModel, tmp_path: Path, runs: int
) -> None:
    for number in range(runs):
        folder = tmp_path / str(number) / "case 1.b"
        write_folder(folder, analysis(tiny_model.path), made_up_regions(), EVERYWHERE)
        assert files_of(folder) == files_of(exported)


# --- GeoJSON -----------------------------------------------------------------------------------


def geojson(path: Path) -> Any:
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


def check_rules_of_qupath(document: Any) -> None:
    """Check what QuPath's reader wants: reference text of its formats."""
    assert document["type"] == "FeatureCollection"
    ids = [feature["id"] for feature in document["features"]]
    assert len(set(ids)) == len(ids)
    for feature in document["features"]:
        assert str(uuid.UUID(feature["id"])) == feature["id"]
        properties, geometry = feature["properties"], feature["geometry"]
        assert properties["objectType"] in ("annotation", "tile")
        assert "objectType" not in feature
        parts = geometry["coordinates"]
        polygons = [parts] if geometry["type"] == "Polygon" else parts
        assert len(polygons) > 1 or geometry["type"] == "Polygon"
        for ring in (ring for polygon in polygons for ring in polygon):
            assert ring[0] == ring[-1]
            assert len(ring) >= 4
        classification = properties.get("classification")
        assert classification is None or set(classification) == {"name", "color"}
        for value in properties.get("measurements", {}).values():
            assert isinstance(value, int | float)
        if properties["objectType"] == "tile":
            assert "metadata" not in properties
        for value in properties.get("metadata", {}).values():
            assert isinstance(value, str)


@pytest.mark.parametrize(
    "name",
    [
        "regions.geojson",
        "regions.qupath.geojson.gz",
        "patches.geojson",
        "patches.qupath.geojson.gz",
        "wsinfer/model-outputs-geojson/case 1.b.geojson",
    ],
)
def test_geojson_keeps_the_rules_of_qupath(exported: Path, name: str) -> None:
    check_rules_of_qupath(geojson(exported / name))


def test_regions_come_back_from_their_file(exported: Path) -> None:
    for name in ("regions.geojson", "regions.qupath.geojson.gz"):
        back, notes = read_regions(exported / name)

        assert notes == []
        for found, region in zip(back, made_up_regions(), strict=True):
            assert (found.id, found.shape, found.rgb) == (region.id, region.shape, region.rgb)
            assert (found.name, found.classification) == (region.name, region.classification)


def test_figures_of_regions_are_their_measurements(exported: Path) -> None:
    features = geojson(exported / "regions.geojson")["features"]
    for feature, row in zip(features, read_csv(exported / "regions.csv"), strict=False):
        for name, value in feature["properties"]["measurements"].items():
            assert repr(value) == row[name]
    assert "IDC fraction" in features[0]["properties"]["measurements"]
    assert "IDC fraction" not in features[3]["properties"]["measurements"]


def with_bounds(found: Analysis) -> Analysis:
    """Move an analysis onto bounds that begin at (640, 384)."""
    grid = replace(found.map.grid, origin_x_l0=640, origin_y_l0=384)
    moved = ProbabilityMap(grid)
    moved.states[:], moved.layer().stored[:] = found.map.states, found.layer.stored
    slide = replace(found.slide, bounds=(640, 384, grid.width_l0, grid.height_l0))
    return replace(found, map=moved, slide=slide)


def test_qupath_gets_coordinates_from_the_bounds(tiny_model: TinyModel, tmp_path: Path) -> None:
    region = Region("r", rectangle(700, 400, 900, 600), id=str(uuid.UUID(int=7)))
    found = with_bounds(analysis(tiny_model.path))

    write_folder(tmp_path / "s", found, [region], ("qupath", "regions"))

    (cropped,) = geojson(tmp_path / "s" / "regions.qupath.geojson.gz")["features"]
    (whole,) = geojson(tmp_path / "s" / "regions.geojson")["features"]
    assert cropped["geometry"]["coordinates"][0][0] == [60, 16]
    assert whole["geometry"]["coordinates"][0][0] == [700, 400]
    (back,), _ = read_regions(tmp_path / "s" / "regions.qupath.geojson.gz")
    assert back.shape == region.shape
    patches = geojson(tmp_path / "s" / "patches.qupath.geojson.gz")["features"]
    assert patches[0]["geometry"]["coordinates"][0][0] == [0, 0]
    assert "bounds" in patches[0]["properties"]["metadata"]["origin"]
    here = geojson(tmp_path / "s" / "patches.geojson")["features"]
    assert here[0]["geometry"]["coordinates"][0][0] == [640, 384]


def test_regions_are_saved_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.geojson.gz"
    write_regions(path, made_up_regions(), (100, 50))

    back, _ = read_regions(path)

    assert [it.shape for it in back] == [it.shape for it in made_up_regions()]
    assert [it.name for it in tmp_path.iterdir()] == ["mine.geojson.gz"]


# --- tables ------------------------------------------------------------------------------------


def test_measurement_table_has_the_columns_of_qupath(exported: Path) -> None:
    text = (exported / "measurements.tsv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t", strict=True))

    assert list(rows[0])[:16] == [
        "Image", "Object ID", "Object type", "Name", "Classification", "Parent", "ROI",
        "Centroid X µm", "Centroid Y µm", "Area µm^2", "Perimeter µm", "Num Detections",
        "Num IDC", "Num Other", "Num IDC per mm^2", "Num Other per mm^2",
    ]  # fmt: skip
    assert [row["Name"] for row in rows] == ["'=1+1", "two\tparts µ", "", "off", "Whole slide"]
    for row, like in zip(rows, read_csv(exported / "regions.csv"), strict=True):
        for name in ("Area µm^2", "Centroid X µm", "IDC fraction", "Max probability", "ROI"):
            assert row[name] == like[name]
        assert row["Num IDC"] == like["IDC patches"]
        assert int(row["Num IDC"]) + int(row["Num Other"]) == int(row["Num Detections"])


def test_wsinfer_folder_keeps_its_column_rule(exported: Path, tiny_model: TinyModel) -> None:
    folder = exported / "wsinfer"
    rows = read_csv(folder / "model-outputs-csv" / "case 1.b.csv")
    analyzed = [row for row in read_csv(exported / "patches.csv") if row["status"] == "ok"]

    assert list(rows[0]) == ["minx", "miny", "width", "height", "prob_Other", "prob_IDC"]
    assert rows == [{name: row[name] for name in rows[0]} for row in analyzed]
    for row in rows:
        assert float(row["prob_Other"]) + float(row["prob_IDC"]) == pytest.approx(1)
        assert all(int(row[name]) >= 0 for name in ("minx", "miny", "width", "height"))
    tiles = geojson(folder / "model-outputs-geojson" / "case 1.b.geojson")["features"]
    assert len(tiles) == len(rows)
    assert {tuple(sorted(tile["properties"])) for tile in tiles} == {
        ("isLocked", "measurements", "objectType")
    }
    metadata = json.loads((folder / "run_metadata.json").read_text(encoding="utf-8"))
    assert set(metadata["model"]) >= {"config", "huggingface_location", "path"}
    assert metadata["model"]["config"]["class_names"] == ["Other", "IDC"]
    with Image.open(folder / "masks" / "case 1.b.jpg") as mask:
        found = analysis(tiny_model.path).map
        small = np.asarray(mask.resize((found.grid.cols, found.grid.rows), Image.Resampling.BOX))
    np.testing.assert_array_equal(small > 127, found.states != PatchState.BACKGROUND)


def test_dsa_annotation_has_points_and_outlines(exported: Path) -> None:
    document = json.loads((exported / "dsa-annotation.json").read_text(encoding="utf-8"))
    heatmap, *outlines = document["elements"]

    assert document["attributes"]["notice"] == RESEARCH_USE_NOTICE
    analyzed = [row for row in read_csv(exported / "patches.csv") if row["status"] == "ok"]
    assert [point[3] for point in heatmap["points"]] == [float(it["prob_IDC"]) for it in analyzed]
    assert all(len(point) == 4 and point[2] == 0 for point in heatmap["points"])
    assert len(heatmap["colorRange"]) == len(heatmap["rangeValues"])
    assert len(outlines) == 5  # one region has two parts
    assert [len(it["holes"]) for it in outlines] == [1, 0, 0, 0, 0]
    for outline in outlines:
        assert (outline["type"], outline["closed"]) == ("polyline", True)
        assert all(len(point) == 3 for point in outline["points"])


@pytest.mark.skipif(not shutil.which("soffice"), reason="LibreOffice is not installed")
def test_libreoffice_sees_the_columns_and_no_formula(exported: Path, tmp_path: Path) -> None:
    """Opened as a spreadsheet does it, and saved in its own XML."""
    profile = f"-env:UserInstallation=file://{tmp_path}/profile"
    for name, separator in (
        ("regions.csv", "44"),
        ("patches.csv", "44"),
        ("measurements.tsv", "9"),
    ):
        subprocess.run(
            [
                "soffice", profile, "--headless", "--convert-to", "fods", "--outdir", tmp_path,
                f"--infilter=CSV:{separator},34,76,1", exported / name,
            ],
            check=True, capture_output=True, timeout=110,
        )  # fmt: skip
        spreadsheet = ElementTree.parse(tmp_path / f"{Path(name).stem}.fods")
        table = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
        text = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
        cells = list(spreadsheet.iter(f"{table}table-cell"))
        assert not [cell for cell in cells if cell.get(f"{table}formula")]
        first = next(spreadsheet.iter(f"{table}table-row"))
        titles = ["".join(p.itertext()) for p in first.iter(f"{text}p")]
        with (exported / name).open(encoding="utf-8", newline="") as file:
            assert titles == next(csv.reader(file, delimiter=chr(int(separator))))


# --- OME-TIFF ----------------------------------------------------------------------------------


def test_ome_tiff_keeps_the_rules_of_its_schema(exported: Path, tiny_model: TinyModel) -> None:
    found = analysis(tiny_model.path)
    with tifffile.TiffFile(exported / "probability.ome.tiff") as file:
        assert file.is_ome
        image = file.asarray()
        ome = ElementTree.fromstring(file.ome_metadata or "")
    space = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
    pixels = ome.find(f"{space}Image/{space}Pixels")

    np.testing.assert_array_equal(image, found.layer.values.astype(np.float32))
    assert pixels is not None
    assert {name: pixels.get(name) for name in ("SizeX", "SizeY", "SizeC", "SizeZ", "SizeT")} == {
        "SizeX": "30", "SizeY": "20", "SizeC": "1", "SizeZ": "1", "SizeT": "1",
    }  # fmt: skip
    assert (pixels.get("Type"), pixels.get("DimensionOrder")) == ("float", "XYCZT")
    assert float(pixels.get("PhysicalSizeX", "")) == 400
    assert pixels.get("PhysicalSizeXUnit") == "µm"

    # IDs are unique and of the schema's form; what is referred to exists; order as in the schema.
    def is_defined(element: ElementTree.Element) -> bool:
        return element.get("ID") is not None and not element.tag.endswith("Ref")

    ids = [element.get("ID", "") for element in ome.iter() if is_defined(element)]
    assert len(ids) == len(set(ids))
    for identifier in ids:
        kind, *numbers = identifier.split(":")
        assert kind in ("Image", "Pixels", "Channel", "Annotation")
        assert all(number.isdecimal() for number in numbers)
    for element in ome.iter(f"{space}AnnotationRef"):
        assert element.get("ID") in ids
    assert [child.tag.removeprefix(space) for child in pixels] == ["Channel", "TiffData"]
    order = [child.tag.removeprefix(space) for child in ome]
    assert order == ["Image", "StructuredAnnotations"]
    assert uuid.UUID(ome.get("UUID", "").removeprefix("urn:uuid:"))


# --- failures ----------------------------------------------------------------------------------


def test_name_of_a_folder_in_the_way_is_told(tiny_model: TinyModel, tmp_path: Path) -> None:
    path = tmp_path / "r.geojson"
    path.mkdir()

    with pytest.raises(Exception, match=r"r\.geojson: The regions cannot be written"):
        write_regions(path, made_up_regions())

    assert [it.name for it in tmp_path.iterdir()] == ["r.geojson"]


MEMORY = """
import sys
from pathlib import Path
from dataclasses import replace
import numpy as np
from idc_desktop.export.content import Content
from idc_desktop.export.formats import FORMATS, six_files
from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.probability_map import ProbabilityMap
from tests.test_export import analysis
found = analysis(Path(sys.argv[1]))
grid = PatchGrid.over((0, 0, 500 * 1600, 400 * 1600), (0.25, 0.25), 400.0)
many = ProbabilityMap(grid)
many.states[:] = 1
many.layer().stored[:] = np.random.default_rng(0).integers(0, 1_000_001, many.states.shape)
content = Content(replace(found, map=many), (), "s")
with open(sys.argv[2], "wb") as file:
    six_files(content)["patches.geojson"](file)
with open(sys.argv[2] + ".gz", "wb") as file:
    FORMATS["qupath"].files(content)["patches.qupath.geojson.gz"](file)
# Not ru_maxrss: a child begins with that of the process that started it.
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


@pytest.mark.long
def test_geojson_of_200_000_patches_streams(tiny_model: TinyModel, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tiny_model.path, tmp_path / "p.geojson"],
        capture_output=True, text=True, cwd=REPOSITORY, check=True, timeout=110,
    )  # fmt: skip

    assert float(done.stdout) <= 200
    assert (tmp_path / "p.geojson").stat().st_size > 50e6
    with gzip.open(tmp_path / "p.geojson.gz", "rb") as packed:
        assert packed.read(64) == (tmp_path / "p.geojson").read_bytes()[:64]


# --- DICOM -------------------------------------------------------------------------------------


def test_probability_map_follows_the_schema_of_ome(exported: Path) -> None:
    import ome_types
    import tifffile

    with tifffile.TiffFile(exported / "probability.ome.tiff") as file:
        xml = file.ome_metadata
    assert xml is not None
    ome_types.validate_xml(xml)
    pixels = ome_types.from_xml(xml).images[0].pixels
    assert (pixels.type.value, pixels.physical_size_x) == ("float", 400.0)
