"""A CUDA that is not there: sessions on the CPU that say they run on a card."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from idc_desktop.models import inference
from idc_desktop.models.model_file import ModelFile


class FakeCuda:
    """A session that says it runs on CUDA and runs no more than `most` patches at a time.

    Attributes
    ----------
    most : int
        May be changed at any time.
    sizes : list of int
        How many patches each run had.
    """

    def __init__(self, session: onnxruntime.InferenceSession, most: int) -> None:
        self._session = session
        self.most = most
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        """Return what a session on a card returns."""
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run on the CPU, or fail as a card whose memory is full."""
        self.sizes.append(len(feed["patches"]))
        if self.sizes[-1] > self.most:
            raise RuntimeError("CUDA error 2: out of memory in /builds/ort/core/bfc_arena.cc")
        return self._session.run(names, feed)


def pretend_cuda(monkeypatch: pytest.MonkeyPatch, most: int = 1 << 20) -> list[FakeCuda]:
    """Make CUDA seem to be there; return the sessions on it, as they are made."""
    real = inference._session
    made: list[FakeCuda] = []

    def session(model: ModelFile, provider: str) -> Any:
        if provider == "cpu":
            return real(model, "cpu")
        made.append(FakeCuda(real(model, "cpu"), most))
        return made[-1]

    monkeypatch.setattr(inference, "cuda_problem", lambda: None)
    monkeypatch.setattr(inference, "_session", session)
    return made
