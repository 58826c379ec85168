"""Which cases train, which validate, which test: always whole cases, never patches."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from trainer.errors import DataError


@dataclass(frozen=True)
class Split:
    """Three disjoint sets of case ids; `name` says where they come from."""

    name: str
    train: frozenset[str]
    validation: frozenset[str]
    test: frozenset[str]

    def __post_init__(self) -> None:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        for (first, one), (second, other) in combinations(parts.items(), 2):
            if shared := sorted(one & other):
                raise DataError(
                    f"Case {shared[0]} is in the {first} part and in the {second} part of the "
                    f"split ({len(shared)} such cases). Each case may be in one part only."
                )


def read_official_split(folder: Path) -> Split:
    """Read the published split: ``official_{train,val,test}.txt``, one case id per line.

    Raises
    ------
    DataError
        A file is missing or empty, or a case is in two parts.
    """
    parts = []
    for part in ("train", "val", "test"):
        path = folder / f"official_{part}.txt"
        try:
            cases = frozenset(path.read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError) as cause:
            raise DataError(f"{path} cannot be read. Name its folder with --splits.") from cause
        if not cases:
            raise DataError(f"{path} names no case. Put one case id on each line.")
        parts.append(cases)
    return Split("official", *parts)


def with_unlisted(split: Split, cases: frozenset[str]) -> Split:
    """Add the cases that the split does not name to its training part."""
    unlisted = cases - split.train - split.validation - split.test
    return Split(f"{split.name}+unlisted", split.train | unlisted, split.validation, split.test)
