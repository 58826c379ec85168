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
