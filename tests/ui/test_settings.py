"""What the window keeps from one day to the next, in a file that may be damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import (
    QMenu,
    QToolButton,
)
from pytestqt.qtbot import QtBot

from idc_desktop.ui.display import Display
from idc_desktop.ui.main_window import MainWindow
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.theme import apply_theme
from tests.ui.support import WAIT_MS, part


@pytest.mark.parametrize(
    "text",
    [
        '{"display": {"opacity": "much"}}',
        '{"display": {"opacity": 1.5}}',
        '{"display": {"thresholds": [0.5]}}',
        '{"display": {"thresholds": {"a": null}}}',
        '{"slides": 1}',
        "[",
        "[" * 200_000,
    ],
    ids=range(7),
)
def test_corrupt_settings_are_kept_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path))
    (tmp_path / "settings.json").write_text(text, encoding="utf-8")

    assert Settings.load() == Settings()
    assert (tmp_path / "settings.corrupt-1.json").exists()
    kept = Settings(display=Display(opacity=0.25, smooth=True))
    kept.remember_project(tmp_path / "a.idcproject")
    kept.save()
    assert Settings.load() == kept


def test_settings_of_another_version_give_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path))
    text = '{"slides": ["/a.svs"], "later": 1, "display": {"opacity": 0.5, "threshold": 0.3}}'
    (tmp_path / "settings.json").write_text(text, encoding="utf-8")

    assert Settings.load() == Settings(slides=["/a.svs"], display=Display(opacity=0.5))


def test_settings_that_cannot_be_written_disturb_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "file" / "data"))
    Settings().save()


def test_folded_sections_and_looks_are_remembered(window: MainWindow) -> None:
    section = window.inspector.sections[1]
    part(section, QToolButton, section.title).click()
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
