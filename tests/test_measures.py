"""Areas and lengths read alike wherever they stand."""

from __future__ import annotations

import pytest

from idc_desktop.regions.measures import area_text, length_text, mm2_text, mm_text


@pytest.mark.parametrize(
    ("area_um2", "text"),
    [
        (None, "–"),
        (0.0, "0.000 mm²"),
        (50.26, "50.3 µm²"),
        (999.4, "999 µm²"),
        (1_000.0, "0.001 mm²"),
        (160_000.0, "0.160 mm²"),
        (1_234_567_890.0, "1,234.568 mm²"),
    ],
)
def test_areas_have_three_decimals_of_mm2(area_um2: float | None, text: str) -> None:
    assert area_text(area_um2) == text


@pytest.mark.parametrize(
    ("length_um", "text"),
    [
        (None, "–"),
        (0.0, "0 µm"),
        (0.25, "0.25 µm"),
        (8.54, "8.5 µm"),
        (12.4, "12 µm"),
        (999.4, "999 µm"),
        (999.6, "1.00 mm"),
        (12_345.0, "12.35 mm"),
        (12_345_678.0, "12,345.68 mm"),
    ],
)
def test_lengths_have_two_decimals_of_mm_or_whole_um(length_um: float | None, text: str) -> None:
    assert length_text(length_um) == text


def test_columns_have_the_unit_in_their_title() -> None:
    assert mm2_text(320_000.0) == "0.320"
    assert mm2_text(None) == mm_text(None) == "–"
    assert mm_text(12_340.0) == "12.34"
