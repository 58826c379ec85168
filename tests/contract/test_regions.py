"""regions.csv: design §7, against a slow computation with one shapely intersection per patch."""

from __future__ import annotations

import re
from typing import Any

import pytest
import shapely

from tests.contract.conftest import Analysis
from tests.contract.expected import REGION_COLUMNS, region_numbers
from tests.contract.regions import REGIONS, Region
from tests.support.command import read_header
from tests.support.models import TinyModel
from tests.support.scenes import Cell

COUNTS = {"Patches", "Patches analyzed", "Patches failed", "IDC patches"}
ADDED = {*REGION_COLUMNS[REGION_COLUMNS.index("Map") + 1 :]}
WHOLE = Region("Whole slide", shapely.box(0, 0, 1, 1), roi="Rectangle")


def numbers(row: dict[str, str], like: dict[str, Any]) -> dict[str, Any]:
    """Read a row's numeric cells; an empty cell is None."""
    return {
        name: None if row[name] == "" else int(row[name]) if name in COUNTS else float(row[name])
        for name in like
    }


def analyzed(run: Analysis) -> dict[Cell, float]:
    return {
        (int(row["row"]), int(row["col"])): float(row["prob_IDC"])
        for row in run.patches
        if row["status"] == "ok"
    }


def expected_numbers(run: Analysis, region: Region, threshold: float = 0.5) -> dict[str, Any]:
    grid = run.grid
    geometry = region.geometry
    if region is WHOLE:
        geometry = shapely.box(0, 0, grid.width, grid.height)
    failed = {(int(r["row"]), int(r["col"])) for r in run.patches if r["status"] != "ok"}
    exact = region_numbers(grid, geometry, analyzed(run), threshold, failed)
    return {
        name: value if value is None or name in COUNTS else pytest.approx(value, rel=1e-9, abs=1e-9)
        for name, value in exact.items()
    }


def test_columns_and_their_order(main_run: Analysis) -> None:
    assert read_header(main_run.folder / "regions.csv") == REGION_COLUMNS


def test_rows_are_the_regions_in_order_and_then_the_whole_slide(main_run: Analysis) -> None:
    texts = [
        tuple(row[name] for name in ("Name", "Classification", "ROI")) for row in main_run.regions
    ]

    assert texts == [
        *((region.name_cell, region.exported_class, region.roi) for region in REGIONS),
        ("Whole slide", "", "Rectangle"),
    ]


@pytest.mark.parametrize("region", [*REGIONS, WHOLE], ids=lambda region: region.name.strip())
def test_numbers_of_each_region(main_run: Analysis, region: Region) -> None:
    row = next(row for row in main_run.regions if row["Name"] == region.name_cell)
    expected = expected_numbers(main_run, region)

    assert numbers(row, expected) == expected


@pytest.mark.parametrize("stem", ["float", "aniso", "fine", "glass"])
def test_numbers_on_other_grids(batch_run: dict[str, Analysis], stem: str) -> None:
    run = batch_run[stem]
    assert len(run.regions) == len(REGIONS) + 1
    for row, region in zip(run.regions, [*REGIONS, WHOLE], strict=True):
        expected = expected_numbers(run, region)
        assert numbers(row, expected) == expected, region.name


def test_centres_on_the_left_and_top_edge_count_and_others_do_not(main_run: Analysis) -> None:
    row = next(row for row in main_run.regions if row["Name"] == "half-open")

    assert (row["Patches"], row["Patches analyzed"]) == ("4", "4")


def test_region_off_the_slide_is_accepted_and_empty(main_run: Analysis) -> None:
    row = next(row for row in main_run.regions if row["Name"] == "off the slide")

    assert [row[name] for name in ("Patches", "Patches analyzed", "Patches failed")] == ["0"] * 3
    assert (row["IDC patches"], float(row["IDC area µm^2"])) == ("0", 0.0)
    for name in ("IDC fraction", "Mean probability", "Median probability", "Max probability"):
        assert row[name] == ""
    assert float(row["Area µm^2"]) == 300 * 400 * 4


def test_region_without_tissue_has_no_fraction(main_run: Analysis) -> None:
    row = next(row for row in main_run.regions if row["Name"] == "glass")

    assert (row["Patches"], row["Patches analyzed"], row["IDC fraction"]) == ("1", "0", "")
    assert float(row["Coverage %"]) == 0


def test_columns_that_are_the_same_in_every_row(main_run: Analysis, tiny_model: TinyModel) -> None:
    for row in main_run.regions:
        assert row["Image"] == "tiny.tiff"
        assert row["Threshold"] == "0.5"
        assert row["Model"] == "tiny"
        assert row["Model SHA-256"] == tiny_model.sha256
        assert row["mpp used"] == "2.0"
        assert row["mpp source"] == "file"
        assert row["Provider"] == "cpu"
        assert row["Map"] == "patch"
        assert {row[name] for name in ADDED - {"Max diameter µm"}} == {""}


def test_mpp_used_is_that_of_the_x_axis(batch_run: dict[str, Analysis]) -> None:
    assert {row["mpp used"] for row in batch_run["aniso"].regions} == {"2.0"}
    assert {row["mpp used"] for row in batch_run["float"].regions} == {
        repr(batch_run["float"].grid.mpp_x)
    }


def test_floats_are_written_as_repr_and_counts_as_integers(main_run: Analysis) -> None:
    floats = set(expected_numbers(main_run, WHOLE)) - COUNTS
    for row in main_run.regions:
        for name in floats:
            assert row[name] == "" or row[name] == repr(float(row[name])), (name, row[name])
        for name in COUNTS:
            assert re.fullmatch(r"\d+", row[name]), (name, row[name])


def test_file_has_unix_line_ends(main_run: Analysis) -> None:
    data = (main_run.folder / "regions.csv").read_bytes()

    assert b"\r" not in data
    assert data.endswith(b"\n")


def test_without_regions_there_is_one_row(damaged_run: tuple[Analysis, dict[Cell, float]]) -> None:
    run, _ = damaged_run

    assert [row["Name"] for row in run.regions] == ["Whole slide"]


def test_failed_patches_are_counted_and_left_out_of_the_statistics(
    damaged_run: tuple[Analysis, dict[Cell, float]],
) -> None:
    run, _ = damaged_run
    expected = expected_numbers(run, WHOLE)

    assert numbers(run.regions[-1], expected) == expected
    assert run.regions[-1]["Patches failed"] == "4"


def test_invalid_outputs_count_as_failed(invalid_run: tuple[Analysis, TinyModel, Cell]) -> None:
    run, *_ = invalid_run

    assert run.regions[-1]["Patches failed"] == "1"
