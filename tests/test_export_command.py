"""``idc-desktop export``: more files of what is analyzed already, and nothing computed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from idc_desktop.cohorts.drawn import marks_of, regions_of
from idc_desktop.cohorts.slide_job import JobOptions, _origin_l0, read_inputs
from idc_desktop.export.folder import write_regions
from idc_desktop.regions.book import RegionBook
from idc_desktop.regions.kept import Kept
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.shape import Region, Verdict, rectangle
from idc_desktop.storage.user_data import slide_folder
from tests.support.command import SIX_FILES, read_csv, run_cli
from tests.support.models import TinyModel
from tests.support.scenes import Scene
from tests.test_export import analysis
from tests.test_formats import with_bounds

REGIONS = {
    "type": "Feature",
    "properties": {"name": "mine"},
    "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [500, 0], [500, 500], [0, 500]]]},
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data that all tests of this module share: one of them analyzes."""
    return tmp_path_factory.mktemp("export") / "data"


@pytest.fixture(scope="module")
def analyzed(data_dir: Path, tiny_slide: Scene, tiny_model: TinyModel) -> Path:
    """The slide, after it was analyzed."""
    outcome = run_cli(
        "analyze", tiny_slide.path, "--out", data_dir.parent / "first", "--model", tiny_model.path,
        "--provider", "cpu", data_dir=data_dir,
    )  # fmt: skip
    assert outcome.code == 0, outcome
    return tiny_slide.path


def test_export_writes_more_from_the_stored_run(
    analyzed: Path, data_dir: Path, tiny_model: TinyModel, tmp_path: Path
) -> None:
    (tmp_path / "mine.geojson").write_text(json.dumps(REGIONS), encoding="utf-8")

    outcome = run_cli(
        "export", analyzed, "--out", tmp_path, "--model", tiny_model.path, "--provider", "cpu",
        "--regions", tmp_path / "mine.geojson", "--threshold", "0.25", "--format", "report",
        "--format", "qupath", "--json", data_dir=data_dir,
    )  # fmt: skip

    assert outcome.code == 0, outcome
    folder = tmp_path / "tiny"
    more = {
        "report.pdf", "measurements.tsv", "regions.qupath.geojson.gz", "patches.qupath.geojson.gz",
    }  # fmt: skip
    assert {path.name for path in folder.iterdir()} == {*SIX_FILES, *more}
    assert [row["Name"] for row in read_csv(folder / "regions.csv")] == ["mine", "Whole slide"]
    assert {row["Threshold"] for row in read_csv(folder / "regions.csv")} == {"0.25"}
    first = data_dir.parent / "first" / "tiny"
    assert (folder / "patches.csv").read_bytes() == (first / "patches.csv").read_bytes()
    assert outcome.document["slides"][0]["status"] == "done"
    assert run_cli("verify", folder, data_dir=data_dir).code == 0


def test_verdicts_of_the_window_are_exported_unless_it_is_open(
    analyzed: Path, data_dir: Path, tmp_path: Path
) -> None:
    def export(name: str) -> tuple[list[dict[str, str]], bytes, str]:
        outcome = run_cli("export", analyzed, "--out", tmp_path / name, data_dir=data_dir)
        assert outcome.code == 0, outcome
        table = tmp_path / name / "tiny" / "regions.csv"
        return read_csv(table), table.read_bytes(), outcome.stderr

    identity = run_cli("info", analyzed, "--json", data_dir=data_dir).document["identity"]
    place = slide_folder(data_dir, identity)
    _, before, _ = export("before")
    shapes = (rectangle(0, 0, 700, 900), rectangle(0, 0, 1320, 900), rectangle(0, 0, 50, 50))
    verdicts: tuple[Verdict, ...] = ("IDC", "benign", "")
    with RegionBook(place) as book:
        book.edit(put=[Region("drawn", shapes[2])])
        book.flush()
        rows, while_open, said = export("open")
        assert while_open == before
        assert "A window has this slide open. Close it and export again" in said
    assert export("drawn")[1] == before  # what is only drawn is no verdict
    with RegionBook(place) as book:
        book.edit(
            put=[
                Region(verdict, shape, verdict=verdict, note=f"{verdict}!")
                for verdict, shape in zip(verdicts, shapes, strict=True)
            ]
        )
    kept = {it.name: it.read_bytes() for it in place.iterdir()}
    rows, _, said = export("judged")
    assert said == export("again")[2]
    assert [(it["Name"], it["Verdict"], it["Note"]) for it in rows] == [
        ("IDC", "IDC", "IDC!"),
        ("benign", "benign", "benign!"),
        ("Whole slide", "", ""),
    ]
    idc = rows[0]["IDC area µm^2"]
    assert 0 < float(idc) < float(rows[1]["IDC area µm^2"])
    assert {it["Accepted IDC area µm^2"] for it in rows} == {idc}
    assert {it.name: it.read_bytes() for it in place.iterdir()} == kept


