"""Who has the engine: runs are handed over, and never two engines at work on one slide.

Engines are played by threads of this process that do what the test says.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QCoreApplication
from pytestqt.qtbot import QtBot

from idc_desktop.errors import AnalysisCancelledError
from idc_desktop.models.model_file import read_model
from idc_desktop.processes.engine_messages import AnalyzeJob, Done
from idc_desktop.processes.message import Event, SlideOpened
from idc_desktop.ui import engines
from idc_desktop.ui.run import RunState
from idc_desktop.ui.runs import Runs
from tests.support.messages import IDENTITY, block_of, description_of, plan_of
from tests.support.models import TinyModel
from tests.ui.support import WAIT_MS

A, B = Path("/slides/a.svs"), Path("/slides/b.svs")


class _PlayedJob:
    """Says what it is told to say; when it is cancelled, it ends once it is let go."""

    def __init__(self, job: AnalyzeJob, subject: str) -> None:
        self.job = job
        self.is_cancelled = self.is_over = False
        self._says: queue.Queue[Event | None] = queue.Queue()
        stage.jobs.append(self)
        stage.overlaps += [it for it in stage.jobs if it.is_on(self) and not it.is_over]

    def is_on(self, other: _PlayedJob) -> bool:
        """Whether another job is on the same slide."""
        return self is not other and self.job.slide == other.job.slide

    def say(self, *events: Event) -> None:
        """Say something; a plan is that of the model that was asked for."""
        for event in events:
            self._says.put(event)

    def let_go(self) -> None:
        """End."""
        self._says.put(None)

    def events(self) -> Iterator[Event]:
        while (event := self._says.get()) is not None:
            yield event
        self.is_over = True
        if self.is_cancelled:
            raise AnalysisCancelledError("Cancelled.")

    def cancel(self) -> None:
        self.is_cancelled = True

    def close(self) -> None:
        """It has ended."""


class _Stage:
    def __init__(self) -> None:
        self.jobs: list[_PlayedJob] = []
        self.overlaps: list[_PlayedJob] = []


stage = _Stage()


@pytest.fixture
def runs(
    qtbot: QtBot, tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runs]:
    """Runs whose engines are played."""
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(engines, "Job", _PlayedJob)
    stage.__init__()  # type: ignore[misc]
    made = Runs(read_model(tiny_model.path))
    yield made
    made.cancel_all()
    made.leave()
    for job in stage.jobs:
        job.let_go()
    assert stage.overlaps == []


def opened(identity: str = IDENTITY) -> SlideOpened:
    return SlideOpened(description_of(identity=identity))


def job(number: int, qtbot: QtBot) -> _PlayedJob:
    """Wait for an engine to begin; they are counted from 0."""
    qtbot.waitUntil(lambda: len(stage.jobs) > number, timeout=WAIT_MS)
    return stage.jobs[number]


def planned(runs: Runs) -> tuple[Event, ...]:
    """Return what an engine says until the first block."""
    return (opened(), replace(plan_of(), model=runs.model.sha256), block_of())


def whole(runs: Runs) -> tuple[Event, ...]:
    """Return what an engine says of a whole slide."""
    grid = plan_of().grid
    return (*planned(runs)[:2], block_of(0, 0, grid.rows, grid.cols), Done("2026-01-01T00:00:00Z"))


def test_slide_that_is_left_and_opened_again_waits_for_its_former_engine(
    runs: Runs, qtbot: QtBot
) -> None:
    runs.show(A, None, IDENTITY)
    assert runs.shown is not None
    runs.shown.analyze()
    first = job(0, qtbot)
    first.say(*planned(runs))
    runs.leave()
    assert first.is_cancelled
    runs.show(A, None, IDENTITY)
    run = runs.shown
    run.recall()
    runs.leave()  # and once more, before the second has begun
    runs.show(A, None, IDENTITY)
    run = runs.shown
    run.recall()
    run.analyze()
    QCoreApplication.processEvents()
    assert len(stage.jobs) == 1
    first.let_go()
    second = job(1, qtbot)
    assert second.job.recall
    second.say(opened(), Done())
    second.let_go()
    third = job(2, qtbot)
    assert not third.job.recall
    assert run.state is RunState.RUNNING
    third.say(*whole(runs))
    third.let_go()
    qtbot.waitUntil(lambda: run.state is RunState.DONE, timeout=WAIT_MS)
    assert len(stage.jobs) == 3  # the one that was given up never began


def test_nothing_is_looked_for_while_the_map_is_shown(runs: Runs, qtbot: QtBot) -> None:
    """The picture of the slide comes after the map, and may take long."""
    runs.show(A, None, IDENTITY)
    run = runs.shown
    assert run is not None
    assert "Looking for" in run.message
    run.recall()
    engine = job(0, qtbot)
    engine.say(*planned(runs))
    qtbot.waitUntil(lambda: run.record.done_patches == 4, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "is being read" in run.message, timeout=WAIT_MS)
    assert run.state is RunState.RECALLING


def test_run_of_the_list_goes_on_when_its_slide_is_opened_and_left(
    runs: Runs, qtbot: QtBot
) -> None:
    runs.analyze_all([A, B])
    engine = job(0, qtbot)
    engine.say(*planned(runs))
    run = runs.of(A)
    assert run is not None
    qtbot.waitUntil(lambda: run.record.done_patches == 4, timeout=WAIT_MS)
    runs.show(A, None, IDENTITY)
    assert runs.shown is run
    assert run.state is RunState.RUNNING
    runs.leave()
    runs.show(B, None, "cd" * 32)
    engine.say(*whole(runs)[2:])
    engine.let_go()
    second = job(1, qtbot)
    assert second.job.slide == str(B)
    assert (runs.finished, runs.total) == (1, 2)
    assert not engine.is_cancelled


def test_run_of_a_file_that_was_replaced_is_not_shown(runs: Runs, qtbot: QtBot) -> None:
    """The list had begun with another file of this name."""
    runs.analyze_all([A])
    former = job(0, qtbot)
    former.say(*planned(runs))
    run = runs.of(A)
    assert run is not None
    qtbot.waitUntil(lambda: run.record.slide is not None, timeout=WAIT_MS)
    runs.show(A, None, "cd" * 32)
    assert runs.shown is not run
    assert former.is_cancelled
    former.let_go()
    recall = job(1, qtbot)
    recall.say(opened())
    shown = runs.shown
    assert shown is not None
    qtbot.waitUntil(lambda: shown.state is RunState.FAILED, timeout=WAIT_MS)
    assert "a.svs: The file changed on disk" in shown.message
    assert shown.record.slide is None
    assert not runs.is_active


def test_copies_of_a_slide_take_turns(runs: Runs, qtbot: QtBot) -> None:
    """Both have one run file: the second engine gives way when it has opened its slide."""
    runs.analyze_all([A])
    first = job(0, qtbot)
    first.say(*planned(runs))
    run = runs.of(A)
    assert run is not None
    qtbot.waitUntil(lambda: run.record.done_patches == 4, timeout=WAIT_MS)
    runs.cancel_all()
    runs.analyze_all([B])
    second = job(1, qtbot)
    second.say(opened())
    copy = runs.of(B)
    assert copy is not None
    qtbot.waitUntil(lambda: second.is_cancelled, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "waits" in copy.message, timeout=WAIT_MS)
    assert copy.state is RunState.RUNNING
    second.let_go()
    qtbot.wait(100)  # so long that a third one would have begun
    assert len(stage.jobs) == 2
    first.let_go()
    third = job(2, qtbot)
    third.say(*whole(runs))
    third.let_go()
    qtbot.waitUntil(lambda: not runs.is_active, timeout=WAIT_MS)
    assert third.job.slide == str(B)
    assert (copy.state, copy.record.done_patches) == (RunState.DONE, 30)


def test_of_two_copies_the_one_that_was_opened_first_goes_on(runs: Runs, qtbot: QtBot) -> None:
    """Whichever of their engines was started first."""
    runs.analyze_all([A])
    first = job(0, qtbot)
    runs.show(B, None, IDENTITY)
    shown = runs.shown
    assert shown is not None
    shown.recall()
    second = job(1, qtbot)
    second.say(opened(), *planned(runs)[1:])
    qtbot.waitUntil(lambda: shown.record.done_patches == 4, timeout=WAIT_MS)
    first.say(*planned(runs))  # it held the run file for a moment
    qtbot.waitUntil(lambda: first.is_cancelled, timeout=WAIT_MS)
    first.let_go()
    run = runs.of(A)
    assert run is not None
    qtbot.waitUntil(lambda: "waits" in run.message, timeout=WAIT_MS)
    assert (run.state, run.record.slide) == (RunState.RUNNING, None)
    assert not second.is_cancelled
    second.let_go()
    third = job(2, qtbot)
    assert third.job.slide == str(A)
    third.say(*whole(runs))
    third.let_go()
    qtbot.waitUntil(lambda: not runs.is_active, timeout=WAIT_MS)
    assert run.state is RunState.DONE


def test_copy_that_waits_is_given_up_without_another_engine(runs: Runs, qtbot: QtBot) -> None:
    runs.show(A, None, IDENTITY)
    assert runs.shown is not None
    runs.shown.recall()
    first = job(0, qtbot)
    first.say(opened())
    shown = runs.shown
    qtbot.waitUntil(lambda: shown.record.slide is not None, timeout=WAIT_MS)
    runs.analyze_all([B])
    second = job(1, qtbot)
    second.say(opened())
    qtbot.waitUntil(lambda: second.is_cancelled, timeout=WAIT_MS)
    run = runs.of(B)
    assert run is not None
    qtbot.waitUntil(lambda: "waits" in run.message, timeout=WAIT_MS)
    run.cancel()
    second.let_go()
    first.let_go()
    qtbot.waitUntil(lambda: not runs.is_active, timeout=WAIT_MS)
    assert run.state is RunState.READY
    assert len(stage.jobs) == 2


def test_pause_and_cancel_of_an_engine_that_has_not_begun(runs: Runs, qtbot: QtBot) -> None:
    runs.show(A, None, IDENTITY)
    assert runs.shown is not None
    runs.shown.recall()
    former = job(0, qtbot)
    runs.leave()
    runs.analyze_all([A])
    runs.pause_all()
    former.let_go()
    qtbot.waitUntil(lambda: runs.is_waiting(A), timeout=WAIT_MS)
    assert runs.is_paused
    runs.resume_all()
    second = job(1, qtbot)
    assert not second.job.recall
    runs.pause_all()
    runs.resume_all()  # before it is over
    second.let_go()
    third = job(2, qtbot)
    run = runs.of(A)
    assert run is not None
    run.cancel()  # as who looks at it does
    third.let_go()
    qtbot.waitUntil(lambda: not runs.is_active, timeout=WAIT_MS)
    assert runs.finished == 1
