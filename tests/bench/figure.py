"""One line of a bench's table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured figure; one without a target is only told."""

    name: str
    value: float
    unit: str
    target: float | None = None

    @property
    def passed(self) -> bool:
        return self.target is None or self.value <= self.target

    def __str__(self) -> str:
        line = f"{self.name:<44}{self.value:>9.2f} {self.unit:<3}"
        if self.target is None:
            return line.rstrip()
        return f"{line} <= {self.target:>7.2f}  {'PASS' if self.passed else 'FAIL'}"
