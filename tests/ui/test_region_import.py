"""Files of regions in the window: read, written, and what is said of them."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QMessageBox
from pytestqt.qtbot import QtBot

from idc_desktop.export.folder import write_regions
from idc_desktop.processes.region_reading import RegionReading
from idc_desktop.regions import geojson
from idc_desktop.regions.editing import draw_ellipse
from idc_desktop.regions.shape import Region, rectangle, shape_of
from idc_desktop.ui.exporting import Export
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.panels import region_panel
from tests.support import crashing_engine, crashing_region_reader
from tests.support.crashing_engine import Crash
from tests.support.processes import child_processes
from tests.support.region_files import read_regions
from tests.support.scenes import Scene
from tests.support.slides import write_tiff
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, take


def test_regions_go_to_a_file_and_come_back(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    regions, panel = analyzed.document.regions, analyzed.regions
    regions.add("Draw", [rectangle(300, 300, 900, 600), rectangle(0, 0, 100, 100)], "IDC")
    kept = regions.all
    with qtbot.waitSignal(analyzed.document.noted, timeout=WAIT_MS):
        panel.write(tmp_path / "mine.geojson.gz")
    assert len(read_regions(tmp_path / "mine.geojson.gz")[0]) == 2
    take(analyzed, "Choose all")
    take(analyzed, "Delete")
    with qtbot.waitSignal(analyzed.document.noted, timeout=WAIT_MS):
        panel.read(tmp_path / "mine.geojson.gz")
    assert [replace(it, color=None) for it in regions.all] == list(kept)
    kept = regions.all

    (tmp_path / "bad.geojson").write_text('{"type": "FeatureCollection",\n"features": [', "utf-8")
    with qtbot.waitSignal(analyzed.document.noted, timeout=WAIT_MS):
        panel.read(tmp_path / "bad.geojson")
    assert regions.all == kept
    assert "bad.geojson" in analyzed.statusBar().currentMessage()


def test_importing_says_what_is_new_and_what_is_replaced(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    regions, panel = analyzed.document.regions, analyzed.regions

    def read(name: str) -> str:
        with qtbot.waitSignal(analyzed.document.noted, timeout=WAIT_MS):
            panel.read(tmp_path / name)
        return analyzed.statusBar().currentMessage()

    cell = shape_of([[[(0, 0), (200, 0), (200, 200), (0, 200)]]])  # no rectangle by its making
    ellipse = draw_ellipse((300, 300), (500.1, 600.7))
    regions.add("Draw", [cell, ellipse, rectangle(600, 0, 900, 300)], "DCIS")
    kept = regions.all
    with (tmp_path / "mine.geojson").open("w", encoding="utf-8") as file:
        geojson.write(file.write, kept, (123.4, 56.7))
    regions.edit("Lock", put=[replace(it, is_hidden=True) for it in kept[:1]])
    kept = regions.all
    assert read("mine.geojson") == "Nothing new: all of them were here already"
    assert regions.all == kept

    locked = replace(kept[1], is_locked=True)
    regions.edit("Lock", put=[locked])
    renamed = [replace(kept[0], name="Other name"), locked, Region("New", rectangle(0, 0, 9, 9))]
    write_regions(tmp_path / "other.geojson", renamed)
    assert read("other.geojson") == "2 regions imported, 1 of them replaced, 1 here already"
    assert [it.name for it in regions.all] == ["Other name", "Region 2", "Region 3", "New"]

    write_regions(tmp_path / "moved.geojson", [replace(locked, shape=locked.shape.moved(1, 0))])
    assert read("moved.geojson").startswith("Nothing was changed: 'Region 2' is locked")


def test_window_closes_while_a_file_is_read(
    open_window: OpenWindow,
    qtbot: QtBot,
    tiny_slide: Scene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    window = open_window(tiny_slide.path)
    path = tmp_path / "r.geojson"
    write_regions(path, [Region("r", rectangle(0, 0, 9, 9))])
    monkeypatch.setenv(crashing_engine.VARIABLE, Crash("hang", "open").variable())
    monkeypatch.setattr(
        region_panel, "RegionReading", partial(RegionReading, module=crashing_region_reader.MODULE)
    )
    before = child_processes()
    window.regions.read(path)
    qtbot.waitUntil(lambda: bool(child_processes() - before), timeout=WAIT_MS)

    window.close()
    qtbot.waitUntil(lambda: not child_processes() - before, timeout=WAIT_MS)


def test_work_on_one_slide_does_not_reach_another(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    document, panel = analyzed.document, analyzed.regions
    other = tmp_path / "other.tiff"
    write_tiff(other, [np.full((600, 900, 3), 190, np.uint8)], mpp=8.0)
    write_regions(tmp_path / "r.geojson", [Region("Mine", rectangle(0, 0, 300, 300))])
    document.regions.add("Draw", [rectangle(300, 300, 900, 600)], "IDC")
    export = Export.of(document, tmp_path / "out")
    qtbot.waitUntil(lambda: bool(analyzed.foci.foci), timeout=WAIT_MS)
    foci = analyzed.foci.foci
    slide, found = document.path, read_regions(tmp_path / "r.geojson")[0]
    document.open(other)
    qtbot.waitUntil(lambda: document.path == other, timeout=WAIT_MS)

    panel._on_read_done((slide, found, (), ()))
    assert document.regions.all == ()
    with (export.write().folder / "regions.csv").open(encoding="utf-8", newline="") as file:
        assert [row["Name"] for row in csv.DictReader(file)] == ["Region 1", "Whole slide"]
    qtbot.waitUntil(lambda: not analyzed.foci.foci, timeout=WAIT_MS)
    analyzed.foci._on_found(("the map of the other slide", True, foci, []))
    assert analyzed.foci.foci == []


@pytest.mark.parametrize(("answer", "moved"), [("Scanned area", 100), ("Image", 0)])
def test_slide_with_bounds_is_asked_where_the_file_counts_from(
    analyzed: MainWindow, qtbot: QtBot, tmp_path: Path, answer: str, moved: int
) -> None:
    panel, document = analyzed.regions, analyzed.document
    assert document.slide is not None
    document.slide = replace(document.slide, bounds=(100, 200, 800, 600))
    path = tmp_path / "theirs.geojson"
    write_regions(path, [Region("r", rectangle(10, 20, 300, 400))])
    members = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({"type": members["type"], "features": members["features"]}), "utf-8")
    panel.ask_and_read(path)
    box = panel.findChild(QMessageBox)
    assert box is not None
    button = next(it for it in box.buttons() if it.text().replace("&", "") == answer)
    with qtbot.waitSignal(analyzed.document.noted, timeout=WAIT_MS):
        button.click()
    assert document.regions.all[0].shape.bounds[:2] == (10 + moved, 20 + 2 * moved)
