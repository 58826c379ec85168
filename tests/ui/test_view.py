"""The view's mouse and keys, its minimap, and screens of high density."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from idc_desktop.analysis.tiling import PatchReader
from idc_desktop.children.decoder import read_neighbourhood
from idc_desktop.errors import SlideReadError
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models.patch_size import PatchSize
from idc_desktop.slides.reader import Slide
from idc_desktop.ui.view.minimap import Minimap
from tests.support.scenes import Scene
from tests.support.slides import write_tiff
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, drag, pixels_of

DENSE = """
import sys
from pathlib import Path
import numpy as np
from PySide6.QtCore import QPointF
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication
from idc_desktop.ui.app import create_window
from idc_desktop.ui.settings import Settings

application = QApplication([])
window = create_window(Settings())
window.resize(900, 500)
window.show()
window.open(Path(sys.argv[1]))
view = window.view
def wait():
    while not view.is_sharp:
        application.processEvents()
wait()
view.camera.show_pixels()
assert view.camera.scale == 0.5, view.camera.scale
view.camera.centre_on(QPointF(600, 450))
wait()
picture = view.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
assert picture.width() == 2 * view.width()
corner = view.camera.to_l0(QPointF(0, 0))
data = np.frombuffer(picture.constBits(), np.uint8).reshape(picture.height(), -1)
shown = data[:, : 3 * picture.width()].reshape(picture.height(), picture.width(), 3)
image = np.load(sys.argv[2])
y, x = round(corner.y()), round(corner.x())
part = np.s_[200:600, 100:400]
assert np.array_equal(shown[part], image[y:, x:][part])
window.close()
"""


def test_one_to_one_is_exact_on_a_dense_screen(tmp_path: Path) -> None:
    image = np.random.default_rng(3).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    write_tiff(tmp_path / "noise.tiff", [image], mpp=0.5)
    np.save(tmp_path / "noise.npy", image)
    environment = {
        **os.environ,
        "QT_SCALE_FACTOR": "2",
        "QT_QPA_PLATFORM": "offscreen",
        "IDC_DESKTOP_DATA_DIR": str(tmp_path / "data"),
    }
    done = subprocess.run(
        [sys.executable, "-c", DENSE, tmp_path / "noise.tiff", tmp_path / "noise.npy"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("button", [Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton])
@pytest.mark.parametrize("angle", [0, 37])
def test_dragging_moves_the_slide_with_the_mouse(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, button: Qt.MouseButton, angle: float
) -> None:
    window = open_window(tiny_slide.path)
    view = window.view
    view.camera.rotate(angle)
    view.camera.set_scale(0.5)
    grabbed = view.camera.to_l0(QPointF(300, 250))
    drag(view, [QPointF(300, 250), QPointF(340, 230), QPointF(380, 210)], button)
    under = view.camera.to_l0(QPointF(380, 210))
    assert (under - grabbed).manhattanLength() < 1e-6
    assert window.document.selected is None


def test_wheel_zooms_at_the_cursor_within_limits(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    view = open_window(tiny_slide.path).view
    for _ in range(60):
        qtbot.keyClick(view, Qt.Key.Key_Plus)
    assert view.camera.is_at_limit
    for _ in range(90):
        qtbot.keyClick(view, Qt.Key.Key_Minus)
    smallest = view.camera.scale
    qtbot.keyClick(view, Qt.Key.Key_Minus)
    assert view.camera.scale == smallest > 0


@pytest.mark.parametrize(("angle", "mirrored"), [(0, False), (90, False), (33, True)])
def test_minimap_takes_the_view_elsewhere(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, angle: float, mirrored: bool
) -> None:
    window = open_window(tiny_slide.path)
    window.resize(1300, 800)
    view = window.view
    view.camera.rotate(angle)
    if mirrored:
        view.camera.flip_across()
    view.camera.set_scale(2.0)
    minimap = view.findChild(Minimap)
    assert minimap is not None
    qtbot.waitUntil(minimap.isVisible, timeout=WAIT_MS)
    at = QPoint(minimap.width() // 4, minimap.height() // 3)
    qtbot.mouseClick(minimap, Qt.MouseButton.LeftButton, pos=at)
    expected = minimap._to_picture().inverted()[0].map(QPointF(at))
    assert (view.camera.centre - expected).manhattanLength() < 1e-6
    box = minimap._seen().boundingRect()
    assert abs(box.center().x() - at.x()) < 1
    # What lies to the right of a point in the view does so in the overview.
    right = view.camera.to_l0(QPointF(view.width() / 2 + 100, view.height() / 2))
    step = minimap._to_picture().map(right) - minimap._to_picture().map(view.camera.centre)
    assert step.x() > 0
    assert abs(step.y()) < 0.05 * step.x()


def test_minimap_shows_the_slide_turned_as_the_view_does(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    window.resize(1300, 800)
    minimap = window.view.findChild(Minimap)
    assert minimap is not None
    qtbot.waitUntil(minimap.isVisible, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: minimap._picture_tiles > 0 or minimap.grab() is None, timeout=WAIT_MS)
    upright, size = pixels_of(minimap)[8:-8, 8:-8].astype(int), minimap.size()
    window.view.camera.rotate(90)
    turned = pixels_of(minimap)[8:-8, 8:-8].astype(int)
    assert minimap.size() == size.transposed()
    # The frame around all of it is the same; beneath it lies the same picture, turned.
    assert np.abs(np.rot90(upright, -1) - turned).mean() < 6
    assert np.abs(np.rot90(upright, 1) - turned).mean() > 12


def test_objectives_are_chosen_by_verbs(open_window: OpenWindow, tiny_slide: Scene) -> None:
    window = open_window(tiny_slide.path)
    for power in (2, 4, 10, 20, 40):
        window.verbs.action(f"{power}x").trigger()
        assert window.view.camera.um_per_px == pytest.approx(10 / power)
        assert window.magnification.text().startswith(f"{power}x")


def test_slide_takes_the_full_screen_and_gives_it_back(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    window.docks["Foci"].show()
    shown = {title: not dock.isHidden() for title, dock in window.docks.items()}
    window.verbs.action("Full screen").trigger()
    assert window.isFullScreen()
    assert all(dock.isHidden() for dock in window.docks.values())
    assert window.status_line.isVisible()
    qtbot.keyClick(window.view, Qt.Key.Key_Escape)
    assert not window.isFullScreen()
    assert {title: not dock.isHidden() for title, dock in window.docks.items()} == shown
    window.verbs.action("Full screen").trigger()
    window.close()  # what is kept is the window's layout, not the screen's
    assert not window.full_screen.is_on


def test_resize_keeps_a_fitted_slide_fitted(open_window: OpenWindow, tiny_slide: Scene) -> None:
    window = open_window(tiny_slide.path)
    view = window.view
    before = view.camera.scale
    window.resize(1300, 900)
    QApplication.processEvents()
    assert view.camera.scale > before
    extent = view.camera.to_device().mapRect(window.document.pyramid.extent_l0)
    assert view.rect().toRectF().contains(extent)


@pytest.mark.parametrize("cell", [(0, 0), (2, 3), (4, 6)])
def test_neighbourhood_is_what_the_model_saw(tiny_slide: Scene, cell: tuple[int, int]) -> None:
    with Slide(tiny_slide.path) as slide:
        reader = PatchReader(slide, PatchSize(50, 8.0), TissueSettings(enabled=False))
        around = read_neighbourhood(slide, PatchSize(50, 8.0), *cell)
        patches = {}
        for block in reader.blocks():
            _, found = reader.read(block)
            for number, patch in enumerate(found):
                patches[block.row + number // block.cols, block.col + number % block.cols] = patch
    white = np.full((50, 50, 3), 255, np.uint8)
    for down in range(3):
        for across in range(3):
            expected = patches.get((cell[0] + down - 1, cell[1] + across - 1), white)
            part = around[50 * down : 50 * down + 50, 50 * across : 50 * across + 50]
            assert np.array_equal(part, expected)


def test_unknown_associated_picture_is_refused(tiny_slide: Scene) -> None:
    with Slide(tiny_slide.path) as slide:
        assert slide.associated_names == ()
        with pytest.raises(SlideReadError, match="no label"):
            slide.read_associated("label")
