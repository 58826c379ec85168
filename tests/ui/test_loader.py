"""The decoder of the view: one that hangs is replaced, or the slide is given up."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest
from pytestqt.qtbot import QtBot

from idc_desktop.models.patch_size import PatchSize
from idc_desktop.processes import child
from idc_desktop.ui.tiles.loader import TileLoader
from idc_desktop.ui.tiles.pyramid import Tile
from tests.support.processes import ends_within
from tests.support.scenes import Scene
from tests.ui.support import WAIT_MS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGSTOP")

PATIENCE_S = 2.0
TILE = Tile(0, 0, 0)
PATCH = PatchSize(50, 8.0)


@pytest.fixture
def loader(
    qtbot: QtBot, tiny_slide: Scene, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TileLoader]:
    """A loader of little patience that has just been started."""
    monkeypatch.setattr(child, "_END_WITHIN_S", 1.0)
    made = TileLoader(str(tiny_slide.path), None, patience_s=PATIENCE_S)
    yield made
    made.close()


def stop(loader: TileLoader) -> int:
    pid = loader._child.pid
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_decoder_that_hangs_over_a_tile_is_replaced(loader: TileLoader, qtbot: QtBot) -> None:
    with qtbot.waitSignal(loader.opened, timeout=WAIT_MS):
        pass
    qtbot.wait(round(1000 * PATIENCE_S) + 500)  # who is asked nothing may be silent
    assert loader._life == 1
    pid = stop(loader)
    loader.want("view", [TILE])
    qtbot.waitUntil(lambda: loader.get(TILE) is not None, timeout=WAIT_MS)
    assert loader._life == 2
    assert ends_within(pid, 20)


def test_patch_comes_from_the_next_decoder(loader: TileLoader, qtbot: QtBot) -> None:
    """Nobody asks for it again, as the view does for its tiles."""
    with qtbot.waitSignal(loader.opened, timeout=WAIT_MS):
        pass
    os.kill(loader._child.pid, signal.SIGKILL)
    with qtbot.waitSignal(loader.patch_loaded, timeout=WAIT_MS) as arrived:
        loader.ask_patch(PATCH, 1, 2)
    assert arrived.args[0].width() == 3 * PATCH.side_px
    assert loader._life == 2


def test_decoder_that_hangs_at_opening_is_replaced_once(loader: TileLoader, qtbot: QtBot) -> None:
    stop(loader)
    qtbot.waitUntil(lambda: loader._life == 2, timeout=WAIT_MS)
    stop(loader)
    with qtbot.waitSignal(loader.refused, timeout=WAIT_MS) as refused:
        pass
    assert f"tiny.tiff: The reader process said nothing for {PATIENCE_S:g} s" in refused.args[0]
    assert loader._life == 2


def test_slide_that_kills_every_decoder_is_named(loader: TileLoader, qtbot: QtBot) -> None:
    with qtbot.waitSignal(loader.refused, timeout=WAIT_MS) as refused:
        for life in (1, 2):
            qtbot.waitUntil(lambda life=life: loader._life == life, timeout=WAIT_MS)
            os.kill(loader._child.pid, signal.SIGABRT)
    assert refused.args[0] == (
        "tiny.tiff: The reader process was ended by SIGABRT, again and again. The file is damaged, "
        "its disk does not answer, or memory ran out."
    )


def test_slide_whose_share_is_gone_is_given_up(loader: TileLoader, qtbot: QtBot) -> None:
    """It was open before; every decoder hangs from now on."""
    with qtbot.waitSignal(loader.opened, timeout=WAIT_MS):
        pass
    stop(loader)
    loader.want("view", [TILE])
    for life in (2, 3):
        qtbot.waitUntil(lambda life=life: loader._life == life, timeout=WAIT_MS)
        stop(loader)
    with qtbot.waitSignal(loader.refused, timeout=WAIT_MS):
        pass
    loader.want("view", [TILE])  # the view may go on asking
    qtbot.wait(round(1000 * PATIENCE_S) + 500)
    assert loader._life == 3
