"""The verb ``idc-trainer prepare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from trainer.options import add_patch_size, patch_size
from trainer.progress import Say, progress_of


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    parser.add_argument(
        "data", type=Path, help="a manifest.csv, its folder, or a folder of case folders"
    )
    add_patch_size(parser, "those of the manifest, or 50 and 8")
    parser.add_argument("--out", type=Path, required=True, help="prepared data folder to write")
    parser.add_argument(
        "--report", action="store_true", help="write OUT/report.html: cases, stain, duplicates"
    )
    parser.add_argument("--splits", type=Path, help="folder of official_*.txt, for the report")
    parser.add_argument("--counts", type=Path, help="CSV of natural counts, for the report")


def prepare_store(arguments: argparse.Namespace, say: Say, complain: Say) -> None:
    """Run the verb."""
    import numpy as np

    from trainer.cutting.data_report import write_data_report
    from trainer.data.dataset import load_store
    from trainer.data.preparing import prepare
    from trainer.data.splits import thinness
    from trainer.files import make_folder
    from trainer.training.figures import draw_distribution, draw_samples

    with progress_of("files", say, "file") as progress:
        report = prepare(arguments.data, arguments.out, progress, patch_size(arguments))
    for line in report.lines():
        say(line)
    store = load_store(arguments.out)
    figures = arguments.out / "figures"
    make_folder(figures)
    draw_samples(store, figures / "samples.png")
    before = np.bincount(store.index.label, minlength=2).tolist()
    draw_distribution(before, [max(before)] * 2, figures / "class_distribution.png")
    say(f"figures: {figures}")
    if few := thinness(store.index):
        complain(f"WARNING: only {few}: figures of a model will be largely chance.")
    if arguments.report:
        page = arguments.out / "report.html"
        write_data_report(page, report, store, _known(arguments))
        say(f"report: {page}")


def _known(arguments: argparse.Namespace) -> dict[str, frozenset[str]]:
    """Return the ids that the split and the counts name."""
    from trainer.data.splits import read_official_cases
    from trainer.data.weighting import read_natural_counts

    known = {}
    if arguments.splits is not None:
        cases = read_official_cases(arguments.splits)
        known["the split"] = cases.train | cases.validation | cases.test
    if arguments.counts is not None:
        known["the counts"] = frozenset(read_natural_counts(arguments.counts))
    return known
