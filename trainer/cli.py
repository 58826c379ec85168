"""The command ``idc-trainer``."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idc_desktop.arguments import decimal
from idc_desktop.errors import IdcError, OutputError, UsageError
from idc_desktop.plain_text import one_line
from idc_desktop.streams import give_up, is_broken_pipe, open_missing_streams
from trainer.context import verb as context
from trainer.cutting import prepare_verb as preparing
from trainer.cutting import verb as cutting
from trainer.options import (
    HelpFormatter,
    Parser,
    add_balance,
    add_card,
    add_data,
    add_elsewhere,
    add_means,
    add_settings,
    add_sources,
    model_name,
    model_version,
)
from trainer.paper import verb as tables
from trainer.quiet import warnings_told
from trainer.release import site_verb as site
from trainer.settings import OPTIONS, TAUGHT, Settings, recipe_settings
from trainer.settings_file import add_settings_file, keep, parse

if TYPE_CHECKING:
    from trainer.release.assessment import Loaded
    from trainer.release.steps import Release
    from trainer.scoring.metrics import Interval
    from trainer.training.loop import Means
    from trainer.training.runs import Sources

OK, DEFECT, STOPPED = 0, 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns 0 done, 1 own defect, 2 usage, 3 input refused, 5 could not write, 130 stopped.
    """
    open_missing_streams()
    try:
        arguments = parse(*_parser(), sys.argv[1:] if argv is None else argv)
        with warnings_told(_complain):
            return int(arguments.run(arguments) or OK)
    except IdcError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("stopped; give the same command to go on.")
        return STOPPED
    except OSError as error:
        if not is_broken_pipe(error):
            return _defect()
        give_up(sys.stdout)  # whoever read our output has left; nothing more can be said
        return OutputError.exit_code
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] in ("trainer", "idc_desktop"):
            return _defect()
        _complain(
            f"{error.name} is not installed. Training needs more packages than the application: "
            'pip install ".[trainer]"'
        )
        return UsageError.exit_code
    except Exception:  # noqa: BLE001 - the outermost frame: whatever arrives here is our defect
        return _defect()


def _defect() -> int:
    for line in traceback.format_exc().splitlines():
        print(one_line(line), file=sys.stderr)
    _complain("this is a defect of ours; please report it.")
    return DEFECT


