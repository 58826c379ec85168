"""What a researcher can get wrong, or mend; exit codes are those of ``idc_desktop.errors``."""

from __future__ import annotations

from idc_desktop.errors import IdcError


class DataError(IdcError):
    """The patches, the split or the counts cannot be used."""


class RunError(IdcError):
    """A training run is missing, damaged, or does not belong to these settings."""


class ParityError(IdcError):
    """The exported file does not compute what the network computes."""
