"""Dataclasses from JSON: exactly what their hints say, or a reason why not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from idc_desktop.typed_json import (
    AnyNumber,
    Matching,
    MismatchError,
    Sized,
    Within,
    build,
    decode,
    encode,
)


@dataclass(frozen=True)
class Inner:
    number: int
    data: bytes = b""


@dataclass(frozen=True)
class Outer:
    flag: bool
    share: Annotated[float, Within(0, 1)]
    word: Annotated[str, Matching("[a-z]+")]
    kind: Literal["a", "b"] | None
    inner: Inner | None
    pair: tuple[int, str]
    many: Annotated[tuple[Inner, ...], Sized(0, 2)]
    table: dict[str, int]
    any: AnyNumber | None

    def __post_init__(self) -> None:
        if self.flag and self.inner is None:
            raise ValueError("a flag needs an inner")


VALUE = Outer(True, 0.5, "abc", "a", Inner(1), (2, "x"), (Inner(3), Inner(4)), {"y": 5}, 1.5)
GOOD: dict[str, Any] = {
    "flag": True, "share": 0.5, "word": "abc", "kind": "a", "inner": {"number": 1},
    "pair": [2, "x"], "many": [{"number": 3}, {"number": 4}], "table": {"y": 5}, "any": 1.5,
}  # fmt: skip


def test_value_comes_back_as_it_went() -> None:
    plain = {**vars(VALUE), "inner": {"number": 1}, "many": [{"number": 3}, {"number": 4}]}

    assert build(Outer, decode(encode(plain))) == VALUE
    assert build(Outer, GOOD) == VALUE


def test_whole_number_is_a_float_where_one_is_meant() -> None:
    share = build(Outer, GOOD | {"share": 1}).share

    assert (share, type(share)) == (1.0, float)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_number_that_is_none_is_taken_only_where_the_hint_says_so(value: float) -> None:
    taken = build(Outer, decode(encode(GOOD | {"any": value}))).any

    assert taken is not None
    assert repr(taken) == repr(value)
    with pytest.raises(MismatchError, match=r"share: .* not finite"):
        build(Outer, decode(encode(GOOD | {"share": value})))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"flag": 1}, "flag: 1 is no bool"),
        ({"share": 1.01}, "share: 1.01 is not within 0 to 1"),
        ({"share": "0.5"}, "share: '0.5' is no number"),
        ({"share": True}, "share: True is no number"),
        ({"share": 10**400}, "share: an integer is too large"),
        ({"word": "ABC"}, r"word: 'ABC' does not match"),
        ({"word": "abc\n"}, r"word: 'abc\\n' does not match"),
        ({"word": None}, "word: None is no str"),
        ({"kind": "c"}, "kind: 'c' is none of a, b"),
        ({"kind": []}, r"kind: \[\] is none of a, b"),
        ({"inner": []}, r"inner: \[\] is no object"),
        ({"inner": {"number": True}}, "inner: number: True is no int"),
        ({"inner": {"number": 1.0}}, "inner: number: 1.0 is no int"),
        ({"inner": {}}, r"inner: has other fields than expected: \['number'\]"),
        ({"inner": {"number": 1, "data": "x"}}, r"inner: has other fields .* \['data'\]"),
        ({"inner": None}, "a flag needs an inner"),
        ({"pair": [2]}, r"pair: \[2\] is no list of 2"),
        ({"pair": "2x"}, "pair: '2x' is no list of 2"),
        ({"many": [{"number": 1}] * 3}, "many: a length of 3 is not within 0 to 2"),
        ({"many": {}}, "many: {} is no list"),
        ({"table": [1]}, r"table: \[1\] is no object"),
        ({"table": {"y": None}}, "table: None is no int"),
        ({"more": 1}, r"has other fields than expected: \['more'\]"),
    ],
)
def test_what_is_not_as_the_hints_say_is_refused_by_name(
    change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(MismatchError, match=f"^{reason}"):
        build(Outer, GOOD | change)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}", b"[]", b"1", b"null"],
)
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(MismatchError):
        decode(data)


def test_reason_is_one_short_line_whatever_the_value() -> None:
    for value in ("X" * 1_000_000, "\x1b[2J\n\r", ["y" * 9999] * 9999):
        with pytest.raises(MismatchError) as caught:
            build(Outer, GOOD | {"word": value})
        assert len(str(caught.value)) < 300
        assert str(caught.value).isprintable()


def test_hint_without_a_json_form_is_a_defect() -> None:
    @dataclass(frozen=True)
    class Odd:
        value: complex

    with pytest.raises(TypeError, match="no JSON form"):
        build(Odd, {"value": 1})
