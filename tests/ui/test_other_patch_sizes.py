"""The window with a model that sees other patches than ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from tests.support.models import write_tiny_model
from tests.support.scenes import write_tissue_slide
from tests.ui.support import WAIT_MS, analyze, window_with


def test_patch_is_shown_as_the_model_saw_it(
    qtbot: QtBot, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(data_dir))
    model = write_tiny_model(tmp_path / "wide.onnx", side_px=96, spacing_um_px=4.0)
    scene = write_tissue_slide(tmp_path / "slide.tiff", (1000, 600), 2.0)
    with window_with(model.path) as window:
        window.open(scene.path)
        analyze(window, qtbot)
        document, images = window.document, list[QImage]()
        assert document.map is not None
        assert document.map.states.shape == (4, 6)
        assert document.tiles is not None
        document.tiles.patch_loaded.connect(images.append)

        document.select((1, 2))
        qtbot.waitUntil(lambda: bool(images), timeout=WAIT_MS)

        assert (images[0].width(), images[0].height()) == (3 * 96, 3 * 96)
        pixel = images[0].pixelColor(96, 96)
        seen = scene.levels[0][2 * 96 : 2 * 96 + 2, 4 * 96 : 4 * 96 + 2].mean(axis=(0, 1))
        assert abs(pixel.red() - seen[0]) <= 1


def test_smallest_focus_follows_the_patch_unless_one_was_typed(
    qtbot: QtBot, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(data_dir))
    model = write_tiny_model(tmp_path / "fine.onnx", side_px=32, spacing_um_px=4.0)
    scene = write_tissue_slide(tmp_path / "slide.tiff", (1000, 600), 2.0)
    with window_with(model.path) as window:
        window.open(scene.path)
        analyze(window, qtbot)
        foci = window.foci
        window.document.show(threshold=0.5)
        qtbot.waitUntil(lambda: foci._patch_mm2 == 0.02, timeout=WAIT_MS)  # of 128 µm

        assert foci._least.text() == "0.02 mm²"
        assert foci.rules().min_area_um2 is None
        foci._least.setValue(0.5)
        foci._find()
        assert foci.rules().min_area_um2 == 500_000
