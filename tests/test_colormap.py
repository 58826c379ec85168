"""Colours: what has no probability is never painted as one."""

from __future__ import annotations

import numpy as np
import pytest

from idc_desktop.maps.colormap import (
    FAILED_RGB,
    NAMES,
    colorize,
    lookup_table,
    opacity_weights,
    round_length_um,
)
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


@pytest.mark.parametrize("name", ["viridis", "leaf"])
def test_failed_colour_is_unlike_any_probability(name: str) -> None:
    distance = np.abs(lookup_table(name).astype(int) - FAILED_RGB).sum(axis=1)

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


@pytest.mark.parametrize("name", sorted({*NAMES} - {"leaf"}))
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


# How those see it who lack a kind of cones: Machado, Oliveira and Fernandes 2009, severity 1.
EYES = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
TO_XYZ = np.array(
    [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]
) / np.array([[0.95047], [1.0], [1.08883]])
# Nuclei, tumour, collagen, its pale parts, blood and glass of H&E sections.
STAINS = np.array(
    [
        (62, 40, 110),
        (98, 70, 140),
        (140, 100, 165),
        (180, 120, 175),
        (214, 150, 190),
        (232, 190, 212),
        (190, 70, 100),
        (245, 242, 245),
    ],
    float,
)


def lab(rgb: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Return colours in CIE L*a*b*, in which distances are about what is seen of a difference."""
    part = rgb / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ eyes.T, 0, 1) @ TO_XYZ.T
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def distances(name: str, eyes: np.ndarray, opacity: float) -> tuple[float, float]:
    """Return how far the upper half of a map, laid over stains, is from the stains.

    The least distance to the stain beneath, and to any of them.
    """
    upper = slice(128, 256, 16)
    alpha = (opacity * opacity_weights()[upper])[:, np.newaxis, np.newaxis]
    laid = alpha * lookup_table(name)[upper][:, np.newaxis] + (1 - alpha) * STAINS
    seen, stains = lab(laid, eyes), lab(STAINS, eyes)
    beneath = np.linalg.norm(seen - stains, axis=-1)
    to_any = np.linalg.norm(seen[:, :, np.newaxis] - stains, axis=-1)
    return beneath.min(), to_any.min()


@pytest.mark.parametrize("kind", EYES)
def test_leaf_is_seen_on_every_stain_with_every_kind_of_eyes(kind: str) -> None:
    """2.3 is the least difference that is seen; 10 is seen at a glance."""
    beneath, to_any = distances("leaf", EYES[kind], opacity=0.5)
    assert beneath > 12
    assert to_any > 6
    lightness = lab(lookup_table("leaf").astype(float), EYES[kind])[:, 0]
    assert lightness[-1] - lightness[0] > 40
    assert (np.diff(lightness) > -0.3).all()


def test_other_colour_maps_are_not_seen_so_by_all() -> None:
    """What the one for H&E is for: over some stain, the others are hardly seen by some."""
    for name in {*NAMES} - {"leaf"}:
        assert min(distances(name, eyes, opacity=0.5)[0] for eyes in EYES.values()) < 6
