"""What the list says of a slide, whatever comes first: what is stored, or what is going on."""

from __future__ import annotations

from pathlib import Path

import pytest

from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.outcome import Outcome

SLIDE = Path("/slides/a.svs")


@pytest.fixture
def sha256(window: MainWindow) -> str:
    """The SHA-256 of the model that is chosen."""
    return window.document.model.sha256


def outcome(model: str, fraction: float) -> Outcome:
    return Outcome(model, 0.5, fraction, 1e6, 0)


def test_other_models_are_named_where_this_one_found_nothing(
    window: MainWindow, sha256: str
) -> None:
    statuses = window.slide_panel.statuses
    assert statuses.of(SLIDE).words == "…"
    statuses.learn(SLIDE, {})
    assert statuses.of(SLIDE).words == "not analyzed"
    statuses.learn(SLIDE, {"ab" * 32: outcome("other", 0.25)})
    assert statuses.of(SLIDE).words == "analyzed with other"
    assert statuses.of(SLIDE).detail.startswith("Not analyzed with ")
    assert "1.000 mm² of IDC at the threshold 0.500 of other" in statuses.of(SLIDE).detail
    assert statuses.left_to_do([SLIDE]) == [SLIDE]
    statuses.learn(SLIDE, {sha256: outcome("tiny", 0.75)})
    assert statuses.of(SLIDE).words.startswith("IDC 75 %")
    assert statuses.left_to_do([SLIDE]) == []


def test_what_is_stored_is_not_believed_once_an_analysis_has_begun(
    window: MainWindow, sha256: str
) -> None:
    """The look at the file may have been before."""
    statuses, runs = window.slide_panel.statuses, window.document.runs
    runs.analyze_all([SLIDE])
    assert statuses.of(SLIDE).words == "starting …"
    runs.cancel_all()
    statuses.learn(SLIDE, {sha256: outcome("tiny", 0.75), "ab" * 32: outcome("other", 0.25)})
    assert statuses.of(SLIDE).words == "analyzed with other"
    assert statuses.left_to_do([SLIDE]) == [SLIDE]


def test_slide_that_cannot_be_read_says_why(window: MainWindow) -> None:
    statuses = window.slide_panel.statuses
    statuses.learn(SLIDE, {})
    statuses.take_unreadable(SLIDE, "a.svs: damaged")
    assert statuses.of(SLIDE).words == "cannot be read"
    assert statuses.of(SLIDE).detail == "a.svs: damaged"
