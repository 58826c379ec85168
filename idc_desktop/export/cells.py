"""Tables as text: CSV and its like, the same bytes on every system."""

from __future__ import annotations

import csv
from collections.abc import Iterable


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[object]], separator: str = ",") -> str:
    """Return a table with a head."""
    sink = _RowSink()
    writer = csv.writer(sink, delimiter=separator)
    writer.writerow(columns)
    writer.writerows(rows)
    return "".join(sink.rows)


def number_cell(value: float | None) -> str:
    """Return a number in full, or nothing for what is not defined."""
    return "" if value is None else repr(value)


def text_cell(value: str) -> str:
    """Disarm what a spreadsheet would run as a formula."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t")) else value


class _RowSink:
    """Takes the rows of a `csv.writer` and ends them with LF.

    Told to end rows with LF, the writer would not quote a CR inside a text (Python < 3.13).
    """

    def __init__(self) -> None:
        self.rows: list[str] = []

    def write(self, row: str) -> None:
        self.rows.append(row.removesuffix("\r\n") + "\n")
