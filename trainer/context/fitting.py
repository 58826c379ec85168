"""Fitting the settings of the context map, and judging each slide with settings of the others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from idc_desktop.maps.context import context_values, in_context, margin, neighbourhood
from idc_desktop.models.context_settings import ContextSettings
from idc_desktop.plain_text import counted
from trainer.context.slides import Flags, Floats, LabelledMap
from trainer.scoring.calibration import PROBABILITY_DIGITS, Platt, fit_platt
from trainer.scoring.metrics import Metrics, Scored, youden_threshold

SIGMA_PATCHES = 1.4
"""Width of the neighbourhood: wider ones gain little more, and lose small foci."""

_CURVE = (0.001, 0.002, 0.005, *(number / 100 for number in range(1, 100)))
_QUANTILES = 21


def lift(slide: LabelledMap, sigma: float) -> Floats:
    """Return the log-odds of a slide's patches in their context, before calibration."""
    around = neighbourhood(slide.own, slide.counts, sigma)
    return in_context(slide.own, around)


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
        "fitted_on": f"{counted(sum(map(len, odds)), 'patch')} of {len(slides)} labelled slides",
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
    """

    slide: LabelledMap
    settings: ContextSettings
    probability: Floats
    uncertainty: Floats
    patch: Metrics
    context: Metrics
    refitted: Metrics

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
    maps: Sequence[LabelledMap], sigma: float, prevalence: float, threshold: float
) -> Iterator[Judged]:
    """Judge each slide with settings that were fitted on the others.

    Parameters
    ----------
    sigma : float
        Width of the neighbourhood, in patches.
    prevalence : float
        Share of IDC in the archive.
    threshold : float
        The card's, of the patch map.
    """
    for slide in maps:
        others, here = [it for it in maps if it is not slide], slide.scored
        settings = ContextSettings.from_document(fit(others, sigma, prevalence))
        values = context_values(slide.probability, slide.counts, settings)
        probability, uncertainty = (it[here].round(PROBABILITY_DIGITS) for it in values)
        equal = np.ones(len(probability))
        yield Judged(
            slide,
            settings,
            probability,
            uncertainty,
            patch=Scored(slide.probability[here], slide.is_idc).metrics(equal, threshold),
            context=Scored(probability, slide.is_idc).metrics(equal, settings.operation.threshold),
            refitted=_refitted(others, slide, prevalence),
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
