"""Weights, metrics and calibration: numbers that can be known beforehand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from trainer.data.weighting import natural_weights, read_natural_counts
from trainer.errors import DataError
from trainer.paper.printed import TABLE_2
from trainer.scoring.calibration import Platt, fit_platt
from trainer.scoring.metrics import (
    ECE_BINS,
    Confusion,
    Scored,
    case_bootstrap,
    decide,
    evaluate,
    youden_threshold,
)
from trainer.training.judging import collapse

CASE = np.array(["a"] * 6 + ["b"] * 4 + ["c"] * 3)
LABEL = np.array([0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1], np.uint8)
NATURAL = {"a": (80, 20), "b": (3000, 1000)}


def test_weights_add_up_to_the_natural_counts() -> None:
    weight = natural_weights(CASE, LABEL, NATURAL)
    assert weight[(CASE == "a") & (LABEL == 0)].sum() == pytest.approx(80)
    assert weight[(CASE == "a") & (LABEL == 1)].sum() == pytest.approx(20)


def test_cap_keeps_the_mix_within_a_case() -> None:
    weight = natural_weights(CASE, LABEL, NATURAL, case_cap=1000)
    assert weight[(CASE == "b") & (LABEL == 0)].sum() == pytest.approx(750)
    assert weight[(CASE == "b") & (LABEL == 1)].sum() == pytest.approx(250)


def test_case_without_a_count_is_taken_as_complete() -> None:
    assert natural_weights(CASE, LABEL, NATURAL)[CASE == "c"].tolist() == [1, 1, 1]


def test_counts_without_their_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("case,n\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="patient_id"):
        read_natural_counts(path)


def test_platt_recovers_a_known_calibration() -> None:
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, 200_000)
    truth = Platt(0.7, -0.9)
    label = (rng.random(len(logit)) < truth.probability(logit)).astype(np.uint8)
    found = fit_platt(logit, label, np.ones(len(logit)))
    assert found.a == pytest.approx(truth.a, abs=0.02)
    assert found.b == pytest.approx(truth.b, abs=0.02)


def test_platt_weights_act_like_repeated_patches() -> None:
    rng = np.random.default_rng(1)
    logit = rng.normal(0, 1, 500)
    label = (rng.random(500) < 0.5 + 0.3 * np.tanh(logit)).astype(np.uint8)
    times = rng.integers(1, 4, 500)
    weighted = fit_platt(logit, label, times.astype(float))
    repeated = fit_platt(np.repeat(logit, times), np.repeat(label, times), np.ones(times.sum()))
    assert weighted.a == pytest.approx(repeated.a, rel=1e-6)
    assert weighted.b == pytest.approx(repeated.b, abs=1e-6)


def test_platt_of_separable_or_backward_logits_ends_well() -> None:
    logit, label = np.array([-3.0, -2, 2, 3]), np.array([0, 0, 1, 1], np.uint8)
    assert np.isfinite(fit_platt(logit, label, np.ones(4)).a)
    with pytest.raises(DataError):
        fit_platt(-logit, label, np.ones(4))


def test_metrics_equal_those_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    label = rng.integers(0, 2, 400).astype(np.uint8)
    probability = np.round(np.clip(rng.normal(0.4 + 0.2 * label, 0.2), 0, 1), 2)
    weight = rng.uniform(0.2, 3, 400)
    found = Scored(probability, label).metrics(weight, 0.5)
    called = probability >= 0.5
    expected = {
        "auc": sklearn.roc_auc_score(label, probability, sample_weight=weight),
        "auprc": sklearn.average_precision_score(label, probability, sample_weight=weight),
        "brier": sklearn.brier_score_loss(label, probability, sample_weight=weight),
        "accuracy": sklearn.accuracy_score(label, called, sample_weight=weight),
        "balanced_accuracy": sklearn.balanced_accuracy_score(label, called, sample_weight=weight),
        "precision": sklearn.precision_score(label, called, sample_weight=weight),
        "sensitivity": sklearn.recall_score(label, called, sample_weight=weight),
        "f1_positive": sklearn.f1_score(label, called, sample_weight=weight),
        "f1_macro": sklearn.f1_score(label, called, sample_weight=weight, average="macro"),
        "precision_macro": sklearn.precision_score(
            label, called, sample_weight=weight, average="macro"
        ),
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value), name


def test_confusion_and_reliability_equal_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    calibration = pytest.importorskip("sklearn.calibration")
    rng = np.random.default_rng(6)
    label = rng.integers(0, 2, 500).astype(np.uint8)
    probability, weight = rng.random(500), rng.uniform(0.2, 3, 500)
    scored = Scored(probability, label)
    one = scored.confusion(weight, 0.4)
    expected = metrics.confusion_matrix(label, probability >= 0.4, sample_weight=weight)
    assert np.allclose([[one.tn, one.fp], [one.fn, one.tp]], expected)
    curve = scored.reliability(np.ones(500))
    observed, promised = calibration.calibration_curve(label, probability, n_bins=ECE_BINS)
    assert np.allclose(curve.observed, observed)
    assert np.allclose(curve.promised, promised)
    assert curve.ece == pytest.approx(scored.metrics(np.ones(500), 0.4).ece)


def test_figures_of_the_papers_confusion_matrices() -> None:
    """The paper's Table 3 is at odds with its Table 2; these are the figures that follow."""
    baseline, finetuned = (decide(TABLE_2[name]) for name in ("baseline", "vgg16-finetuned"))
    assert baseline.accuracy == pytest.approx(0.839, abs=1e-3)
    assert baseline.f1_positive == pytest.approx(0.834, abs=1e-3)
    assert finetuned.precision == pytest.approx(0.984, abs=1e-3)
    assert finetuned.f1_positive == pytest.approx(0.069, abs=1e-3)
    assert finetuned.precision_macro == pytest.approx(0.745, abs=1e-3)
    assert finetuned.f1_macro == pytest.approx(0.371, abs=1e-3)


