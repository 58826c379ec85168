"""The frame of a message between processes: a head and optional raw bytes, each with its length.

No pickle: a decoder that a hostile slide took over must not be able to run code in its parent.
"""

from __future__ import annotations

import struct
from typing import IO

from idc_desktop.errors import GarbledMessageError

_LENGTHS = struct.Struct("<II")

LARGEST_HEAD_BYTES = 16 << 20


def send(stream: IO[bytes], head: bytes, payload: bytes | memoryview = b"") -> None:
    """Write one message and flush.

    Raises
    ------
    OSError
        The other side is gone.
    """
    stream.write(_LENGTHS.pack(len(head), len(payload)) + head)
    stream.write(payload)
    stream.flush()


def receive_head(stream: IO[bytes]) -> tuple[bytes, int] | None:
    """Read a head, and how many raw bytes follow it; None when the other side closed the pipe.

    Raises
    ------
    GarbledMessageError
        The head is said to be larger than any is.
    """
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head_bytes, payload_bytes = _LENGTHS.unpack(lengths)
    if head_bytes > LARGEST_HEAD_BYTES:
        raise GarbledMessageError(f"a head of {head_bytes:,} bytes")
    head = receive_payload(stream, head_bytes)
    return None if head is None else (head, payload_bytes)


def receive_payload(stream: IO[bytes], size: int) -> bytes | None:
    """Read the raw bytes that follow a head; None when the other side closed the pipe before."""
    data = stream.read(size)
    return data if len(data) == size else None
