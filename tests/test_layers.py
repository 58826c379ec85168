"""A layer more than the program has today: one entry, and it is kept, told, drawn and exported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from idc_desktop.export.folder import write_folder
from idc_desktop.maps.colormap import colorize
from idc_desktop.maps.grid import Block
from idc_desktop.maps.layers import KINDS, PATCH, LayerKind
from idc_desktop.maps.probability_map import BlockResult, MapLayer, PatchState, ProbabilityMap
from idc_desktop.processes.engine_messages import BlockDone
from idc_desktop.processes.record import block_done, block_result
from idc_desktop.regions.shape import rectangle
from idc_desktop.regions.statistics import RegionMeter
from tests.support.command import read_csv
from tests.support.models import TinyModel
from tests.support.older_files import write_run_3
from tests.test_export import analysis
from tests.test_store import SETTINGS, open_store, result, same

DEPTH = LayerKind("depth", "depth_um", "Depth of the tissue", "depth, µm", "d", low=-2.0, high=6.0)


@pytest.fixture(autouse=True)
def depth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be a layer of a range of its own."""
    monkeypatch.setitem(KINDS, "depth", DEPTH)  # type: ignore[arg-type]


def block_with_depth() -> BlockResult:
    """A block of two patches: one of them is background."""
    values = np.array([[0.25, np.nan]])
    return BlockResult(
        Block(0, 0, 0, 1, 2),
        np.array([[PatchState.OK, PatchState.BACKGROUND]], np.uint8),
        {PATCH: KINDS[PATCH].stored(values), "depth": DEPTH.stored(values * 20)},
    )


@pytest.mark.parametrize("value", [-2.0, -1.999999, 0.0, 3.14159, 6.0])
def test_values_are_kept_to_a_millionth_of_the_range(value: float) -> None:
    (stored,) = DEPTH.stored(np.array([value]))

    assert DEPTH.value(int(stored)) == pytest.approx(value, abs=0.5e-6 * 8.001)
    assert DEPTH.least(DEPTH.value(int(stored))) == stored
    assert DEPTH.at(DEPTH.fraction(value)) == pytest.approx(value)


def test_values_beyond_the_range_are_none() -> None:
    assert DEPTH.stored(np.array([-2.1, 6.1, np.nan, np.inf])).tolist() == [-1] * 4


def test_store_and_pipe_keep_every_layer(tmp_path: Path) -> None:
    made = block_with_depth()
    with open_store(tmp_path) as store:
        store.commit([made, result(1)])
    with open_store(tmp_path) as store:
        first, second = store.results()

    assert same(first, made)
    assert list(second.layers) == [PATCH]
    assert same(block_result(block_done(made)), made)


def test_layer_that_is_not_known_is_left_out_of_what_is_stored_and_refused_of_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(tmp_path) as store:
        store.commit([block_with_depth()])
    monkeypatch.delitem(KINDS, "depth")  # type: ignore[arg-type]

    with open_store(tmp_path) as store:
        (back,) = store.results()
    assert list(back.layers) == [PATCH]
    with pytest.raises(ValueError, match="depth"):
        BlockDone(0, 0, 0, 1, 2, (), ("depth",), payload=bytes(10))


def test_older_run_has_the_patch_layer(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        path = store.path
    path.unlink()
    write_run_3(path, SETTINGS, [result(0)])

    with open_store(tmp_path) as store:
        (back,) = store.results()
    assert same(back, result(0))


def with_depth(made: ProbabilityMap) -> MapLayer:
    """Give a map depths that rise with its probabilities."""
    grid, values = made.grid, made.layer().values
    made.add(
        BlockResult(
            Block(0, 0, 0, grid.rows, grid.cols),
            made.states,
            {PATCH: made.layer().stored, "depth": DEPTH.stored(values * 8 - 2)},
        )
    )
    return made.layer("depth")


def test_layer_is_drawn_and_measured_like_the_patch_layer(tiny_model: TinyModel) -> None:
    made = analysis(tiny_model.path).map
    layer = with_depth(made)

    assert np.array_equal(colorize(layer, 0.5), colorize(made.layer(), 0.5))
    assert [it.name for it in made.layers] == [PATCH, "depth"]
    assert np.array_equal(layer.positive(2.0), made.layer().positive(0.5))
    shape = rectangle(0, 0, 3000, 3000)
    (deep,) = RegionMeter(layer, (2.0, 2.0)).measure([shape], 2.0)
    (likely,) = RegionMeter(made.layer(), (2.0, 2.0)).measure([shape], 0.5)
    assert deep.idc_area_um2 == likely.idc_area_um2
    assert likely.mean_probability is not None
    assert deep.mean_probability == pytest.approx(likely.mean_probability * 8 - 2)
    assert likely.median_probability is not None
    assert deep.median_probability == pytest.approx(likely.median_probability * 8 - 2)


def test_every_export_that_has_layers_has_it(tiny_model: TinyModel, tmp_path: Path) -> None:
    made = analysis(tiny_model.path)
    layer = with_depth(made.map)
    write_folder(tmp_path / "depth", replace(made, map_kind="depth", threshold=2.0), [])
    write_folder(tmp_path / "patch", made, [])

    (whole,) = read_csv(tmp_path / "depth" / "regions.csv")
    (by_patch,) = read_csv(tmp_path / "patch" / "regions.csv")
    assert (whole["Map"], by_patch["Map"]) == ("depth", "patch")
    assert float(whole["Max probability"]) == layer.values[layer.analyzed].max()
    assert whole["IDC area µm^2"] == by_patch["IDC area µm^2"]
    patches = [(tmp_path / it / "patches.csv").read_bytes() for it in ("depth", "patch")]
    assert patches[0] == patches[1]
    tile = json.loads((tmp_path / "patch" / "patches.geojson").read_text())["features"][1]
    assert list(tile["properties"]["measurements"]) == ["prob_Other", "prob_IDC", "depth_um"]
    with tifffile.TiffFile(tmp_path / "patch" / "probability.ome.tiff") as file:
        image, description = file.asarray(), file.ome_metadata
    assert description is not None
    assert 'Name="depth_um"' in description
    expected = [it.values.astype(np.float32) for it in made.map.layers]
    np.testing.assert_array_equal(image, expected)
