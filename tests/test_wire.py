"""Frames between processes: whole or not at all."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idc_desktop.errors import GarbledMessageError
from idc_desktop.processes.wire import LARGEST_HEAD_BYTES, receive_head, receive_payload, send

BYTES = st.binary(max_size=40)


def receive(pipe: io.BytesIO) -> tuple[bytes, bytes] | None:
    received = receive_head(pipe)
    if received is None:
        return None
    payload = receive_payload(pipe, received[1])
    return None if payload is None else (received[0], payload)


@given(sent=st.lists(st.tuples(BYTES, BYTES), max_size=5))
def test_frames_arrive_as_they_were_sent(sent: list[tuple[bytes, bytes]]) -> None:
    pipe = io.BytesIO()
    for head, payload in sent:
        send(pipe, head, payload)
    pipe.seek(0)

    assert [receive(pipe) for _ in sent] == sent
    assert receive(pipe) is None


@given(head=BYTES, payload=BYTES, data=st.data())
def test_frame_that_was_cut_off_is_none(head: bytes, payload: bytes, data: st.DataObject) -> None:
    pipe = io.BytesIO()
    send(pipe, head, payload)
    whole = pipe.getvalue()
    cut = data.draw(st.integers(0, len(whole) - 1))

    assert receive(io.BytesIO(whole[:cut])) is None


def test_head_of_any_size_is_not_read() -> None:
    pipe = io.BytesIO(struct.pack("<II", LARGEST_HEAD_BYTES + 1, 0) + b"{" * 64)

    with pytest.raises(GarbledMessageError, match="a head of"):
        receive_head(pipe)
    assert pipe.tell() == 8
