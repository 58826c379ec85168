"""The verb ``idc-trainer compare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from idc_desktop.arguments import whole
from trainer.options import add_data, add_means
from trainer.progress import Say


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the verb takes."""
    add_data(parser)
    add_means(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of results and tables")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--protocols", nargs="+", metavar="NAME", help="paper, official, or both")
    parser.add_argument("--epochs", type=whole, help="budget of each network")
    parser.add_argument("--tables-only", action="store_true", help="run nothing")
    parser.add_argument(
        "--architectures", action="store_true", help="draw the networks layer by layer, too"
    )


def compare_methods(arguments: argparse.Namespace, say: Say) -> None:
    """Run the verb."""
    from trainer.paper.comparison import compare
    from trainer.paper.tables import MARKDOWN, write_tables
    from trainer.training.devices import set_up
    from trainer.training.loop import Means
    from trainer.training.runs import Sources

    if not arguments.tables_only:
        done = compare(
            # The protocols decide the split.
            Sources(arguments.data, arguments.splits, arguments.counts, split="random-patch"),
            arguments.out,
            arguments.methods,
            arguments.protocols,
            arguments.epochs,
            arguments.weights,
            Means(cache=arguments.cache, strategy=set_up(arguments.strategy)),
            say,
        )
        for result in done:
            write_tables(arguments.out)
            figures = result.figures["test_weighted"]
            shown = ("auc", "balanced_accuracy", "f1_positive")
            text = "  ".join(f"{name} {figures[name].value:.4f}" for name in shown)
            say(f"{result.method}, {result.split}: weighted test {text}")
    write_tables(arguments.out)
    say(f"tables: {arguments.out / MARKDOWN}")
    if arguments.architectures:
        from trainer.training.architecture import draw_architectures

        for path in draw_architectures(arguments.out / "architectures"):
            say(f"architecture: {path}")
