"""One line of a bench's table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured figure: at most `target`, at least `floor`; one without either is only told."""

    name: str
    value: float
    unit: str
    target: float | None = None
    floor: float | None = None

    @property
    def passed(self) -> bool:
        return (self.target is None or self.value <= self.target) and (
            self.floor is None or self.value >= self.floor
        )

    def __str__(self) -> str:
        line = f"{self.name:<44}{self.value:>9.2f} {self.unit:<3}"
        if self.target is None and self.floor is None:
            return line.rstrip()
        bound = f"<= {self.target:>7.2f}" if self.floor is None else f">= {self.floor:>7.2f}"
        return f"{line} {bound}  {'PASS' if self.passed else 'FAIL'}"
