"""Fitting the settings of the context map, and judging each slide with settings of the others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from idc_desktop.maps.context import context_values, in_context, margin, neighbourhood
from idc_desktop.models.context_settings import ContextSettings
from trainer.context.planting import SIZES, Plants, found_at, plant
from trainer.context.slides import OTHER, Flags, Floats, LabelledMap
from trainer.scoring.calibration import PROBABILITY_DIGITS, Platt, fit_platt
from trainer.scoring.metrics import Metrics, Scored, youden_threshold

SIGMAS = (0.7, 1.0, 1.4)
"""Widths of the neighbourhood that are tried, in patches. Wider ones gain little, and lose foci."""

ALLOWED: Mapping[int, float] = {1: 0.03, 4: 0.01}
"""By patches of a focus: how many fewer of the planted foci the map may find than patches do."""

_CURVE = (0.001, 0.002, 0.005, *(number / 100 for number in range(1, 100)))
_QUANTILES = 21


@dataclass(frozen=True)
class Trial:
    """What a width of the neighbourhood does on a slide.

    Attributes
    ----------
    gain : float
        Of AUC over the patch map.
    found : dict
        By patches of a planted focus: the share that is found.
    lost : dict
        How many fewer than the patches by themselves find.
    """

    gain: float
    found: Mapping[int, float]
    lost: Mapping[int, float]


class Bench:
    """A slide on which widths are tried; what does not depend on the width is computed once."""

    def __init__(self, slide: LabelledMap, others: Sequence[LabelledMap]) -> None:
        self.slide = slide
        self._plants: dict[int, Plants] = {size: plant(slide, others, size) for size in SIZES}
        self._trials: dict[float, Trial] = {}

    @property
    def _benign(self) -> Flags:
        return self.slide.scored & (self.slide.label == OTHER)

    @cached_property
    def found_alone(self) -> dict[int, float]:
        """By patches of a planted focus: the share that patches by themselves find."""
        benign = self.slide.own[self._benign]
        return {size: found_at(it.alone(), benign) for size, it in self._plants.items()}

    def trial(self, sigma: float) -> Trial:
        """Try a width, in patches."""
        if sigma not in self._trials:
            self._trials[sigma] = self._try(sigma)
        return self._trials[sigma]

    def _try(self, sigma: float) -> Trial:
        slide = self.slide
        lifted, equal = lift(slide, sigma), np.ones(int(slide.scored.sum()))
        before, after = (
            Scored(values[slide.scored], slide.is_idc).auc(equal) for values in (slide.own, lifted)
        )
        benign = lifted[self._benign]
        found = {size: found_at(it.in_context(sigma), benign) for size, it in self._plants.items()}
        lost = {size: self.found_alone[size] - share for size, share in found.items()}
        return Trial(after - before, found, lost)


def lift(slide: LabelledMap, sigma: float) -> Floats:
    """Return the log-odds of a slide's patches in their context, before calibration."""
    around = neighbourhood(slide.own, slide.counts, sigma)
    return in_context(slide.own, around)


def choose(benches: Sequence[Bench]) -> float:
    """Return the width that gains most on slides without losing small foci there.

    Where every width loses more than is allowed, the one that loses least.
    """

    def merit(sigma: float) -> tuple[float, float]:
        trials = [bench.trial(sigma) for bench in benches]
        lost = {size: float(np.mean([it.lost[size] for it in trials])) for size in ALLOWED}
        excess = sum(max(0.0, lost[size] - most) for size, most in ALLOWED.items())
        return -excess, float(np.mean([it.gain for it in trials]))

    return max(SIGMAS, key=merit)


def fit(slides: Sequence[LabelledMap], sigma: float, prevalence: float) -> dict[str, Any]:
    """Fit calibration, threshold and the scale of uncertainty; returns them as the card's block.

    Slides weigh alike. The share of IDC that the calibration stands for is half way, in log-odds,
    between that of the slides and that of the archive: a few slides say little of others' share.

    Parameters
    ----------
    prevalence : float
        Share of IDC in the archive.
    """
    odds = [lift(slide, sigma)[slide.scored] for slide in slides]
    platt, threshold = _calibrate(slides, odds, prevalence)
    return {
        "sigma_patches": sigma,
        "calibration": {"a": platt.a, "b": platt.b},
        "threshold": threshold,
        "curve": [],
        "margins": _margins(slides, sigma, platt, threshold),
        "prevalence": prevalence,
        "fitted_on": f"{sum(map(len, odds)):,} patches of {len(slides)} labelled slides",
    }


def _calibrate(
    slides: Sequence[LabelledMap], odds: Sequence[Floats], prevalence: float
) -> tuple[Platt, float]:
    """Calibrate log-odds of the slides' scored patches, and choose a threshold, as `fit` says."""
    each, label = np.concatenate(odds), np.concatenate([it.is_idc for it in slides])
    weight = np.concatenate([np.full(len(it.is_idc), 1 / len(it.is_idc)) for it in slides])
    own = float(np.average(label, weights=weight))
    share = 1 / (1 + math.exp(-sum(math.log(it / (1 - it)) for it in (own, prevalence)) / 2))
    shared = weight * np.where(label == 1, share / own, (1 - share) / (1 - own))
    platt = fit_platt(each, label, shared)
    return platt, youden_threshold(Scored(platt.stored(each), label), weight)


