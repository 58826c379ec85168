"""What ``export`` does: a run becomes one file, its report, and a line in the test log."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from idc_desktop.errors import UsageError
from trainer.about import About
from trainer.assessment import PICTURES, draw_figures
from trainer.calibration import Platt, calibrate
from trainer.carding import build_card, to_json, validation_curve
from trainer.checkpoint import best_epoch
from trainer.dataset import PatchArray
from trainer.elsewhere import score_elsewhere
from trainer.evaluation import Interval, Scored, evaluate
from trainer.export import (
    PARITY_PATCHES,
    Exported,
    export_model,
    load_file,
    measure_speed,
    open_session,
    predict_logits,
    round_weights,
    run_session,
)
from trainer.feeding import Part
from trainer.figures import draw_curves
from trainer.files import replacing
from trainer.golden import choose_golden
from trainer.looks import log_look
from trainer.painting import paint_background
from trainer.report import CURVES, BackgroundCheck, render
from trainer.robustness import card_blocks, score_shifts
from trainer.runs import load_data, load_run
from trainer.training import compiled, load_best, logits
from trainer.weighting import weightings

FEWEST = PARITY_PATCHES

_BACKGROUND_SEED = 999
_BACKGROUND = 2000


@dataclass(frozen=True)
class Release:
    """An exported model: the file, its threshold, and its figures by set of cases."""

    exported: Exported
    platt: Platt
    threshold: float
    metrics: dict[str, dict[str, Interval]]
    patches_per_second: float


def release(
    folder: Path,
    out: Path,
    name: str,
    version: str,
    about: About,
    report: Path | None = None,
    test_log: Path | None = None,
    elsewhere: Sequence[Path] = (),
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

    Raises
    ------
    RunError, DataError, ParityError, OutputError
    """
    if elsewhere and test_log is None:
        raise UsageError("Other laboratories' slides are kept back: name their --test-log, too.")
    run = load_run(folder)
    data = load_data(run.sources)
    if test_log is not None:
        data.require_test()
    network, history = load_best(run.settings, folder, data.train, data.validation)
    model = network.whole
    round_weights(model)
    validation = data.validation
    forward = compiled(model)
    raw = logits(forward, validation.store)
    platt, threshold = calibrate(raw, validation.store.index.label, validation.weight)
    probability = platt.stored(raw)
    leaky = "leaky_" if data.split.leaky else ""
    metrics = _both_weightings(f"{leaky}validation", validation, probability, threshold)
    tested: dict[str, dict[str, Interval]] = {}
    if test_log is not None:
        # Beside a leaky split's own test part stand cases that it never saw.
        for part_name, part in ((f"{leaky}test", data.test), ("unseen", data.unseen)):
            if len(part.store.index):
                found = platt.stored(logits(forward, part.store))
                tested |= _both_weightings(part_name, part, found, threshold)
        metrics |= tested
    golden = choose_golden(lambda patches: platt.probability(predict_logits(model, patches)))
    curve = validation_curve(probability, validation.store.index, validation.weight, threshold)
    card = build_card(name, version, run, data, platt, threshold, curve, metrics, golden, about)
    patches = _parity_patches(validation, data.train)
    with tempfile.TemporaryDirectory() as scratch:
        # The card tells how the file does elsewhere, so a file is there before its card is.
        early = Path(scratch) / out.name
        export_model(model, platt, to_json(card), patches, early, FEWEST)
        shifts = score_shifts(load_file(early), validation, threshold, mild=False)
        labs = score_elsewhere(early, threshold, elsewhere) if elsewhere else None
    card["idc"] |= card_blocks(shifts, labs)
    exported = export_model(model, platt, to_json(card), patches, out, FEWEST)
    content = out.read_bytes()
    if labs is not None:
        tested |= labs.scores()
    speed = measure_speed(content, patches[:1024], time.perf_counter)
    if test_log is not None:
        log_look(test_log, exported.path.name, exported.sha256, tested)
    if report is not None:
        painted = paint_background(np.random.default_rng(_BACKGROUND_SEED), _BACKGROUND)
        called, _ = run_session(open_session(content), painted)
        background = BackgroundCheck(
            len(painted), float(called.mean()), float((called >= threshold).mean())
        )
        pictures = {
            kind: report.with_name(f"{report.stem}_{kind}.png") for kind in (*PICTURES, CURVES)
        }
        confusions = {
            kind: Scored(probability, validation.store.index.label).confusion(weight, threshold)
            for kind, weight in weightings(validation.weight).items()
        }
        draw_figures(content, probability, confusions, validation, pictures.__getitem__)
        chosen = best_epoch(history, run.settings)
        draw_curves(history, chosen, f"{name} {version}", pictures[CURVES])
        named = {kind: path.name for kind, path in pictures.items()}
        text = render(card, exported, run, history, background, speed, named)
        with replacing(report) as file:
            file.write(text.encode())
    return Release(exported, platt, threshold, metrics, speed)


def _both_weightings(
    name: str, part: Part, probability: np.ndarray, threshold: float
) -> dict[str, dict[str, Interval]]:
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
