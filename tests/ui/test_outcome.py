"""What is kept of slides: their own share must not be waited for."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from idc_desktop.models.model_file import read_model
from idc_desktop.ui import outcome
from idc_desktop.ui.outcome import Outcome, given_mpp, keep_given_mpp
from tests.support.models import TinyModel

FOUND = Outcome("tiny", 0.5, 0.25, 1e6, 0)


def test_share_that_does_not_answer_is_given_up(
    tmp_path: Path, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "data"))
    model = read_model(tiny_model.path)
    slide = tmp_path / "s.tiff"
    slide.touch()
    keep_given_mpp(slide, 0.5)
    FOUND.store(slide, model)
    assert (given_mpp(slide), Outcome.all_stored(slide)) == (0.5, {model.sha256: FOUND})
    answers = threading.Event()
    stat = os.stat

    def hang(path: Any, *rest: Any, **named: Any) -> os.stat_result:
        if path == slide:
            answers.wait()
        return stat(path, *rest, **named)

    monkeypatch.setattr(os, "stat", hang)
    monkeypatch.setattr(outcome, "_LONGEST_LOOK_S", 0.05)

    keep_given_mpp(slide, 0.75)
    FOUND.store(slide, model)
    Outcome.forget(slide, model)
    assert given_mpp(slide) is None

    answers.set()
    monkeypatch.undo()
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "data"))
    assert (given_mpp(slide), Outcome.all_stored(slide)) == (0.5, {model.sha256: FOUND})


@pytest.mark.parametrize(
    ("name", "value"), [("failed_patches", "none"), ("details", {"figures": {"Foci": 3}})]
)
def test_kept_file_that_was_changed_by_hand_says_nothing(
    tmp_path: Path,
    tiny_model: TinyModel,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: object,
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "data"))
    model = read_model(tiny_model.path)
    slide = tmp_path / "s.tiff"
    slide.touch()
    FOUND.store(slide, model)
    (file,) = (tmp_path / "data" / "outcomes").iterdir()
    kept = json.loads(file.read_text(encoding="utf-8"))
    kept[model.sha256][name] = value
    file.write_text(json.dumps(kept), encoding="utf-8")
    assert Outcome.all_stored(slide) == {}