def _import_tensorflow() -> None:
    """Import TensorFlow without its start-up notes: stderr belongs to one-line errors."""
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # The notes come from C++ before its log level applies, hence the file descriptor.
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            import tensorflow  # noqa: F401
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _run(work: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> None:
    """Train, or say what would be trained; the run keeps its options."""
    if arguments.dry_run:
        _import_tensorflow()
        from trainer.release.dry_run import dry_run

        given = {one.name: getattr(arguments, one.name) for one in OPTIONS}
        is_network = getattr(arguments, "base", None) is None
        settings = recipe_settings(**given) if is_network else None
        for line in dry_run(arguments.verb, _sources(arguments), settings):
            _say(line)
        return
    try:
        work(arguments)
    except KeyboardInterrupt:
        keep(arguments)
        raise
    keep(arguments)  # what is refused may be for the folder of another run


def _train(arguments: argparse.Namespace) -> None:
    settings, means = _settings_and_means(arguments)
    from trainer.data.splits import LEAKY
    from trainer.training.fitting import train_run

    _, data, outcome = train_run(_sources(arguments), settings, arguments.out, means, _say)
    best = outcome.history[outcome.best_epoch]
    stamp = f"  {LEAKY}" if data.split.leaky else ""
    if warning := data.warning():
        _complain(warning)
    _say(f"best epoch {best.epoch + 1}: val AUC {best.auc:.4f}, AUPRC {best.auprc:.4f}{stamp}")


def _sources(arguments: argparse.Namespace) -> Sources:
    from trainer.training.runs import Sources

    smote = {"training": "smote", "before-split": "smote-before-split"}
    return Sources(
        arguments.data,
        arguments.splits,
        arguments.counts,
        not arguments.official_only,
        arguments.split,
        arguments.fold,
        arguments.split_seed,
        smote.get(arguments.smote, arguments.imbalance),
    )


def _say(line: str) -> None:
    print(one_line(line), flush=True)


def _complain(text: str) -> None:
    print(f"idc-trainer: {one_line(text)}", file=sys.stderr)


def _settings_and_means(arguments: argparse.Namespace) -> tuple[Settings, Means]:
    """Put together what the options of a training say."""
    given = {one.name: getattr(arguments, one.name) for one in OPTIONS}
    if arguments.teacher is not None:
        given = TAUGHT | {name: value for name, value in given.items() if value is not None}
    settings = recipe_settings(**given)
    _import_tensorflow()
    from trainer.networks.building import needs_imagenet, read_imagenet
    from trainer.training.devices import gpu_names, set_up
    from trainer.training.loop import Means

    if arguments.mixed_precision is None:
        settings = replace(settings, mixed_precision=bool(gpu_names()))
    imagenet = read_imagenet(arguments.weights) if needs_imagenet(settings) else None
    strategy = set_up(arguments.strategy)
    return settings, Means(imagenet, arguments.cache, strategy, arguments.teacher)


def _crossvalidate(arguments: argparse.Namespace) -> None:
    settings, means = _settings_and_means(arguments)
    from trainer.data.splits import NO_CASES, read_official_cases
    from trainer.training.crossvalidation import MARKDOWN, crossvalidate, write_report

    splits = arguments.splits
    cases = NO_CASES if splits is None else read_official_cases(splits)
    found = crossvalidate(_sources(arguments), settings, arguments.out, means, _say)
    figures = write_report(found, settings, cases, arguments.out)
    _say(_key_figures("weighted", figures["weighted"]))
    _say(f"report: {arguments.out / MARKDOWN}")


def _calibrate(arguments: argparse.Namespace) -> None:
    _import_tensorflow()
    site.calibrate(arguments, _sources(arguments), _say, _complain)


def _fit(arguments: argparse.Namespace) -> None:
    if arguments.base is not None:
        _import_tensorflow()
        site.fit_from(arguments, _sources(arguments), _say, _complain)
        return
    if arguments.tune != site.HEAD:
        raise UsageError(f"--tune {arguments.tune}: Name the model that it is of with --from.")
    settings, means = _settings_and_means(arguments)
    from trainer.files import make_folder
    from trainer.release.about import About, read_about
    from trainer.release.fit import Target, fit

    name = arguments.name or settings.network
    model = arguments.model or arguments.out / f"{name}.onnx"
    report = arguments.report or arguments.out / f"{name}.md"
    about = About() if arguments.about is None else read_about(arguments.about)
    for path in filter(None, (model, report, arguments.test_log)):
        make_folder(path.parent)
    target = Target(
        *(model, report, name, arguments.version, about),
        *(arguments.test_log, arguments.elsewhere, arguments.publish_case_ids),
    )
    _say_release(fit(_sources(arguments), settings, arguments.out, means, target, _say))
    _say(f"report: {report}")


def _evaluate(arguments: argparse.Namespace) -> None:
    if arguments.data is None and not arguments.elsewhere:
        raise UsageError("There is nothing to score on: name --data, --elsewhere, or both.")
    if arguments.data is None and (arguments.shifts or arguments.out):
        raise UsageError("--shifts and --out are of patches: name their --data.")
    if arguments.elsewhere and arguments.log is None:
        raise UsageError(
            "Every look at other laboratories' slides makes them less of a test: name a CSV file "
            "with --log, where it is written down."
        )
    _import_tensorflow()
    from trainer.release.assessment import load_model

    model = load_model(arguments.model)
    looks: dict[str, dict[str, Interval]] = {}
    document: dict[str, Any] = {}
    lines: list[str] = []
    if arguments.data is not None:
        _score_patches(arguments, model, looks, document, lines)
    if arguments.elsewhere:
        from trainer.scoring.elsewhere import score_elsewhere

        found = score_elsewhere(
            model.path, model.card.threshold, arguments.elsewhere, arguments.mpp
        )
        looks |= found.scores()
        document["elsewhere"] = found.document()
        lines += [*([""] if lines else []), *found.lines()]
    if arguments.log is not None:
        from trainer.scoring.looks import log_look

        sha256 = hashlib.sha256(model.path.read_bytes()).hexdigest()
        log_look(arguments.log, model.path.name, sha256, looks)
    if arguments.json:
        print(json.dumps(document))
    for line in () if arguments.json else lines:
        _say(line)


def _score_patches(
    arguments: argparse.Namespace,
    model: Loaded,
    looks: dict[str, dict[str, Interval]],
    document: dict[str, Any],
    lines: list[str],
) -> None:
    from trainer.release.assessment import assess, draw
    from trainer.release.case_ids import of_run
    from trainer.release.robustness import score_shifts
    from trainer.training.runs import load_data

    data = load_data(_sources(arguments))
    part = getattr(data, arguments.part)
    found = assess(model, part, None if arguments.of_run is None else of_run(arguments.of_run))
    leaky = data.split.leaky and arguments.part != "unseen"
    if arguments.out is not None:
        draw(model.path, found, part, arguments.out, arguments.maps)
    if arguments.part in ("test", "unseen"):
        name = f"leaky_{arguments.part}" if leaky else arguments.part
        looks |= {f"{name}_{kind}": figures for kind, figures in found.figures.items()}
    document |= {"part": arguments.part, "split": data.split.name, "leaky": leaky}
    document |= found.document()
    lines += [*([data.split.name] if leaky else []), f"{arguments.part}:", *found.lines()]
    if arguments.shifts:
        shifts = score_shifts(model.session, part, found.threshold)
        document["shifts"] = shifts.document()
        lines += ["", *shifts.lines()]


def _compare(arguments: argparse.Namespace) -> None:
    _import_tensorflow()
    tables.compare_methods(arguments, _say)


def _export(arguments: argparse.Namespace) -> None:
    _import_tensorflow()
    from trainer.files import make_folder
    from trainer.release.about import About, read_about
    from trainer.release.steps import release

    for path in (arguments.out, arguments.report, arguments.test_log):
        if path is not None:
            make_folder(path.parent)
    done = release(
        arguments.folder,
        arguments.out,
        arguments.name,
        arguments.version,
        About() if arguments.about is None else read_about(arguments.about),
        arguments.report,
        arguments.test_log,
        arguments.elsewhere,
        arguments.publish_case_ids,
    )
    _say_release(done)


def _quantize(arguments: argparse.Namespace) -> None:
    _import_tensorflow()
    from trainer.files import make_folder
    from trainer.release.about import read_about
    from trainer.release.quantization import quantize
    from trainer.release.steps import KeptBack

    for path in filter(None, (arguments.out, arguments.report, arguments.test_log)):
        make_folder(path.parent)
    done = quantize(
        arguments.source,
        None if arguments.data is None else _sources(arguments),
        arguments.out,
        arguments.name,
        arguments.version,
        None if arguments.about is None else read_about(arguments.about),
        arguments.report,
        KeptBack(arguments.test_log, {}, arguments.elsewhere),
    )
    for line in done.lines():
        _say(line)


def _say_release(done: Release) -> None:
    _say(f"{done.exported.path}  {done.exported.size:,} bytes  SHA-256 {done.exported.sha256}")
    _say(f"calibration a {done.platt.a:.4f} b {done.platt.b:.4f}  threshold {done.threshold:.4f}")
    _say(f"parity {done.exported.parity:.1e}  onnxruntime {done.patches_per_second:,.0f} patches/s")
    for group, figures in done.metrics.items():
        _say(_key_figures(group, figures))
    if done.few:
        _complain(f"WARNING: calibration and threshold rest on {done.few}; so does the card.")


def _key_figures(group: str, figures: Mapping[str, Interval]) -> str:
    shown = ("auc", "balanced_accuracy", "f1_positive", "ece")
    return f"{group}  " + "  ".join(f"{name} {figures[name].value:.4f}" for name in shown)


def _parser() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(
        prog="idc-trainer",
        description="Train IDC models from slides with outlines, or from patches. For Research Use "
        "Only. Not for use in diagnostic procedures.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB", dest="verb")

    def verb(name: str, text: str) -> Parser:
        return verbs.add_parser(
            name,
            help=text,
            description=text,
            formatter_class=HelpFormatter,
        )

    patches = verb("patches", "cut patches out of slides, labelled by outlines")
    cutting.add_options(patches)
    patches.set_defaults(run=lambda given: cutting.cut(given, _say, _complain))

    prepare = verb("prepare", "index patches and store them in one array file")
    preparing.add_options(prepare)
    prepare.set_defaults(run=lambda given: preparing.prepare_store(given, _say, _complain))

    train = verb("train", "train a network; the same command resumes an interrupted training")
    add_sources(train)
    train.add_argument("--out", type=Path, required=True, help="run folder")
    add_means(train)
    add_settings(train)
    add_settings_file(train)
    train.set_defaults(run=partial(_run, _train))

    cross = verb("crossvalidate", "train and test on five groups of whole cases in turn")
    add_data(cross)
    add_balance(cross, smote=("training",))
    cross.add_argument("--out", type=Path, required=True, help="folder of folds and report")
    add_means(cross)
    add_settings(cross)
    add_settings_file(cross)
    cross.set_defaults(
        run=partial(_run, _crossvalidate), split="held-out", fold=1, official_only=False
    )

    fit = verb("fit", "folds, calibration by them, training on all cases, and the model file")
    add_data(fit)
    add_balance(fit, smote=("training",))
    fit.add_argument("--out", type=Path, required=True, help="folder of all that is trained")
    site.add_base(fit)
    fit.add_argument("--model", type=Path, help="ONNX file to write (default: OUT/NAME.onnx)")
    fit.add_argument("--report", type=Path, help="Markdown to write (default: OUT/NAME.md)")
    fit.add_argument("--name", type=model_name, help="name of the model (default: the network's)")
    add_card(fit)
    fit.add_argument(
        "--test-log", type=Path, help="append the figures of the official test cases here"
    )
    add_elsewhere(fit)
    add_means(fit)
    add_settings(fit)
    add_settings_file(fit)
    fit.set_defaults(run=partial(_run, _fit), split="held-out", fold=1, official_only=False)

    calibrate = verb("calibrate", "calibrate a model by a laboratory's own cases, training nothing")
    site.add_options(calibrate)
    calibrate.set_defaults(run=_calibrate)

    evaluate = verb("evaluate", "score an exported model on a part of the data")
    evaluate.add_argument("model", type=Path, help="ONNX file")
    evaluate.add_argument(
        "--run",
        dest="of_run",
        metavar="DIR",
        type=Path,
        help="folder of the run that made the model, which knows its cases",
    )
    add_sources(evaluate, required=False)
    evaluate.add_argument(
        "--part",
        choices=("train", "validation", "test", "unseen"),
        default="validation",
        help="unseen: the official test cases, beside a random-patch split",
    )
    evaluate.add_argument("--out", type=Path, help="folder for figures; they show patches")
    evaluate.add_argument("--maps", nargs="*", default=(), metavar="CASE", help="cases to map")
    evaluate.add_argument(
        "--shifts", action="store_true", help="score under other stain, light and sharpness too"
    )
    add_elsewhere(evaluate)
    evaluate.add_argument("--mpp", type=decimal, help="µm per pixel of --elsewhere's slides")
    evaluate.add_argument(
        "--log", type=Path, help="CSV that gets the figures of kept-back cases and slides"
    )
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.set_defaults(run=_evaluate)

    compare = verb("compare", "the paper's Tables 2 to 5 beside what this data set gives")
    tables.add_options(compare)
    compare.set_defaults(run=_compare)

    export = verb("export", "write a finished run as one ONNX file with its card")
    export.add_argument("folder", metavar="RUN", type=Path, help="run folder")
    export.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    export.add_argument("--name", type=model_name, required=True, help="name of the model")
    add_card(export)
    export.add_argument("--report", type=Path, help="Markdown report to write")
    export.add_argument(
        "--test-log", type=Path, help="score the test cases (once per file!) and append them here"
    )
    add_elsewhere(export)
    export.set_defaults(run=_export)

    quantize = verb("quantize", "write the int8 form of a model: smaller, several times as fast")
    quantize.add_argument("source", metavar="RUN|FILE", type=Path, help="run folder, or ONNX file")
    quantize.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    quantize.add_argument(
        "--name", type=model_name, help="name of the model (default: that of FILE, or of --out)"
    )
    quantize.add_argument(
        "--version", type=model_version, help="version of the model (default: FILE's, and -int8)"
    )
    quantize.add_argument("--about", type=Path, help="as of export; of a run only")
    add_sources(quantize, required=False)
    quantize.add_argument("--report", type=Path, help="Markdown report to write")
    quantize.add_argument("--test-log", type=Path, help="CSV that gets the looks at --elsewhere")
    add_elsewhere(quantize)
    quantize.set_defaults(run=_quantize)

    in_context = verb("context", "fit a model's context map on complete labelled slides")
    context.add_options(in_context)
    in_context.set_defaults(run=lambda given: context.fit_context(given, _say))
    return parser, verbs.choices
