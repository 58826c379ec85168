"""What libraries warn of: some of it is expected and left out, the rest is told once.

Left out is only what stands in `EXPECTED`, by library and text; what our own code warns of is
always told.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

EXPECTED: tuple[tuple[str, type[Warning], str], ...] = (
    # Its converter asks whether NumPy has a name that NumPy is about to bring back.
    ("keras", FutureWarning, "In the future `np.object` will be defined"),
    # It copies its variables in a way that NumPy is about to change.
    ("keras", DeprecationWarning, "__array__ implementation doesn't accept a copy keyword"),
)
"""Library, category, and how the text begins."""


@contextmanager
def expected_left_out() -> Iterator[None]:
    """Leave out the expected warnings of libraries."""
    with warnings.catch_warnings():
        for library, category, text in EXPECTED:
            warnings.filterwarnings("ignore", re.escape(text), category, rf"{library}\b")
        yield


@contextmanager
def warnings_told(tell: Callable[[str], None]) -> Iterator[None]:
    """Give each warning to `tell` as one text, once, whatever a library does to the filters.

    Parallel threads of a library, each with filters of its own, leave those of another one behind,
    and thousands of lines come of it.
    """
    told: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        del lineno, file, line
        if _is_expected(str(message), category, filename):
            return
        text = f"{category.__name__} in {Path(filename).name}: {message}"
        if text not in told:
            told.add(text)
            tell(text)

    former = warnings.showwarning
    warnings.showwarning = show
    try:
        with expected_left_out():
            yield
    finally:
        warnings.showwarning = former


def _is_expected(message: str, category: type[Warning], filename: str) -> bool:
    parts = Path(filename).parts
    return any(
        library in parts and issubclass(category, of) and message.startswith(text)
        for library, of, text in EXPECTED
    )
