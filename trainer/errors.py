"""What a researcher can get wrong, or mend; exit codes are those of ``idc_desktop.errors``."""

from __future__ import annotations

from collections.abc import Collection

from idc_desktop.errors import IdcError, OutputError

MOST_NAMED = 8
"""Of many things that are wrong alike."""


class DataError(IdcError):
    """The patches, the split or the counts cannot be used."""


class RunError(IdcError):
    """A training run is missing, damaged, or does not belong to these settings."""


class ParityError(IdcError):
    """The exported file does not compute what the network computes."""


class BusyError(OutputError):
    """Another process trains in, or writes to, the folder that was named."""


def named(ids: Collection[str]) -> str:
    """Return names in order, separated by commas; of many the first ones."""
    shown = sorted(ids)[:MOST_NAMED]
    return ", ".join(shown) + (", ..." if len(ids) > MOST_NAMED else "")
