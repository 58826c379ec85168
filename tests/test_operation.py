"""What a threshold means, read off the curve of a model's card."""

from __future__ import annotations

import pytest

from idc_desktop.models.operation import OperatingPoint, Operation
from tests.support.models import CONTEXT

CURVE = Operation.from_document(CONTEXT["threshold"], reversed(CONTEXT["curve"]))


def test_between_two_points_figures_are_interpolated_and_beyond_them_unknown() -> None:
    found = CURVE.at(0.3)

    assert found is not None
    assert (found.sensitivity, found.specificity) == pytest.approx((0.935, 0.75))
    assert CURVE.at(0.4) == CURVE.curve[1]
    assert CURVE.at(0.19) is CURVE.at(0.61) is Operation(0.5, ()).at(0.5) is None
    assert CURVE.nearest(0.9) == CURVE.curve[2]
    assert Operation(0.5, ()).nearest(0.5) is None


def test_intervals_are_interpolated_where_both_ends_have_them() -> None:
    low = OperatingPoint(0.2, 0.9, 0.5, (0.8, 1.0), (0.4, 0.6))
    high = OperatingPoint(0.4, 0.7, 0.9, (0.6, 0.8), None)

    found = Operation(0.2, (low, high)).at(0.3)

    assert found is not None
    assert found.sensitivity_ends == pytest.approx((0.7, 0.9))
    assert found.specificity_ends is None


def test_presets_are_the_thresholds_that_keep_what_they_promise() -> None:
    screening, specific = CURVE.with_sensitivity(0.95), CURVE.with_specificity(0.95)

    assert screening == pytest.approx(0.2 + 0.2 * 2 / 7)
    assert specific == pytest.approx(0.4 + 0.2 * 5 / 6)
    assert screening is not None
    assert specific is not None
    for threshold, name in ((screening, "sensitivity"), (specific, "specificity")):
        found = CURVE.at(threshold)
        assert getattr(found, name) == pytest.approx(0.95)
    assert (CURVE.screening(), CURVE.specific()) == (0.257, 0.567)
    assert CURVE.with_sensitivity(0.99) is CURVE.with_specificity(0.99) is None
    assert (CURVE.with_sensitivity(0.6), CURVE.with_specificity(0.6)) == (0.6, 0.2)
    assert CURVE.balanced() == 0.4
    assert Operation(0.3, ()).balanced() == 0.3


def test_screening_never_misses_more_than_balanced_nor_does_specific_alarm_more() -> None:
    """A curve may keep both promises at the balanced threshold, and well beyond it."""
    curve = (
        OperatingPoint(0.1, 1.0, 0.2),
        OperatingPoint(0.3, 0.99, 0.96),
        OperatingPoint(0.5, 0.95, 0.97),
    )
    operation = Operation(0.4, curve)

    assert operation.with_sensitivity(0.95) == 0.5
    assert operation.screening() == operation.balanced() == operation.specific() == 0.3
    assert Operation(0.3, ()).screening() is Operation(0.3, ()).specific() is None


@pytest.mark.parametrize(
    ("prevalence", "expected"), [(0.5, (0.9, 0.9)), (0.1, (0.5, 81 / 82)), (0.0, (0.0, 1.0))]
)
def test_predictive_values_depend_on_the_prevalence(
    prevalence: float, expected: tuple[float, float]
) -> None:
    point = OperatingPoint(0.4, 0.9, 0.9)

    assert point.predictive_values(prevalence) == pytest.approx(expected)


def test_share_of_nothing_is_not_wrong() -> None:
    assert OperatingPoint(1.0, 0.0, 1.0).predictive_values(0.3) == pytest.approx((1.0, 0.7))
