"""Runs: that of the open slide, those of the list, and one engine on each."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.outcome import Outcome
from idc_desktop.ui.run import RunState
from tests.support.processes import engines_of
from tests.support.scenes import Scene, write_tissue_slide
from tests.support.slides import write_tiff
from tests.ui.support import WAIT_MS, analyze, tips_of, words_of


@pytest.fixture
def slides(tmp_path: Path, tiny_slide: Scene) -> list[Path]:
    """Two slides with tissue, and between them rubbish and one of unknown resolution."""
    folder = tmp_path / "slides"
    folder.mkdir()
    paths = [folder / f"{name}.tiff" for name in ("a", "bad", "c-bare", "d")]
    shutil.copy(tiny_slide.path, paths[0])
    paths[1].write_bytes(b"rubbish" * 99)
    write_tiff(paths[2], [np.full((500, 600, 3), 200, np.uint8)], mpp=None)
    shutil.copy(tiny_slide.path, paths[3])
    with paths[3].open("ab") as file:  # else both were one slide to the store
        file.write(b"\0" * 64)
    return paths


def run_all(window: MainWindow, qtbot: QtBot) -> None:
    window.slide_panel.run_button.click()
    qtbot.waitUntil(lambda: not window.document.runs.is_active, timeout=WAIT_MS)


def test_all_slides_are_analyzed_and_a_bad_one_stops_nobody(
    window: MainWindow, qtbot: QtBot, slides: list[Path]
) -> None:
    window.slides.add(slides)
    qtbot.waitUntil(lambda: "…" not in words_of(window).values(), timeout=WAIT_MS)
    runs = window.document.runs
    run_all(window, qtbot)

    said = words_of(window)
    assert said["a.tiff"].startswith("IDC ")
    assert said["a.tiff"] == said["d.tiff"]
    assert said["bad.tiff"] == said["c-bare.tiff"] == "failed"
    tips = tips_of(window)
    assert "at the threshold " in tips[0]
    assert "bad.tiff: " in tips[1].split("\n")[1]
    assert "open the slide and give it" in tips[2]
    assert window.document.path is None  # nobody was taken anywhere
    assert (runs.total, runs.finished) == (4, 4)

    run_all(window, qtbot)  # only those that failed are tried again
    assert runs.total == 2


@pytest.fixture
def given(window: MainWindow, qtbot: QtBot, slides: list[Path], tmp_path: Path) -> Path:
    """A slide that does not state its resolution; it is open, and 8 µm were given by hand."""
    path = tmp_path / "slides" / "tissue.tiff"
    scene = write_tissue_slide(tmp_path / "stated.tiff", (600, 500), 8.0)
    write_tiff(path, scene.levels, mpp=None)
    document = window.document
    window.open(path)
    qtbot.waitUntil(lambda: document.path == path, timeout=WAIT_MS)
    document.give_resolution(8.0)
    qtbot.waitUntil(lambda: document.mpp_xy == (8.0, 8.0), timeout=WAIT_MS)
    return path


def test_resolution_given_by_hand_is_kept_for_the_list(
    window: MainWindow, qtbot: QtBot, slides: list[Path], given: Path
) -> None:
    document = window.document
    window.open(slides[0])
    qtbot.waitUntil(lambda: document.path == slides[0], timeout=WAIT_MS)
    run_all(window, qtbot)
    assert "IDC " in words_of(window)["tissue.tiff"]

    window.open(given)
    qtbot.waitUntil(lambda: document.path == given, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: document.state is RunState.DONE, timeout=WAIT_MS)  # the very same run
    document.give_resolution(4.0)
    qtbot.waitUntil(lambda: document.mpp_xy == (4.0, 4.0), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: words_of(window)["tissue.tiff"] == "not analyzed", timeout=WAIT_MS)


def test_slide_with_a_given_resolution_is_handed_over(
    window: MainWindow, qtbot: QtBot, slides: list[Path], given: Path
) -> None:
    document, runs = window.document, window.document.runs
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    runs.analyze_all([given])
    window.open(slides[0])
    qtbot.waitUntil(lambda: document.path == slides[0], timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not runs.is_active, timeout=WAIT_MS)
    assert "IDC " in words_of(window)["tissue.tiff"]


def test_pause_resume_and_stop(window: MainWindow, qtbot: QtBot, slides: list[Path]) -> None:
    panel, runs = window.slide_panel, window.document.runs
    window.slides.add(slides)
    action = window.verbs.action("Analyze or pause all slides")
    action.trigger()
    assert panel.run_button.text() == "Pause all"
    assert panel.count.text() == "Slide 1 of 4"
    action.trigger()
    assert panel.run_button.text() == "Resume all"
    qtbot.waitUntil(lambda: not engines_of(os.getpid()), timeout=WAIT_MS)
    assert runs.is_active
    assert words_of(window)["d.tiff"] == "waiting"
    action.trigger()
    qtbot.waitUntil(lambda: words_of(window)["a.tiff"].startswith("IDC"), timeout=WAIT_MS)
    window.verbs.action("Stop analyzing all slides").trigger()
    assert not runs.is_active
    assert not panel.stop_button.isVisible()
    qtbot.waitUntil(lambda: not engines_of(os.getpid()), timeout=WAIT_MS)
    assert words_of(window)["d.tiff"] == "not analyzed"
    assert words_of(window)["a.tiff"].startswith("IDC")


def test_slide_that_is_open_is_analyzed_where_it_is_seen(
    window: MainWindow, qtbot: QtBot, slides: list[Path]
) -> None:
    window.slides.add(slides[:1])
    window.open(slides[0])
    qtbot.waitUntil(lambda: window.document.state is RunState.READY, timeout=WAIT_MS)
    run_all(window, qtbot)
    assert window.document.state is RunState.DONE
    assert window.document.runs.of(slides[0]) is window.document.run
    assert words_of(window)["a.tiff"].startswith("IDC")


def test_slide_that_is_opened_or_left_meanwhile_is_handed_over(
    window: MainWindow, qtbot: QtBot, slides: list[Path]
) -> None:
    runs, document = window.document.runs, window.document
    window.slides.add([slides[0], slides[3]])
    window.slide_panel.run_button.click()
    run = runs.of(slides[0])
    assert run is not None
    window.open(slides[0])  # the one that is under way
    qtbot.waitUntil(lambda: document.path == slides[0], timeout=WAIT_MS)
    window.open(slides[3])
    qtbot.waitUntil(lambda: not runs.is_active, timeout=3 * WAIT_MS)
    said = words_of(window)
    assert said["a.tiff"] == said["d.tiff"]
    assert said["a.tiff"].startswith("IDC")
    qtbot.waitUntil(lambda: document.state is RunState.DONE, timeout=WAIT_MS)


def test_outcome_of_the_open_slide_is_remembered_for_this_file_and_model(
    window: MainWindow, qtbot: QtBot, slides: list[Path]
) -> None:
    window.open(slides[0])
    analyze(window, qtbot)
    document = window.document
    own, sha256 = document.card.threshold, document.model.sha256
    qtbot.waitUntil(lambda: sha256 in Outcome.all_stored(slides[0]), timeout=WAIT_MS)
    found = Outcome.all_stored(slides[0])[sha256]
    assert found.threshold == own
    assert words_of(window)["a.tiff"] == found.text(document.card)
    document.show(threshold=0.01)  # as the panel beside it
    qtbot.waitUntil(lambda: words_of(window)["a.tiff"].endswith(" at 0.010"), timeout=WAIT_MS)
    share = window.inspector.statistics.figures["IDC, of analyzed area"]
    qtbot.waitUntil(lambda: share.text().startswith("100"), timeout=WAIT_MS)
    assert words_of(window)["a.tiff"] == "IDC 100 % at 0.010"
    document.show(threshold=0.02)
    window.open(slides[3])  # at once: it is kept all the same
    qtbot.waitUntil(lambda: document.path == slides[3], timeout=WAIT_MS)
    kept = partial(Outcome.all_stored, slides[0])
    qtbot.waitUntil(lambda: kept()[sha256].threshold == 0.02, timeout=WAIT_MS)
    assert words_of(window)["a.tiff"].endswith(" at 0.020")
    with qtbot.waitSignal(document.model_changed, timeout=WAIT_MS):
        document.choose_model("baseline")
    assert words_of(window)["a.tiff"].startswith("analyzed with ")
    tip = tips_of(window)[window.slides.paths().index(slides[0])]
    assert "Not analyzed with baseline" in tip
    assert "mm² of IDC at the threshold 0.020" in tip
    os.utime(slides[0], ns=(1, 1))
    assert Outcome.all_stored(slides[0]) == {}


def test_outcome_goes_when_an_analysis_begins_anew(
    window: MainWindow, qtbot: QtBot, slides: list[Path]
) -> None:
    document = window.document
    window.open(slides[0])
    analyze(window, qtbot)
    assert words_of(window)["a.tiff"].startswith("IDC")
    document.analyze_again()
    document.cancel()
    assert window.slide_panel.statuses.settle()
    assert Outcome.all_stored(slides[0]) == {}
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    assert words_of(window)["a.tiff"] == "not analyzed"

    run_all(window, qtbot)
    assert window.document.runs.total == 1
    assert words_of(window)["a.tiff"].startswith("IDC")


def test_another_model_ends_the_list(window: MainWindow, qtbot: QtBot, slides: list[Path]) -> None:
    window.slides.add(slides)
    window.slide_panel.run_button.click()
    with qtbot.waitSignal(window.document.model_changed, timeout=WAIT_MS):
        window.document.choose_model("baseline")
    assert not window.document.runs.is_active
    left = {"not analyzed", "cannot be read"}
    qtbot.waitUntil(lambda: set(words_of(window).values()) <= left, timeout=WAIT_MS)
