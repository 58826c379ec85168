"""Pictures are saved whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QFileDialog, QMessageBox

from idc_desktop.errors import OutputError
from idc_desktop.ui.outcome import given_mpp, keep_given_mpp
from idc_desktop.ui.pictures import save_picture
from idc_desktop.ui.settings import Settings
from idc_desktop.ui.thumbnails import Thumbnails
from tests.support.scenes import Scene
from tests.ui.conftest import OpenWindow


def picture() -> QImage:
    """Return a picture that no file of a few bytes holds."""
    made = QImage(300, 200, QImage.Format.Format_RGB32)
    made.fill(0x336699)
    return made


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no file reach the disk from now on."""

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a"])
def test_picture_is_saved_in_the_format_of_its_name(tmp_path: Path, name: str) -> None:
    save_picture(picture(), tmp_path / name)
    assert QImage(str(tmp_path / name)).size() == picture().size()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_format_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"^a\.pdf: The picture .* Let its name end in \.png\."):
        save_picture(picture(), tmp_path / "a.pdf")
    assert not list(tmp_path.iterdir())


def test_full_disk_keeps_the_picture_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    fill_disk(monkeypatch)
    with pytest.raises(OutputError, match=r"^a\.png: .* \(No space left on device\). Free some"):
        save_picture(picture(), tmp_path / "a.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_view_that_cannot_be_saved_is_told(
    open_window: OpenWindow, tiny_slide: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = open_window(tiny_slide.path)
    target = tmp_path / "no such folder" / "view.png"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    window.dialogs.save_picture()
    (box,) = window.findChildren(QMessageBox)
    assert box.text().startswith("view.png: The picture cannot be written (No such file")
    box.close()


def test_thumbnail_that_cannot_be_kept_is_shown_all_the_same(
    open_window: OpenWindow, tiny_slide: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, thumbnails = open_window(tiny_slide.path).document, Thumbnails()
    made: list[QImage] = []
    thumbnails.made.connect(lambda path, image: made.append(image))
    (tmp_path / "file").write_bytes(b"where the folder would be")
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "file"))
    assert document.pyramid is not None
    assert document.tiles is not None
    thumbnails.keep(tiny_slide.path, document.pyramid, document.tiles)
    assert len(made) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_settings_are_read_by_their_user_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "data"))
    Settings(slides=["/secret.svs"]).save()
    assert stat.S_IMODE((tmp_path / "data" / "settings.json").stat().st_mode) == 0o600


def test_what_cannot_be_kept_leaves_what_was_kept(
    tmp_path: Path, tiny_slide: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "data"))
    Settings(theme="dark").save()
    keep_given_mpp(tiny_slide.path, 0.5)
    fill_disk(monkeypatch)
    Settings(theme="light").save()
    keep_given_mpp(tiny_slide.path, 0.25)
    assert Settings.load().theme == "dark"
    assert given_mpp(tiny_slide.path) == 0.5
    assert not list((tmp_path / "data").rglob("*.tmp"))
