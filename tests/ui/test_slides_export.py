"""Several slides of the table, exported in one go, each as the command would write it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QMessageBox, QProgressDialog
from pytestqt.qtbot import QtBot

from idc_desktop.cohorts.slide_job import JobOptions
from idc_desktop.export.verify import verify_folder
from idc_desktop.regions.shape import rectangle
from idc_desktop.ui.dialogs.export_dialog import ExportDialog
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.run import RunState
from idc_desktop.ui.slides_export import ExportedSlides, _folders
from tests.support.command import SIX_FILES, run_cli
from tests.support.scenes import Scene
from tests.support.slides import write_tiff
from tests.ui.support import WAIT_MS, analyze, take


@pytest.fixture
def several(analyzed: MainWindow, qtbot: QtBot, tmp_path: Path, tiny_slide: Scene) -> list[Path]:
    """The open slide, a copy that was analyzed before, and one that was not."""
    copy, other = tmp_path / "copy.tiff", tmp_path / "other.tiff"
    shutil.copy(tiny_slide.path, copy)
    write_tiff(other, [np.full((600, 900, 3), 190, np.uint8)], mpp=8.0)
    analyzed.slides.add([copy, other])
    runs, statuses = analyzed.document.runs, analyzed.slide_panel.statuses
    runs.analyze_all([copy])
    qtbot.waitUntil(lambda: not runs.is_active, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: statuses.of(copy).outcome is not None, timeout=WAIT_MS)
    return [tiny_slide.path, copy, other]


def export(
    window: MainWindow, qtbot: QtBot, slides: list[Path], folder: Path, anonymous: bool = False
) -> ExportedSlides:
    with qtbot.waitSignal(window.slides_export.ended, timeout=WAIT_MS) as ended:
        window.export_slides(slides, folder, (), anonymous)
    found = ended.args[0]
    assert isinstance(found, ExportedSlides)
    return found


def test_each_slide_is_as_the_command_writes_it_and_what_fails_is_told(
    analyzed: MainWindow, qtbot: QtBot, several: list[Path], tmp_path: Path
) -> None:
    open_now, copy, other = several
    analyzed.document.regions.add("Draw", [rectangle(300, 300, 900, 600)])
    found = export(analyzed, qtbot, several, tmp_path / "out")
    assert found.written == [open_now, copy]
    assert [slide for slide, _ in found.failures] == [other]
    assert found.failures[0][1].startswith("It is not analyzed with")
    for slide in (open_now, copy):
        verify_folder(tmp_path / "out" / slide.stem)
    model = str(analyzed.document.model.path)
    out = tmp_path / "by command"
    told = run_cli("export", copy, "--out", out, "--model", model, data_dir=tmp_path / "data")
    assert told.code == 0, told
    for name in SIX_FILES:
        if name != "provenance.json":
            one = (tmp_path / "out" / "copy" / name).read_bytes()
            assert one == (tmp_path / "by command" / "copy" / name).read_bytes(), name
    box = analyzed.findChild(QMessageBox)
    assert box is not None
    assert box.text() == f"2 of 3 slides were exported to\n{tmp_path / 'out'}"
    assert "Not exported: 1 slide. other.tiff: It is not analyzed" in box.informativeText()
    assert (
        analyzed.findChild(QProgressDialog) is None
        or not analyzed.findChild(QProgressDialog).isVisible()
    )


def test_slide_without_the_shield_is_exported_so_open_or_not(
    analyzed: MainWindow, qtbot: QtBot, tiny_slide: Scene, tmp_path: Path
) -> None:
    document, statuses = analyzed.document, analyzed.slide_panel.statuses
    penned = tmp_path / "penned.tiff"
    pixels = tiny_slide.levels[0].copy()
    pixels[400:600, 400:600] = (25, 60, 165)
    write_tiff(penned, [pixels], mpp=2.0)
    analyzed.open(penned)
    qtbot.waitUntil(lambda: document.path == penned, timeout=WAIT_MS)
    analyze(analyzed, qtbot)
    assert document.map is not None
    assert document.map.counts()["excluded"] == 1
    with_shield = statuses.of(penned).words
    document.show(shielded=False)
    qtbot.waitUntil(lambda: statuses.of(penned).words != with_shield, timeout=WAIT_MS)
    assert statuses.of(penned).words.endswith("% without the shield")
    export(analyzed, qtbot, [penned], tmp_path / "open")

    analyzed.open(tiny_slide.path)
    qtbot.waitUntil(lambda: document.path == tiny_slide.path, timeout=WAIT_MS)
    assert document.display.shielded  # it was switched off for one slide
    export(analyzed, qtbot, [penned], tmp_path / "closed")
    for name in ("regions.csv", "patches.csv"):
        one = (tmp_path / "open" / "penned" / name).read_bytes()
        assert one == (tmp_path / "closed" / "penned" / name).read_bytes(), name
    analyzed.pair.show(penned)
    beside = analyzed.pair.beside
    assert beside is not None
    qtbot.waitUntil(lambda: beside.state is RunState.DONE, timeout=WAIT_MS)
    assert beside.map is not None
    assert beside.map.counts()["excluded"] == 0


def test_results_of_other_slides_are_not_replaced(
    analyzed: MainWindow, qtbot: QtBot, several: list[Path], tmp_path: Path
) -> None:
    _, copy, _ = several
    folder = tmp_path / "out" / "copy"
    folder.mkdir(parents=True)
    (folder / "regions.csv").write_text("of another slide")
    (folder / "provenance.json").write_text(json.dumps({"slide": {"identity": "0" * 64}}))
    found = export(analyzed, qtbot, [copy], tmp_path / "out")
    assert found.written == []
    assert "--" not in found.failures[0][1]
    assert (folder / "regions.csv").read_text() == "of another slide"


def test_slides_of_one_name_do_not_share_a_folder(tmp_path: Path) -> None:
    names = ("copy.tiff", "copy.tif", "deep/copy.tiff", "alone.svs", "Alone/alone.svs")
    slides = [tmp_path / name for name in names]
    options = JobOptions(tmp_path / "out", None)
    folders = list(_folders(slides, options).values())
    assert folders == ["copy.tiff", "copy.tif", "", "alone.svs", ""]
    assert list(_folders(slides[3:4], options).values()) == [None]
    assert set(_folders(slides, replace(options, is_anonymous=True)).values()) == {None}


def test_a_cancelled_export_leaves_whole_folders_only(
    analyzed: MainWindow, qtbot: QtBot, several: list[Path], tmp_path: Path
) -> None:
    _, copy, _ = several
    analyzed.slides_export.progressed.connect(lambda *_: analyzed.slides_export.cancel())
    found = export(analyzed, qtbot, [copy, several[0]], tmp_path / "out")
    assert found.is_cancelled
    assert found.failures == []
    for slide in found.written:
        verify_folder(tmp_path / "out" / slide.stem)


def test_selected_rows_are_asked_for_by_key(
    analyzed: MainWindow, qtbot: QtBot, several: list[Path], tmp_path: Path
) -> None:
    analyzed.slide_panel.table.select(several[:2])
    take(analyzed, "Export the selected slides …")
    dialog = analyzed.findChild(ExportDialog)
    assert dialog is not None
    assert dialog.windowTitle() == "Export 2 slides"
    dialog._folder.setText(str(tmp_path / "asked"))
    with qtbot.waitSignal(analyzed.slides_export.ended, timeout=WAIT_MS):
        dialog.accept()
    assert len(list((tmp_path / "asked").iterdir())) == 2
