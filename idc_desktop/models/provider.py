"""What a model is run on: asked for, and got."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Provider = Literal["auto", "cpu", "cuda"]
"""What a run is asked to run on."""

UsedProvider = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class ProviderChoice:
    """The execution provider that was asked for, the one in use, and why they differ."""

    requested: Provider
    used: UsedProvider
    fallback_reason: str | None

    def words(self) -> str:
        """Return it in a line, for people: ``cpu (auto was asked for: no CUDA device)``."""
        if self.fallback_reason is None:
            return self.used
        return f"{self.used} ({self.requested} was asked for: {self.fallback_reason})"