def test_figures_of_nothing_called_are_zero_not_an_error() -> None:
    found = decide(Confusion(tn=5, fp=0, fn=3, tp=0))
    assert (found.precision, found.f1_positive, found.balanced_accuracy) == (0, 0, 0.5)


def test_ece_is_zero_for_honest_and_large_for_boastful_probabilities() -> None:
    label = np.array([1, 0, 0, 0] * 25, np.uint8)
    ones = np.ones(100)
    assert Scored(np.full(100, 0.25), label).metrics(ones, 0.5).ece == pytest.approx(0)
    assert Scored(np.full(100, 0.95), label).metrics(ones, 0.5).ece == pytest.approx(0.7)


def test_youden_threshold_separates_what_can_be_separated() -> None:
    scored = Scored(np.array([0.1, 0.2, 0.7, 0.8]), np.array([0, 0, 1, 1], np.uint8))
    assert youden_threshold(scored, np.ones(4)) == 0.7


def test_one_class_cannot_be_scored() -> None:
    with pytest.raises(DataError):
        Scored(np.array([0.1, 0.2]), np.zeros(2, np.uint8))


def test_bootstrap_draws_whole_cases_and_intervals_hold_the_value() -> None:
    for times in case_bootstrap(CASE, LABEL, repeats=20):
        assert all(len(set(times[case == CASE])) == 1 for case in "abc")
    rng = np.random.default_rng(3)
    case = np.repeat(np.arange(30).astype(str), 20)
    label = rng.integers(0, 2, 600).astype(np.uint8)
    probability = np.clip(rng.normal(0.4 + 0.2 * label, 0.2), 0, 1)
    figures = evaluate(probability, label, case, np.ones(600), 0.5, repeats=100)
    ece = figures.pop("ece")
    assert (ece.low, ece.high) == (None, None)  # that of every resample is larger
    for figure in figures.values():
        assert 0 <= figure.low <= figure.value <= figure.high <= 1


def test_rates_agree_with_metrics_at_every_threshold() -> None:
    rng = np.random.default_rng(4)
    label = rng.integers(0, 2, 60).astype(np.uint8)
    probability, weight = np.round(rng.random(60), 1), rng.uniform(0.5, 2, 60)
    scored = Scored(probability, label)
    sensitivity, specificity = scored.rates(weight)
    for which, threshold in enumerate(scored.values):
        found = scored.metrics(weight, threshold)
        assert (sensitivity[which], specificity[which]) == pytest.approx(
            (found.sensitivity, found.specificity)
        )


@pytest.mark.parametrize(
    ("logit", "alarm"),
    [
        (np.full(100, -5.0), "0.00%"),
        (np.full(100, 5.0), "100.00%"),
        (np.concatenate([[0.1], np.full(98, math.log(0.3 / 0.7)), [0.1]]), "guessing"),
        (np.where(np.arange(100) < 30, 1.0, -1.0), ""),
        # The first epoch of little data: all is called alike, and told apart all the same.
        (np.where(np.arange(100) < 30, -4.0, -5.0), ""),
        (np.where(np.arange(100) % 2, -4.0, -5.0), "0.00%"),
    ],
)
def test_collapse_is_told(logit: np.ndarray, alarm: str) -> None:
    label = (np.arange(100) < 30).astype(np.uint8)
    assert alarm in collapse(logit, label, np.ones(100))
    assert bool(collapse(logit, label, np.ones(100))) == bool(alarm)
