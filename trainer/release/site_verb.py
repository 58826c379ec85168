"""The verb ``idc-trainer calibrate``, and ``fit --from``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from idc_desktop.arguments import whole
from idc_desktop.errors import UsageError
from trainer.options import add_data, model_name, model_version
from trainer.progress import Say, progress_of
from trainer.settings import OPTIONS

if TYPE_CHECKING:
    from trainer.release.site import SiteModel
    from trainer.training.runs import Sources


HEAD, LAST_BLOCK = TUNES = ("head", "last-block")
"""What ``fit --from`` may train."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what `calibrate` takes."""
    parser.add_argument("model", metavar="FILE|NAME", help="ONNX file, or name of a bundled model")
    add_data(parser)
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    parser.add_argument("--name", type=model_name, help="name of the model (default: as before)")
    parser.add_argument(
        "--version", type=model_version, help='version (default: as before, with "-calibrated")'
    )
    parser.add_argument("--report", type=Path, help="Markdown to write")
    parser.add_argument(
        "--drawn",
        metavar="N",
        type=whole,
        help="cases that calibrate in each of the 200 draws that say how far off the promised "
        "sensitivity is on the others (default: half of them)",
    )
    parser.set_defaults(
        split="held-out", fold=1, official_only=False, split_seed=1, imbalance="none", smote=None
    )


def add_base(parser: argparse.ArgumentParser) -> None:
    """Add what `fit` may start from."""
    parser.add_argument(
        "--from",
        dest="base",
        metavar="FILE|NAME",
        help="train the end of this model on, in minutes, instead of a network",
    )
    parser.add_argument(
        "--tune",
        choices=TUNES,
        default=HEAD,
        help="of --from: its last layer, or its last block of convolutions and what follows",
    )


def calibrate(arguments: argparse.Namespace, sources: Sources, say: Say, complain: Say) -> None:
    """Run `calibrate`."""
    from trainer.release.base_model import find_base
    from trainer.release.site import calibrate_on_site

    base = find_base(arguments.model)
    _make_folders(arguments.out, arguments.report)
    names = arguments.name, arguments.version
    with progress_of(f"{base.stem} on the patches", say) as progress:
        done = calibrate_on_site(
            base, sources, arguments.out, *names, arguments.report, progress, arguments.drawn
        )
    _tell(done, say, complain)


def fit_from(arguments: argparse.Namespace, sources: Sources, say: Say, complain: Say) -> None:
    """Run `fit --from`."""
    from trainer.files import sole_user
    from trainer.release.about import About, read_about
    from trainer.release.base_model import find_base
    from trainer.release.case_ids import Keeping
    from trainer.release.site import fit_head, fit_last_block

    base = find_base(arguments.base)
    name = arguments.name or f"{base.stem}-site"
    out = arguments.model or arguments.out / f"{name}.onnx"
    report = arguments.report or arguments.out / f"{name}.md"
    _make_folders(out, report, arguments.out / "any")
    about = About() if arguments.about is None else read_about(arguments.about)
    named = name, arguments.version, report
    keeping = Keeping(arguments.out, arguments.publish_case_ids)
    given = {one.name: getattr(arguments, one.name) for one in OPTIONS}
    with sole_user(arguments.out):
        if arguments.tune == LAST_BLOCK:
            from trainer.release.tuning import tuning_settings

            how = tuning_settings(given)
            done = fit_last_block(
                base, sources, out, about, how, arguments.out, say, *named, keeping
            )
        else:
            _refuse_settings(given)
            with progress_of(f"features of {base.stem}", say) as progress:
                done = fit_head(base, sources, out, about, *named, progress, keeping)
    _tell(done, say, complain)
    say(f"report: {report}")


def _refuse_settings(given: Mapping[str, object]) -> None:
    for one in OPTIONS:
        if one.name not in ("network", "recipe") and given[one.name] is not None:
            raise UsageError(
                f"--{one.name.replace('_', '-')}: A last layer is fitted without such settings. "
                f"They belong to a network, or to --from with --tune {LAST_BLOCK}."
            )


def _make_folders(*files: Path | None) -> None:
    from trainer.files import make_folder

    for file in filter(None, files):
        make_folder(file.parent)


def _tell(done: SiteModel, say: Say, complain: Say) -> None:
    from trainer.release.reliability import WITHIN

    for line in done.lines():
        say(line)
    if done.few:
        complain(f"WARNING: all of it rests on {done.few}; the figures mean little.")
    off_by = done.reliability.expected_off_by
    if off_by > WITHIN:
        complain(
            "WARNING: sensitivity on cases not seen may be off from the promised one by up to "
            f"{100 * off_by:.1f} points. More cases bring it nearer."
        )
