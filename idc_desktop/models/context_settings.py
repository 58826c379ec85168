"""The block ``idc.context`` of a model's card: how its context map is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from idc_desktop.models.operation import Operation


@dataclass(frozen=True)
class ContextSettings:
    """What `idc_desktop.maps.context` needs, and what thresholds of the context map mean.

    Attributes
    ----------
    sigma_patches : float
        Width of the neighbourhood: standard deviation of a Gaussian, in patches.
    a, b : float
        Calibration: probability = 1 / (1 + exp(-(a · log-odds + b))).
    margins : tuple of float
        Quantiles, at equal steps from 0 to 1, of how far the log-odds of labelled patches are
        from the threshold: what uncertainty is measured by.
    operation : Operation
    """

    sigma_patches: float
    a: float
    b: float
    margins: tuple[float, ...]
    operation: Operation

    @classmethod
    def from_document(cls, block: Mapping[str, Any]) -> ContextSettings:
        """Take the block of a validated card."""
        return cls(
            sigma_patches=float(block["sigma_patches"]),
            a=float(block["calibration"]["a"]),
            b=float(block["calibration"]["b"]),
            margins=tuple(sorted(map(float, block["margins"]))),
            operation=Operation.from_document(block["threshold"], block["curve"]),
        )
