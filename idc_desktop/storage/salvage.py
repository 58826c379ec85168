"""Finds the rows of a damaged SQLite file.

Nothing of the file's own order is believed: neither its header nor its trees, lists and
directories. A row is known by its own bytes (a record: the types of its columns, then the values)
and believed if its own checksum says so. So a row is lost only if its own bytes are.

The file must have pages of `PAGE_SIZE` bytes, text in UTF-8, and be written with ``secure_delete``:
else rows that were deleted long ago are found as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

PAGE_SIZE = 4096

Row = tuple[Any, ...]

# https://www.sqlite.org/fileformat2.html, "B-tree Pages": how much of a row its leaf page holds.
_MOST_LOCAL = PAGE_SIZE - 35
_LEAST_LOCAL = (PAGE_SIZE - 12) * 32 // 255 - 23
_OVERFLOW_LINK = 4

_INTEGER_SIZES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}
_TYPES = {  # of a column -> how the types of its values look; a longer varint is > 16 MB of text
    "rowid": (rb"(\x00)", 1),
    "INTEGER": (rb"([\x01-\x06\x08\x09])", 1),
    "TEXT": (rb"([\x80-\xff]{0,3}[\x00-\x7f])", 4),
    "BLOB": (rb"([\x80-\xff]{0,3}[\x00-\x7f])", 4),
}


@dataclass(frozen=True)
class Table:
    """A table whose rows can tell whether they are sound.

    Attributes
    ----------
    statement : str
        Its ``CREATE TABLE``; the columns are TEXT, INTEGER or BLOB, and none is null.
    is_sound : callable
        Whether a row, of any values, is one that was written.
    """

    statement: str
    is_sound: Callable[[Row], bool]

    @property
    def name(self) -> str:
        """Its name."""
        return self.statement.split()[2]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """What each column holds: TEXT, INTEGER, BLOB, or rowid, which stands before the record."""
        inside = self.statement[self.statement.index("(") + 1 : -1]
        return tuple(
            "rowid" if "INTEGER PRIMARY KEY" in column else column.split()[1]
            for column in inside.split(", ")
        )

    @cached_property
    def _header(self) -> re.Pattern[bytes]:
        """What the header of a record looks like: its length, then the type of each value."""
        longest = 1 + sum(_TYPES[it][1] for it in self.columns)
        types = b"".join(_TYPES[it][0] for it in self.columns)
        return re.compile(rb"(?=[\x%02x-\x%02x]%b)" % (1 + len(self.columns), longest, types))

    def find(self, data: bytes) -> list[Row]:
        """Return the sound rows of this table in a file; of several with one key, the newest.

        The first column is the key.
        """
        found = sorted(self._candidates(data), key=lambda it: it[0])
        return list({row[0]: row for _, row in found}.values())

    def _candidates(self, data: bytes) -> Iterator[tuple[int, Row]]:
        """Yield sound rows with their numbers, which rise from row to row that is written."""
        for match in self._header.finditer(data):
            start, end = match.start(), match.end(len(self.columns))
            if data[start] != end - start:
                continue
            types = [_varint(it) for it in match.groups()]
            sizes = [_size(kind, column) for kind, column in zip(types, self.columns, strict=True)]
            record = _record(data, start, end - start + sum(sizes)) if min(sizes) >= 0 else None
            if record is None:
                continue
            values, at = [], end - start
            for kind, column, size in zip(types, self.columns, sizes, strict=True):
                values.append(_value(record[at : at + size], kind, column))
                at += size
            for number in _numbers_before(data, start):
                row = tuple(
                    number if column == "rowid" else value
                    for column, value in zip(self.columns, values, strict=True)
                )
                if self.is_sound(row):
                    yield number, row
                    break


def _size(kind: int, column: str) -> int:
    """Return the bytes of a value by its type, -1 if a column of this name holds no such value."""
    if column == "rowid":
        return 0
    if column == "INTEGER":
        return _INTEGER_SIZES[kind]
    return (kind - 12) // 2 if kind >= 12 and kind % 2 == (column == "TEXT") else -1


def _value(data: bytes, kind: int, column: str) -> object:
    if column == "TEXT":
        return data.decode("utf-8", "replace")
    if column == "INTEGER":
        return kind - 8 if kind >= 8 else int.from_bytes(data, "big", signed=True)
    return data


def _record(data: bytes, start: int, size: int) -> bytes | None:
    """Return a record, put together from its leaf page and its overflow pages."""
    if size > len(data):
        return None
    per_page = PAGE_SIZE - _OVERFLOW_LINK
    local = size
    if size > _MOST_LOCAL:
        local = _LEAST_LOCAL + (size - _LEAST_LOCAL) % per_page
        local = local if local <= _MOST_LOCAL else _LEAST_LOCAL
    parts, left = [data[start : start + local]], size - local
    link = start + local
    while left > 0:
        page = (int.from_bytes(data[link : link + _OVERFLOW_LINK], "big") - 1) * PAGE_SIZE
        if not 0 < page < len(data):
            return None
        parts.append(data[page + _OVERFLOW_LINK : page + _OVERFLOW_LINK + min(left, per_page)])
        left, link = left - per_page, page
    record = b"".join(parts)
    return record if len(record) == size else None


def _numbers_before(data: bytes, start: int) -> Iterator[int]:
    """Yield the row numbers that could end just before a record, the likeliest first."""
    first = start - 1
    while first > 0 and start - first < 9 and data[first - 1] >= 0x80:
        first -= 1
    for begin in range(max(first, 0), start):
        yield _varint(data[begin:start])


def _varint(data: bytes) -> int:
    value = 0
    for byte in data:
        value = value << 7 | byte & 0x7F
    return value
