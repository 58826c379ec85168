"""The docks: every control changes the document, and shows what it holds."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QAction, QColor, QPalette
from PySide6.QtWidgets import QAbstractButton, QApplication, QCheckBox, QComboBox, QPushButton
from pytestqt.qtbot import QtBot

from idc_desktop.maps.colormap import FAILED_RGB, NAMES, lookup_table
from idc_desktop.maps.grid import Block
from idc_desktop.maps.probability_map import BlockResult, PatchState
from idc_desktop.models.model_file import bundled_models
from idc_desktop.models.operation import operating_point_text
from idc_desktop.ui.dialogs.export_dialog import ExportDialog
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.numbers import NumberField
from idc_desktop.ui.panels.operating_point import preset
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.theme import apply_theme
from tests.support.scenes import Scene
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, analyze, part, pixels_of, take


def test_shortcuts_work_while_a_number_is_typed(analyzed: MainWindow, qtbot: QtBot) -> None:
    """Ctrl+E and Ctrl+Z are keys of a line of text as well, and N would be typed."""
    document, view = analyzed.document, analyzed.view
    field = part(analyzed.inspector, NumberField, "Threshold")
    ctrl = Qt.KeyboardModifier.ControlModifier
    document.show(threshold=0.5)
    qtbot.waitUntil(lambda: bool(analyzed.foci.foci), timeout=WAIT_MS)
    for widget in (field, part(analyzed.foci, NumberField, "At least"), analyzed.magnification):
        widget.setFocus()
        document.show(opacity=0.9)
        qtbot.keyClick(widget, Qt.Key.Key_Z, ctrl)
        assert document.display.opacity == 0.5
        qtbot.keyClick(widget, Qt.Key.Key_E, ctrl)
        dialog = analyzed.findChild(ExportDialog)
        assert dialog is not None
        dialog.close()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    qtbot.keyClick(field, Qt.Key.Key_N)
    assert analyzed.foci.list.currentRow() == 0

    for key, threshold in ((Qt.Key.Key_Escape, 0.5), (Qt.Key.Key_Return, 0.25)):
        field.setFocus()
        qtbot.keyClick(field, Qt.Key.Key_A, ctrl)  # all of the number
        qtbot.keyClicks(field, "0.25")
        qtbot.keyClick(field, key)
        assert view.hasFocus()
        assert field.text() == f"{threshold:.3f}"
        assert document.threshold == threshold


def test_menu_of_the_view_marks_what_is_shown(window: MainWindow) -> None:
    def is_marked(words: str) -> bool:
        action = window.verbs.action(words)
        assert action.isCheckable()
        return action.isChecked()

    for words, is_on in (("Show the map", True), ("Slides", True), ("Foci", False)):
        assert is_marked(words) == is_on
        take(window, words)
        assert is_marked(words) == (not is_on)
    window.docks["Slides"].show()
    window.document.show(visible=True)
    assert is_marked("Slides")
    assert is_marked("Show the map")
    themes = {
        it.text(): it for it in window.findChildren(QAction) if it.text() in ("Dark", "Light")
    }
    themes["Dark"].trigger()
    themes["Light"].trigger()
    assert [themes[it].isChecked() for it in ("Dark", "Light")] == [False, True]


def test_threshold_is_set_by_mouse_keys_and_number(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    document, panel = window.document, window.inspector.map
    control, field = panel.threshold_control, part(panel, NumberField, "Threshold")
    qtbot.mouseClick(control, Qt.MouseButton.LeftButton, pos=control.rect().center())
    assert document.threshold == pytest.approx(0.5, abs=0.01)
    assert field.value() == pytest.approx(document.threshold)

    document.show(threshold=0.5)
    qtbot.keyClick(control, Qt.Key.Key_Right)
    assert document.threshold == 0.51
    qtbot.keyClick(control, Qt.Key.Key_PageDown)
    assert document.threshold == 0.41
    qtbot.keyClick(control, Qt.Key.Key_End)
    qtbot.keyClick(control, Qt.Key.Key_Right)
    assert document.threshold == 1.0
    field.setValue(0.3)
    assert document.threshold == 0.3
    panel.operating_point.buttons["Model's"].click()
    assert document.threshold == document.card.threshold
    assert not panel.operating_point.buttons["Model's"].isEnabled()


def test_model_threshold_is_not_rounded_by_showing_it(window: MainWindow) -> None:
    exact = window.document.card.threshold
    window.document.show(opacity=0.3)
    assert window.document.display.thresholds == {}
    assert window.document.threshold == exact


def test_operating_point_says_what_a_threshold_means() -> None:
    from idc_desktop.models.model_file import read_model

    card = read_model(bundled_models()["baseline"]).card
    operation = card.operation("patch")
    at_default = operating_point_text(operation, card.threshold, "validation patches", 0.284)
    assert "At this threshold on validation patches" in at_default
    curve = card.document["idc"]["validation_curve"]
    [known] = [it for it in curve if abs(it["threshold"] - card.threshold) < 5e-4]
    assert f"sensitivity {known['sensitivity']:.2f} (" in at_default
    assert "Where 28 % of the patches are IDC" in at_default
    assert "nearest known" in operating_point_text(operation, 0.999, "x", None)
    for name in ("Screening", "Specific"):
        threshold = preset(operation, name)
        assert threshold is not None
        point = operation.at(threshold)
        assert point is not None
        kept = point.sensitivity if name == "Screening" else point.specificity
        assert 0.95 <= kept < 0.96


@pytest.mark.parametrize("name", NAMES)
def test_map_is_painted_in_the_chosen_colours(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene, name: str
) -> None:
    window = open_window(tiny_slide.path)
    analyze(window, qtbot)
    document = window.document
    assert document.map is not None
    panel = window.inspector.map
    colours = part(panel, QComboBox, "Colours")
    colours.setCurrentText(name)
    colours.textActivated.emit(name)
    document.show(opacity=1.0, outlined=False)
    current = document.map
    cells = [tuple(map(int, cell)) for cell in np.argwhere(current.analyzed)]
    best = max(cells, key=lambda cell: current.layer().stored[cell])
    x, y = current.grid.cell_centre_l0(*best)
    at = window.view.camera.to_device().map(x, y)
    shown = pixels_of(window.view)[round(at[1]), round(at[0])].astype(int)
    expected = lookup_table(name)[int(current.layer().stored[best]) * 255 // 1_000_000].astype(int)
    weight = 0.25 + 0.75 * current.layer().stored[best] / 1e6
    document.show(visible=False)
    below = pixels_of(window.view)[round(at[1]), round(at[0])].astype(int)
    assert np.abs(shown - (weight * expected + (1 - weight) * below)).max() <= 3


def test_legend_is_taken_off_what_lies_beneath_it(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    analyze(window, qtbot)
    view, box = window.view, part(window.inspector, QCheckBox, "Legend")
    corner = np.s_[-110:, -210:]
    with_legend = pixels_of(view)
    window.verbs.action("Show the legend").trigger()
    assert not box.isChecked()
    without = pixels_of(view)
    assert (with_legend[corner] != without[corner]).any()
    without[corner] = with_legend[corner]
    assert np.array_equal(with_legend, without)  # nothing else has changed
    window.close()
    assert Settings.load().display.legend is False


def test_legend_names_failed_patches_where_there_are_any(analyzed: MainWindow) -> None:
    current = analyzed.document.map
    assert current is not None

    def legend_holds(colour: tuple[int, int, int]) -> bool:
        legend = pixels_of(analyzed.view)[-80:, -210:]
        return bool((legend == colour).all(axis=2).any())

    document = analyzed.document
    document.show(opacity=1.0)  # so that the legend shows the colour as it is
    assert not legend_holds(FAILED_RGB)
    current.add(BlockResult.failed(Block(0, 2, 3, 1, 1), "tile 7 cannot be decoded"))
    document.map_changed.emit()
    assert legend_holds(FAILED_RGB)
    document.show(opacity=0.5)
    assert not legend_holds(FAILED_RGB)


def test_figures_tell_background_once_nothing_is_left_to_analyze(
    analyzed: MainWindow, qtbot: QtBot
) -> None:
    current, shown = analyzed.document.map, analyzed.inspector.statistics.figures
    assert current is not None
    qtbot.waitUntil(lambda: shown["Of"].text() == "Whole slide", timeout=WAIT_MS)
    grid = current.grid
    centres = [
        grid.cell_centre_l0(*cell)
        for cell in np.argwhere(current.states == PatchState.BACKGROUND).tolist()
    ]
    on_slide = [it for it in centres if it[0] < grid.right_l0 and it[1] < grid.bottom_l0]
    assert shown["Background"].text() == str(len(on_slide)) != "0"
    assert all(label.toolTip() for label in shown.values())
    current.states[0, 0] = PatchState.PENDING
    analyzed.document.map_changed.emit()
    qtbot.waitUntil(lambda: "so far" in shown["Of"].text(), timeout=WAIT_MS)
    assert shown["Background"].text() == "–"


def test_focus_leaves_the_words_of_the_main_button_whole(window: MainWindow) -> None:
    apply_theme("light")
    button = window.inspector.analysis.run_button
    button.setEnabled(True)
    window.view.setFocus()
    inside = np.s_[4:-4, 6:-6]
    without = pixels_of(button)
    button.setFocus()
    assert not np.array_equal(pixels_of(button), without)
    assert np.array_equal(pixels_of(button)[inside], without[inside])


def test_checkboxes_follow_the_document(window: MainWindow, qtbot: QtBot) -> None:
    part(window.inspector, QCheckBox, "Smooth").click()
    assert window.document.display.smooth
    qtbot.keyClick(window.view, Qt.Key.Key_M)
    assert not window.document.display.visible
    assert not part(window.inspector, QCheckBox, "Show (M)").isChecked()


def test_failed_patches_are_named_and_gone_to(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    analyze(window, qtbot)
    document, panel = window.document, window.inspector.statistics
    assert document.map is not None
    which = part(panel, QPushButton, "Which patches failed …")
    assert which.isHidden()
    verb = window.verbs.action("Failed patches …")
    assert not verb.isEnabled()
    document.map.add(BlockResult.failed(Block(0, 2, 3, 1, 1), "tile 7 cannot be decoded"))
    document.map_changed.emit()
    qtbot.waitUntil(lambda: panel.figures["Failed"].text() == "1", timeout=WAIT_MS)
    assert verb.isEnabled()
    which.click()
    from idc_desktop.ui.dialogs.failures import FailuresDialog

    dialog = window.findChild(FailuresDialog)
    assert dialog is not None
    texts = [dialog.table.item(0, column).text() for column in range(3)]
    assert texts == ["2", "3", "failed: tile 7 cannot be decoded"]
    dialog.table.setCurrentCell(0, 2)
    assert document.selected == (2, 3)
    x, y = document.map.grid.cell_centre_l0(2, 3)
    assert (window.view.camera.centre.x(), window.view.camera.centre.y()) == pytest.approx((x, y))
    assert "tile 7 cannot be decoded" in window.inspector.patch.text.text()
    dialog.close()


def contrast(first: QColor, second: QColor) -> float:
    """Return the contrast ratio of WCAG 2."""

    def luminance(colour: QColor) -> float:
        channels = np.array([colour.redF(), colour.greenF(), colour.blueF()])
        linear = np.where(
            channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
        )
        return float(linear @ (0.2126, 0.7152, 0.0722))

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_buttons_of_the_docks_are_seen_in_every_theme(window: MainWindow, theme: str) -> None:
    apply_theme(theme)
    ground = QApplication.palette().window().color()
    buttons = [it for it in window.docks["Slides"].children() if isinstance(it, QAbstractButton)]
    assert len(buttons) == 2
    for button in buttons:
        pixels = np.unique(pixels_of(button).reshape(-1, 3), axis=0).tolist()
        assert max(contrast(QColor(*it), ground) for it in pixels) >= 3, button.objectName()
    apply_theme("light")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_in_every_theme(qtbot: QtBot, theme: str) -> None:
    apply_theme(theme)
    role, palette = QPalette.ColorRole, QApplication.palette()
    pairs = [
        (role.WindowText, role.Window),
        (role.Text, role.Base),
        (role.Text, role.AlternateBase),
        (role.ButtonText, role.Button),
        (role.HighlightedText, role.Highlight),
        (role.ToolTipText, role.ToolTipBase),
        (role.PlaceholderText, role.Base),
    ]
    ratios = {pair: contrast(*(palette.color(one) for one in pair)) for pair in pairs}
    apply_theme("light")
    assert min(ratios.values()) >= 4.5, ratios
