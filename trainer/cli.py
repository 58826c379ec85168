"""The command ``idc-trainer``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from idc_desktop.errors import IdcError
from trainer.settings import OPTIONS, recipe_settings

OK, DEFECT = 0, 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns 0 done, 1 own defect, 2 usage, 3 input refused, 5 could not write."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except IdcError as error:
        print(f"idc-trainer: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("idc-trainer: stopped; the same command goes on from here.", file=sys.stderr)
        return 130
    except Exception:  # noqa: BLE001 - the outermost frame: whatever arrives here is our defect
        traceback.print_exc()
        print("idc-trainer: this is a defect of ours; please report it.", file=sys.stderr)
        return DEFECT
    return OK


def _import_tensorflow() -> None:
    """Import TensorFlow without its start-up notes: stderr belongs to one-line errors."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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


def _prepare(arguments: argparse.Namespace) -> None:
    from trainer.dataset import prepare

    started = time.monotonic()

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty() and (done % 500 == 0 or done == total):
            left = (time.monotonic() - started) / done * (total - done)
            end = "\n" if done == total else "\r"
            print(f"{done:,}/{total:,} files, {left:.0f} s left ", end=end, file=sys.stderr)

    print("\n".join(prepare(arguments.data, arguments.out, progress).lines()))


def _train(arguments: argparse.Namespace) -> None:
    settings = recipe_settings(**{one.name: getattr(arguments, one.name) for one in OPTIONS})
    _import_tensorflow()
    from trainer.devices import gpu_names, set_up
    from trainer.files import make_folder
    from trainer.networks import digest, needs_imagenet, read_imagenet
    from trainer.runs import RUN_FILE, Run, Sources, load_data, load_run
    from trainer.training import Means, train

    if arguments.mixed_precision is None:
        settings = replace(settings, mixed_precision=bool(gpu_names()))
    sources = Sources(
        arguments.data, arguments.splits, arguments.counts, not arguments.official_only
    )
    data = load_data(sources)
    make_folder(arguments.out)
    imagenet = read_imagenet(arguments.weights) if needs_imagenet(settings) else None
    outcome = train(
        data.train,
        data.validation,
        settings,
        arguments.out,
        lambda line: print(line, flush=True),
        Means(imagenet, arguments.cache, set_up(arguments.strategy)),
    )
    minutes = sum(line.seconds for line in outcome.history) / 60
    if (arguments.out / RUN_FILE).exists():
        # Training a finished run again changes nothing, so neither may its date.
        date = load_run(arguments.out).finished
    else:
        date = datetime.now(UTC).strftime("%Y-%m-%d")
    weights = None if imagenet is None else digest(imagenet)
    Run(settings, sources, date, minutes, weights).save(arguments.out)
    best = outcome.history[outcome.best_epoch]
    print(f"best epoch {best.epoch + 1}: val AUC {best.auc:.4f}, AUPRC {best.auprc:.4f}")


def _evaluate(arguments: argparse.Namespace) -> None:
    _import_tensorflow()
    from idc_desktop.card import CARD_KEY, parse_card
    from trainer.evaluation import evaluate
    from trainer.export import load_file, run_session
    from trainer.runs import Sources, load_data

    session = load_file(arguments.model)
    properties = session.get_modelmeta().custom_metadata_map
    card = parse_card(properties.get(CARD_KEY, ""), arguments.model.name)
    data = load_data(Sources(arguments.data, arguments.splits, arguments.counts, unlisted=True))
    part = {"train": data.train, "validation": data.validation, "test": data.test}[arguments.part]
    index = part.store.index
    probability, _ = run_session(session, part.store.pixels[part.store.rows])
    weightings = {"weighted": part.weight, "unweighted": part.weight * 0 + 1}
    figures = {
        name: evaluate(probability, index.label, index.case, weight, card.threshold)
        for name, weight in weightings.items()
    }
    if arguments.json:
        found = {
            name: {figure: asdict(one) for figure, one in group.items()}
            for name, group in figures.items()
        }
        print(json.dumps({"part": arguments.part, "threshold": card.threshold, **found}))
        return
    print(f"{arguments.part}: {len(index)} patches, threshold {card.threshold:.4f}")
    for name, group in figures.items():
        for figure, one in group.items():
            print(f"{name:10} {figure:18} {one.value:.4f}  ({one.low:.4f} to {one.high:.4f})")


