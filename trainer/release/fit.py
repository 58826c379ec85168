"""What ``fit`` does: from prepared patches to a model file that was trained on every case.

Five networks of the folds say what such a network is worth on cases that it never saw, and give
calibration and threshold; one trained alike on the official split stands beside them where that
split is known; one trained alike on all cases is written. Every step resumes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from trainer.data.splits import NO_CASES, read_official_cases
from trainer.files import make_folder, sole_user
from trainer.release.about import About
from trainer.release.assessment import load_model
from trainer.release.case_ids import Keeping
from trainer.release.model_card import CROSSVALIDATED, Evidence
from trainer.release.onnx_file import convert, round_weights
from trainer.release.page import write_model_page
from trainer.release.robustness import ShiftScores
from trainer.release.steps import Figures, Judged, KeptBack, Release, Trained, publish
from trainer.settings import Settings
from trainer.training.checkpoint import History
from trainer.training.crossvalidation import Tested, crossvalidate, write_report
from trainer.training.fitting import train_run
from trainer.training.loop import Means, compiled, load_best, logits
from trainer.training.runs import Data, Sources, load_data

OUT_OF_FOLD = "out_of_fold"
PAGE = "report.html"
FOLDS, OFFICIAL, FINAL = "folds", "official", "final"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """What is written, and what the card is told.

    Attributes
    ----------
    model : Path
        The ONNX file.
    report : Path
        Markdown, with pictures beside it that show no patches.
    test_log : Path or None
        Gets the figures of the official test cases and of other laboratories' slides.
    elsewhere : sequence of Path
        Folders of other laboratories' labelled slides, scored for the card.
    publish_case_ids : bool
        Whether the card names the cases; the folder of all that is trained does in any case.
    """

    model: Path
    report: Path
    name: str
    version: str
    about: About
    test_log: Path | None = None
    elsewhere: Sequence[Path] = ()
    publish_case_ids: bool = False


def fit(
    sources: Sources, settings: Settings, out: Path, means: Means, target: Target, say: Say
) -> Release:
    """Train by folds and on all cases, and write the model; goes on after an interruption.

    Parameters
    ----------
    sources : Sources
        Split and fold are set here.
    settings : Settings
        The epoch taken is the last one, whatever they say.
    out : Path
        Gets ``report.html``, ``folds``, ``official`` (where `sources` names that split),
        ``final`` and ``cache``; the last is removed when all is done.

    Raises
    ------
    DataError, RunError, ParityError, OutputError
    """
    KeptBack(target.test_log, {}, target.elsewhere)
    settings = replace(settings, taken="last")
    make_folder(out)
    with sole_user(out):
        done = _fit(sources, settings, out, means, target, say)
        if means.cache is None:
            shutil.rmtree(out / "cache", ignore_errors=True)
    return done


def _fit(
    sources: Sources, settings: Settings, out: Path, means: Means, target: Target, say: Say
) -> Release:
    shared = replace(means, cache=means.cache or out / "cache")
    cases = NO_CASES if sources.splits is None else read_official_cases(sources.splits)
    folds = crossvalidate(sources, settings, out / FOLDS, shared.beside(FOLDS), say)
    figures = write_report(folds, settings, cases, out / FOLDS)
    metrics = {f"{OUT_OF_FOLD}_{kind}": of for kind, of in figures.items()}
    official: Figures = {}
    shifts = None
    if sources.splits is not None:
        official, shifts = _official_twin(
            sources, settings, out / OFFICIAL, shared.beside(OFFICIAL), say
        )
    run, data, _ = train_run(
        replace(sources, split="all-cases"), settings, out / FINAL, shared.beside(FINAL), say
    )
    model, history = _rounded(settings, out / FINAL, data)
    judged = _judged(sources, folds.tested)
    evidence = Evidence(
        OUT_OF_FOLD,
        judged.part.store.index,
        ", each judged by a network that was not trained on its case",
        CROSSVALIDATED,
    )
    tested = {of: figures for of, figures in official.items() if "_test_" in of}
    done = publish(
        Trained(run, data, convert(model, judged.platt), history),
        judged,
        evidence,
        metrics | official,
        shifts,
        KeptBack(target.test_log, tested, target.elsewhere),
        Keeping(out, target.publish_case_ids),
        *(target.model, target.name, target.version, target.about, target.report),
        folds.tested.agreement(),
    )
    card = load_model(target.model).card.document
    write_model_page(out / PAGE, card, folds.tested, judged.part.store)
    say(f"page: {out / PAGE}")
    return done


def _judged(sources: Sources, tested: Tested) -> Judged:
    """Calibrate by what the folds say of every patch at hand; none is repeated or synthetic."""
    every = load_data(replace(sources, split="all-cases", imbalance="none")).train
    return Judged(every, tested.logit)


def _official_twin(
    sources: Sources, settings: Settings, out: Path, means: Means, say: Say
) -> tuple[Figures, ShiftScores]:
    """Train alike on the official training cases; calibrated on validation, judged on both."""
    _, data, _ = train_run(replace(sources, split="official"), settings, out, means, say)
    data.require_test()
    model, _ = _rounded(settings, out, data)
    forward = compiled(model)
    judged = Judged(data.validation, logits(forward, data.validation.store))
    tested = judged.metrics_of(f"{OFFICIAL}_test", data.test, logits(forward, data.test.store))
    return judged.metrics(f"{OFFICIAL}_validation") | tested, judged.shifted(
        convert(model, judged.platt)
    )


def _rounded(settings: Settings, folder: Path, data: Data) -> tuple[keras.Model, History]:
    """Rebuild a trained network as it is written: in float32, whatever it was trained in."""
    network, history = load_best(settings, folder, data.train, data.validation)
    model = network.whole
    round_weights(model)
    return model, history
