"""What the window keeps is for its user alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from idc_desktop.ui.main_window import MainWindow


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_other_users_cannot_read_what_the_window_keeps(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    qtbot.waitUntil(lambda: any(data.glob("thumbnails/*.png")), timeout=20_000)
    analyzed.close()

    kept = [data, *data.rglob("*")]
    names = {it.relative_to(data).parts[0] for it in kept[1:]}
    assert names >= {"settings.json", "slides", "outcomes", "thumbnails"}
    assert [it for it in kept if stat.S_IMODE(it.stat().st_mode) & 0o077] == []
