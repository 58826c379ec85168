"""A process that a hostile slide took over: the window says so once, lives on, and writes nowhere.

The window itself is never replaced here: an unexpected exception in a slot fails the test.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from idc_desktop.processes.child import Child
from idc_desktop.processes.supervisor import Job
from idc_desktop.ui import engines
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.run import RunState
from idc_desktop.ui.tiles import loader
from tests.support.lying_process import MODULE, VARIABLE, Lie
from tests.support.scenes import Scene
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS

NAN, INFINITY = float("nan"), float("inf")
ENGINE = "idc_desktop.children.engine"


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Every process that the window starts runs as a lying one; undone in the middle of a test."""
    with monkeypatch.context() as patch:
        patch.setattr(loader, "Child", lambda _, job: Child(MODULE, job))
        patch.setattr(engines, "Job", functools.partial(Job, module=MODULE))
        yield patch


def beside_the_data(tmp_path: Path) -> set[Path]:
    """Return all that lies beside the data folder."""
    return {it for it in tmp_path.rglob("*") if "data" not in it.relative_to(tmp_path).parts}


def assert_alive(window: MainWindow, qtbot: QtBot, slide: Path) -> None:
    """Open a slide with an honest decoder."""
    window.document.open(slide)
    qtbot.waitUntil(lambda: window.document.path == slide and window.view.is_sharp, timeout=WAIT_MS)


@pytest.mark.parametrize(
    "lie",
    [
        Lie(head="{"),
        Lie(head="[" * 100_000),
        Lie(head='{"event": "shutdown"}'),
        Lie(head='{"event": "pixels", "request": 1, "width": 2, "height": 2}', payload=16),
        Lie(head='{"event": "start", "number": 1}'),
        Lie(head="x", claimed=0xFFFFFFFF),
        Lie(change={"slide.identity": "../../"}),
        Lie(change={"slide.levels": []}),
        Lie(change={"slide.levels.0.downsample": NAN}),
        Lie(change={"slide.width_l0": 10**30}),
        Lie(change={"slide.mpp_x": NAN}),
        Lie(change={"slide.bounds": [0, 0, 10**9, 1]}),
        Lie(payload=100),
        Lie(times=2),
        Lie("start", change={"number": 999}),
        Lie("start", times=2),
        Lie("start", head='{"event": "reading", "request": 1, "parts_left": 3}'),
        Lie("pixels", head='{"event": "reading", "request": 1, "parts_left": 3}', times=2),
        Lie("pixels", change={"width": 20_000, "height": 20_000}, payload=16),
        Lie("pixels", change={"width": 20_000, "height": 20_000}, payload=16, claimed=1600_000_000),
        Lie("pixels", change={"width": 512, "height": 128}),
        Lie("pixels", change={"request": 999}),
        Lie("pixels", payload=0),
        Lie("pixels", times=2),
        Lie("pixels", head="\x00" * 10),
    ],
)  # fmt: skip
def test_decoder_that_lies_is_refused_once(
    window: MainWindow,
    qtbot: QtBot,
    lying: pytest.MonkeyPatch,
    tiny_slide: Scene,
    tmp_path: Path,
    lie: Lie,
) -> None:
    lying.setenv(VARIABLE, lie.variable())
    reasons: list[str] = []
    window.document.refused.connect(reasons.append)
    before = beside_the_data(tmp_path)

    window.document.open(tiny_slide.path)
    qtbot.waitUntil(lambda: bool(reasons), timeout=WAIT_MS)

    assert reasons[0].startswith("tiny.tiff: The reader process sent what makes no sense (")
    assert reasons[0].isprintable()
    if lie.event == "slide" and lie.times == 1:
        assert window.document.message == reasons[0]
        assert not (tmp_path / "data" / "slides").exists()
    lying.undo()
    assert_alive(window, qtbot, tiny_slide.path)
    assert len(reasons) == 1
    assert all(len(it.name) == 32 for it in (tmp_path / "data" / "slides").iterdir())
    assert beside_the_data(tmp_path) == before


def test_failure_that_is_as_long_as_a_book_is_told_in_a_line(
    window: MainWindow, qtbot: QtBot, lying: pytest.MonkeyPatch, tiny_slide: Scene
) -> None:
    said = '{"event": "error", "kind": "SlideError", "message": "%s"}' % ("no\\n\\u001b[2J" * 5000)
    lying.setenv(VARIABLE, Lie(head=said).variable())
    with qtbot.waitSignal(window.document.refused, timeout=WAIT_MS) as refused:
        window.document.open(tiny_slide.path)
    assert refused.args[0].isprintable()
    assert len(refused.args[0]) < 20_000


@pytest.mark.parametrize(
    "lie",
    [
        Lie(head="{", module=ENGINE),
        Lie("plan", change={"grid.step_x_l0": NAN}, module=ENGINE),
        Lie("block", change={"row": 10_000}, module=ENGINE),
        Lie("overview", change={"row": 5}, module=ENGINE),
    ],
)  # fmt: skip
def test_engine_that_lies_ends_the_run_with_a_line(
    open_window: OpenWindow,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    tiny_slide: Scene,
    lie: Lie,
) -> None:
    window = open_window(tiny_slide.path)
    document = window.document
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    with monkeypatch.context() as lying:
        lying.setattr(engines, "Job", functools.partial(Job, module=MODULE))
        lying.setenv(VARIABLE, lie.variable())
        document.analyze()
        qtbot.waitUntil(lambda: document.state is RunState.FAILED, timeout=WAIT_MS)

    assert document.message.startswith("tiny.tiff: The reader process sent what makes no sense (")
    assert document.message.isprintable()
    document.analyze()
    qtbot.waitUntil(lambda: document.state is RunState.DONE, timeout=WAIT_MS)
