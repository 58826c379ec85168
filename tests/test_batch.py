"""Several slides in one command: what becomes of the others when one of them ends badly."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idc_desktop.cohorts import slide_job
from idc_desktop.commands.cli import main
from idc_desktop.errors import OutputError
from idc_desktop.export import folder as folder_module
from idc_desktop.processes.supervisor import Job
from tests.support.command import SIX_FILES, environment
from tests.support.crashing_engine import VARIABLE, Crash
from tests.support.models import TinyModel, write_tiny_model
from tests.support.scenes import INVALID_COLOR, Scene
from tests.support.slides import PINK, Canvas, write_tiff

CRASHING = "tests.support.crashing_engine"


@pytest.fixture
def slides(tmp_path: Path, tiny_slide: Scene) -> list[Path]:
    """Two slides."""
    return [Path(shutil.copy(tiny_slide.path, tmp_path / f"{name}.tiff")) for name in ("a", "b")]


@pytest.fixture
def command(
    slides: list[Path],
    tiny_model: TinyModel,
    tmp_path: Path,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """The arguments that analyze both, into the folder ``out``."""
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(data_dir))
    names = [str(path) for path in slides]
    out, model = str(tmp_path / "out"), str(tiny_model.path)
    return ["analyze", *names, "--out", out, "--model", model, "--provider", "cpu", "--json"]


def statuses(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what became of each slide."""
    document = json.loads(capsys.readouterr().out)
    return [slide["status"] for slide in document["slides"]]


def test_defect_of_the_engine_on_one_slide_costs_no_other(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(slide_job, "Job", functools.partial(Job, module=CRASHING))
    once = str(tmp_path / "crashed")
    monkeypatch.setenv(VARIABLE, Crash("raise", "open", once=once).variable())

    assert main(command) == 1

    assert statuses(capsys) == ["defect", "done"]
    assert {path.name for path in (tmp_path / "out" / "b").iterdir()} == set(SIX_FILES)


def test_defect_of_an_export_costs_no_other_slide(
    command: list[str],
    tmp_path: Path,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_folder = folder_module.write_folder

    def fail_on_first(folder: Path, *arguments: Any, **options: Any) -> list[str]:
        if folder.name == "a":
            raise ZeroDivisionError
        return write_folder(folder, *arguments, **options)

    monkeypatch.setattr(folder_module, "write_folder", fail_on_first)

    assert main(command) == 1

    assert statuses(capsys) == ["defect", "done"]
    assert (tmp_path / "out" / "b" / "provenance.json").is_file()
    assert "ZeroDivisionError" in (data_dir / "logs" / "defects.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("ends_well", [True, False])
def test_cancel_while_files_are_written_stops_before_the_next_slide(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ends_well: bool,
) -> None:
    write_folder = folder_module.write_folder

    def cancel_first(*arguments: Any, **options: Any) -> list[str]:
        signal.raise_signal(signal.SIGINT)
        if not ends_well:
            raise OutputError("disk full")
        return write_folder(*arguments, **options)

    monkeypatch.setattr(folder_module, "write_folder", cancel_first)

    assert main(command) == 130

    assert statuses(capsys) == ["done" if ends_well else "not written", "pending"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == (["a"] if ends_well else [])


@pytest.mark.parametrize(("invalid", "code"), [(10, 4), (11, 3)])
def test_model_whose_outputs_are_no_probabilities_is_refused_and_what_is_analyzed_kept(
    tmp_path: Path,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    invalid: int,
    code: int,
) -> None:
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(data_dir))
    model = write_tiny_model(tmp_path / "nan.onnx", nan_color=INVALID_COLOR)
    canvas = Canvas(1600, 400, 8.0)
    *tissue, _glass = np.ndindex(canvas.rows, canvas.cols)
    for number, cell in enumerate(tissue):
        canvas.paint_cell(*cell, INVALID_COLOR if number < invalid else PINK, spread=0)
    slide = write_tiff(tmp_path / "s.tiff", canvas.pixels, mpp=8.0)
    out = tmp_path / "out"
    command = [str(slide), "--out", str(out), "--model", str(model.path), "--provider", "cpu"]
    told = []

    for verb in ("analyze", "analyze", "export"):  # from the second on nothing is computed
        assert main([verb, *command]) == code
        told.append(capsys.readouterr().err)

    assert len(set(told)) == 1
    assert len(told[0].splitlines()) == 1
    assert (out / "s" / "regions.csv").exists() == (code == 4)
    if code == 3:
        assert re.match(r"nan\.onnx: 11 of \d+ outputs of the model on s\.tiff are no", told[0])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such name")
def test_file_name_that_is_no_text_ends_nothing_on_a_strict_terminal(
    tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path
) -> None:
    odd = os.fsencode(tmp_path) + b"/\xffad.tiff"
    shutil.copy(tiny_slide.path, odd)
    command = [sys.executable, "-m", "idc_desktop", "analyze", odd, "--out", tmp_path / "out"]
    outcome = subprocess.run(
        [*command, "--model", tiny_model.path, "--provider", "cpu"],
        env=environment(tmp_path / "data", {"PYTHONIOENCODING": "utf-8:strict"}),
        capture_output=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome
    assert b"\\udcffad.tiff" in outcome.stdout


@pytest.mark.parametrize("command", ["analyze", "export"])
def test_one_file_of_regions_is_not_laid_on_several_slides_in_silence(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    code = main([command, "a.svs", "b.svs", "--out", str(out), "--regions", "r.geojson"])

    assert code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("r.geojson: ")
    assert "--regions-for-all" in line
    assert not out.exists()
