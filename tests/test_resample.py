"""Resampling against an exact computation in fractions, pixel by pixel."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idc_desktop.analysis.resample import Edges, area_average, bilinear, span, to_edges
from tests.support.slides import Rgb

ONE = 1 << 16


def noise(height: int, width: int, seed: int = 0) -> Rgb:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def evenly(first: float, ratio: float, count: int) -> Edges:
    return to_edges(first + np.arange(count + 1) * ratio)


def exact_average(pixels: Rgb, edges_y: Edges, edges_x: Edges) -> Rgb:
    """Average with fractions: what `area_average` must return, half rounded up."""
    out = np.empty((len(edges_y) - 1, len(edges_x) - 1, 3), np.uint8)
    for row, col, channel in np.ndindex(*out.shape):
        total = area = Fraction(0)
        for y, high in _covered(edges_y, row):
            for x, wide in _covered(edges_x, col):
                total += high * wide * int(pixels[y, x, channel])
                area += high * wide
        out[row, col, channel] = math.floor(total / area + Fraction(1, 2))
    return out


def _covered(edges: Edges, index: int) -> list[tuple[int, Fraction]]:
    """Return the source pixels under an output pixel, each with its coverage."""
    start, stop = (Fraction(int(edges[index + k]), ONE) for k in (0, 1))
    pixels = range(math.floor(start), math.ceil(stop))
    return [(pixel, min(stop, pixel + 1) - max(start, pixel)) for pixel in pixels]


def exact_bilinear(pixels: Rgb, edges_y: Edges, edges_x: Edges) -> Rgb:
    def mixture(edges: Edges, index: int, size: int) -> list[tuple[int, Fraction]]:
        centre = Fraction((int(edges[index]) + int(edges[index + 1]) - ONE) >> 1, ONE)
        below = math.floor(centre)
        part = centre - below
        pairs = [(below, 1 - part), (below + 1, part)]
        return [(min(max(pixel, 0), size - 1), weight) for pixel, weight in pairs]

    out = np.empty((len(edges_y) - 1, len(edges_x) - 1, 3), np.uint8)
    for row, col, channel in np.ndindex(*out.shape):
        value = sum(
            high * wide * int(pixels[y, x, channel])
            for y, high in mixture(edges_y, row, pixels.shape[0])
            for x, wide in mixture(edges_x, col, pixels.shape[1])
        )
        out[row, col, channel] = math.floor(value + Fraction(1, 2))
    return out


@pytest.mark.parametrize("ratio", [1.0, 1.0078, 1.25, 2.0, 3.9967, 4.0, 7.5, 16.032])
@pytest.mark.parametrize("first", [0.0, 0.4375, 3.0, 2.71])
def test_average_is_exact_at_every_ratio_and_offset(ratio: float, first: float) -> None:
    edges_y, edges_x = evenly(first, ratio, 5), evenly(first / 2, ratio, 4)
    pixels = noise(span(edges_y)[1], span(edges_x)[1])

    assert np.array_equal(
        area_average(pixels, edges_y, edges_x), exact_average(pixels, edges_y, edges_x)
    )


def test_axes_may_have_different_ratios() -> None:
    edges_y, edges_x = evenly(0.5, 1.75, 6), evenly(1.25, 5.3, 3)
    pixels = noise(span(edges_y)[1], span(edges_x)[1])

    assert np.array_equal(
        area_average(pixels, edges_y, edges_x), exact_average(pixels, edges_y, edges_x)
    )


@given(
    first=st.floats(0, 5),
    ratio_y=st.floats(1, 9),
    ratio_x=st.floats(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_average_is_exact_anywhere(first: float, ratio_y: float, ratio_x: float, seed: int) -> None:
    edges_y, edges_x = evenly(first, ratio_y, 3), evenly(first, ratio_x, 3)
    pixels = noise(span(edges_y)[1], span(edges_x)[1], seed)

    assert np.array_equal(
        area_average(pixels, edges_y, edges_x), exact_average(pixels, edges_y, edges_x)
    )


@given(
    ratio=st.floats(1, 20),
    start=st.integers(0, 30),
    count=st.integers(1, 30),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_piece_read_alone_equals_the_same_piece_of_the_whole(
    ratio: float, start: int, count: int, seed: int
) -> None:
    edges = evenly(0.3, ratio, 60)
    pixels = noise(span(edges)[1], 40, seed)
    across = evenly(0.0, 2.5, 16)
    whole = area_average(pixels, edges, across)

    part = edges[start : start + count + 1]
    top, bottom = span(part)
    alone = area_average(pixels[top:bottom], part - top * ONE, across)

    assert np.array_equal(alone, whole[start : start + count])


def test_identity_is_a_copy_of_the_pixels() -> None:
    pixels = noise(9, 11)

    out = area_average(pixels, evenly(2, 1, 5), evenly(3, 1, 7))

    assert np.array_equal(out, pixels[2:7, 3:10])
    out[:] = 0
    assert pixels[2:7, 3:10].any()


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_flat_colour_stays_itself_at_ratio_160(value: int) -> None:
    """At 160 the sums are largest: 0.05 µm/px without a pyramid."""
    pixels = np.full((160 * 4 + 1, 160 * 4 + 1, 3), value, np.uint8)

    for first in (0.0, 0.5, 0.99):
        edges = evenly(first, 160.0, 4)
        assert (area_average(pixels, edges, edges) == value).all()


def test_white_column_of_2_to_the_22_pixels_does_not_overflow() -> None:
    pixels = np.full((1 << 22, 1, 3), 255, np.uint8)

    out = area_average(pixels, to_edges(np.array([0.0, float(1 << 22)])), evenly(0, 0.5, 2))

    assert (out == 255).all()


def test_half_is_rounded_up() -> None:
    pixels = np.array([[[10, 0, 254], [11, 1, 255]]], np.uint8)

    assert area_average(pixels, evenly(0, 1, 1), evenly(0, 2, 1)).tolist() == [[[11, 1, 255]]]


@pytest.mark.parametrize("ratio", [0.8, 0.9, 0.97, 1.0])
@pytest.mark.parametrize("first", [1.0, 1.37])
def test_interpolation_is_exact(ratio: float, first: float) -> None:
    edges_y, edges_x = evenly(first, ratio, 7), evenly(first * 2, ratio, 5)
    pixels = noise(span(edges_y, 1)[1], span(edges_x, 1)[1])

    assert np.array_equal(
        bilinear(pixels, edges_y, edges_x), exact_bilinear(pixels, edges_y, edges_x)
    )


def test_interpolation_of_a_ramp_is_the_ramp() -> None:
    ramp = np.repeat((np.arange(40) * 5)[None, :, None], 3, axis=2).astype(np.uint8)
    ramp = np.repeat(ramp, 4, axis=0)

    out = bilinear(ramp, evenly(1, 1, 2), evenly(1, 0.8, 20))

    centres = 1 + (np.arange(20) + 0.5) * 0.8 - 0.5
    assert np.abs(out[0, :, 0] - centres * 5).max() <= 0.51


def test_interpolation_holds_the_outermost_pixel_at_the_edge() -> None:
    pixels = np.array([[[10], [20]], [[10], [20]]], np.uint8).repeat(3, axis=2)

    out = bilinear(pixels, evenly(0, 1, 2), evenly(0, 0.25, 8))

    assert out[0, 0].tolist() == [10, 10, 10]
    assert out[0, -1].tolist() == [20, 20, 20]


def test_span_holds_every_touched_pixel_and_no_other() -> None:
    assert span(to_edges(np.array([2.0, 5.0]))) == (2, 5)
    assert span(to_edges(np.array([2.001, 5.001]))) == (2, 6)
    assert span(to_edges(np.array([-0.5, 1.5])), margin_px=1) == (-2, 3)
