"""Texts that come from files and other processes, before they are shown."""

from __future__ import annotations

import unicodedata

from idc_desktop.errors import DefectError, GarbledMessageError, IdcError

_LONGEST = 2000  # characters of a message, whatever a process says
_JOINERS = "\u200c\u200d"  # they shape letters, as Persian names need it


def one_line(text: str) -> str:
    r"""Return a text as one line that a terminal shows and does not obey.

    What ends a line, controls a terminal, turns the direction of writing or is no character at all
    (half a surrogate pair, as in file names that are no UTF-8) is spelled as in Python's strings:
    ``\n``, ``\x1b``, ``\u202e``, ``\udc80``.
    """
    return "".join(it if _is_shown(it) else _spelled(it) for it in text)


def counted(number: int, one: str, many: str = "") -> str:
    """Say how many there are of a thing: ``1 patch``, ``2,000 patches``.

    Parameters
    ----------
    many : str
        Only where it is not `one` with "s", or with "es" after "ch".
    """
    many = many or f"{one}{'es' if one.endswith('ch') else 's'}"
    return f"{number:,} {one if number == 1 else many}"


def in_a_line(error: Exception, subject: str) -> str:
    """Say to a user what ended the work on a file.

    Parameters
    ----------
    error : Exception
        An expected failure names the file itself; a defect does not.
    subject : str
        Name of the file.
    """
    match error:
        case GarbledMessageError():
            blame = "The file is damaged or made to do harm, or this is a defect of ours"
            text = f"{subject}: {error}. {blame}: please report it."
        case DefectError():
            text = f"{subject}: A defect of ours: {error.summary}"
        case IdcError():
            text = str(error)
        case _:
            text = f"{subject}: A defect of ours: {error!r}"
    return one_line(text[:_LONGEST])


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _is_shown(character: str) -> bool:
    return (
        character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"
    )
