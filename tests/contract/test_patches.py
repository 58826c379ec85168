"""patches.csv: design §3 (geometry) and §7 (columns, rounding, order)."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.contract.conftest import Analysis
from tests.contract.expected import PATCH_COLUMNS, Grid, patch_rows, probabilities
from tests.support.command import read_header
from tests.support.models import TinyModel
from tests.support.scenes import Cell
from tests.support.slides import PURPLE, RED

RESAMPLED_TOLERANCE = 1e-4
"""Twenty of a patch's 2,500 pixels rounded the other way, where they are resampled; the wrong
level or a rounded step makes a hundred times as much."""


def without_probabilities(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{**row, "prob_Other": "", "prob_IDC": ""} for row in rows]


def analyzed(run: Analysis) -> dict[Cell, float]:
    return {(int(row["row"]), int(row["col"])): float(row["prob_IDC"]) for row in run.patches}


def test_every_row_is_exact(main_run: Analysis, tiny_probabilities: dict[Cell, float]) -> None:
    expected = patch_rows(main_run.grid, tiny_probabilities)

    assert main_run.patches == expected


def test_columns_and_their_order(main_run: Analysis) -> None:
    header = read_header(main_run.folder / "patches.csv")

    assert header == PATCH_COLUMNS


def test_file_is_plain_csv(main_run: Analysis) -> None:
    data = (main_run.folder / "patches.csv").read_bytes()

    assert b"\r" not in data
    assert data.endswith(b"\n")
    assert not data.startswith(b"\xef\xbb\xbf")
    assert b'"' not in data
    assert re.fullmatch(rb"[\d.,a-zA-Z_\n]+", data)


def test_one_level_gives_the_same_patches_as_a_pyramid(
    main_run: Analysis, batch_run: dict[str, Analysis]
) -> None:
    assert batch_run["single"].patches == main_run.patches


@pytest.mark.parametrize(("stem", "level"), [("float", 0), ("aniso", 0), ("fine", 2)])
def test_cells_follow_the_unrounded_step(
    batch_run: dict[str, Analysis], tiny_model: TinyModel, stem: str, level: int
) -> None:
    run = batch_run[stem]
    expected = probabilities(run.scene, tiny_model, run.grid, level)

    assert without_probabilities(run.patches) == without_probabilities(
        patch_rows(run.grid, expected)
    )
    assert analyzed(run) == pytest.approx(expected, abs=RESAMPLED_TOLERANCE)


@pytest.mark.parametrize(("stem", "level"), [("levels", 2), ("nearly", 1), ("beyond", 0)])
def test_coarsest_level_within_8_08_um_per_px_is_read(
    batch_run: dict[str, Analysis], tiny_model: TinyModel, stem: str, level: int
) -> None:
    run = batch_run[stem]
    expected = probabilities(run.scene, tiny_model, run.grid, level)

    assert analyzed(run) == pytest.approx(expected, abs=RESAMPLED_TOLERANCE)


def test_slide_up_to_10_um_per_px_is_interpolated(
    batch_run: dict[str, Analysis], tiny_model: TinyModel
) -> None:
    run = batch_run["coarse"]
    flat = np.full((1, 50, 50, 3), PURPLE, np.uint8)
    found = analyzed(run)

    assert run.grid.shape == (3, 4)
    assert set(found) == set(run.grid.cells)
    inner = [found[row, col] for row in (0, 1) for col in (0, 1, 2)]
    assert inner == [round(float(tiny_model.probability(flat)[0]), 6)] * 6


def test_pixels_that_the_scanner_left_out_are_white(
    batch_run: dict[str, Analysis], tiny_model: TinyModel
) -> None:
    run = batch_run["gaps"]
    expected = probabilities(run.scene, tiny_model, run.grid, 1)

    assert analyzed(run) == pytest.approx(expected, abs=1.01e-6)


def test_slide_without_tissue_has_a_header_and_no_rows(batch_run: dict[str, Analysis]) -> None:
    run = batch_run["glass"]
    text = (run.folder / "patches.csv").read_text(encoding="utf-8")

    assert text.count("\n") == 1
    assert text.startswith(",".join(PATCH_COLUMNS))
    assert run.provenance["counts"]["background"] == len(run.grid.cells) == 20


def test_invalid_output_is_a_state_and_never_a_number(
    invalid_run: tuple[Analysis, TinyModel, Cell],
) -> None:
    run, model, cell = invalid_run
    sound = {at: p for at, p in probabilities(run.scene, model, run.grid, 1).items() if at != cell}

    assert run.patches == patch_rows(run.grid, sound, {cell: "invalid_output"})


def test_broken_tile_costs_only_the_patches_on_it(
    damaged_run: tuple[Analysis, dict[Cell, float]],
) -> None:
    run, sound = damaged_run
    # Pixels 128-191 of the level at 8 µm/px lie under cells 2 and 3 of both axes.
    lost = {(2, 2), (2, 3), (3, 2), (3, 3)}
    expected = {cell: p for cell, p in sound.items() if cell not in lost}

    assert run.outcome.code == 4, run.outcome
    rows = {(int(row["row"]), int(row["col"])): row for row in run.patches}
    assert {cell for cell, row in rows.items() if row["status"] == "failed"} == lost
    assert all(rows[cell]["prob_IDC"] == rows[cell]["prob_Other"] == "" for cell in lost)
    kept = {cell: float(row["prob_IDC"]) for cell, row in rows.items() if row["status"] == "ok"}
    assert kept == pytest.approx(expected, abs=1.01e-6)


def test_grid_of_the_expectation_is_the_one_reported(batch_run: dict[str, Analysis]) -> None:
    for run in batch_run.values():
        grid = run.grid
        rows, cols = grid.shape
        assert run.provenance["grid"] == {
            "rows": rows,
            "cols": cols,
            "step_x_l0": pytest.approx(grid.step[0], rel=1e-12),
            "step_y_l0": pytest.approx(grid.step[1], rel=1e-12),
            "origin_x_l0": 0,
            "origin_y_l0": 0,
        }


def test_expectation_can_tell_levels_and_steps_apart(tiny_model: TinyModel) -> None:
    """A check of the checks: the colours used above are far apart in probability."""
    red, purple = (
        tiny_model.probability(np.full((1, 50, 50, 3), color, np.uint8))[0]
        for color in (RED, PURPLE)
    )
    exact, rounded = Grid(8000, 400, 2.43, 2.43), Grid(8000, 400, 400 / 165, 2.43)

    assert red - purple > 0.4
    assert exact.box_px((0, 40))[0] != rounded.box_px((0, 40))[0]
