"""Writing files so that a crash or a full disk never leaves half of one."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from idc_desktop.errors import OutputError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the place of `path` when the block ends well.

    Yields
    ------
    file : binary file
        Flushed to disk before it is renamed; removed when the block raises.

    Raises
    ------
    OutputError
        The file cannot be written; what `path` held before is kept.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as cause:
        partial.unlink(missing_ok=True)
        raise OutputError(
            f"{path.name} could not be written ({cause.strerror}). Free space or choose another "
            "folder, then run the same command again."
        ) from cause
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_csv(path: Path, rows: Iterable[Iterable[object]], before: bytes = b"") -> None:
    """Write rows as CSV, in UTF-8; `before` is what stands above them already.

    Raises what `replacing` does.
    """
    with replacing(path) as file:
        file.write(before)
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        text.flush()
        text.detach()


def make_folder(path: Path, option: str = "--out") -> None:
    """Create `path`, which came from `option`, and its parents; `OutputError` where it cannot."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise OutputError(
            f"{path} cannot be created ({cause.strerror}). Choose another folder with {option}."
        ) from cause