@pytest.mark.parametrize("change", [["--mpp", "2.5"], ["--no-tissue-mask"]])
def test_what_is_not_analyzed_is_refused_and_not_computed(
    analyzed: Path, data_dir: Path, tiny_model: TinyModel, tmp_path: Path, change: list[str]
) -> None:
    runs = sorted(data_dir.rglob("run-*"))

    outcome = run_cli(
        "export", analyzed, "--out", tmp_path / "out", "--model", tiny_model.path,
        "--provider", "cpu", *change, data_dir=data_dir,
    )  # fmt: skip

    assert outcome.code == 3, outcome
    assert len(outcome.error_lines) == 1
    assert "tiny.tiff: There is no finished analysis" in outcome.error_lines[0]
    assert sorted(data_dir.rglob("run-*")) == runs
    assert not list((tmp_path / "out").iterdir())


def test_format_that_cannot_hold_the_slide_is_refused_before_any_work(
    tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path
) -> None:
    outcome = run_cli(
        "analyze", tiny_slide.path, "--out", tmp_path / "out", "--model", tiny_model.path,
        "--format", "dicom", data_dir=tmp_path / "data",
    )  # fmt: skip

    assert outcome.code == 3, outcome
    assert "--format dicom is not possible: it refers to a DICOM slide" in outcome.stderr
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("others", [["--format", "regions"], []])
def test_slide_that_one_format_cannot_hold_is_written_in_the_others(
    tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path, others: list[str]
) -> None:
    second = [] if others else [shutil.copy(tiny_slide.path, tmp_path / "second.tiff")]

    outcome = run_cli(
        "analyze", tiny_slide.path, *second, "--out", tmp_path / "out", "--provider", "cpu",
        "--model", tiny_model.path, "--format", "dicom", *others, "--json",
        data_dir=tmp_path / "data",
    )  # fmt: skip

    assert outcome.code == 4, outcome
    for line, slide in zip(outcome.error_lines, outcome.document["slides"], strict=True):
        assert "--format dicom is not possible: it refers to a DICOM slide" in line
        assert (slide["status"], slide["error"]) == ("partial", line)
        written = {it.name for it in Path(slide["out"]).iterdir()}
        assert written == {*SIX_FILES, *(["regions.geojson"] if others else [])}
        assert run_cli("verify", slide["out"], data_dir=tmp_path / "data").code == 0


def test_unknown_format_is_wrong_usage(tiny_slide: Scene, tmp_path: Path) -> None:
    outcome = run_cli(
        "export", tiny_slide.path, "--out", tmp_path, "--format", "docx", data_dir=tmp_path / "d"
    )

    assert outcome.code == 2, outcome
    assert "docx" in outcome.error_lines[-1]


@pytest.mark.parametrize(("origin", "left"), [("image", 100.0), ("bounds", 740.0)])
def test_regions_of_qupath_are_moved_to_the_bounds(
    tiny_model: TinyModel, tmp_path: Path, origin: str, left: float
) -> None:
    found = with_bounds(analysis(tiny_model.path))
    path = tmp_path / "r.geojson"
    square = [[100, 100], [200, 100], [200, 200], [100, 200]]
    geometry = {"type": "Polygon", "coordinates": [square]}
    path.write_text(json.dumps(REGIONS | {"geometry": geometry}), encoding="utf-8")
    options = JobOptions(tmp_path, None, regions=path, regions_origin=origin)
    read = read_inputs(options, [], print).regions

    (placed,) = regions_of(Kept(), read, found.slide, _origin_l0(options, found.slide))

    assert placed.shape.bounds[0] == left
    assert placed.id == read.regions[0].id


@pytest.mark.parametrize("origin", ["image", "bounds"])
def test_file_that_states_its_origin_is_moved_once(
    tiny_model: TinyModel, tmp_path: Path, origin: str
) -> None:
    found = with_bounds(analysis(tiny_model.path))
    path = tmp_path / "r.geojson"
    region = Region("r", rectangle(1000, 1000, 1100, 1100))
    mark = Mark("angle", ((700, 600), (800, 700), (900.5, 650)), "between")
    write_regions(path, [region], found.slide.bounds_origin_l0, [mark])
    options = JobOptions(tmp_path, None, regions=path, regions_origin=origin)

    read, origin_l0 = read_inputs(options, [], print).regions, _origin_l0(options, found.slide)
    (placed,) = regions_of(Kept(), read, found.slide, origin_l0)

    assert marks_of(Kept(), read, origin_l0) == (mark,)
    assert marks_of(Kept(marks=(mark,)), read, origin_l0) == (mark,)  # it is there once
    assert placed.shape.bounds == region.shape.bounds
