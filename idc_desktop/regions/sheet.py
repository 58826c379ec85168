"""What is written about a slide by hand, for its report."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self


@dataclass(frozen=True)
class Sheet:
    """What only people know of a slide; empty texts say nothing.

    Attributes
    ----------
    case : str
        By what the case is known.
    reader : str
        Who looked at it.
    comment, conclusion : str
        Several lines each, if need be.
    """

    case: str = ""
    reader: str = ""
    comment: str = ""
    conclusion: str = ""

    @property
    def nameless(self) -> Self:
        """What of it names neither case nor reader."""
        return replace(self, case="", reader="")

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Take over what is text of stored values."""
        known = values if isinstance(values, dict) else {}
        texts = {it.name: known.get(it.name) for it in fields(cls)}
        return cls(**{name: text for name, text in texts.items() if isinstance(text, str)})
