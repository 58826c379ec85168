"""The files beside the two CSV files: design §7, and anchors for GeoJSON and OME-TIFF."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
import shapely
import tifffile
from PIL import Image

from tests.contract.conftest import Analysis
from tests.contract.expected import NOTICE
from tests.support import scenes
from tests.support.command import SIX_FILES, file_sha256, run_cli
from tests.support.models import TinyModel, write_tiny_model
from tests.support.scenes import Cell
from tests.support.slides import pyramid, write_svs

CANARY = "Canary7q"


# --- provenance.json --------------------------------------------------------------------------


def test_the_six_files_and_nothing_else(main_run: Analysis) -> None:
    assert {path.name for path in main_run.folder.iterdir()} == set(SIX_FILES)


def test_provenance_has_the_keys_of_the_contract(main_run: Analysis) -> None:
    provenance = main_run.provenance

    assert set(provenance) == {
        "app_version", "slide", "model", "provider", "threshold", "map", "grid", "tissue",
        "counts", "notes", "analyzed", "versions", "files", "notice",
    }  # fmt: skip
    assert set(provenance["slide"]) == {
        "identity", "identity_kind", "width_l0", "height_l0", "mpp_x", "mpp_y", "mpp_source",
        "vendor",
    }  # fmt: skip
    assert set(provenance["model"]) == {
        "name", "version", "sha256", "recipe", "spacing_um_px", "card",
    }  # fmt: skip
    assert set(provenance["provider"]) == {"requested", "used", "fallback_reason"}
    assert set(provenance["grid"]) == {
        "rows", "cols", "step_x_l0", "step_y_l0", "origin_x_l0", "origin_y_l0",
    }  # fmt: skip
    assert set(provenance["counts"]) == {
        "ok", "background", "failed", "invalid_output", "excluded",
    }  # fmt: skip
    assert provenance["tissue"]
    assert provenance["versions"]


def test_provenance_tells_what_was_done(main_run: Analysis, tiny_model: TinyModel) -> None:
    provenance = main_run.provenance
    slide, model = provenance["slide"], provenance["model"]

    assert len(bytes.fromhex(slide["identity"])) == 32
    assert (slide["width_l0"], slide["height_l0"]) == (1320, 900)
    assert (slide["mpp_x"], slide["mpp_y"], slide["mpp_source"]) == (2.0, 2.0, "file")
    assert slide["vendor"] == "generic-tiff"
    assert (model["name"], model["version"], model["recipe"]) == ("tiny", "1.2.3", "formula")
    assert (model["sha256"], model["spacing_um_px"]) == (tiny_model.sha256, 8.0)
    assert model["card"]["idc"]["licence"] == "Apache-2.0"
    assert provenance["provider"] == {"requested": "cpu", "used": "cpu", "fallback_reason": None}
    assert (provenance["threshold"], provenance["map"]) == (0.5, "patch")
    assert provenance["counts"] == {
        "ok": 13, "background": 22, "failed": 0, "invalid_output": 0, "excluded": 0,
    }  # fmt: skip
    assert provenance["notice"] == NOTICE


def test_provenance_holds_the_notes_that_were_said(
    main_run: Analysis, batch_run: dict[str, Analysis]
) -> None:
    (note,) = batch_run["coarse"].provenance["notes"]

    assert main_run.provenance["notes"] == []
    assert "interpolated" in note
    assert f"note: coarse.tiff: {note}" in batch_run["coarse"].outcome.stderr


def test_provenance_holds_the_hash_of_every_other_file(main_run: Analysis) -> None:
    others = set(SIX_FILES) - {"provenance.json"}

    assert main_run.provenance["files"] == {
        name: file_sha256(main_run.folder / name) for name in others
    }


# --- overlay.png ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def changed_pixels(
    main_run: Analysis, tmp_path_factory: pytest.TempPathFactory
) -> npt.NDArray[np.bool_]:
    """Where the overlay changes if the model answers almost 0 for every patch."""
    base = tmp_path_factory.mktemp("dull")
    dull = write_tiny_model(base / "dull.onnx", slope=0.0, bias=-12.0)
    outcome = run_cli(
        "analyze", "--no-shield", main_run.scene.path, "--out", base / "out", "--model", dull.path,
        "--provider", "cpu", data_dir=base / "data",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    first, second = (
        np.asarray(Image.open(folder / "overlay.png").convert("RGB")).astype(int)
        for folder in (main_run.folder, base / "out" / "tiny")
    )
    assert first.shape == second.shape
    return (first != second).any(axis=2)


def test_overlay_opens_and_is_of_the_size_promised(main_run: Analysis) -> None:
    with Image.open(main_run.folder / "overlay.png") as image:
        image.load()
        width, height = image.size

    # Twice 4096 leaves room for a legend of any shape, and none for a slide at full size.
    assert 1320 / 2 <= width <= 2 * 4096
    assert 900 / 2 <= height <= 2 * 4096


def test_overlay_paints_analyzed_cells_and_no_others(
    main_run: Analysis, changed_pixels: npt.NDArray[np.bool_]
) -> None:
    columns = np.flatnonzero(changed_pixels.any(axis=0))
    rows = np.flatnonzero(changed_pixels.any(axis=1))
    scale = (columns[-1] + 1) / 1320

    # The slide is at the top left; the map begins at 200 px of both axes and ends at x = 1320.
    assert (columns[0], rows[0]) == pytest.approx((200 * scale, 200 * scale), abs=2)
    for cell in main_run.grid.cells:
        x, y, width, height = (round(edge * scale) for edge in main_run.grid.box_px(cell))
        inside = changed_pixels[y + 2 : y + height - 2, x + 2 : x + width - 2]
        if cell in main_run.scene.tissue:
            assert inside.mean() > 0.9, cell
        else:
            assert not inside.any(), cell


# --- probability.ome.tiff ---------------------------------------------------------------------


def test_map_holds_one_float_for_each_patch(
    main_run: Analysis, tiny_probabilities: dict[Cell, float]
) -> None:
    with tifffile.TiffFile(main_run.folder / "probability.ome.tiff") as file:
        values = np.squeeze(file.series[0].asarray())
    expected = np.full(main_run.grid.shape, np.nan, np.float32)
    for cell, probability in tiny_probabilities.items():
        expected[cell] = probability

    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected)


def test_map_says_how_large_a_pixel_is(main_run: Analysis) -> None:
    with tifffile.TiffFile(main_run.folder / "probability.ome.tiff") as file:
        assert file.is_ome
        text = file.ome_metadata
    assert text is not None
    root = ElementTree.fromstring(text)
    pixels = next(node for node in root.iter() if node.tag.endswith("}Pixels"))

    assert pixels.get("Type") == "float"
    assert (pixels.get("SizeX"), pixels.get("SizeY")) == ("7", "5")
    for axis in "XY":
        assert float(pixels.get(f"PhysicalSize{axis}", "nan")) == 400.0
        assert pixels.get(f"PhysicalSize{axis}Unit", "µm") == "µm"
    assert NOTICE in text
    assert main_run.provenance["model"]["sha256"] in text


def test_map_leaves_failed_patches_out(
    damaged_run: tuple[Analysis, dict[Cell, float]],
) -> None:
    run, _ = damaged_run
    values = np.squeeze(tifffile.imread(run.folder / "probability.ome.tiff"))

    assert np.argwhere(np.isnan(values)).tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]


# --- patches.geojson --------------------------------------------------------------------------


def tiles(run: Analysis) -> list[dict[str, Any]]:
    return [
        feature
        for feature in run.geojson["features"]
        if feature["properties"]["objectType"] == "tile"
    ]


def annotation(run: Analysis) -> dict[str, Any]:
    (found,) = (
        feature
        for feature in run.geojson["features"]
        if feature["properties"]["objectType"] == "annotation"
    )
    return found


def test_geojson_has_a_tile_for_each_analyzed_patch(main_run: Analysis) -> None:
    assert main_run.geojson["type"] == "FeatureCollection"
    assert len(main_run.geojson["features"]) == len(main_run.patches) + 1
    for tile, row in zip(tiles(main_run), main_run.patches, strict=True):
        x, y, width, height = (int(row[name]) for name in ("minx", "miny", "width", "height"))
        assert tile["type"] == "Feature"
        assert tile["geometry"]["type"] == "Polygon"
        (ring,) = tile["geometry"]["coordinates"]
        assert len(ring) == 5
        assert ring[0] == ring[-1]
        assert shapely.Polygon(ring).bounds == (x, y, x + width, y + height)
        measured = tile["properties"]["measurements"]
        assert measured["prob_IDC"] == float(row["prob_IDC"])
        assert measured["prob_Other"] == float(row["prob_Other"])


def test_geojson_class_follows_the_threshold_and_has_a_colour(main_run: Analysis) -> None:
    colors: dict[str, set[tuple[int, ...]]] = {"IDC": set(), "Other": set()}
    for tile in tiles(main_run):
        properties = tile["properties"]
        classification = properties["classification"]
        positive = properties["measurements"]["prob_IDC"] >= 0.5
        assert classification["name"] == ("IDC" if positive else "Other")
        assert "color" not in properties
        colors[classification["name"]].add(tuple(classification["color"]))

    assert [len(found) for found in colors.values()] == [1, 1]
    assert colors["IDC"] != colors["Other"]
    for color in (*colors["IDC"], *colors["Other"]):
        assert len(color) == 3
        assert all(isinstance(part, int) and 0 <= part <= 255 for part in color)


def test_geojson_ids_are_uuids_of_version_5_and_unique(main_run: Analysis) -> None:
    ids = [feature["id"] for feature in main_run.geojson["features"]]

    assert {uuid.UUID(text).version for text in ids} == {5}
    assert len(set(ids)) == len(ids)


def test_geojson_provenance_is_on_one_enclosing_annotation(
    main_run: Analysis, tiny_model: TinyModel
) -> None:
    found = annotation(main_run)
    metadata = found["properties"]["metadata"]
    outline = shapely.geometry.shape(found["geometry"])

    assert all(outline.covers(shapely.geometry.shape(tile["geometry"])) for tile in tiles(main_run))
    assert all(isinstance(value, str) for value in metadata.values())
    assert tiny_model.sha256 in metadata.values()
    assert NOTICE in metadata.values()
    assert any("origin" in key.lower() for key in metadata)
    assert all("metadata" not in tile["properties"] for tile in tiles(main_run))


def test_geojson_has_no_tile_for_patches_without_a_probability(
    damaged_run: tuple[Analysis, dict[Cell, float]],
    invalid_run: tuple[Analysis, TinyModel, Cell],
) -> None:
    for run in (damaged_run[0], invalid_run[0]):
        analyzed = [row for row in run.patches if row["status"] == "ok"]
        assert len(tiles(run)) == len(analyzed) < len(run.patches)


# --- privacy ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secret_run(workspace: Path, tiny_model: TinyModel) -> Analysis:
    """A slide that is full of names, analyzed with ``--anonymous``."""
    folder = workspace / f"{CANARY}-folder"
    folder.mkdir()
    canvas, tissue = scenes.paint_tiny(tiny_model)
    levels = pyramid(canvas.pixels, (1, 4))
    names = ("Patient", "Filename", "User", "Date", "ScanScope ID", "Title", "Barcode")
    path = write_svs(
        folder / f"{CANARY}-slide.svs",
        levels,
        mpp=2.0,
        power=5,
        fields={name: f"{CANARY} {name}" for name in names},
        label=canvas.pixels[:120, :120],
        macro=canvas.pixels[:120, :300],
    )
    users = {"USER": CANARY, "LOGNAME": CANARY, "USERNAME": CANARY, "HOSTNAME": CANARY}
    outcome = run_cli(
        "analyze", "--no-shield", path, "--out", folder / "out", "--model", tiny_model.path,
        "--anonymous", "--provider", "cpu", "--json", data_dir=folder / "data", env=users,
    )  # fmt: skip
    assert outcome.code == 0, outcome
    (found,) = (folder / "out").iterdir()
    scene = scenes.Scene(path, (2.0, 2.0), levels, tissue)
    return Analysis(outcome, found, folder / "data", scene)


def test_anonymous_run_has_the_identity_in_place_of_the_name(secret_run: Analysis) -> None:
    short = secret_run.provenance["slide"]["identity"][:12]

    assert secret_run.folder.name == short
    assert {row["Image"] for row in secret_run.regions} == {short}


def test_anonymous_run_computes_the_same(secret_run: Analysis, main_run: Analysis) -> None:
    assert secret_run.patches == main_run.patches
    assert secret_run.provenance["slide"]["vendor"] == "aperio"


def test_exports_hold_no_name_of_slide_patient_user_or_folder(secret_run: Analysis) -> None:
    for path in secret_run.folder.iterdir():
        assert_absent(path, CANARY)


def test_exports_hold_no_path_and_no_host(main_run: Analysis, workspace: Path) -> None:
    host = socket.gethostname()
    for path in main_run.folder.iterdir():
        assert_absent(path, str(workspace))
        assert_absent(path, workspace.name)
        assert_absent(path, str(Path.home()) + "/")
        if len(host) > 4:
            assert_absent(path, host)


def test_search_for_names_finds_them_where_they_are(secret_run: Analysis, tmp_path: Path) -> None:
    """A check of the check: the slide itself is full of canaries."""
    with pytest.raises(AssertionError):
        assert_absent(secret_run.scene.path, CANARY)


def assert_absent(path: Path, text: str) -> None:
    data = path.read_bytes()
    assert text.encode() not in data, path.name
    assert text.encode("utf-16-le") not in data, path.name
    if path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
            assert text not in repr(image.info), path.name
    assert text not in path.name
