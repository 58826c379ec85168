"""The fields of protobuf messages, as they stand in the bytes.

A reader of our own, since the `onnx` package is for the trainer only. It takes no more fields than
it is allowed to, so that no file, however made, keeps it busy for longer than a second.
"""

from __future__ import annotations

from collections.abc import Iterator

Value = int | memoryview
"""Of a number its bits; of bytes, texts and messages a view of them."""

_LARGEST_KEY = 2**32 - 1
_FIXED_SIZES = {1: 8, 5: 4}
_VARINT, _BYTES = 0, 2


class FieldReader:
    """Reads the fields of a message and of the messages inside it.

    Parameters
    ----------
    most : int
        How many fields may be read in all.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    def fields(self, message: memoryview) -> Iterator[tuple[int, Value]]:
        """Yield the (number, value) pairs of one message.

        Raises
        ------
        ValueError
            It is damaged, or has too many fields.
        """
        at = 0
        while at < len(message):
            if self._left == 0:
                raise ValueError("too many protobuf fields")
            self._left -= 1
            key, at = _varint(message, at)
            kind = key & 7
            value: Value
            if kind == _VARINT:
                value, at = _varint(message, at)
            else:
                size = _FIXED_SIZES.get(kind)
                if kind == _BYTES:
                    size, at = _varint(message, at)
                if size is None or at + size > len(message):
                    raise ValueError("damaged protobuf")
                value, at = message[at : at + size], at + size
            # Other readers may cut a longer key short, and take it for another field than we do.
            if not 8 <= key <= _LARGEST_KEY:
                raise ValueError("damaged protobuf")
            yield key >> 3, value


def text_of(value: Value | None) -> str:
    """Return a field's text, empty where there is none; `ValueError` if it is not UTF-8."""
    return str(value, "utf-8") if isinstance(value, memoryview) else ""


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("damaged protobuf")
        byte, at = message[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("damaged protobuf")
