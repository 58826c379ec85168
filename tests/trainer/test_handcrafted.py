"""Handcrafted features against references, and on patches whose features can be known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mahotas", reason="the trainer needs the extra 'trainer'")
pytest.importorskip("skimage", reason="the trainer needs the extra 'trainer'")
from scipy.fft import idctn
from skimage.color import rgb2gray
from skimage.feature import graycomatrix, graycoprops

from trainer.data.handcrafted import (
    FEATURES,
    edge_histogram,
    fuzzy_colour,
    gray_histogram,
    haralick,
    jpeg_coefficients,
    local_binary_patterns,
    rgb_histogram,
    spot_graph,
)
from trainer.data.painting import paint_background, paint_tissue

PATCHES = paint_tissue(np.random.default_rng(0), 6)
VARIANTS = [(name, text) for name, one in FEATURES.items() for text in one.variants]


def _plain(*values: int) -> np.ndarray:
    return np.stack([np.full((50, 50, 3), value, np.uint8) for value in values])


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_feature_is_finite_and_of_each_patch_alone(name: str, variant: str) -> None:
    extract = FEATURES[name].variants[variant]
    patches = np.concatenate(
        [PATCHES, _plain(0, 128, 255), paint_background(np.random.default_rng(1), 4)]
    )
    found = extract(patches)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.allclose(extract(patches[4:7]), found[4:7], rtol=1e-5, atol=1e-6)
    assert not np.allclose(found[0], found[1])


def test_fuzzy_colour_follows_its_formula() -> None:
    pixels = PATCHES[0].reshape(-1, 3).astype(float)
    levels = [25, 76, 127, 178, 229]
    expected = [
        (10 / np.sqrt(((pixels - (r, g, b)) ** 2).sum(axis=1) + 1)).sum()
        for r in levels
        for g in levels
        for b in levels
    ]
    assert np.allclose(fuzzy_colour(PATCHES[:1])[0], np.divide(expected, max(expected)) * 255, 1e-4)


def test_histograms_count_all_pixels_as_numpy_does() -> None:
    expected, _ = np.histogramdd(PATCHES[0].reshape(-1, 3), bins=[np.arange(0, 257, 32)] * 3)
    assert np.allclose(rgb_histogram(PATCHES, 8)[0] * 2500, expected.ravel())
    gray = gray_histogram(_plain(0, 255), 64)
    assert gray[0, 0] == gray[1, -1] == 1
    for name in ("rgb-histogram", "gray-histogram", "hsv-histogram", "lbp"):
        for extract in FEATURES[name].variants.values():
            assert np.allclose(extract(PATCHES).sum(axis=1), 1, atol=1e-5)


def test_jpeg_coefficient_of_a_pure_wave_is_the_first() -> None:
    wave = np.zeros((8, 8))
    wave[2, 3] = 300
    gray = 128 + np.tile(idctn(wave, norm="ortho"), (6, 6))
    patch = np.full((1, 50, 50, 3), 128, np.uint8)
    patch[0, 1:49, 1:49] = gray.round()[..., None]
    luminance = jpeg_coefficients(patch)[0, :64]
    assert np.argmax(luminance) == 2 * 8 + 3
    assert luminance.max() == 1
    assert luminance[0] == 0


@pytest.mark.parametrize(("kind", "axis"), [(0, 1), (1, 0)])
def test_edge_histogram_tells_stripes_apart(kind: int, axis: int) -> None:
    patch = np.full((1, 50, 50, 3), 255, np.uint8)
    lines = np.arange(1, 50, 2)
    if axis == 1:
        patch[:, :, lines] = 0
    else:
        patch[:, lines] = 0
    found = edge_histogram(patch).reshape(16, 5)
    assert (found[:, kind] == 1).all()
    assert edge_histogram(_plain(200)).sum() == 0


def test_binary_patterns_of_a_plain_patch_are_one_pattern() -> None:
    for method, count in (("default", 256), ("nri_uniform", 59)):
        found = local_binary_patterns(_plain(90), method)
        assert found.shape == (1, count)
        assert found.max() > 0.9


def test_haralick_agrees_with_scikit_image() -> None:
    gray = np.rint(255 * rgb2gray(PATCHES[0])).astype(np.uint8) // 8
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    matrix = graycomatrix(gray, [1], angles, 32, symmetric=True, normed=True)
    found = haralick(PATCHES[:1], 32)[0]
    for place, name in ((0, "ASM"), (1, "contrast"), (2, "correlation")):
        values = graycoprops(matrix, name)
        assert found[place] == pytest.approx(values.mean(), rel=0.02), name
        assert found[13 + place] == pytest.approx(np.ptp(values), rel=0.1, abs=1e-3), name


def test_spot_graph_measures_a_lattice() -> None:
    patch = np.full((1, 50, 50, 3), 245, np.uint8)
    for row in range(5, 50, 10):
        for col in range(5, 50, 10):
            patch[0, row - 1 : row + 2, col - 1 : col + 2] = (70, 40, 130)
    found = spot_graph(patch)[0]
    assert found[0] == 25
    area, perimeter, branches = found[1:5], found[5:9], found[17:21]
    assert area[0] == pytest.approx(100, rel=0.05)
    assert perimeter[0] == pytest.approx(40, rel=0.05)
    assert branches[0] == pytest.approx(10, rel=0.01)
    assert branches[3] < 0.05
