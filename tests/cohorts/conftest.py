"""A cohort of tiny slides."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cohorts.support import TinyCohort
from tests.support.models import TinyModel
from tests.support.scenes import Scene


@pytest.fixture
def cohort(
    tmp_path: Path,
    data_dir: Path,
    tiny_model: TinyModel,
    tiny_slide: Scene,
    monkeypatch: pytest.MonkeyPatch,
) -> TinyCohort:
    """A cohort without slides yet."""
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(data_dir))
    slides = tmp_path / "slides"
    slides.mkdir()
    return TinyCohort(slides, tmp_path / "results", tiny_model.path, tiny_slide.path)
