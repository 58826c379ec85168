"""One slide's job as a function: nothing printed, nothing raised, all in the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.cohorts.slide_job import (
    JobInputs,
    JobOptions,
    Listener,
    analyze_one,
    read_inputs,
    start_engine,
)
from idc_desktop.errors import SlideError
from idc_desktop.export import folder
from idc_desktop.processes.region_reading import ReadRegions
from idc_desktop.regions.shape import Region, rectangle
from tests.support.command import SIX_FILES
from tests.support.models import TinyModel
from tests.support.scenes import Scene
from tests.support.slides import write_tiff


class _Ear(Listener):
    def __init__(self) -> None:
        self.heard: list[tuple[str, object]] = []

    def note(self, text: str) -> None:
        self.heard.append(("note", text))

    def begin(self, total: int) -> None:
        self.heard.append(("begin", total))

    def reach(self, done: int) -> None:
        self.heard.append(("reach", done))

    def end(self) -> None:
        self.heard.append(("end", None))


@pytest.fixture
def options(
    tmp_path: Path, data_dir: Path, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> JobOptions:
    """Analyze with the tiny model on the CPU."""
    monkeypatch.setenv("IDC_DESKTOP_DATA_DIR", str(data_dir))
    return JobOptions(tmp_path / "out", str(tiny_model.path), provider="cpu")


@pytest.fixture
def inputs(options: JobOptions) -> JobInputs:
    """What all slides have in common."""
    return read_inputs(options, [], pytest.fail)


def test_report_says_what_became_of_a_slide_and_nothing_is_printed(
    options: JobOptions,
    inputs: JobInputs,
    tiny_slide: Scene,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ear = _Ear()

    report = analyze_one(tiny_slide.path, options, inputs, listener=ear)

    assert (report.status, report.exit_code, report.failure) == ("done", 0, None)
    assert report.out == options.out / tiny_slide.path.stem
    assert {path.name for path in report.out.iterdir()} == set(SIX_FILES)
    assert report.counts is not None
    cells = sum(report.counts.values())
    assert ear.heard[0] == ("begin", cells)
    assert ear.heard[-2:] == [("reach", cells), ("end", None)]
    assert (report.provider, report.is_stored) == ("cpu", False)
    assert analyze_one(tiny_slide.path, options, inputs).is_stored
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("count", "which"),
    [(1, "The region 'r0' lies off"), (300, "300 of 301 regions, the first: 'r0', lie off")],
)
def test_regions_of_another_slide_are_told_in_one_remark(
    options: JobOptions, inputs: JobInputs, tiny_slide: Scene, count: int, which: str
) -> None:
    off = [Region(f"r{i}", rectangle(90_000.0 + i, 0.0, 90_100.0 + i, 100.0)) for i in range(count)]
    on = Region("on", rectangle(0.0, 0.0, 400.0, 400.0))
    regions = ReadRegions([on, *off], (), states_origin=True)

    report = analyze_one(tiny_slide.path, options, replace(inputs, regions=regions))

    assert [which in remark for remark in report.remarks] == [True]


@pytest.mark.parametrize(("white_cells", "said"), [(0, 1), (2, 0)])
def test_slide_without_any_background_is_told(
    options: JobOptions, inputs: JobInputs, tmp_path: Path, white_cells: int, said: int
) -> None:
    pixels = np.full((400, 400, 3), (214, 130, 176), np.uint8)  # too dark to be taken for glass
    pixels[:100, : 50 * white_cells] = 245
    slide = write_tiff(tmp_path / "lilac.tiff", pixels, mpp=8.0)

    report = analyze_one(slide, options, inputs)

    assert sum("No patch is background" in remark for remark in report.remarks) == said
    assert report.out is not None
    notes = json.loads((report.out / "provenance.json").read_text(encoding="utf-8"))["notes"]
    assert sum("No patch is background" in note for note in notes) == said


def test_report_says_why_there_are_no_results(
    options: JobOptions,
    inputs: JobInputs,
    tiny_slide: Scene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = tmp_path / "bad.svs"
    bad.write_bytes(b"no slide" * 99)

    refused = analyze_one(bad, options, inputs)

    assert (refused.status, refused.exit_code) == ("refused", 3)
    assert isinstance(refused.failure, SlideError)
    assert str(refused.failure).startswith("bad.svs: ")
    job = start_engine(tiny_slide.path, options)
    job.cancel()
    cancelled = analyze_one(tiny_slide.path, options, inputs, job=job)
    assert (cancelled.status, cancelled.exit_code) == ("cancelled", 130)
    monkeypatch.delattr(folder, "write_folder")
    defect = analyze_one(tiny_slide.path, options, inputs)
    assert (defect.status, defect.exit_code) == ("defect", 1)
    assert "ImportError" in str(defect.failure)
    assert capsys.readouterr() == ("", "")
