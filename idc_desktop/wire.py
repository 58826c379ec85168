"""Messages between the processes: a JSON object and optional raw bytes, each with its length.

No pickle: a decoder that a hostile slide took over must not be able to run code in its parent.
"""

from __future__ import annotations

import json
import struct
from typing import IO, Any

_LENGTHS = struct.Struct("<II")

Message = dict[str, Any]

TILE_PX = 256
"""Side of the tiles that the decoder sends to the window."""


def send(stream: IO[bytes], message: Message, payload: bytes | memoryview = b"") -> None:
    """Write one message and flush.

    Raises
    ------
    OSError
        The other side is gone.
    """
    head = json.dumps(message, separators=(",", ":")).encode("utf-8")
    stream.write(_LENGTHS.pack(len(head), len(payload)) + head)
    stream.write(payload)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[Message, bytes] | None:
    """Read one message; None when the other side has closed the pipe, even mid-message."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head_size, payload_size = _LENGTHS.unpack(lengths)
    head, payload = stream.read(head_size), stream.read(payload_size)
    if len(head) < head_size or len(payload) < payload_size:
        return None
    message: Message = json.loads(head)
    return message, payload
