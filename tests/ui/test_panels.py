"""The docks: every control changes the document, and shows what it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, Qt, QThreadPool
from PySide6.QtGui import QAction, QColor, QPalette
from PySide6.QtWidgets import QAbstractButton, QApplication, QMenu, QMessageBox
from pytestqt.qtbot import QtBot

from idc_desktop.maps.colormap import FAILED_RGB, NAMES, lookup_table
from idc_desktop.maps.grid import Block, PatchGrid
from idc_desktop.maps.probability_map import BlockResult, PatchState
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models.model_file import bundled_models
from idc_desktop.models.operation import operating_point_text
from idc_desktop.models.provider import ProviderChoice
from idc_desktop.processes.engine_messages import Plan
from idc_desktop.ui.dialogs.export_dialog import ExportDialog
from idc_desktop.ui.display import Display
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.panels.magnification_field import parse_magnification
from idc_desktop.ui.panels.operating_point import preset
from idc_desktop.ui.run import RunState
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.theme import apply_theme
from tests.support.scenes import Scene
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, analyze, pixels_of, take


@pytest.mark.parametrize(
    ("text", "um_per_px"),
    [
        ("10x", 1.0),
        ("40 x", 0.25),
        ("20×", 0.5),
        ("2,5x", 4.0),
        ("5", 2.0),
        ("2 µm", 2.0),
        ("0.25µm/px", 0.25),
        (".5 um / px", 0.5),
        ("0x", None),
        ("-2x", None),
        ("nan x", None),
        ("1e9x", None),
        ("", None),
    ],
)
def test_magnification_is_understood_or_refused(text: str, um_per_px: float | None) -> None:
    assert parse_magnification(text) == um_per_px


def test_nonsense_in_the_magnification_field_is_answered(
    open_window: OpenWindow, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    before = window.view.camera.scale
    window.magnification.setText("nonsense")
    window.magnification.returnPressed.emit()
    assert window.view.camera.scale == before
    assert "10x" in window.statusBar().currentMessage()


def test_magnification_says_what_could_not_be_reached_and_nothing_else(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    field, said = window.magnification, window.statusBar().currentMessage
    mpp = window.document.mpp_xy
    assert mpp is not None
    most = 10 / (mpp[0] / 8)  # eight pixels of the screen for one of the slide
    for text, answer in [
        (f"{2 * most:g}x", "The view cannot be enlarged further."),
        (f"{most:g}x", ""),
        ("nonsense", "Type a magnification"),
        (f"{most / 4:g}x", ""),
    ]:
        field.setText(text)
        qtbot.keyClick(field, Qt.Key.Key_Return)
        assert said().startswith(answer)
        assert bool(said()) == bool(answer)
        assert window.view.hasFocus()
    shown = field.text()
    field.setFocus()
    field.setText("3")
    qtbot.keyClick(field, Qt.Key.Key_Escape)
    assert field.text() == shown
    assert window.view.hasFocus()


def test_shortcuts_work_while_a_number_is_typed(analyzed: MainWindow, qtbot: QtBot) -> None:
    """Ctrl+E and Ctrl+Z are keys of a line of text as well, and N would be typed."""
    document, view = analyzed.document, analyzed.view
    field = analyzed.inspector.map._threshold
    ctrl = Qt.KeyboardModifier.ControlModifier
    document.show(threshold=0.5)
    qtbot.waitUntil(lambda: bool(analyzed.foci.foci), timeout=WAIT_MS)
    for widget in (field, analyzed.foci._least, analyzed.magnification):
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
    control = panel.threshold_control
    area = control._bars()
    middle = QPoint(round(area.left() + area.width() / 2), round(area.center().y()))
    qtbot.mouseClick(control, Qt.MouseButton.LeftButton, pos=middle)
    assert document.threshold == pytest.approx(0.5, abs=0.01)
    assert panel._threshold.value() == pytest.approx(document.threshold)

    document.show(threshold=0.5)
    qtbot.keyClick(control, Qt.Key.Key_Right)
    assert document.threshold == 0.51
    qtbot.keyClick(control, Qt.Key.Key_PageDown)
    assert document.threshold == 0.41
    qtbot.keyClick(control, Qt.Key.Key_End)
    qtbot.keyClick(control, Qt.Key.Key_Right)
    assert document.threshold == 1.0
    panel._threshold.setValue(0.3)
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
    panel._colormap.setCurrentText(name)
    panel._colormap.textActivated.emit(name)
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
    view, box = window.view, window.inspector.map._boxes["legend"]
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
    boxes = window.inspector.map._boxes
    boxes["smooth"].click()
    assert window.document.display.smooth
    qtbot.keyClick(window.view, Qt.Key.Key_M)
    assert not window.document.display.visible
    assert not boxes["visible"].isChecked()


def test_cancel_takes_the_map_off_and_loses_nothing(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    document = window.document
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    document.analyze()
    window.inspector.analysis._cancel.click()
    qtbot.waitUntil(lambda: document.state in (RunState.READY, RunState.DONE), timeout=WAIT_MS)
    assert document.state is RunState.READY
    assert document.map is None
    assert window.inspector.analysis.run_button.text() == "Analyze"
    analyze(window, qtbot)
    assert document.map is not None


def test_provider_is_told_while_it_runs_and_of_a_run(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    document, status = window.document, window.inspector.analysis._status
    said = []
    document.map_changed.connect(lambda: said.append((document.state, status.text())))
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    document.record.plan = Plan(
        "0" * 64, PatchGrid.over((0, 0, 9, 9), (1, 1), 9), TissueSettings(),
        ProviderChoice("cpu", "cpu", None), {}, 1, 0,
    )  # fmt: skip
    document.map_changed.emit()  # as of a run that was cancelled before its first patch
    assert status.text() == document.message
    assert window.status_line._provider.text() == ""
    analyze(window, qtbot)
    assert any("\nRunning on CPU" in text for state, text in said if state is RunState.RUNNING)
    assert "\nRan on CPU" in status.text()
    assert window.status_line._provider.text() == "on CPU"


def answer(window: MainWindow, words: str) -> None:
    """Press a button of the question that is asked."""
    box = window.findChild(QMessageBox)
    assert box is not None
    next(it for it in box.buttons() if it.text().replace("&", "") == words).click()
    QApplication.sendPostedEvents(box, QEvent.Type.DeferredDelete)


def test_complete_analysis_is_begun_anew_only_after_a_question(
    analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene, tmp_path: Path
) -> None:
    document, record = analyzed.document, analyzed.document.record
    document.analyze()
    assert document.record is record
    for ask in (
        analyzed.verbs.action("Analyze").trigger,
        analyzed.inspector.analysis.run_button.click,
    ):
        ask()
        box = analyzed.findChild(QMessageBox)
        assert box is not None
        assert tiny_slide.path.name in box.text()
        assert box.defaultButton() is box.button(QMessageBox.StandardButton.Cancel)
        answer(analyzed, "Cancel")
        assert document.record is record
    analyzed.verbs.action("Analyze").trigger()
    answer(analyzed, "Analyze again")
    assert document.state is RunState.RUNNING
    qtbot.waitUntil(lambda: document.state is RunState.DONE, timeout=WAIT_MS)
    assert document.record.plan.restored_blocks == 0

    analyzed.verbs.action("Analyze").trigger()
    other = tmp_path / "other.tiff"
    other.write_bytes(tiny_slide.path.read_bytes() + bytes(64))
    document.open(other)
    qtbot.waitUntil(lambda: document.path == other, timeout=WAIT_MS)
    analyze(analyzed, qtbot)
    answer(analyzed, "Analyze again")  # it was asked of the slide before
    assert document.state is RunState.DONE


def test_model_is_read_in_the_background_and_the_last_choice_counts(
    window: MainWindow, qtbot: QtBot
) -> None:
    document, panel = window.document, window.inspector.analysis
    before = document.model
    document.choose_model("vgg16-finetuned")  # takes longer to read than the one after it
    document.choose_model("baseline")
    assert document.model is before
    qtbot.waitUntil(lambda: document.card.name == "baseline", timeout=WAIT_MS)
    QThreadPool.globalInstance().waitForDone()
    QApplication.processEvents()
    assert document.card.name == "baseline"
    assert panel._models.currentText() == "baseline"


def test_model_that_cannot_be_used_is_refused_with_the_reason(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model" * 99)
    document, panel = window.document, window.inspector.analysis
    before = document.model, panel._models.currentText()
    panel._models.setCurrentIndex(0)
    with qtbot.waitSignal(document.model_refused, timeout=WAIT_MS):
        document.choose_model(str(tmp_path / "bad.onnx"))
    box = window.findChild(QMessageBox)
    assert box is not None
    assert "bad.onnx" in box.text()
    assert (document.model, panel._models.currentText()) == before
    box.close()


def test_failed_patches_are_named_and_gone_to(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    analyze(window, qtbot)
    document, panel = window.document, window.inspector.statistics
    assert document.map is not None
    assert panel._which.isHidden()
    verb = window.verbs.action("Failed patches …")
    assert not verb.isEnabled()
    document.map.add(BlockResult.failed(Block(0, 2, 3, 1, 1), "tile 7 cannot be decoded"))
    document.map_changed.emit()
    qtbot.waitUntil(lambda: panel.figures["Failed"].text() == "1", timeout=WAIT_MS)
    assert verb.isEnabled()
    panel._which.click()
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


def test_folded_sections_and_looks_are_remembered(window: MainWindow) -> None:
    window.inspector.sections[1]._header.click()
    window.document.show(colormap="cividis", opacity=0.8, threshold=0.9, visible=False)
    window.close()
    kept = Settings.load()
    assert kept.folded == ["Map: probability of IDC"]
    # Threshold and visibility are a slide's own.
    assert kept.display == Display(colormap="cividis", opacity=0.8)
    assert kept.layout


def test_theme_and_model_are_saved_when_they_change(window: MainWindow, qtbot: QtBot) -> None:
    with qtbot.waitSignal(window.document.model_changed, timeout=WAIT_MS):
        window.document.choose_model("vgg16-features")
    assert Settings.load().model == "vgg16-features"
    themes = next(it for it in window.findChildren(QMenu) if it.title() == "&Theme")
    next(it for it in themes.actions() if it.text() == "Dark").trigger()
    apply_theme("light")
    assert Settings.load().theme == "dark"


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
