"""The bar asks where the objective contradicts the resolution, and proposes where there is none."""

from __future__ import annotations

from pathlib import Path

from pytestqt.qtbot import QtBot

from tests.support.scenes import Scene
from tests.support.slides import write_svs
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS


def test_doubtful_resolution_is_asked_about_and_an_unknown_one_proposed(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, tmp_path: Path
) -> None:
    doubtful = write_svs(tmp_path / "doubtful.svs", tiny_slide.levels, mpp=2.0, power=20)
    unknown = write_svs(tmp_path / "unknown.svs", tiny_slide.levels, mpp=None, power=20)
    window = open_window(doubtful)
    document, bar = window.document, window.resolution_bar

    assert bar.isVisibleTo(window)
    assert "objective (20x) gives pixels of about 0.5 µm" in bar.text.text()
    assert bar.field.value() == 2.0
    assert document.mpp_xy == (2.0, 2.0)

    document.open(unknown)
    qtbot.waitUntil(lambda: document.path == unknown, timeout=WAIT_MS)
    assert "Its objective, 20x, suggests about 0.5." in bar.text.text()
    assert (bar.field.value(), document.mpp_xy) == (0.0, None)  # never used without being asked
