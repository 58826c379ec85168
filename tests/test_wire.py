"""Messages between processes: whole or not at all."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idc_desktop.wire import receive, send

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.dictionaries(TEXTS, VALUES, max_size=4)


@given(sent=st.lists(st.tuples(MESSAGES, st.binary(max_size=40)), max_size=5))
def test_messages_arrive_as_they_were_sent(sent: list[tuple[dict[str, Any], bytes]]) -> None:
    pipe = io.BytesIO()
    for message, payload in sent:
        send(pipe, message, payload)
    pipe.seek(0)

    assert [receive(pipe) for _ in sent] == sent
    assert receive(pipe) is None


@given(message=MESSAGES, payload=st.binary(max_size=40), data=st.data())
def test_message_that_was_cut_off_is_no_message(
    message: dict[str, Any], payload: bytes, data: st.DataObject
) -> None:
    pipe = io.BytesIO()
    send(pipe, message, payload)
    whole = pipe.getvalue()
    cut = data.draw(st.integers(0, len(whole) - 1))

    assert receive(io.BytesIO(whole[:cut])) is None


def test_name_that_is_no_text_survives() -> None:
    """File names may hold bytes that are not UTF-8; Python writes them as lone surrogates."""
    pipe = io.BytesIO()
    send(pipe, {"file": "caf\udce9.svs"})
    pipe.seek(0)

    assert receive(pipe) == ({"file": "caf\udce9.svs"}, b"")


def test_message_is_no_pickle() -> None:
    data = b"cposix\nsystem\n(S'true'\ntR."

    with pytest.raises(ValueError, match="Expecting value"):
        receive(io.BytesIO(struct.pack("<II", len(data), 0) + data))
