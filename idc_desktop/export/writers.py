"""What writes the content of one exported file."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import BinaryIO

Writer = Callable[[BinaryIO], None]
Put = Callable[[str], object]


def text_writer(write: Callable[[Put], object], *, packed: bool = False) -> Writer:
    """Return a writer of UTF-8 text, gzipped if asked; the same bytes every time."""

    def plain(file: BinaryIO) -> None:
        # A file name may hold bytes that are no text; they are shown as replacement marks.
        write(lambda text: file.write(text.encode("utf-8", "replace")))

    def zipped(file: BinaryIO) -> None:
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as inner:
            plain(inner)  # type: ignore[arg-type]  # it is one, but is not declared as such

    return zipped if packed else plain
