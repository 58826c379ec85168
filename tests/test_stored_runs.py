"""Finished runs outlive their models and the versions that computed them, and say when that was."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from idc_desktop.storage.run_files import RunStore, StoredRun, finished_runs, run_path
from tests.support.command import Outcome, read_csv, read_json, run_cli
from tests.support.models import TinyModel, write_tiny_model
from tests.support.older_files import write_run_1
from tests.support.scenes import Scene
from tests.test_store import IDENTITY, SETTINGS, open_store, result

MOMENT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass
class Lab:
    """A data folder, a slide, and a model whose file can go."""

    slide: Path
    model: TinyModel
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def run(self, command: str, *options: object, out: str = "out") -> Outcome:
        arguments = [command, str(self.slide), "--out", str(self.folder / out)]
        return run_cli(*arguments, *map(str, options), data_dir=self.data)

    def analyze(self, *options: object, model: TinyModel | None = None) -> Path:
        path = (model or self.model).path
        outcome = self.run("analyze", "--model", path, "--provider", "cpu", *options)
        assert outcome.code == 0, outcome
        return self.folder / "out" / "tiny"

    def runs(self) -> list[StoredRun]:
        (place,) = (self.data / "slides").iterdir()
        return finished_runs(self.data, place.name)


@pytest.fixture
def lab(tiny_slide: Scene, tmp_path: Path) -> Lab:
    return Lab(tiny_slide.path, write_tiny_model(tmp_path / "mine.onnx", name="mine"), tmp_path)


def test_export_needs_no_model_file_and_names_the_model(lab: Lab) -> None:
    first = lab.analyze()
    analyzed = read_json(first / "provenance.json")["analyzed"]
    age = datetime.now(UTC) - datetime.strptime(analyzed, MOMENT).replace(tzinfo=UTC)
    assert timedelta(0) <= age < timedelta(minutes=2)
    lab.model.path.unlink()

    for out in ("again", "once more"):
        outcome = lab.run("export", "--format", "report", out=out)
        assert outcome.code == 0, outcome
        (line,) = outcome.error_lines
        sha256 = read_json(first / "provenance.json")["model"]["sha256"]
        assert line == (
            f"note: tiny.tiff: The newest analysis is by mine 1.2.3 ({sha256[:12]}), finished "
            f"{analyzed}."
        )
        for file in first.iterdir():
            again = lab.folder / out / "tiny" / file.name
            if file.name != "provenance.json":
                assert again.read_bytes() == file.read_bytes(), file.name
        found, before = (
            read_json(it / "provenance.json") for it in (lab.folder / out / "tiny", first)
        )
        assert {**found, "files": {}} == {**before, "files": {}}


def test_newest_of_several_models_is_exported_or_the_one_that_is_asked_for(lab: Lab) -> None:
    other = write_tiny_model(lab.folder / "other.onnx", name="other", slope=30.0)
    lab.analyze()
    old = lab.runs()[0]
    lab.analyze(model=other)
    (place,) = (lab.data / "slides").iterdir()
    for run in lab.runs():  # apart by more than a second
        if run.settings == old.settings:
            set_analyzed(run_path(lab.data, place.name, run.settings), "2026-01-02T03:04:05Z")

    newest = lab.run("export", out="newest")
    asked = lab.run("export", "--model", lab.model.path, "--provider", "cpu", out="asked")

    assert "other 1.2.3" in newest.stderr
    assert (newest.code, asked.code, asked.stderr) == (0, 0, "")
    assert models_of(lab.folder / "newest") == {"other"}
    assert models_of(lab.folder / "asked") == {"mine"}
    asked_of = read_json(lab.folder / "asked" / "tiny" / "provenance.json")
    assert asked_of["analyzed"] == "2026-01-02T03:04:05Z"


def models_of(folder: Path) -> set[str]:
    return {row["Model"] for row in read_csv(folder / "tiny" / "regions.csv")}


def set_analyzed(path: Path, moment: str) -> None:
    import contextlib
    import sqlite3

    from idc_desktop.storage.database import FACTS, fact, put

    with contextlib.closing(sqlite3.connect(path)) as database, database:
        put(database, FACTS, [fact("analyzed", moment)])


def test_missing_run_of_a_model_names_the_one_that_there_is(lab: Lab) -> None:
    lab.analyze()
    other = write_tiny_model(lab.folder / "other.onnx", name="other", slope=30.0)

    outcome = lab.run("export", "--model", other.path, "--provider", "cpu", out="none")

    assert outcome.code == 3
    (line,) = outcome.error_lines
    assert "There is one by mine 1.2.3: leave out --model to export it." in line


@pytest.mark.parametrize(
    "options", [["--mpp", "2.5"], ["--no-tissue-mask"], ["--provider", "cuda"]]
)
def test_options_of_an_export_without_model_are_kept_to(lab: Lab, options: list[str]) -> None:
    lab.analyze()
    outcome = lab.run("export", *options, out="none")

    assert outcome.code == 3
    assert "There is no finished analysis" in outcome.stderr


def test_resolution_that_was_given_by_hand_comes_from_the_run(lab: Lab) -> None:
    first = lab.analyze("--mpp", "1.0")

    outcome = lab.run("export", out="again")

    assert outcome.code == 0, outcome
    again = lab.folder / "again" / "tiny"
    assert (again / "patches.csv").read_bytes() == (first / "patches.csv").read_bytes()
    slide = read_json(again / "provenance.json")["slide"]
    assert (slide["mpp_x"], slide["mpp_source"]) == (1.0, "user")


def test_context_map_of_a_stored_run_is_refused(lab: Lab) -> None:
    lab.analyze()
    outcome = lab.run("export", "--map", "context", out="none")

    assert outcome.code == 3
    assert "mine 1.2.3: The model has no context map" in outcome.stderr


def test_run_of_an_earlier_version_is_exported_with_a_note(lab: Lab) -> None:
    first = lab.analyze()
    (run,) = lab.runs()
    (place,) = (lab.data / "slides").iterdir()
    run_path(lab.data, place.name, run.settings).unlink()
    older = {**run.settings, "onnxruntime": "1.2.3", "preprocessing": "0"}
    with RunStore(lab.data, place.name, older, restart=False) as store:
        store.commit(list(run.results))

    outcome = lab.run("export", "--model", lab.model.path, "--provider", "cpu", out="again")

    assert outcome.code == 0, outcome
    assert "made by an earlier version (onnxruntime 1.2.3, preprocessing 0)" in outcome.stderr
    again = lab.folder / "again" / "tiny"
    assert (again / "patches.csv").read_bytes() == (first / "patches.csv").read_bytes()
    versions = read_json(again / "provenance.json")["versions"]
    assert versions == {"onnxruntime": "1.2.3", "preprocessing": "0"}


def test_run_of_version_1_has_no_moment_and_stays_so(lab: Lab) -> None:
    first = lab.analyze()
    (run,) = lab.runs()
    (path,) = (lab.data / "slides").glob("*/run-*.sqlite")
    path.unlink()
    write_run_1(path, run.settings, run.results)

    for out in ("again", "once more"):
        outcome = lab.run("export", "--model", lab.model.path, "--provider", "cpu", out=out)
        assert (outcome.code, outcome.stderr) == (0, ""), outcome
        provenance = read_json(lab.folder / out / "tiny" / "provenance.json")
        assert provenance["analyzed"] is None
    again = lab.folder / "again" / "tiny"
    assert (again / "patches.csv").read_bytes() == (first / "patches.csv").read_bytes()
    # From now on its model is kept.
    assert lab.run("export", out="without model").code == 0


def test_run_of_version_1_by_a_bundled_model_is_exported(lab: Lab) -> None:
    outcome = lab.run("analyze", "--model", "baseline", "--provider", "cpu")
    assert outcome.code == 0, outcome
    (run,) = lab.runs()
    (path,) = (lab.data / "slides").glob("*/run-*.sqlite")
    path.unlink()
    write_run_1(path, run.settings, run.results)

    outcome = lab.run("export", out="again")

    assert outcome.code == 0, outcome
    assert "The newest analysis is by baseline" in outcome.stderr


# --- the store ---------------------------------------------------------------------------------

GRID = {"rows": 8, "cols": 20, "step_x_l0": 1.0, "step_y_l0": 1.0, "origin_x_l0": 0,
        "origin_y_l0": 0, "width_l0": 20, "height_l0": 8}  # fmt: skip
WHOLE: dict[str, Any] = {
    **SETTINGS, "grid": GRID, "tissue": {"enabled": True}, "provider": "cpu",
    "onnxruntime": "1", "preprocessing": "1",
}  # fmt: skip


def test_only_finished_runs_are_told_and_the_newest_first(tmp_path: Path) -> None:
    for model, blocks in (("a", 8), ("b", 7), ("c", 8)):
        with open_store(tmp_path, **{**WHOLE, "model": model * 64}) as store:
            store.commit([result(number) for number in range(blocks)])
            moment = store.analyzed
            assert moment is not None
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", moment)
    settings = {**WHOLE, "model": "c" * 64}
    set_analyzed(run_path(tmp_path, IDENTITY, settings), "2001-02-03T04:05:06Z")

    runs = finished_runs(tmp_path, IDENTITY)

    assert [it.settings["model"][0] for it in runs] == ["a", "c"]
    assert runs[1].analyzed == "2001-02-03T04:05:06Z"
    assert runs[0].model is None  # nobody told it
    assert finished_runs(tmp_path, "f" * 64) == []


def test_run_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    with open_store(tmp_path, **WHOLE) as store:
        store.commit([result(number) for number in range(8)])
        assert finished_runs(tmp_path, IDENTITY) == []
        store.commit([result(0)])
    assert len(finished_runs(tmp_path, IDENTITY)) == 1


def test_restart_forgets_the_moment(tmp_path: Path) -> None:
    with open_store(tmp_path, **WHOLE) as store:
        store.commit([result(0)])
    with open_store(tmp_path, restart=True, **WHOLE) as store:
        assert store.analyzed is None
        store.commit([result(0)])
        assert store.analyzed is not None


@pytest.mark.parametrize(
    ("asked", "is_it"),
    [
        ((None, None, "auto", None), True),
        (("a" * 64, (0.25, 0.25), "cpu", True), True),
        (("b" * 64, None, "auto", None), False),
        ((None, (0.5, 0.5), "auto", None), False),
        ((None, None, "cuda", None), False),
        ((None, None, "auto", False), False),
    ],
)
def test_run_matches_what_is_asked_for(asked: tuple[Any, ...], is_it: bool) -> None:
    assert StoredRun(json.loads(json.dumps(WHOLE)), {}, ()).matches(*asked) == is_it
