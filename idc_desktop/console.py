"""What the commands say: results to stdout, complaints and defects to stderr."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NoReturn

from idc_desktop import __version__
from idc_desktop.errors import UsageError, not_written
from idc_desktop.plain_files import no_wait
from idc_desktop.plain_text import one_line
from idc_desktop.streams import give_up, is_broken_pipe

_LARGEST_LOG_BYTES = 1 << 20
_LONGEST_COMPLAINT = 2000  # characters; a file may bring a name of any length

EXIT_DEFECT, EXIT_INPUT, EXIT_PARTIAL, EXIT_OUTPUT, EXIT_CANCELLED = 1, 3, 4, 5, 130


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command, whatever it was given."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong on stderr, and exit."""
        complain(f"{self.prog}: error: {message}")
        self.exit(UsageError.exit_code)


def severest(codes: Collection[int], *, is_cancelled: bool = False) -> int:
    """Return the exit code of a command from those that each of its slides would have alone."""
    order = (EXIT_CANCELLED, EXIT_DEFECT, EXIT_OUTPUT, EXIT_INPUT, EXIT_PARTIAL)
    found = {*codes, EXIT_CANCELLED} if is_cancelled else codes
    return next((code for code in order if code in found), 0)


def absolute(given: str) -> Path:
    """Return the absolute path of what the user named, links kept."""
    # Not resolved: a link's own name is the slide's name, and a loop is reported by the engine.
    return Path(os.path.abspath(given))  # noqa: PTH100 - Path.absolute keeps "..", and a name ".."


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """See to it that what is printed to stdout meanwhile arrives there.

    Raises
    ------
    OutputError
        It cannot be written.
    BrokenPipeError
        Whoever read it has left.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        give_up(sys.stdout)
        if is_broken_pipe(error):
            raise BrokenPipeError(errno.EPIPE, str(error)) from error
        what = "Standard output cannot be written"
        raise not_written(what, error, "send it elsewhere") from error


def print_line(text: str) -> None:
    """Print a line of the results; raises as `printing` does."""
    with printing():
        print(one_line(text))


def print_json(value: object) -> None:
    """Print one JSON value; raises as `printing` does."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    if any(one_line(line) != line for line in text.split("\n")):
        text = json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False)
    with printing():
        print(text)


def complain(text: str) -> None:
    """Say on stderr what is wrong or worth knowing, in one line.

    Where it cannot be written, nothing is said: the work and its exit code stay what they are.
    """
    try:
        print(complaint(text), file=sys.stderr, flush=True)
    except OSError:
        give_up(sys.stderr)


def complaint(text: str) -> str:
    """Return what is said of a text on stderr: one line, and no megabytes."""
    if len(text) > _LONGEST_COMPLAINT:
        half = _LONGEST_COMPLAINT // 2
        text = f"{text[:half]} … {text[-half:]}"
    return one_line(text)


def report_defect(text: str) -> int:
    """Keep a traceback in the log and say where; return the exit code.

    A log that has become large is kept as ``defects.old.log``, in the place of the former one.
    """
    from idc_desktop.storage.user_data import data_folder, make_file, make_folder

    log = data_folder() / "logs" / "defects.log"
    last_line = text.strip().splitlines()[-1]
    try:
        make_folder(log.parent)
        if log.exists() and log.stat().st_size > _LARGEST_LOG_BYTES:
            log.replace(log.with_name("defects.old.log"))
        make_file(log)
        with open(log, "a", encoding="utf-8", opener=no_wait) as file:
            file.write(f"idc-desktop {__version__}\n{text}\n")
        where = f"The details are in {log}"
    except OSError as error:
        where = f"The log {log} cannot be written ({error.strerror})"
    complain(f"idc-desktop: A defect of ours: {last_line}. {where}; please report it.")
    return EXIT_DEFECT
