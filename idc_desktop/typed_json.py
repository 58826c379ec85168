"""Frozen dataclasses as JSON and back, checked against their own type hints.

The hints are the whole schema, and what is not exactly as they say is refused by name: ``bool``,
``int``, ``float`` (finite, unless it is `AnyNumber`), ``str``, ``Literal[...]``, ``X | None``,
``tuple[X, ...]``, ``tuple[X, Y]``, ``dict[str, X]``, further dataclasses, and ``Annotated[X, ...]``
with a `Within`, `Sized` or `Matching`. What is true of several fields together, a dataclass says
in ``__post_init__`` by a `ValueError`. Fields of ``bytes`` are no part of the JSON.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
import types
from collections.abc import Callable
from collections.abc import Sized as HasLength
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

Reader = Callable[[object], Any]
"""Takes a JSON value and returns what it stands for, or raises `MismatchError`."""


class MismatchError(ValueError):
    """A JSON value is not what a type hint says; the message names the field and the reason."""


@dataclass(frozen=True)
class Within:
    """Bounds a number, both ends included."""

    low: float
    high: float

    def check(self, value: float) -> None:
        """Raise `MismatchError` if it does not hold."""
        if not self.low <= value <= self.high:
            raise MismatchError(f"{_shown(value)} is not within {self.low} to {self.high}")


@dataclass(frozen=True)
class Sized:
    """Bounds the length of a text, tuple or dictionary, both ends included."""

    low: int
    high: int

    def check(self, value: HasLength) -> None:
        """Raise `MismatchError` if it does not hold."""
        if not self.low <= len(value) <= self.high:
            raise MismatchError(f"a length of {len(value)} is not within {self.low} to {self.high}")


@dataclass(frozen=True)
class Matching:
    """Gives a text its form, by a regular expression for the whole of it."""

    pattern: str

    def check(self, value: str) -> None:
        """Raise `MismatchError` if it does not hold."""
        if not re.fullmatch(self.pattern, value):
            raise MismatchError(f"{_shown(value)} does not match {self.pattern}")


@dataclass(frozen=True)
class _Unchecked:
    def check(self, value: object) -> None:
        """Any value holds."""


AnyNumber = Annotated[float, _Unchecked()]
"""A float that may be infinite or not a number: what a user typed."""


def _shown(value: object) -> str:
    """Return a value, or as much of it as fits into a message."""
    return f"{reprlib.repr(value):.60}"


def encode(value: object) -> bytes:
    """Return a dataclass, or a dictionary that holds some, as JSON."""
    return json.dumps(value, separators=(",", ":"), default=vars).encode("ascii")


def decode(data: bytes) -> dict[str, Any]:
    """Read a JSON object; its values are not checked yet.

    Raises
    ------
    MismatchError
        It is no JSON, or no object.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MismatchError(f"no JSON ({error!s:.80})") from error
    if not isinstance(value, dict):
        raise MismatchError(f"{_shown(value)} is no object")
    return value


def build(kind: type[T], value: object) -> T:
    """Make a dataclass of a JSON value.

    Raises
    ------
    MismatchError
        The value is not exactly what the dataclass is made of.
    """
    hint: Any = kind
    built: T = _reader(hint)(value)
    return built


@cache
def _reader(hint: Any) -> Reader:  # noqa: ANN401 - type hints have no type
    origin, parts = get_origin(hint), get_args(hint)
    if hint in (bool, int, str):
        return _exactly(hint)
    if hint is float:
        return _number
    if origin is Annotated:
        return _bounded(_any_number if hint == AnyNumber else _reader(parts[0]), parts[1:])
    if origin is Literal:
        return _one_of(parts)
    if origin in (Union, types.UnionType) and len(parts) == 2 and parts[1] is types.NoneType:
        return _optional(_reader(parts[0]))
    if origin is tuple and parts[-1] is Ellipsis:
        return _list_of(_reader(parts[0]))
    if origin is tuple:
        return _row_of([_reader(it) for it in parts])
    if origin is dict and parts[0] is str:
        return _table_of(_reader(parts[1]))
    if is_dataclass(hint):
        return _fields_of(hint)
    raise TypeError(f"{hint} has no JSON form")


def _exactly(kind: type) -> Reader:
    def read(value: object) -> object:
        if type(value) is not kind:  # True is no number
            raise MismatchError(f"{_shown(value)} is no {kind.__name__}")
        return value

    return read


def _any_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MismatchError(f"{_shown(value)} is no number")
    try:
        return float(value)
    except OverflowError as error:
        raise MismatchError("an integer is too large") from error


def _number(value: object) -> float:
    number = _any_number(value)
    if not math.isfinite(number):
        raise MismatchError(f"{number} is not finite")
    return number


def _bounded(inner: Reader, limits: tuple[Any, ...]) -> Reader:
    def read(value: object) -> object:
        result = inner(value)
        for limit in limits:
            limit.check(result)
        return result

    return read


def _one_of(choices: tuple[Any, ...]) -> Reader:
    def read(value: object) -> object:
        if value not in choices:
            raise MismatchError(f"{_shown(value)} is none of {', '.join(choices)}")
        return value

    return read


def _optional(inner: Reader) -> Reader:
    return lambda value: None if value is None else inner(value)


def _list_of(inner: Reader) -> Reader:
    def read(value: object) -> object:
        if not isinstance(value, list):
            raise MismatchError(f"{_shown(value)} is no list")
        return tuple(map(inner, value))

    return read


def _row_of(inner: list[Reader]) -> Reader:
    def read(value: object) -> object:
        if not isinstance(value, list) or len(value) != len(inner):
            raise MismatchError(f"{_shown(value)} is no list of {len(inner)}")
        return tuple(reader(it) for reader, it in zip(inner, value, strict=True))

    return read


def _table_of(inner: Reader) -> Reader:
    def read(value: object) -> object:
        if not isinstance(value, dict):
            raise MismatchError(f"{_shown(value)} is no object")
        return {name: inner(it) for name, it in value.items()}

    return read


def _fields_of(kind: Any) -> Reader:  # noqa: ANN401
    hints = get_type_hints(kind, include_extras=True)
    readers = {
        it.name: _reader(hints[it.name]) for it in fields(kind) if hints[it.name] is not bytes
    }

    def read(value: object) -> object:
        if not isinstance(value, dict):
            raise MismatchError(f"{_shown(value)} is no object")
        if value.keys() != readers.keys():
            odd = sorted(value.keys() ^ readers.keys())
            raise MismatchError(f"has other fields than expected: {_shown(odd)}")
        values = {}
        for name, reader in readers.items():
            try:
                values[name] = reader(value[name])
            except MismatchError as error:
                raise MismatchError(f"{name}: {error}") from error
        try:
            return kind(**values)
        except ValueError as error:
            raise MismatchError(str(error)) from error

    return read
