"""What a threshold means: its sensitivity and specificity, as a model's card tells them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Interval = tuple[float, float]

_PROMISE = 0.95  # of sensitivity or specificity: what a threshold for a purpose keeps
_DIGITS = 1000  # of a threshold that people read


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold does on labelled patches.

    Attributes
    ----------
    threshold, sensitivity, specificity : float
    sensitivity_ends, specificity_ends : (float, float) or None
        How far that is known, where the card says it.
    is_by_slide : bool
        Whether these are the least and the most of the slides; else 95 % intervals.
    """

    threshold: float
    sensitivity: float
    specificity: float
    sensitivity_ends: Interval | None = None
    specificity_ends: Interval | None = None
    is_by_slide: bool = False

    @classmethod
    def from_document(cls, entry: Mapping[str, Any]) -> OperatingPoint:
        """Take an entry of a card's curve."""
        is_by_slide = "sensitivity_by_slide" in entry

        def interval(name: str) -> Interval | None:
            ends = entry.get(f"{name}_by_slide" if is_by_slide else f"{name}_95ci")
            return None if ends is None else (float(ends[0]), float(ends[1]))

        return cls(
            threshold=float(entry["threshold"]),
            sensitivity=float(entry["sensitivity"]),
            specificity=float(entry["specificity"]),
            sensitivity_ends=interval("sensitivity"),
            specificity_ends=interval("specificity"),
            is_by_slide=is_by_slide,
        )

    def predictive_values(self, prevalence: float) -> tuple[float, float]:
        """Return which share of the patches called IDC is IDC, and of the others is not.

        Parameters
        ----------
        prevalence : float
            Share of IDC among all patches. A share of nothing is 1: nothing is wrong there.
        """
        found, missed = (prevalence * it for it in (self.sensitivity, 1 - self.sensitivity))
        other = 1 - prevalence
        false, right = (other * it for it in (1 - self.specificity, self.specificity))
        return _share(found, found + false), _share(right, right + missed)


@dataclass(frozen=True)
class Operation:
    """A model's own threshold for one of its maps, and what others would do.

    Attributes
    ----------
    threshold : float
        IDC is p >= threshold, unless the user sets another.
    curve : tuple of OperatingPoint
        By threshold, ascending.
    """

    threshold: float
    curve: tuple[OperatingPoint, ...]

    @classmethod
    def from_document(cls, threshold: float, curve: Iterable[Mapping[str, Any]]) -> Operation:
        """Take what a card says."""
        points = sorted(map(OperatingPoint.from_document, curve), key=lambda it: it.threshold)
        return cls(float(threshold), tuple(points))

    def at(self, threshold: float) -> OperatingPoint | None:
        """Return what a threshold does, interpolated between the curve's points.

        None if the curve does not reach so far, or has a single point elsewhere.
        """
        for low, high in zip(self.curve, (*self.curve[1:], *self.curve[-1:]), strict=True):
            if low.threshold == threshold:
                return low
            if low.threshold < threshold < high.threshold:
                part = (threshold - low.threshold) / (high.threshold - low.threshold)
                return _between(low, high, part)
        return None

    def nearest(self, threshold: float) -> OperatingPoint | None:
        """Return the curve's point with the nearest threshold; None if it has no points."""
        return min(self.curve, key=lambda it: abs(it.threshold - threshold), default=None)

    def with_sensitivity(self, least: float) -> float | None:
        """Return the highest threshold that misses no more; None if none is known."""
        return self._crossing(self.curve[::-1], lambda it: it.sensitivity - least)

    def with_specificity(self, least: float) -> float | None:
        """Return the lowest threshold that alarms no more; None if none is known."""
        return self._crossing(self.curve, lambda it: it.specificity - least)

    def balanced(self) -> float:
        """Return the threshold of the largest Youden index that is known; else the model's own."""
        best = max(self.curve, key=lambda it: it.sensitivity + it.specificity, default=None)
        return self.threshold if best is None else best.threshold

    def screening(self) -> float | None:
        """Return a threshold that misses few, and no more than the balanced one; None if unknown.

        Rounded down to what people read, so that what is promised holds.
        """
        found = self.with_sensitivity(_PROMISE)
        if found is None:
            return None
        return min(math.floor(found * _DIGITS) / _DIGITS, self.balanced())

    def specific(self) -> float | None:
        """Return a threshold that alarms rarely, and no more than the balanced one, rounded up."""
        found = self.with_specificity(_PROMISE)
        if found is None:
            return None
        return max(math.ceil(found * _DIGITS) / _DIGITS, self.balanced())

    @staticmethod
    def _crossing(
        points: Sequence[OperatingPoint], over: Callable[[OperatingPoint], float]
    ) -> float | None:
        """Return where, from the first of the points on, a figure first reaches what is asked."""
        for before, point in zip((None, *points), points, strict=False):
            if over(point) >= 0:
                if before is None:
                    return point.threshold
                part = over(before) / (over(before) - over(point))
                return before.threshold + (point.threshold - before.threshold) * part
        return None


def operating_point_text(
    operation: Operation, threshold: float, where: str, prevalence: float | None
) -> str:
    """Say what a threshold does on the patches that the model was tried on.

    Parameters
    ----------
    where : str
        What these patches are, for people.
    prevalence : float or None
        Share of IDC in the archive, if it is known.
    """
    point = operation.at(threshold)
    said = "At this threshold"
    if point is None:
        point = operation.nearest(threshold)
        if point is None:
            return "The model's card has no operating points."
        said = f"At {point.threshold:.2f}, the nearest known,"
    text = f"{said} on {where}: {_figures(point)}."
    if prevalence is not None:
        right, clear = point.predictive_values(prevalence)
        text += (
            f" Where {100 * prevalence:.0f} % of the patches are IDC, as in the model's archive, "
            f"{100 * right:.0f} % of those called IDC are, and {100 * clear:.0f} % of the others "
            "are not."
        )
    return text


def _figures(point: OperatingPoint) -> str:
    each = (
        ("sensitivity", point.sensitivity, point.sensitivity_ends),
        ("specificity", point.specificity, point.specificity_ends),
    )
    kind = " by slide" if point.is_by_slide else ""
    return ", ".join(
        f"{name} {value:.2f}" + ("" if ends is None else f" ({ends[0]:.2f}–{ends[1]:.2f}{kind})")
        for name, value, ends in each
    )


def _between(low: OperatingPoint, high: OperatingPoint, part: float) -> OperatingPoint:
    def mean(a: float, b: float) -> float:
        return a + (b - a) * part

    def means(a: Interval | None, b: Interval | None) -> Interval | None:
        return None if a is None or b is None else (mean(a[0], b[0]), mean(a[1], b[1]))

    return OperatingPoint(
        mean(low.threshold, high.threshold),
        mean(low.sensitivity, high.sensitivity),
        mean(low.specificity, high.specificity),
        means(low.sensitivity_ends, high.sensitivity_ends),
        means(low.specificity_ends, high.specificity_ends),
        low.is_by_slide,
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 1.0
