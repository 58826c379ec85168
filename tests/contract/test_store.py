"""Runs that repeat: design §5 (run key, reuse, restart) and §6 (byte-identical CSV files)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.contract.conftest import Analysis
from tests.support.command import SIX_FILES, Outcome, file_sha256, read_csv, read_json, run_cli
from tests.support.models import TinyModel, write_tiny_model
from tests.support.scenes import Scene

SAME_EVERY_TIME = ("patches.csv", "regions.csv", "patches.geojson")


def analyze(main_run: Analysis, out: Path, *options: object, data_dir: Path) -> Outcome:
    """Repeat the main run, with its model and regions unless `options` say otherwise."""
    outcome = run_cli(
        *main_run.outcome.arguments[:2], "--out", out, *main_run.outcome.arguments[4:],
        *map(str, options), data_dir=data_dir,
    )  # fmt: skip
    assert outcome.code == 0, outcome
    return outcome


def hashes(folder: Path) -> dict[str, str]:
    return {name: file_sha256(folder / name) for name in SAME_EVERY_TIME}


def run_files(data_dir: Path) -> dict[Path, str]:
    """Find the SQLite files, by what is in them."""
    magic = b"SQLite format 3\0"
    found = [path for path in data_dir.rglob("*") if path.is_file()]
    return {path: file_sha256(path) for path in found if path.read_bytes()[:16] == magic}


@pytest.fixture(scope="module")
def repeated(main_run: Analysis, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the same analysis, done again in several ways."""
    base = tmp_path_factory.mktemp("repeated")
    folders = {}
    for name, options, fresh in (
        ("other data folder, 1 thread", ["--threads", "1"], True),
        ("restarted, 2 threads", ["--restart", "--threads", "2"], False),
    ):
        data = base / f"data-{len(folders)}" if fresh else main_run.data_dir
        out = base / str(len(folders))
        analyze(main_run, out, *options, data_dir=data)
        folders[name] = out / "tiny"
    return folders


def test_same_work_gives_the_same_bytes(main_run: Analysis, repeated: dict[str, Path]) -> None:
    for name, folder in repeated.items():
        assert hashes(folder) == hashes(main_run.folder), name


def test_finished_run_is_reused(main_run: Analysis, tiny_model: TinyModel, tmp_path: Path) -> None:
    before = run_files(main_run.data_dir)
    assert len(before) == 1, before

    analyze(main_run, tmp_path / "again", data_dir=main_run.data_dir)

    assert run_files(main_run.data_dir) == before
    assert hashes(tmp_path / "again" / "tiny") == hashes(main_run.folder)
    assert {path.name for path in (tmp_path / "again" / "tiny").iterdir()} == set(SIX_FILES)


def test_run_file_is_marked_as_ours(main_run: Analysis) -> None:
    (path,) = run_files(main_run.data_dir)
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
    finally:
        connection.close()

    assert application_id != 0
    assert version >= 1
    assert journal == "delete"


def test_other_threshold_reuses_the_run_and_changes_the_statistics(
    main_run: Analysis, tmp_path: Path
) -> None:
    before = run_files(main_run.data_dir)
    # The last row's centres lie on the slide's lower edge, which is outside.
    centred = sorted(float(row["prob_IDC"]) for row in main_run.patches if row["row"] != "4")
    threshold = centred[-3]

    analyze(main_run, tmp_path / "out", "--threshold", threshold, data_dir=main_run.data_dir)

    folder = tmp_path / "out" / "tiny"
    whole = read_csv(folder / "regions.csv")[-1]
    assert run_files(main_run.data_dir) == before
    assert file_sha256(folder / "patches.csv") == file_sha256(main_run.folder / "patches.csv")
    assert whole["Threshold"] == repr(threshold)
    assert whole["IDC patches"] == "3"
    assert read_json(folder / "provenance.json")["threshold"] == threshold


def test_other_mpp_is_another_run(tiny_slide: Scene, main_run: Analysis, tmp_path: Path) -> None:
    before = run_files(main_run.data_dir)

    analyze(main_run, tmp_path / "out", "--mpp", "1.0", data_dir=main_run.data_dir)

    folder = tmp_path / "out" / "tiny"
    provenance = read_json(folder / "provenance.json")
    assert provenance["slide"]["mpp_source"] == "user"
    assert (provenance["slide"]["mpp_x"], provenance["slide"]["mpp_y"]) == (1.0, 1.0)
    assert (provenance["grid"]["rows"], provenance["grid"]["cols"]) == (3, 4)
    assert {row["mpp used"] for row in read_csv(folder / "regions.csv")} == {"1.0"}
    assert {row["mpp source"] for row in read_csv(folder / "regions.csv")} == {"user"}
    after = run_files(main_run.data_dir)
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()


def test_other_model_is_another_run(main_run: Analysis, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "steep.onnx", name="steep", slope=30.0, threshold=0.25)
    before = run_files(main_run.data_dir)

    analyze(main_run, tmp_path / "out", "--model", model.path, data_dir=main_run.data_dir)

    whole = read_csv(tmp_path / "out" / "tiny" / "regions.csv")[-1]
    assert (whole["Model"], whole["Model SHA-256"]) == ("steep", model.sha256)
    assert whole["Threshold"] == "0.25"
    assert len(run_files(main_run.data_dir)) == len(before) + 1


def test_without_tissue_mask_every_cell_is_analyzed(main_run: Analysis, tmp_path: Path) -> None:
    analyze(main_run, tmp_path / "out", "--no-tissue-mask", data_dir=main_run.data_dir)

    rows = read_csv(tmp_path / "out" / "tiny" / "patches.csv")
    cells = [(int(row["row"]), int(row["col"])) for row in rows]
    assert cells == main_run.grid.cells
    probability = {cell: row["prob_IDC"] for cell, row in zip(cells, rows, strict=True)}
    for row in main_run.patches:
        assert probability[int(row["row"]), int(row["col"])] == row["prob_IDC"]


def test_new_results_replace_old_ones(main_run: Analysis, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "tiny"
    folder.mkdir(parents=True)
    (folder / "patches.csv").write_text("old", encoding="utf-8")
    (folder / "mine.txt").write_text("keep", encoding="utf-8")

    analyze(main_run, tmp_path / "out", data_dir=main_run.data_dir)

    assert hashes(folder) == hashes(main_run.folder)
    assert {path.name for path in folder.iterdir()} == {*SIX_FILES, "mine.txt"}
