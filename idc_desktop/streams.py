"""The standard streams of a process that was started without some of them."""

from __future__ import annotations

import os
import sys


def open_missing_streams() -> None:
    """Open on nothing what whoever started us has closed (``2>&-``) or never had (a service).

    Else `print` would say on stdout what is meant for a closed stderr, and the next file that is
    opened would become the stream that libraries write to.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest free number is that of the stream, since those below are open by now.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
