"""The options that verbs of ``idc-trainer`` share."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NoReturn

from idc_desktop.arguments import decimal, whole
from idc_desktop.errors import UsageError
from idc_desktop.models.patch_size import SIDE_RANGE_PX, SPACING_RANGE_UM_PX, PatchSize
from idc_desktop.plain_text import one_line
from trainer.settings import OPTIONS, SPLITS, USUAL


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong on stderr, and exit."""
        self.exit(UsageError.exit_code, one_line(f"{self.prog}: error: {message}") + "\n")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Names the default of an option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return (
            action.help if action.default in (None, False, ()) else super()._get_help_string(action)
        )


def add_elsewhere(parser: argparse.ArgumentParser) -> None:
    """Add the option for slides of other laboratories."""
    parser.add_argument(
        "--elsewhere",
        nargs="+",
        type=Path,
        default=(),
        metavar="FOLDER",
        help="slides of another laboratory, each with its NAME_spots.csv; one folder a laboratory",
    )


def add_data(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add where prepared data lie."""
    parser.add_argument("--data", type=Path, required=required, help="prepared data folder")
    parser.add_argument("--splits", type=Path, help="folder of official_*.txt")
    parser.add_argument(
        "--counts", type=Path, help="CSV of natural counts per case (default: those at hand)"
    )


def add_patch_size(parser: argparse.ArgumentParser, usual: str = "50 and 8") -> None:
    """Add what a patch is; `patch_size` reads it. `usual` says what holds where it is not given."""
    parser.add_argument("--size", metavar="PX", type=whole, help="side of a patch, 32 to 512 px")
    parser.add_argument(
        "--spacing",
        metavar="UM",
        type=decimal,
        help=f"its resolution, µm per pixel (default of both: {usual})",
    )


def patch_size(arguments: argparse.Namespace) -> PatchSize | None:
    """Return the patch that was asked for, if any; `UsageError` where no model could see it."""
    if arguments.size is None and arguments.spacing is None:
        return None
    size = USUAL.side_px if arguments.size is None else arguments.size
    spacing = USUAL.spacing_um_px if arguments.spacing is None else arguments.spacing
    for option, value, (low, high) in (
        ("--size", size, SIDE_RANGE_PX),
        ("--spacing", spacing, SPACING_RANGE_UM_PX),
    ):
        if not low <= value <= high:
            raise UsageError(f"{option} must be {low:g} to {high:g}.")
    try:
        return PatchSize(size, spacing)
    except ValueError as error:
        raise UsageError(f"--size and --spacing: {error}.") from error


def model_name(text: str) -> str:
    """Read a name that a card may have, before hours of work are to get it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name of a model: letters and digits, with . _ - between, 64 at most"
        )
    return text


def model_version(text: str) -> str:
    """Read a version that a card may have."""
    if not (0 < len(text) <= 64 and text.isprintable()):
        raise argparse.ArgumentTypeError(f"{text!r} is no version: 1 to 64 characters in one line")
    return text


def add_card(parser: argparse.ArgumentParser) -> None:
    """Add what a card is told."""
    parser.add_argument(
        "--version", type=model_version, default="1.0.0", help="version of the model"
    )
    parser.add_argument(
        "--publish-case-ids",
        action="store_true",
        help="name the cases in the card, too, and so in everything made with the model",
    )
    parser.add_argument(
        "--about", type=Path, help="JSON file of what the card says of data, licence and use"
    )


def add_sources(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add where data lie and how they are cut."""
    add_data(parser, required)
    parser.add_argument("--official-only", action="store_true", help="leave out unlisted cases")
    parser.add_argument(
        "--split", choices=SPLITS, default="official", help="random-patch is the paper's, and leaky"
    )
    parser.add_argument(
        "--fold", type=whole, default=1, help="fold of grouped-kfold or held-out, 1 to 5"
    )
    add_balance(parser, smote=("training", "before-split"))


def add_balance(parser: argparse.ArgumentParser, smote: tuple[str, ...]) -> None:
    """Add what is done about the rarer class; `smote` names the ways on offer."""
    parser.add_argument("--split-seed", type=whole, default=1, help="of folds and random draws")
    balance = parser.add_mutually_exclusive_group()
    balance.add_argument(
        "--imbalance",
        choices=("none", "class-weights", "oversample"),
        default="none",
        help="what to do about the rarer class in training",
    )
    balance.add_argument(
        "--smote",
        choices=smote,
        help="synthetic patches: of the training part only; before-split, the paper's way, leaks",
    )


def add_means(parser: argparse.ArgumentParser) -> None:
    """Add what a training runs with."""
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


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add an option per setting; what is not given comes from the recipe."""
    parser.add_argument(
        "--teacher",
        metavar="FOLDER",
        type=Path,
        help="folder of the same command for a VGG-16 network, whose answers are learned, too",
    )
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
            kind = {float: decimal, int: whole}.get(about["type"], about["type"])
            group.add_argument(option, type=kind, default=default, help=text)