def _export(arguments: argparse.Namespace) -> None:
    _import_tensorflow()
    from trainer.files import make_folder
    from trainer.release import release

    for path in (arguments.out, arguments.report, arguments.test_log):
        if path is not None:
            make_folder(path.parent)
    done = release(
        arguments.folder,
        arguments.out,
        arguments.name,
        arguments.version,
        arguments.report,
        arguments.test_log,
    )
    print(f"{done.exported.path}  {done.exported.size:,} bytes  SHA-256 {done.exported.sha256}")
    print(f"calibration a {done.platt.a:.4f} b {done.platt.b:.4f}  threshold {done.threshold:.4f}")
    print(
        f"parity {done.exported.parity:.1e}  onnxruntime {done.patches_per_second:,.0f} patches/s"
    )
    for group, figures in done.metrics.items():
        shown = ("auc", "balanced_accuracy", "f1_positive", "ece")
        print(group, "  ".join(f"{name} {figures[name].value:.4f}" for name in shown))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="idc-trainer",
        description="Train IDC models from patches in the Kaggle layout. For Research Use Only. "
        "Not for use in diagnostic procedures.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(
            name,
            help=text,
            description=text,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )

    prepare = verb("prepare", "index a folder of patches and store them in one array file")
    prepare.add_argument("data", type=Path, help="folder of case folders")
    prepare.add_argument("--out", type=Path, required=True, help="prepared data folder to write")
    prepare.set_defaults(run=_prepare)

    train = verb("train", "train a network; the same command resumes an interrupted training")
    _add_sources(train)
    train.add_argument("--out", type=Path, required=True, help="run folder")
    train.add_argument("--official-only", action="store_true", help="leave out unlisted cases")
    _add_means(train)
    _add_settings(train)
    train.set_defaults(run=_train)

    evaluate = verb("evaluate", "score an exported model on a part of the data")
    evaluate.add_argument("model", type=Path, help="ONNX file")
    _add_sources(evaluate)
    evaluate.add_argument("--part", choices=("train", "validation", "test"), default="validation")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.set_defaults(run=_evaluate)

    export = verb("export", "write a finished run as one ONNX file with its card")
    export.add_argument("folder", metavar="RUN", type=Path, help="run folder")
    export.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    export.add_argument("--name", required=True, help="name of the model")
    export.add_argument("--version", default="1.0.0", help="version of the model")
    export.add_argument("--report", type=Path, help="Markdown report to write")
    export.add_argument(
        "--test-log", type=Path, help="score the test cases (once per file!) and append them here"
    )
    export.set_defaults(run=_export)
    return parser


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="prepared data folder")
    parser.add_argument("--splits", type=Path, required=True, help="folder of official_*.txt")
    parser.add_argument("--counts", type=Path, required=True, help="CSV of natural counts per case")


def _add_means(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        type=Path,
        help="file of VGG-16's ImageNet weights without top (default: Keras downloads them)",
    )
    parser.add_argument(
        "--cache", type=Path, help="folder for the frozen part's output (default: in the run)"
    )
    parser.add_argument(
        "--strategy",
        choices=("none", "mirrored"),
        default="none",
        help="mirrored: a copy of the network on each GPU",
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add an option per setting; what is not given comes from the recipe."""
    group = parser.add_argument_group(
        "settings", "What is not given comes from the recipe for the network: trainer/settings.py."
    )
    for one in OPTIONS:
        option, about = f"--{one.name.replace('_', '-')}", one.metadata
        text, choices = about["help"], about["choices"]
        if choices:
            text += f": {', '.join(choices)}"
        if about["type"] is bool:
            group.add_argument(
                option, action=argparse.BooleanOptionalAction, default=None, help=text
            )
        else:
            default = one.default if one.name in ("network", "recipe") else None
            group.add_argument(option, type=about["type"], default=default, help=text)
