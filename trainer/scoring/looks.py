"""The log of looks at data that are kept back: every look makes them less of a test."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path

from idc_desktop.errors import OutputError
from idc_desktop.plain_files import read_bytes
from trainer.files import write_csv
from trainer.scoring.metrics import Interval

_COLUMNS = ("file", "sha256", "cases", "figure", "value", "low", "high")

Scores = Mapping[str, Mapping[str, Interval]]
"""Set of cases -> figure -> value and interval."""


def log_look(path: Path, file: str, sha256: str, scores: Scores) -> None:
    """Append figures of a model to a CSV, once for each set of cases and SHA-256.

    Raises
    ------
    OutputError
        The log cannot be read or written, or another file lies there.
    """
    try:
        before = read_bytes(path) if path.exists() else b""
        rows = list(csv.reader(io.StringIO(before.decode("utf-8"))))
    except (OSError, ValueError, csv.Error) as cause:
        raise OutputError(f"{path.name} cannot be read as a log of scores ({cause}).") from cause
    if rows and tuple(rows[0]) != _COLUMNS:
        raise OutputError(f"{path.name} is no log of scores; name another file.")
    known = {(row[1], row[2]) for row in rows[1:] if len(row) == len(_COLUMNS)}
    new = [
        (file, sha256, cases, figure, *("" if it is None else f"{it:.6f}" for it in astuple(one)))
        for cases, figures in scores.items()
        if (sha256, cases) not in known
        for figure, one in figures.items()
    ]
    if new:
        write_csv(path, new if rows else [_COLUMNS, *new], before)
