"""The standard streams of a process that was started without some of them."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TextIO


def open_missing_streams() -> None:
    """Open on nothing what whoever started us has closed (``2>&-``) or never had (a service).

    Else `print` would say on stdout what is meant for a closed stderr, and the next file that is
    opened would become the stream that libraries write to.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest free number is that of the stream, since those below are open by now.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def give_up(stream: TextIO) -> None:
    """Let a stream that cannot be written lead nowhere.

    What is still in its buffer must not fail again when the interpreter ends.
    """
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_broken_pipe(error: OSError) -> bool:
    """Whether an error says that whoever read a pipe has left; Windows says it as EINVAL."""
    is_told_otherwise = sys.platform == "win32" and error.errno == errno.EINVAL
    return isinstance(error, BrokenPipeError) or is_told_otherwise