def _margins(
    slides: Sequence[LabelledMap], sigma: float, platt: Platt, threshold: float
) -> list[float]:
    """Return quantiles of how far labelled patches are from the threshold; slides weigh alike."""
    at = (math.log(threshold / (1 - threshold)) - platt.b) / platt.a if 0 < threshold < 1 else 0.0
    fine = np.linspace(0, 1, 1001)
    each = []
    for slide in slides:
        around = neighbourhood(slide.own, slide.counts, sigma)
        each.append(np.quantile(margin(slide.own, around, at)[slide.scored], fine))
    found = np.quantile(np.concatenate(each), np.linspace(0, 1, _QUANTILES))
    return [float(it) for it in found.round(PROBABILITY_DIGITS)]


@dataclass(frozen=True)
class Judged:
    """A slide judged with settings that were fitted on the others.

    Attributes
    ----------
    slide : LabelledMap
    settings : ContextSettings
    probability, uncertainty : ndarray of float, shape (n,)
        Of the scored patches, in context.
    patch, context : Metrics
        At the card's threshold, and at that of the settings.
    refitted : Metrics
        Of the patch map, calibrated and cut on the other slides like the context map: what of the
        difference is not the neighbours' doing.
    trial : Trial
    found_alone : dict
    """

    slide: LabelledMap
    settings: ContextSettings
    probability: Floats
    uncertainty: Floats
    patch: Metrics
    context: Metrics
    refitted: Metrics
    trial: Trial
    found_alone: Mapping[int, float]

    @property
    def wrong(self) -> Flags:
        """Where the context map errs at its threshold, shape (n,)."""
        called = self.probability >= self.settings.operation.threshold
        return np.not_equal(called, self.slide.is_idc == 1)

    @property
    def plain_margin(self) -> Floats:
        """How far the calibrated log-odds of the context map are from the threshold, negative."""
        inside = np.clip(self.probability, 1e-6, 1 - 1e-6)
        at = min(max(self.settings.operation.threshold, 1e-6), 1 - 1e-6)
        return -np.abs(np.log(inside / (1 - inside)) - math.log(at / (1 - at)))


def leave_one_out(
    benches: Sequence[Bench], prevalence: float, threshold: float
) -> Iterator[Judged]:
    """Judge each slide with width and settings that were chosen on the others.

    Parameters
    ----------
    threshold : float
        The card's, of the patch map.
    """
    for bench in benches:
        others = [it for it in benches if it is not bench]
        slides = [it.slide for it in others]
        sigma = choose(others)
        settings = ContextSettings.from_document(fit(slides, sigma, prevalence))
        slide, here = bench.slide, bench.slide.scored
        values = context_values(slide.probability, slide.counts, settings)
        probability, uncertainty = (it[here].round(PROBABILITY_DIGITS) for it in values)
        equal = np.ones(len(probability))
        alone = slide.probability[here]
        yield Judged(
            slide,
            settings,
            probability,
            uncertainty,
            patch=Scored(alone, slide.is_idc).metrics(equal, threshold),
            context=Scored(probability, slide.is_idc).metrics(equal, settings.operation.threshold),
            refitted=_refitted(slides, slide, prevalence),
            trial=bench.trial(sigma),
            found_alone=bench.found_alone,
        )


def _refitted(slides: Sequence[LabelledMap], slide: LabelledMap, prevalence: float) -> Metrics:
    odds = [one.own[one.scored] for one in slides]
    platt, threshold = _calibrate(slides, odds, prevalence)
    found = platt.stored(slide.own[slide.scored])
    return Scored(found, slide.is_idc).metrics(np.ones(len(found)), threshold)


def curve(judged: Sequence[Judged], threshold: float) -> list[dict[str, Any]]:
    """Return what thresholds do on slides that were not fitted: means and ends over the slides."""
    points = []
    for at in sorted({*_CURVE, threshold}):
        shares = [
            (float(np.mean(found >= at)), float(np.mean(rest < at)))
            for one in judged
            for found, rest in [
                (one.probability[one.slide.is_idc == 1], one.probability[one.slide.is_idc == 0])
            ]
        ]
        point: dict[str, Any] = {"threshold": round(at, PROBABILITY_DIGITS)}
        for name, values in zip(
            ("sensitivity", "specificity"), zip(*shares, strict=True), strict=True
        ):
            point[name] = round(float(np.mean(values)), PROBABILITY_DIGITS)
            ends = (round(it, PROBABILITY_DIGITS) for it in (min(values), max(values)))
            point[f"{name}_by_slide"] = list(ends)
        points.append(point)
    return points
