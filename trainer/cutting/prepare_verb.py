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


def prepare_store(arguments: argparse.Namespace, say: Say) -> None:
    """Run the verb."""
    import numpy as np

    from trainer.data.dataset import load_store
    from trainer.data.preparing import prepare
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
