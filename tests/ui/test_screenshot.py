"""``open --screenshot``: it always ends, with the exit code that ``analyze`` would have."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import qInstallMessageHandler, qWarning
from PySide6.QtGui import QImage

from idc_desktop.commands.cli import main
from idc_desktop.ui import app
from idc_desktop.ui.settings import Settings
from tests.support.command import Outcome, run_cli
from tests.support.models import TinyModel
from tests.support.scenes import Scene, write_tissue_slide
from tests.support.slides import damage_tile, write_tiff
from tests.ui.support import kept_slides

Shoot = Callable[..., Outcome]


@pytest.fixture
def shoot(tmp_path: Path, tiny_model: TinyModel) -> Shoot:
    """Take a picture of a slide."""

    def run(slide: Path, data_dir: Path = tmp_path / "data", name: str = "shot.png") -> Outcome:
        return run_cli(
            "open", slide, "--model", tiny_model.path, "--screenshot", tmp_path / name,
            data_dir=data_dir, cwd=tmp_path, timeout=60,
        )  # fmt: skip

    return run


def test_failed_patches_are_told_beside_the_picture(shoot: Shoot, tmp_path: Path) -> None:
    scene = write_tissue_slide(
        tmp_path / "damaged.tiff", (1600, 1280), 2.0, downsamples=(1, 4, 16), tile=64, seed=5
    )
    damage_tile(scene.path, 1, 2, 2)
    outcome = shoot(scene.path)
    assert outcome.code == 4, outcome
    assert "patches could not be analyzed" in outcome.error_lines[-1]
    assert not QImage(str(tmp_path / "shot.png")).isNull()


def test_data_folder_that_cannot_be_written_is_no_fault_of_the_slide(
    shoot: Shoot, tmp_path: Path, tiny_slide: Scene
) -> None:
    (tmp_path / "file").write_bytes(b"")
    outcome = shoot(tiny_slide.path, tmp_path / "file" / "data")
    assert outcome.code == 5, outcome
    assert not (tmp_path / "shot.png").exists()


def test_nothing_is_said_where_all_is_well_and_qt_is_heard_else(
    shoot: Shoot, tiny_slide: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = shoot(tiny_slide.path)
    assert (outcome.code, outcome.stderr) == (0, ""), outcome
    former = qInstallMessageHandler(app._say)
    try:
        qWarning("This plugin does not support propagateSizeHints()")
        qWarning("QPainter::begin: Paint device returned engine == 0")
    finally:
        qInstallMessageHandler(former)
    assert capsys.readouterr().err == "QPainter::begin: Paint device returned engine == 0\n"


def test_folder_without_a_slide_ends_it(shoot: Shoot, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    outcome = shoot(tmp_path / "empty")
    assert outcome.code == 3, outcome
    assert outcome.error_lines[-1] == "empty: There is no slide in this folder."


def test_slide_that_cannot_be_analyzed_is_named(shoot: Shoot, tmp_path: Path) -> None:
    bare = write_tiff(tmp_path / "bare.tiff", [np.full((500, 600, 3), 200, np.uint8)], mpp=None)
    (tmp_path / "bad.svs").write_bytes(b"no slide at all" * 100)
    for slide in (bare, tmp_path / "bad.svs"):
        outcome = shoot(slide)
        assert outcome.code == 3, outcome
        assert outcome.error_lines[-1].startswith(f"{slide.name}: ")


def test_picture_that_cannot_be_written_is_told(shoot: Shoot, tiny_slide: Scene) -> None:
    outcome = shoot(tiny_slide.path, name="none/shot.png")
    assert outcome.code == 5, outcome
    assert "shot.png: The picture cannot be written" in outcome.error_lines[-1]


@pytest.mark.parametrize("kind", ["folder", "pipe", "no folder", "format"])
def test_place_of_the_picture_is_looked_at_before_the_slide(
    shoot: Shoot, tmp_path: Path, kind: str
) -> None:
    name = {"no folder": "none/a.png", "format": "a.doc"}.get(kind, "a.png")
    if kind == "folder":
        (tmp_path / name).mkdir()
    elif kind == "pipe":
        os.mkfifo(tmp_path / name)
    outcome = shoot(tmp_path / "no such slide.tiff", name=name)
    assert outcome.code == 5, outcome
    assert "The picture cannot be written" in outcome.error_lines[-1]
    assert {it.name for it in tmp_path.iterdir()} <= {name, "data"}


def test_layout_of_the_user_stays_as_it_is(
    shoot: Shoot, tmp_path: Path, tiny_slide: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(tmp_path / "data"))
    Settings(layout="AAAA", geometry="AAAA", folded=["Model"]).save()
    assert shoot(tiny_slide.path).code == 0
    found = Settings.load()
    assert (found.layout, found.geometry, found.folded) == ("AAAA", "AAAA", ["Model"])
    assert kept_slides() == [str(tiny_slide.path)]


def test_open_takes_several_slides_but_a_picture_is_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(app, "run", lambda *given: asked.append(given) or 0)
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    monkeypatch.chdir(tmp_path)
    assert main(["open", "a.svs", "folder"]) == main(["open"]) == main([]) == 0
    both = [tmp_path / "a.svs", tmp_path / "folder"]
    assert asked == [(both, None, None), ([], None, None), ([], None, None)]
    for slides in ([], ["a.svs", "b.svs"]):
        assert main(["open", *slides, "--screenshot", "x.png"]) == 2
        assert "--screenshot needs one SLIDE." in capsys.readouterr().err
    assert len(asked) == 3
