"""The verb ``idc-trainer calibrate``, and ``fit --from``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.options import add_data, model_name, model_version
from trainer.progress import Say, progress_of

if TYPE_CHECKING:
    from trainer.release.site import SiteModel
    from trainer.training.runs import Sources


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
    parser.set_defaults(
        split="held-out", fold=1, official_only=False, split_seed=1, imbalance="none", smote=None
    )


def calibrate(arguments: argparse.Namespace, sources: Sources, say: Say, complain: Say) -> None:
    """Run `calibrate`."""
    from trainer.release.base_model import find_base
    from trainer.release.site import calibrate_on_site

    base = find_base(arguments.model)
    _make_folders(arguments.out, arguments.report)
    names = arguments.name, arguments.version
    with progress_of(f"{base.stem} on the patches", say) as progress:
        done = calibrate_on_site(base, sources, arguments.out, *names, arguments.report, progress)
    _tell(done, say, complain)


def fit_from(arguments: argparse.Namespace, sources: Sources, say: Say, complain: Say) -> None:
    """Run `fit --from`."""
    from trainer.files import sole_user
    from trainer.release.about import About, read_about
    from trainer.release.base_model import find_base
    from trainer.release.case_ids import Keeping
    from trainer.release.site import fit_head

    base = find_base(arguments.base)
    name = arguments.name or f"{base.stem}-site"
    out = arguments.model or arguments.out / f"{name}.onnx"
    report = arguments.report or arguments.out / f"{name}.md"
    _make_folders(out, report, arguments.out / "any")
    about = About() if arguments.about is None else read_about(arguments.about)
    with sole_user(arguments.out), progress_of(f"features of {base.stem}", say) as progress:
        named = name, arguments.version, report
        keeping = Keeping(arguments.out, arguments.publish_case_ids)
        done = fit_head(base, sources, out, about, *named, progress, keeping)
    _tell(done, say, complain)
    say(f"report: {report}")


def _make_folders(*files: Path | None) -> None:
    from trainer.files import make_folder

    for file in filter(None, files):
        make_folder(file.parent)


def _tell(done: SiteModel, say: Say, complain: Say) -> None:
    for line in done.lines():
        say(line)
    if done.few:
        complain(f"WARNING: all of it rests on {done.few}; the figures mean little.")
    if done.reliability.share_within < 0.95:
        complain(
            "WARNING: sensitivity on cases not seen stays off from the promised one by up to "
            f"{100 * done.reliability.off_by:.1f} points. More cases bring it nearer."
        )
