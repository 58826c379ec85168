"""Opens files that others may have put there, if they are files.

A pipe or a device in the place of one is not opened: it might wait for ever, or never end.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

MOST_BYTES = 512 << 20
"""More is read in parts, or by no process at all."""

_NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)


def no_wait(path: str, flags: int) -> int:
    """Open a file as `open` does, for its `opener`; `OSError` where a pipe would have it wait."""
    return os.open(path, flags | _NO_WAIT, 0o666)


def open_file(path: Path) -> BufferedReader:
    """Open a file to read it.

    Raises
    ------
    OSError
        It cannot be opened, or is something else than a file.
    """
    file = open(path, "rb", opener=no_wait)  # noqa: SIM115 - it is returned
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    return file


def open_text(path: Path, encoding: str = "utf-8") -> io.TextIOWrapper:
    """Open a text file to read its lines, the ends of which stay; errors as of `open_file`."""
    return io.TextIOWrapper(open_file(path), encoding=encoding, newline="")


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return what is in a file; `OSError` as of `open_file`, or if there is more than `most`."""
    with open_file(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MiB", str(path))
    return data


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """Return the text of a file; errors as of `read_bytes`, and `UnicodeDecodeError`."""
    return read_bytes(path).decode(encoding)


def read_json(path: Path, encoding: str = "utf-8") -> Any:  # noqa: ANN401 - any JSON value
    """Return what is in a JSON file; errors as of `read_bytes`, and `ValueError`."""
    try:
        return json.loads(read_text(path, encoding))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
