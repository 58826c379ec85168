"""Texts that come from files, before they are printed."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"  # they shape letters, as Persian names need it


def one_line(text: str) -> str:
    r"""Return a text as one line that a terminal shows and does not obey.

    What ends a line, controls a terminal, turns the direction of writing or is no character at all
    (half a surrogate pair, as in file names that are no UTF-8) is spelled as in Python's strings:
    ``\n``, ``\x1b``, ``\u202e``, ``\udc80``.
    """
    return "".join(it if _is_shown(it) else _spelled(it) for it in text)


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _is_shown(character: str) -> bool:
    return (
        character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"
    )
