"""What ``export`` does: a run becomes one file, its report, and a line in the test log."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idc_desktop.errors import UsageError
from trainer.data.dataset import PatchArray
from trainer.data.painting import paint_background
from trainer.data.splits import thinness
from trainer.data.weighting import weightings
from trainer.errors import RunError
from trainer.files import replacing
from trainer.release.about import About
from trainer.release.assessment import PICTURES, draw_figures
from trainer.release.case_ids import Keeping
from trainer.release.golden import choose_golden
from trainer.release.model_card import (
    LEAK,
    VALIDATED,
    Evidence,
    build_card,
    to_json,
    validation_curve,
)
from trainer.release.onnx_file import (
    PARITY_PATCHES,
    Converted,
    Exported,
    convert,
    export_model,
    measure_speed,
    open_session,
    predict_logits,
    round_weights,
    run_session,
)
from trainer.release.report import CURVES, BackgroundCheck, render
from trainer.release.robustness import ShiftScores, card_blocks, score_shifts
from trainer.scoring.calibration import Agreement, Platt, agreement, calibrate
from trainer.scoring.elsewhere import score_elsewhere
from trainer.scoring.looks import log_look
from trainer.scoring.metrics import Interval, Scored, evaluate
from trainer.training.checkpoint import History, best_epoch
from trainer.training.feeding import Part
from trainer.training.figures import draw_curves
from trainer.training.loop import compiled, load_best, logits
from trainer.training.runs import Data, Run, load_data, load_run

FEWEST = PARITY_PATCHES

Figures = dict[str, dict[str, Interval]]
"""Set of cases -> figure -> value and interval."""

_BACKGROUND_SEED = 999
_BACKGROUND = 2000


@dataclass(frozen=True)
class Release:
    """An exported model: the file, its threshold, and its figures by set of cases.

    `few` says of how little calibration and threshold are; it is empty where there is enough.
    """

    exported: Exported
    platt: Platt
    threshold: float
    metrics: Figures
    patches_per_second: float
    few: str


def release(
    folder: Path,
    out: Path,
    name: str,
    version: str,
    about: About,
    report: Path | None = None,
    test_log: Path | None = None,
    elsewhere: Sequence[Path] = (),
    publish_case_ids: bool = False,
) -> Release:
    """Calibrate, prove and write the best network of a run.

    Parameters
    ----------
    folder : Path
        Run folder of a finished training.
    out : Path
        The ONNX file to write.
    about : About
        What the card says of data and use.
    report : Path or None
        Markdown report to write, with pictures beside it that show no patches.
    test_log : Path or None
        Scores the test cases and appends a line to this CSV. Do so once per shipped file: every
        look at the test cases makes them less of a test.
    elsewhere : sequence of Path
        Folders of other laboratories' labelled slides, scored for the card and logged as well.
    publish_case_ids : bool
        Whether the card names the cases; the run folder does in any case.

    Raises
    ------
    RunError, DataError, ParityError, OutputError
    """
    KeptBack(test_log, {}, elsewhere)
    run = load_run(folder)
    if run.sources.split == "all-cases":
        raise RunError(
            f"{folder} was trained on every case, so nothing is left to calibrate it by. "
            "`idc-trainer fit` does so by folds."
        )
    data = load_data(run.sources)
    if test_log is not None:
        data.require_test()
    network, history = load_best(run.settings, folder, data.train, data.validation)
    model = network.whole
    round_weights(model)
    forward = compiled(model)
    leaky = "leaky_" if data.split.leaky else ""
    official = "official " if run.sources.split == "official" else ""
    judged = Judged(data.validation, logits(forward, data.validation.store))
    evidence = Evidence(
        f"{leaky}validation",
        data.validation.store.index,
        f" of the {official}validation part",
        LEAK if leaky else VALIDATED,
    )
    metrics = judged.metrics(evidence.cases)
    tested: Figures = {}
    if test_log is not None:
        # Beside a leaky split's own test part stand cases that it never saw. What calibrates, as
        # the cases that a fold leaves out do, tests nothing.
        test = data.test.take(np.flatnonzero(~np.isin(data.split.test, data.split.validation)))
        for name_of, part in ((f"{leaky}test", test), ("unseen", data.unseen)):
            if len(part.store.index):
                tested |= judged.metrics_of(name_of, part, logits(forward, part.store))
    converted = convert(model, judged.platt)
    return publish(
        Trained(run, data, converted, history),
        judged,
        evidence,
        metrics | tested,
        judged.shifted(converted),
        KeptBack(test_log, tested, elsewhere),
        Keeping(folder, publish_case_ids),
        *(out, name, version, about, report),
    )


@dataclass(frozen=True)
class KeptBack:
    """Data that every look makes less of a test, and where looks are logged.

    Attributes
    ----------
    log : Path or None
    tested : dict
        Figures of test cases, to be logged.
    elsewhere : sequence of Path
        Folders of other laboratories' labelled slides, to be scored for the card and logged.
    """

    log: Path | None
    tested: Figures
    elsewhere: Sequence[Path] = ()

    def __post_init__(self) -> None:
        if self.elsewhere and self.log is None:
            raise UsageError(
                "Other laboratories' slides are kept back: name their --test-log, too."
            )


class Judged:
    """Patches with what networks that never saw them say, and the calibration that it gives."""

    def __init__(self, part: Part, logit: NDArray[np.float64]) -> None:
        self.part = part
        self.platt, self.threshold = calibrate(logit, part.store.index.label, part.weight)
        self.probability = self.platt.stored(logit)

    def metrics(self, cases: str) -> Figures:
        """Compute all figures, by name of cases and weighting."""
        return _both_weightings(cases, self.part, self.probability, self.threshold)

    def metrics_of(self, cases: str, part: Part, logit: NDArray[np.float64]) -> Figures:
        """Compute the figures of other patches under this calibration and threshold."""
        return _both_weightings(cases, part, self.platt.stored(logit), self.threshold)

    def shifted(self, converted: Converted) -> ShiftScores:
        """Score a network, calibrated alike, under strong shifts of these patches."""
        session = open_session(converted.content())
        return score_shifts(session, self.part, self.threshold, mild=False)


@dataclass(frozen=True)
class Trained:
    """A run whose network is to be published, calibrated."""

    run: Run
    data: Data
    network: Converted
    history: History


def publish(
    trained: Trained,
    judged: Judged,
    evidence: Evidence,
    metrics: Figures,
    shifts: ShiftScores | None,
    kept_back: KeptBack,
    case_ids: Keeping,
    out: Path,
    name: str,
    version: str,
    about: About,
    report: Path | None,
    agreed: Agreement | None = None,
) -> Release:
    """Write a network with the calibration of `judged` as one file, and its report.

    Parameters
    ----------
    metrics : dict
        Of the card and the report.
    shifts : ShiftScores or None
        Of patches that the network judged was not trained on.
    agreed : Agreement, optional
        Of the report; that of `judged` where not given.
    """
    run, data, network = trained.run, trained.data, trained.network
    part, platt, threshold = judged.part, judged.platt, judged.threshold
    index, probability = part.store.index, judged.probability
    golden = choose_golden(
        lambda patches: platt.probability(predict_logits(network.model, patches)),
        patch=part.store.patch,
    )
    curve = validation_curve(probability, index, part.weight, threshold)
    card = build_card(
        *(name, version, run, data, evidence, platt, threshold, curve, metrics, golden, about)
    )
    case_ids.keep(card)
    patches = _parity_patches(data.validation, data.train)
    labs = None
    if kept_back.elsewhere:
        with tempfile.TemporaryDirectory() as scratch:
            # The card tells how the file does elsewhere, so a file is there before its card is.
            early = Path(scratch) / out.name
            early.write_bytes(network.content(to_json(card)))
            labs = score_elsewhere(early, threshold, kept_back.elsewhere)
    card["idc"] |= card_blocks(shifts, labs)
    exported = export_model(network, to_json(card), patches, out, FEWEST)
    content = out.read_bytes()
    speed = measure_speed(content, patches[:1024], time.perf_counter)
    if kept_back.log is not None:
        looks = kept_back.tested | (labs.scores() if labs is not None else {})
        log_look(kept_back.log, exported.path.name, exported.sha256, looks)
    if report is not None:
        painted = paint_background(
            np.random.default_rng(_BACKGROUND_SEED), _BACKGROUND, part.store.patch
        )
        called, _ = run_session(open_session(content), painted)
        background = BackgroundCheck(
            len(painted), float(called.mean()), float((called >= threshold).mean())
        )
        pictures = {
            kind: report.with_name(f"{report.stem}_{kind}.png") for kind in (*PICTURES, CURVES)
        }
        confusions = {
            kind: Scored(probability, index.label).confusion(weight, threshold)
            for kind, weight in weightings(part.weight).items()
        }
        draw_figures(content, probability, confusions, part, pictures.__getitem__)
        chosen = best_epoch(trained.history, run.settings)
        draw_curves(trained.history, chosen, f"{name} {version}", pictures[CURVES])
        named = {kind: path.name for kind, path in pictures.items()}
        agreed = agreed or agreement(probability, index.label, index.case, part.weight)
        text = render(
            *(card, exported, run, trained.history, background, agreed, speed),
            *(evidence.cases, named),
        )
        with replacing(report) as file:
            file.write(text.encode())
    return Release(exported, platt, threshold, metrics, speed, thinness(evidence.index))


def _both_weightings(name: str, part: Part, probability: np.ndarray, threshold: float) -> Figures:
    index = part.store.index
    return {
        f"{name}_{kind}": evaluate(probability, index.label, index.case, weight, threshold)
        for kind, weight in weightings(part.weight).items()
    }


def _parity_patches(*parts: Part) -> PatchArray:
    """Up to 2,000 patches of the first part, spread evenly; of the next one where it has fewer."""
    found: list[PatchArray] = []
    wanted = 2000
    for part in parts:
        count = len(part.store.index)
        rows = np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.intp))
        found.append(part.store.read(rows))
        wanted -= len(rows)
    return np.concatenate(found)
