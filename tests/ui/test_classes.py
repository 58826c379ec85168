"""The menu of classes: edited, kept for the next slide, and followed by regions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtWidgets import QComboBox

from idc_desktop.regions.shape import MASK_ADDED, MASK_REMOVED, class_rgb, rectangle
from idc_desktop.ui.dialogs.classes_dialog import ClassesDialog
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.settings import Settings
from tests.ui.support import part, take


def asked(window: MainWindow) -> ClassesDialog:
    take(window, "Classes and colours …")
    return next(it for it in window.findChildren(ClassesDialog) if it.isVisible())


def choose(dialog: ClassesDialog, name: str) -> None:
    row = next(n for n in range(dialog.list.rowCount()) if dialog.list.item(n, 0).text() == name)
    dialog.list.setCurrentCell(row, 0)


def test_in_situ_benign_and_artefact_are_there_from_the_start(analyzed: MainWindow) -> None:
    regions = analyzed.document.regions
    assert list(regions.classes)[:4] == ["IDC", "DCIS", "Benign", "Artefact"]
    assert len({*regions.classes.values()}) == len(regions.classes)


def test_classes_are_renamed_coloured_added_and_removed(analyzed: MainWindow) -> None:
    regions = analyzed.document.regions
    for name in ("DCIS", "Stroma", "Other"):
        regions.add("Draw", [rectangle(0, 0, 300, 300)], name)
    dialog = asked(analyzed)
    choose(dialog, "DCIS")
    dialog.colour((1, 2, 3))
    choose(dialog, "Stroma")
    dialog.list.currentItem().setText("Desmoplastic stroma")
    choose(dialog, "Benign")
    dialog.list.currentItem().setText("dcis")  # there is one
    dialog.list.currentItem().setText(MASK_ADDED)  # its regions would change the mask
    choose(dialog, "Other")
    dialog.remove()
    dialog.add()
    dialog.list.currentItem().setText("Mucin")
    dialog.accept()

    assert regions.classes["DCIS"] == (1, 2, 3)
    assert {"Desmoplastic stroma", "Benign", "Mucin"} <= regions.classes.keys()
    assert not {"Stroma", "Other"} & regions.classes.keys()
    assert [(it.classification, it.rgb) for it in regions.all] == [
        ("DCIS", (1, 2, 3)),
        ("Desmoplastic stroma", class_rgb("Stroma")),
        ("Other", class_rgb("Other")),
    ]
    take(analyzed, "Undo")
    assert regions.all[0].rgb == regions.classes["DCIS"] == class_rgb("DCIS")
    assert Settings.load().classes["DCIS"] != "#010203"
    take(analyzed, "Redo")
    regions.new_class = "DCIS"
    regions.add("Draw", [rectangle(0, 0, 300, 300)])
    assert regions.all[-1].rgb == (1, 2, 3)
    box = part(analyzed.regions, QComboBox, "Class of what is drawn next")
    names = [box.itemText(n) for n in range(box.count())]
    assert names == ["", *regions.classes, MASK_ADDED, MASK_REMOVED]
    assert Settings.load().classes["DCIS"] == "#010203"


def test_settings_with_colours_that_are_none_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path))
    (tmp_path / "settings.json").write_text(json.dumps({"classes": {"IDC": "red<b>"}}))
    assert Settings.load().classes == {}
    assert (tmp_path / "settings.corrupt-1.json").exists()
