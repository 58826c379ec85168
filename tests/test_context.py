"""The context map and its uncertainty: made of the patch map, told and exported beside it."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from idc_desktop.export.content import Analysis
from idc_desktop.export.folder import write_folder
from idc_desktop.maps.context import context_values, log_odds, neighbourhood
from idc_desktop.maps.grid import Block, PatchGrid
from idc_desktop.maps.layers import CONTEXT, KINDS, NO_VALUE, PATCH, UNCERTAINTY, unpack
from idc_desktop.maps.probability_map import BlockResult, PatchState, ProbabilityMap
from idc_desktop.models.context_settings import ContextSettings
from idc_desktop.models.operation import Operation
from idc_desktop.processes.engine_messages import BlockDone
from tests.support.command import read_csv, read_json, run_cli
from tests.support.models import CONTEXT as BLOCK
from tests.support.models import write_tiny_model
from tests.support.scenes import Scene
from tests.test_export import analysis

SETTINGS = ContextSettings.from_document(BLOCK)


def by_hand(probability: np.ndarray, counts: np.ndarray, of: ContextSettings) -> np.ndarray:
    """Compute the context map patch by patch, from the definition."""
    reach = math.ceil(3 * of.sigma_patches)
    result = np.full(probability.shape, np.nan)
    for row, col in np.argwhere(counts):
        total = weight = 0.0
        for y, x in np.argwhere(counts):
            if abs(y - row) <= reach and abs(x - col) <= reach:
                near = math.exp(-((y - row) ** 2 + (x - col) ** 2) / (2 * of.sigma_patches**2))
                total += near * float(log_odds(probability[y, x]))
                weight += near
        own = float(log_odds(probability[row, col]))
        result[row, col] = 1 / (1 + math.exp(-(of.a * max(own, total / weight) + of.b)))
    return result


@given(
    seed=st.integers(0, 999),
    sigma=st.sampled_from([0.5, 1.0, 1.4]),
)
@settings(max_examples=15, deadline=None)
def test_context_is_what_its_definition_says(seed: int, sigma: float) -> None:
    rng = np.random.default_rng(seed)
    probability, counts = rng.random((7, 9)).round(6), rng.random((7, 9)) < 0.7
    of = replace(SETTINGS, sigma_patches=sigma)

    found, uncertainty = context_values(probability, counts, of)

    np.testing.assert_allclose(found, by_hand(probability, counts, of), rtol=1e-9)
    assert np.array_equal(np.isnan(uncertainty), ~counts)
    assert ((uncertainty[counts] >= 0) & (uncertainty[counts] <= 1)).all()


def test_patches_that_do_not_count_give_and_take_nothing() -> None:
    counts = np.ones((5, 5), np.bool_)
    counts[:, 3] = False
    values, others = np.arange(25.0).reshape(5, 5), np.arange(25.0).reshape(5, 5)
    others[:, 3] = [np.nan, np.inf, -np.inf, 1e9, np.nan]

    assert np.array_equal(neighbourhood(values, counts, 1.4), neighbourhood(others, counts, 1.4))
    assert not neighbourhood(values, counts, 1.4)[:, 3].any()


def test_patch_alone_among_benign_ones_loses_nothing() -> None:
    probability = np.full((11, 11), 0.01)
    probability[5, 5] = 0.9
    counts = np.ones((11, 11), np.bool_)

    found, _ = context_values(probability, counts, replace(SETTINGS, a=1.0, b=0.0))

    assert log_odds(found[5, 5]) == pytest.approx(float(log_odds(np.array(0.9))))


def test_doubtful_patch_among_sure_ones_is_raised() -> None:
    probability = np.full((11, 11), 0.95)
    probability[5, 5] = 0.3
    counts = np.ones((11, 11), np.bool_)

    found, _ = context_values(probability, counts, replace(SETTINGS, a=1.0, b=0.0))

    assert found[5, 5] > 0.85


def test_uncertainty_is_a_share_of_the_labelled_patches() -> None:
    """With all patches alike, the margin is that of one patch: read off the quantiles."""
    counts = np.ones((3, 3), np.bool_)
    of = replace(SETTINGS, a=1.0, b=0.0, operation=Operation(0.5, ()))
    expected = {0.0: 1.0, 0.25: 0.875, 0.5: 0.75, 1.0: 0.5, 2.0: 0.25, 4.0: 0.0, 9.0: 0.0}
    for odds, share in expected.items():
        for sign in (-1, 1):
            probability = np.full((3, 3), 1 / (1 + math.exp(-sign * odds)))
            _, uncertainty = context_values(probability, counts, of)
            np.testing.assert_allclose(uncertainty, share, atol=1e-9)


def test_twenty_thousand_patches_take_a_moment_and_give_the_same_bytes() -> None:
    rng = np.random.default_rng(0)
    probability, counts = rng.random((125, 200)), rng.random((125, 200)) < 0.8
    began = time.perf_counter()
    first = context_values(probability, counts, SETTINGS)
    seconds = time.perf_counter() - began
    second = context_values(probability.copy(), counts.copy(), SETTINGS)

    assert [it.tobytes() for it in first] == [it.tobytes() for it in second]
    assert seconds < 0.3


def test_map_makes_its_layers_anew_as_it_grows_and_patches_are_left_out() -> None:
    current = ProbabilityMap(PatchGrid.over((0, 0, 1600, 400), (1.0, 1.0), 400.0), SETTINGS)
    layer = current.layer(CONTEXT)
    kept = layer.stored
    assert kept.tolist() == [[NO_VALUE] * 4]
    states = np.full((1, 2), PatchState.OK, np.uint8)
    for number, values in enumerate(([0.2, 0.2], [0.9, 0.9])):
        stored = KINDS[PATCH].stored(np.array([values]))
        current.add(BlockResult(Block(number, 0, 2 * number, 1, 2), states, {PATCH: stored}))
        if number == 0:
            alone = layer.values.copy()
    before = current.copy()
    grown = layer.values.copy()
    current.exclude("pen", np.array([[False, False, True, True]]))

    assert layer.stored is kept
    assert [it.name for it in current.layers] == [PATCH, CONTEXT, UNCERTAINTY]
    assert np.isnan(alone[0, 2])
    assert grown[0, 1] > alone[0, 1]  # its neighbour came
    np.testing.assert_array_equal(before.layer(CONTEXT).values, grown)
    np.testing.assert_array_equal(layer.values, alone)  # the neighbours give nothing any more
    assert np.isnan(current.layer(UNCERTAINTY).values[0, 2:]).all()


def test_layers_that_are_made_are_neither_stored_nor_told() -> None:
    assert unpack([PATCH, CONTEXT], bytes(8), (1, 1)).keys() == {PATCH}
    with pytest.raises(ValueError, match="context"):
        BlockDone(0, 0, 0, 1, 2, (), (CONTEXT,), payload=bytes(10))


@pytest.fixture(scope="module")
def in_context(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """A finished analysis by a model with a context map."""
    made = analysis(write_tiny_model(tmp_path_factory.mktemp("m") / "c.onnx", context=BLOCK).path)
    current = ProbabilityMap(made.map.grid, made.model.card.context)
    whole = Block(0, 0, 0, current.grid.rows, current.grid.cols)
    current.add(BlockResult(whole, made.map.states, {PATCH: made.layer.stored}))
    return replace(made, map=current, map_kind="context", threshold=0.4)


def test_exports_hold_all_layers_and_name_the_map(in_context: Analysis, tmp_path: Path) -> None:
    write_folder(tmp_path / "s", in_context, [], ("dsa", "wsinfer", "report"))

    context, uncertainty = (in_context.map.layer(it) for it in (CONTEXT, UNCERTAINTY))
    for row in read_csv(tmp_path / "s" / "patches.csv"):
        cell = int(row["row"]), int(row["col"])
        if row["status"] == "ok":
            assert float(row["prob_IDC_context"]) == context.value_at(*cell)
            assert float(row["uncertainty"]) == uncertainty.value_at(*cell)
        else:
            assert row["prob_IDC_context"] == row["uncertainty"] == ""
    (whole,) = read_csv(tmp_path / "s" / "regions.csv")
    assert (whole["Map"], whole["Threshold"]) == ("context", "0.4")
    assert float(whole["Mean uncertainty"]) == pytest.approx(np.nanmean(uncertainty.values))
    assert float(whole["Mean probability"]) == pytest.approx(np.nanmean(context.values))
    with tifffile.TiffFile(tmp_path / "s" / "probability.ome.tiff") as file:
        image, description = file.asarray(), str(file.ome_metadata)
    np.testing.assert_array_equal(image[1], context.values.astype(np.float32))
    np.testing.assert_array_equal(image[2], uncertainty.values.astype(np.float32))
    names = ("IDC", "prob_IDC_context", "uncertainty")
    assert [description.index(f'Name="{it}"') for it in names] == sorted(
        description.index(f'Name="{it}"') for it in names
    )
    tiles = json.loads((tmp_path / "s" / "patches.geojson").read_text())["features"][1:]
    measured = tiles[0]["properties"]["measurements"]
    assert list(measured) == ["prob_Other", "prob_IDC", "prob_IDC_context", "uncertainty"]
    assert sum(it["properties"]["classification"]["name"] == "IDC" for it in tiles) == (
        context.positive(0.4).sum()
    )
    note = read_json(tmp_path / "s" / "dsa-annotation.json")
    assert note["description"].startswith("P(IDC) in context per patch.")
    assert note["attributes"]["map"] == "context"
    assert read_json(tmp_path / "s" / "wsinfer" / "run_metadata.json")["map"] == "patch"
    provenance = read_json(tmp_path / "s" / "provenance.json")
    assert (provenance["map"], provenance["threshold"]) == ("context", 0.4)


def test_context_is_the_default_of_a_model_that_has_it_and_patches_stay_the_same(
    tiny_slide: Scene, tmp_path: Path
) -> None:
    model = write_tiny_model(tmp_path / "both.onnx", context=BLOCK).path
    rows, wholes = {}, {}
    for name, options in {"default": (), "patch": ("--map", "patch")}.items():
        outcome = run_cli(
            "analyze", tiny_slide.path, "--out", tmp_path / name, "--model", model,
            "--provider", "cpu", *options, data_dir=tmp_path / "data",
        )  # fmt: skip
        assert outcome.code == 0, outcome
        rows[name] = (tmp_path / name / "tiny" / "patches.csv").read_bytes()
        wholes[name] = read_csv(tmp_path / name / "tiny" / "regions.csv")[-1]
    outcome = run_cli(
        "export", tiny_slide.path, "--out", tmp_path / "stored", data_dir=tmp_path / "data"
    )
    assert outcome.code == 0, outcome
    wholes["stored"] = read_csv(tmp_path / "stored" / "tiny" / "regions.csv")[-1]

    assert rows["default"] == rows["patch"]
    found = {name: (it["Map"], it["Threshold"]) for name, it in wholes.items()}
    assert found == {
        "default": ("context", "0.4"),
        "patch": ("patch", "0.5"),
        "stored": ("context", "0.4"),
    }
    assert wholes["default"]["Mean probability"] != wholes["patch"]["Mean probability"]
