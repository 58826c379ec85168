"""Random actions by the thousand: no warning, no exception, no leaked child, no growth."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QSlider
from pytestqt.qtbot import QtBot

from idc_desktop.maps.colormap import NAMES
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.view.toolbox import tool_verbs
from tests.support.processes import engines_of
from tests.support.scenes import Scene
from tests.ui.support import drag, part

GROWTH_MB = 60.0
REGION_VERBS = ("Unite", "Subtract the others from the first", "Duplicate", "Delete", "Zoom to")


def memory_mb() -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def actions(
    window: MainWindow, slides: list[Path], chance: random.Random, qtbot: QtBot
) -> list[Callable[[], object]]:
    """Return what a restless user can do."""
    view, document, panel = window.view, window.document, window.inspector

    def point() -> QPointF:
        return QPointF(chance.uniform(-200, 3000), chance.uniform(-200, 2000))

    def click() -> None:
        at = QPoint(chance.randrange(view.width()), chance.randrange(view.height()))
        qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=at)

    def stroke() -> None:
        size = view.size()
        way = [
            QPointF(chance.uniform(0, size.width()), chance.uniform(0, size.height()))
            for _ in range(chance.randrange(2, 6))
        ]
        held = chance.choice([Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier])
        drag(view, way, keys=held)

    def prune() -> None:
        if len(document.regions.all) > 40:
            document.regions.edit("Prune", remove=[it.id for it in document.regions.all[10:]])

    tools = [verb.run for verb in tool_verbs(view)]
    region_verbs = [window.verbs.action(words).trigger for words in REGION_VERBS]
    keys = [Qt.Key.Key_Left, Qt.Key.Key_Down, Qt.Key.Key_Plus, Qt.Key.Key_Minus, Qt.Key.Key_M]
    return [
        lambda: view.camera.set_scale(view.camera.scale * chance.uniform(0.3, 3)),
        lambda: view.camera.centre_on(point()),
        lambda: view.camera.rotate(chance.choice([90, -90, 33])),
        view.camera.flip_across,
        view.camera.flip_down,
        view.camera.set_upright,
        view.camera.fit,
        click,
        lambda: qtbot.keyClick(view, chance.choice(keys)),
        lambda: document.show(threshold=chance.random()),
        lambda: part(panel, QSlider, "Opacity of the map").setValue(chance.randrange(101)),
        lambda: part(panel, QComboBox, "Colours").textActivated.emit(chance.choice(NAMES)),
        lambda: part(panel, QCheckBox, "Smooth").toggle(),
        lambda: part(panel, QCheckBox, "Show (M)").toggle(),
        lambda: document.show(threshold=None),
        lambda: chance.choice(tools)(),
        stroke,
        stroke,
        lambda: chance.choice(region_verbs)(),
        document.history.undo,
        document.history.redo,
        prune,
        lambda: window.foci.step(chance.choice([1, -1])),
        document.analyze,
        document.analyze_again,
        document.pause,
        document.cancel,
        window.slide_panel.analyze_or_pause,
        window.slide_panel.analyze_or_pause,
        lambda: document.runs.cancel_all() if chance.random() < 0.3 else None,
        lambda: part(panel, QCheckBox, "Legend").toggle(),
        lambda: window.resize(chance.randrange(500, 1300), chance.randrange(400, 900)),
        lambda: window.open(chance.choice(slides)) if chance.random() < 0.1 else None,
        lambda: document.close() if chance.random() < 0.03 else None,
    ]


@pytest.mark.parametrize(
    "count", [300, pytest.param(5000, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
def test_random_actions_leave_no_trace(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, tiny_slide: Scene, count: int
) -> None:
    (tmp_path / "rubbish.svs").write_bytes(b"no slide" * 99)
    chance = random.Random(7)
    other = tmp_path / "other.tiff"
    other.write_bytes(tiny_slide.path.read_bytes() + bytes(64))
    slides = [tiny_slide.path, tmp_path / "rubbish.svs", other]
    window.slides.add(slides)
    window.open(tiny_slide.path)
    qtbot.waitUntil(lambda: window.view.is_sharp, timeout=20_000)
    verbs = actions(window, slides, chance, qtbot)
    settled = 0.0
    for number in range(count):
        chance.choice(verbs)()
        QApplication.processEvents()
        if number == count // 5:
            settled = memory_mb()
    window.document.runs.cancel_all()
    window.document.close()
    qtbot.waitUntil(lambda: not engines_of(os.getpid()), timeout=20_000)

    assert memory_mb() - settled < GROWTH_MB
    window.open(tiny_slide.path)
    qtbot.waitUntil(lambda: window.view.is_sharp, timeout=20_000)
