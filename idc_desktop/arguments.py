"""Numbers on a command line, and what is said of those that are none."""

from __future__ import annotations

import argparse

MOST = 1024
"""More threads or processes have no machine."""


def decimal(text: str) -> float:
    """Read a number with a decimal point, or with a decimal comma."""
    try:
        return float(text.replace(",", "."))  # two separators are never a number
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def whole(text: str) -> int:
    """Read a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def count(text: str) -> int:
    """Read a number of things that are at work at once: at least one, and no absurd one."""
    value = whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    if value > MOST:
        raise argparse.ArgumentTypeError(f"{text} is more than {MOST:,}")
    return value


def probability(text: str) -> float:
    """Read a number from 0 to 1."""
    value = decimal(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a probability from 0 to 1")
    return abs(value)  # also of -0.0, which would stand in the results


def shard(text: str) -> tuple[int, int]:
    """Read which part of how many, such as ``2/8``."""
    number, _, total = text.partition("/")
    try:
        found = int(number), int(total)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N, such as 2/8") from None
    if not 1 <= found[0] <= found[1]:
        raise argparse.ArgumentTypeError(f"{text}: the first number is not from 1 to the second")
    return found
