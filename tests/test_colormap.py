"""Colours: what has no probability is never painted as one."""

from __future__ import annotations

import numpy as np
import pytest

from idc_desktop.maps.colormap import FAILED_RGB, NAMES, colorize, lookup_table, round_length_um
from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.layers import NO_VALUE
from idc_desktop.maps.probability_map import PatchState, ProbabilityMap


def test_table_is_viridis_from_end_to_end() -> None:
    table = lookup_table()

    assert table.shape == (256, 3)
    assert table[0].tolist() == [0x44, 0x01, 0x54]
    assert table[255].tolist() == [0xFD, 0xE7, 0x25]
    # Its lightness only rises, so that it is read without colours, too.
    luma = table @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luma) > -0.5).all()
    assert luma[255] > luma[0] + 150


def test_failed_colour_is_unlike_any_probability() -> None:
    distance = np.abs(lookup_table().astype(int) - FAILED_RGB).sum(axis=1)

    assert distance.min() > 80


def test_each_state_has_its_look() -> None:
    probability_map = ProbabilityMap(PatchGrid.over((0, 0, 1400, 200), (2.0, 2.0), 400.0))
    states = [
        PatchState.PENDING, PatchState.OK, PatchState.OK, PatchState.BACKGROUND,
        PatchState.FAILED, PatchState.INVALID_OUTPUT, PatchState.EXCLUDED,
    ]  # fmt: skip
    probability_map.states[:] = [states]
    probability_map.layer().stored[:] = NO_VALUE
    probability_map.layer().stored[0, 1:3] = 0, 1_000_000

    row = colorize(probability_map.layer(), 0.5)[0]

    table = lookup_table()
    assert row[:, 3].tolist() == [0, 32, 128, 0, 128, 128, 0]  # p = 0 is a quarter as opaque as 1
    assert row[1, :3].tolist() == table[0].tolist()
    assert row[2, :3].tolist() == table[255].tolist()
    assert row[4, :3].tolist() == row[5, :3].tolist() == list(FAILED_RGB)


@pytest.mark.parametrize("name", NAMES)
def test_colour_maps_are_those_that_the_field_knows(name: str) -> None:
    colormaps = pytest.importorskip("matplotlib").colormaps
    known = {"greys": "gray"}.get(name, name)
    expected = 255 * colormaps[known](np.arange(256))[:, :3]
    assert np.abs(lookup_table(name) - expected).mean() < 9


@pytest.mark.parametrize("name", NAMES)
def test_lightness_grows_with_probability(name: str) -> None:
    """So that the order survives colour blindness and grey print."""
    linear = (lookup_table(name) / 255.0) ** 2.2
    assert (np.diff(linear @ (0.2126, 0.7152, 0.0722)) > -1e-3).all()


@pytest.mark.parametrize(
    ("longest", "expected"),
    [(0.03, 0.02), (1.0, 1), (1.99, 1), (4.9, 2), (99, 50), (1_000, 1_000), (5_200, 5_000)],
)
def test_scale_bar_has_a_round_length(longest: float, expected: float) -> None:
    assert round_length_um(longest) == pytest.approx(expected)
