"""JSON of others, taken only if it can be written again as it was read, and within limits."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NoReturn

_DEEPEST = 32  # values in values
_LONGEST_WHOLE_NUMBER = 18  # digits: it fits 64 bits


def load_strictly(
    text: str, *, most_chars: int, most_values: int, names_files: bool = False
) -> Any:  # noqa: ANN401 - JSON
    """Read a JSON document.

    Parameters
    ----------
    most_chars : int
        How long the text may be.
    most_values : int
        How many values may be in it, about.
    names_files : bool
        Whether half surrogate pairs are taken: Python has them in the name of a file that is no
        UTF-8.

    Raises
    ------
    ValueError
        It is no JSON, exceeds a limit, or holds what JSON cannot say unambiguously: numbers that
        are infinite or beyond 64 bits, half a surrogate pair, two values of one name.
    """
    if len(text) > most_chars:
        raise ValueError(f"it is longer than {most_chars:,} characters")
    # Counted before anything is made of them: a value takes up to 100 times its text in memory.
    if sum(map(text.count, ",[{")) > most_values:
        raise ValueError(f"it has more than {most_values:,} values")
    try:
        document = json.loads(
            text,
            parse_float=_finite,
            parse_int=_whole,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unambiguous,
        )
        # Escapes such as \ud800 stand for no character.
        errors = "surrogatepass" if names_files else "strict"
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", errors)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise ValueError("it holds half a surrogate pair, which is no character") from error
    _require_flat(document)
    return document


def _require_flat(document: object) -> None:
    level = [document]
    for _ in range(_DEEPEST):
        inner: list[object] = []
        for value in level:
            if isinstance(value, dict):
                inner.extend(value.values())
            elif isinstance(value, list):
                inner.extend(value)
        if not inner:
            return
        level = inner
    raise ValueError("it is nested too deeply")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits:.20} is no number")
    return value


def _whole(digits: str) -> int:
    if len(digits.removeprefix("-")) > _LONGEST_WHOLE_NUMBER:
        raise ValueError(f"{digits:.20} … is too large a number")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _unambiguous(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a name stands twice in it")
    return document
