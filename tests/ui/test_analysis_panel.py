"""The panel that analyzes: model, provider, progress, and questions before work is lost."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent, QThreadPool
from PySide6.QtWidgets import QApplication, QComboBox, QMessageBox, QPushButton
from pytestqt.qtbot import QtBot

from idc_desktop.maps.grid import PatchGrid
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models.provider import ProviderChoice
from idc_desktop.processes.engine_messages import Plan
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.run import RunState
from tests.support.scenes import Scene
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, analyze, part, says


def test_cancel_takes_the_map_off_and_loses_nothing(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    document = window.document
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    document.analyze()
    part(window.inspector, QPushButton, "Cancel").click()
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
    document, status = window.document, window.inspector.analysis
    said = []
    document.map_changed.connect(lambda: said.append((document.state, says(status))))
    qtbot.waitUntil(lambda: document.state is RunState.READY, timeout=WAIT_MS)
    document.record.plan = Plan(
        "0" * 64, PatchGrid.over((0, 0, 9, 9), (1, 1), 9), TissueSettings(),
        ProviderChoice("cpu", "cpu", None), {}, 1, 0,
    )  # fmt: skip
    document.map_changed.emit()  # as of a run that was cancelled before its first patch
    assert document.message in says(status)
    assert "on CPU" not in says(status) + says(window.status_line)
    analyze(window, qtbot)
    assert any("\nRunning on CPU" in text for state, text in said if state is RunState.RUNNING)
    assert "\nRan on CPU" in says(status)
    assert "on CPU" in says(window.status_line).splitlines()


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
    assert part(panel, QComboBox, "Model").currentText() == "baseline"


def test_model_that_cannot_be_used_is_refused_with_the_reason(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model" * 99)
    document, panel = window.document, window.inspector.analysis
    before = document.model, part(panel, QComboBox, "Model").currentText()
    part(panel, QComboBox, "Model").setCurrentIndex(0)
    with qtbot.waitSignal(document.model_refused, timeout=WAIT_MS):
        document.choose_model(str(tmp_path / "bad.onnx"))
    box = window.findChild(QMessageBox)
    assert box is not None
    assert "bad.onnx" in box.text()
    assert (document.model, part(panel, QComboBox, "Model").currentText()) == before
    box.close()
