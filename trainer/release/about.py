"""What only the researcher knows of a model: whose patches it saw, and what may be done with it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_type_hints

from idc_desktop.plain_files import read_json
from trainer.errors import DataError

_MOST_CHARS, _MOST_LIMITATIONS = 2000, 80  # a card has room for these, and some of our own
NOT_STATED = "not stated"


@dataclass(frozen=True)
class About:
    """Goes into the card word for word; what is not given is "not stated".

    Attributes
    ----------
    data : str
        Name of the data set.
    licence, attribution : str
        Of the weights.
    tissue, stain, scanner : str
        Of the slides that the model is meant for.
    limitations : tuple of str
        Sentences beside those that are true of every model of the trainer.
    """

    data: str = NOT_STATED
    licence: str = NOT_STATED
    attribution: str = NOT_STATED
    tissue: str = NOT_STATED
    stain: str = NOT_STATED
    scanner: str = NOT_STATED
    limitations: tuple[str, ...] = ()


def _is_text(text: str) -> bool:
    return not any("\ud800" <= it <= "\udfff" for it in text)


def read_about(path: Path) -> About:
    """Read a JSON object with any of the attributes of `About`.

    Raises
    ------
    DataError
        The file cannot be read, or holds something else.
    """
    try:
        given = read_json(path, "utf-8-sig")
        about = About(**given | {"limitations": tuple(given.get("limitations", ()))})
    except OSError as cause:
        raise DataError(f"{path} cannot be read ({cause.strerror}).") from cause
    except (ValueError, TypeError, AttributeError) as cause:
        known = ", ".join(get_type_hints(About))
        raise DataError(
            f"{path} is no description of a model ({cause}). It needs a JSON object with any of: "
            f"{known}."
        ) from cause
    for one in fields(About):
        value = getattr(about, one.name)
        texts = value if one.name == "limitations" else (value,)
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise DataError(f"{path}: {one.name} must be text, and not empty.")
        if not all(len(text) <= _MOST_CHARS and _is_text(text) for text in texts):
            raise DataError(
                f"{path}: {one.name} must have no more than {_MOST_CHARS:,} characters, none of "
                "them half a surrogate pair."
            )
    if len(about.limitations) > _MOST_LIMITATIONS:
        raise DataError(f"{path}: There may be {_MOST_LIMITATIONS} limitations at most.")
    return about
