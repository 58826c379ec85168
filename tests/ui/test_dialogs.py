"""What opens over the window."""

from __future__ import annotations

import json
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from idc_desktop.models.card import parse_card
from idc_desktop.models.model_file import bundled_models, read_model
from idc_desktop.ui.dialogs.associated import AssociatedDialog
from idc_desktop.ui.dialogs.pages import card_page, provenance_page
from idc_desktop.ui.dialogs.reading import ReadingDialog
from idc_desktop.ui.main_window import MainWindow
from tests.support.models import TinyModel
from tests.support.scenes import Scene
from tests.ui.conftest import OpenWindow
from tests.ui.support import WAIT_MS, analyze


def reading(window: MainWindow) -> str:
    dialog = window.findChildren(ReadingDialog)[-1]
    text = dialog.text.toPlainText()
    dialog.close()
    return text


@pytest.mark.parametrize("name", sorted(bundled_models()))
def test_card_of_every_bundled_model_can_be_read(name: str) -> None:
    model = read_model(bundled_models()[name])
    page = card_page(model.card, model.sha256)
    assert model.sha256 in page
    assert "For Research Use Only" in page
    assert "AUC" in page
    assert all(f"<li>{escape(it)}</li>" in page for it in model.card.beyond_its_archive())


def test_card_is_read_whatever_its_metrics_hold(tiny_model: TinyModel) -> None:
    """The schema leaves them open."""
    card = read_model(tiny_model.path).card
    figures = {
        "auc": {"value": 0.9125},
        "sensitivity": 0.75,
        "specificity": {"value": 0.5, "low": 0.25, "high": None},
        "precision": {"value": 1, "low": 0.875, "high": 1},
        "ece": {"mean": "<b>"},
        "f1_positive": ["a"],
    }
    metrics = {"test": figures, "note": "none", "empty": {}}
    document = {**card.document, "idc": {**card.document["idc"], "metrics": metrics}}
    page = card_page(parse_card(json.dumps(document), "tiny"), "sha")
    for text in (
        "0.912",
        "0.750",
        "0.500",
        "1 (0.875–1)",
        "{&#x27;mean&#x27;: &#x27;&lt;b&gt;&#x27;}",
        "–",
    ):
        assert f">{text}</td>" in page


def test_provenance_names_every_source(
    open_window: OpenWindow, qtbot: QtBot, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    analyze(window, qtbot)
    document = window.document
    window.verbs.action("Provenance …").trigger()
    text = reading(window)
    for fact in (
        document.slide.identity,
        document.model.sha256,
        "onnxruntime",
        "cpu",
        "min_fraction 0.05",
    ):
        assert fact in text
    assert repr(document.threshold) in text


def test_page_shows_hostile_names_as_text(open_window: OpenWindow, tiny_slide: Scene) -> None:
    document = open_window(tiny_slide.path).document
    assert document.slide is not None
    document.slide = replace(document.slide, file="<img src=x>&.tiff")
    assert "&lt;img src=x&gt;&amp;.tiff" in provenance_page(document)


def test_shortcuts_are_listed_and_none_is_given_twice(window: MainWindow) -> None:
    window.verbs.action("Keyboard and mouse …").trigger()
    text = reading(window)
    assert "Fit slide" in text
    keys = [key for _, verbs in window.verbs.shortcuts() for key in verbs]
    assert len(keys) == len({*keys})


def test_copy_gives_plain_text(window: MainWindow, qtbot: QtBot) -> None:
    from PySide6.QtGui import QGuiApplication

    dialog = ReadingDialog("Title", "<p>some <b>words</b></p>", window)
    dialog.open()
    copy = next(it for it in dialog.findChildren(QPushButton) if it.text() == "Copy")
    defaults = [it.text() for it in dialog.findChildren(QPushButton) if it.isDefault()]
    assert [text.replace("&", "") for text in defaults] == ["Close"]
    copy.click()
    assert QGuiApplication.clipboard().text() == "some words"
    dialog.close()


def test_label_is_read_on_request_only(
    open_window: OpenWindow, qtbot: QtBot, shared_data: Path
) -> None:
    window = open_window(shared_data / "slides" / "CMU-1-Small-Region.svs")
    tiles = window.document.tiles
    assert tiles is not None
    arrived: list[str] = []
    tiles.associated_loaded.connect(lambda name, _picture: arrived.append(name))
    qtbot.wait(300)
    assert arrived == []
    window.verbs.action("Label and macro image …").trigger()
    qtbot.waitUntil(lambda: len(arrived) == 3, timeout=WAIT_MS)
    dialog = window.findChild(AssociatedDialog)
    assert dialog is not None
    assert set(dialog.pictures) == {"label", "macro", "thumbnail"}
    for label in dialog.pictures.values():
        picture: QPixmap = label.pixmap()
        assert picture.width() > 50
    dialog.close()


def test_slide_without_label_has_the_verb_disabled(
    open_window: OpenWindow, tiny_slide: Scene
) -> None:
    window = open_window(tiny_slide.path)
    assert not window.verbs.action("Label and macro image …").isEnabled()
