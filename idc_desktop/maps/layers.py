"""The layers of a map: the quantities that an analyzed patch may have, and how they are kept.

No other module knows how values are kept: each is rounded once, to a whole number of steps, of
which the range of its layer has a million. So equal values stay equal, and 6 decimals of a
probability are exact.

NumPy is imported where arrays are asked for, as in `grid`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Stored = npt.NDArray[np.int32]

STEPS = 1_000_000
"""Steps of a layer's range."""

NO_VALUE = -1
"""Stands among stored values where a patch has none."""

VALUE_BYTES = 4
"""Of a stored value, packed."""

PATCH = "patch"
"""The layer that every map has: what the model says of a patch alone."""

CONTEXT, UNCERTAINTY = "context", "uncertainty"
"""Layers that are made of the patch layer, by models that bring the settings (`context`)."""

SHIELD = "shield"
"""Is kept as a layer, but is no quantity: the place in `REASONS` of what was found on a patch."""

ADDED = "added"
"""Is kept as a layer, too: 1 for a patch that was computed since the user counts it as tissue."""

REASONS = ("", "pen", "blur", "fold", "bubble or edge", "ink", "colour", "blank")
"""Why a patch may be left out of all figures; the places are part of the store's format."""


@dataclass(frozen=True)
class LayerKind:
    """What a layer is a map of.

    Attributes
    ----------
    name : str
        By which it is asked for and stored.
    column : str
        Its name among the columns and measurements of a patch in exports.
    title : str
        For people, such as ``Probability of IDC``.
    unit, symbol : str
        What stands beside its scale, and before a value, such as ``P(IDC)`` and ``p``.
    low, high : float
        The range of its values; those beyond it are not kept.
    is_derived : bool
        Whether it is made of other layers, and never stored.
    is_of_idc : bool
        Whether its values say how likely IDC is, so that a threshold and figures make sense.
    """

    name: str
    column: str
    title: str
    unit: str
    symbol: str
    low: float = 0.0
    high: float = 1.0
    is_derived: bool = False
    is_of_idc: bool = True

    def stored(self, values: npt.NDArray[np.float64]) -> Stored:
        """Return values as they are kept: rounded, and `NO_VALUE` where one is not in the range."""
        import numpy as np

        fractions = (values - self.low) / (self.high - self.low)
        is_one = (fractions >= 0) & (fractions <= 1)
        return np.where(is_one, np.rint(fractions * STEPS), NO_VALUE).astype(np.int32)

    def at(self, fraction: Any) -> Any:  # noqa: ANN401 - a number for a number, else an array
        """Return the value at a fraction of the range, 0 to 1."""
        return self.low + (self.high - self.low) * fraction

    def value(self, stored: Any) -> Any:  # noqa: ANN401 - as `at`
        """Return the value that is stored as so many steps."""
        return self.at(stored / STEPS)

    def least(self, threshold: float) -> int:
        """Return the smallest stored value that is at or above a threshold."""
        # What a step stands for is compared: the quotient may be rounded to another number.
        least = math.floor((threshold - self.low) / (self.high - self.low) * STEPS)
        while self.value(least) < threshold:
            least += 1
        return least

    def fraction(self, value: float) -> float:
        """Return where in the range a value lies, 0 to 1."""
        return (value - self.low) / (self.high - self.low)


KINDS: Mapping[str, LayerKind] = {
    PATCH: LayerKind(PATCH, "prob_IDC", "Probability of IDC", "P(IDC)", "p"),
    CONTEXT: LayerKind(
        CONTEXT,
        "prob_IDC_context",
        "Probability of IDC in context",
        "P(IDC) in context",
        "p",
        is_derived=True,
    ),
    UNCERTAINTY: LayerKind(
        UNCERTAINTY,
        "uncertainty",
        "Uncertainty",
        "uncertainty",
        "u",
        is_derived=True,
        is_of_idc=False,
    ),
}
"""The layers that there can be, by name, in the order in which they are listed."""


def is_stored(name: str) -> bool:
    """Whether runs keep a layer, and engines tell it."""
    return name in (SHIELD, ADDED) or (name in KINDS and not KINDS[name].is_derived)


def pack(layers: Mapping[str, Stored]) -> bytes:
    """Return stored values as bytes, layer by layer, each row by row."""
    return b"".join(stored.astype("<i4").tobytes() for stored in layers.values())


def unpack(names: Sequence[str], data: bytes, shape: tuple[int, int]) -> dict[str, Stored]:
    """Return the layers of some bytes by name; those that this version does not know are left out.

    So are those that it makes itself.

    Raises
    ------
    ValueError
        The values are not as many, or not within their ranges.
    """
    import numpy as np

    stored = np.frombuffer(data, "<i4").astype(np.int32).reshape(len(names), *shape)
    layers = {name: it for name, it in zip(names, stored, strict=True) if is_stored(name)}
    for name, values in layers.items():
        last = {SHIELD: len(REASONS) - 1, ADDED: 1}.get(name, STEPS)
        if values.size and (values.min() < NO_VALUE or values.max() > last):
            raise ValueError("a value is not within its range")
    return layers
