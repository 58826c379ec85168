"""The command line from outside: design §6."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.contract.conftest import Analysis
from tests.support.command import SIX_FILES, Outcome, read_csv, read_json, run_cli
from tests.support.models import TinyModel
from tests.support.scenes import Cell, Scene, write_glass_slide
from tests.support.slides import pyramid, write_svs, write_tiff

# --- refusals ---------------------------------------------------------------------------------

REFUSED_INPUT = {
    "missing": "missing.tiff",
    "unscaled": "unscaled.tiff",
    "nonsense": "nonsense.tiff",
    "overview": "overview.tiff",
    "far": "far.tiff",
    "rubbish": "rubbish.tiff",
    "empty": "empty.svs",
    "folder": "folder.svs",
    "cut": "cut.tiff",
    "info missing": "missing.tiff",
    "info rubbish": "rubbish.tiff",
    "model missing": "missing.onnx",
    "model unknown": "no-such-model",
    "model not onnx": "tiny.tiff",
    "context": "tiny",
    "regions missing": "missing.geojson",
    "regions rubbish": "rubbish.geojson",
    "regions other": "other.geojson",
    "regions open ring": "open-ring.geojson",
    "mpp zero": "tiny.tiff",
    "mpp endless": "tiny.tiff",
    "mpp coarse": "tiny.tiff",
    "verify nothing": "missing",
}
WRONG_USAGE = {
    "unknown command": "frobnicate",
    "unknown option": "--frobnicate",
    "no out": "--out",
    "no slide": "SLIDE",
    "threshold text": "--threshold",
    "threshold high": "--threshold",
    "threshold nan": "--threshold",
    "provider": "--provider",
    "map": "--map",
    "threads": "--threads",
    "mpp text": "--mpp",
    "twins": "tiny",
}


@pytest.mark.parametrize("case", REFUSED_INPUT)
def test_refused_input_is_exit_3_and_one_line_with_the_file(
    refusals: dict[str, Outcome], case: str
) -> None:
    outcome = refusals[case]

    assert outcome.code == 3, outcome
    assert len(outcome.error_lines) == 1, outcome
    assert REFUSED_INPUT[case] in outcome.error_lines[0]


@pytest.mark.parametrize("case", WRONG_USAGE)
def test_wrong_usage_is_exit_2_and_names_the_culprit(
    refusals: dict[str, Outcome], case: str
) -> None:
    outcome = refusals[case]

    assert outcome.code == 2, outcome
    assert WRONG_USAGE[case] in outcome.error_lines[-1]
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize(("case", "name"), [("out blocked", "blocked"), ("half blocked", "tiny")])
def test_folder_that_cannot_be_written_is_exit_5(
    refusals: dict[str, Outcome], case: str, name: str
) -> None:
    outcome = refusals[case]

    assert outcome.code == 5, outcome
    assert name in outcome.error_lines[-1]
    assert "Traceback" not in outcome.stderr


def test_refusals_leave_no_output(refusals: dict[str, Outcome], workspace: Path) -> None:
    assert refusals
    folder = workspace / "refusals"

    assert not (folder / "twins-out").exists()
    assert not list(folder.glob("out/**/*.*"))
    assert (folder / "blocked").read_text(encoding="utf-8") == "in the way"


def test_each_kind_of_bad_slide_has_its_own_message(refusals: dict[str, Outcome]) -> None:
    cases = [case for case in REFUSED_INPUT if refusals[case].arguments[0] == "analyze"][:8]
    messages = {
        refusals[case].error_lines[0].replace(REFUSED_INPUT[case], "").split(":")[-1]
        for case in cases
    }

    assert cases[:3] == ["missing", "unscaled", "nonsense"]
    # Nonsense and far are both "no plausible resolution"; all others differ.
    assert len(messages) >= len(cases) - 1


# --- several slides ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_slide: Scene, tiny_model: TinyModel
) -> tuple[Outcome, Path]:
    """A missing slide, one whose folder is blocked, and a good one at the end."""
    base = tmp_path_factory.mktemp("mixed")
    good = write_glass_slide(base / "good.tiff").path
    out = base / "out"
    out.mkdir()
    (out / "tiny").write_text("in the way", encoding="utf-8")
    outcome = run_cli(
        "analyze", "--no-shield", base / "missing.tiff", tiny_slide.path, good, "--out", out,
        "--model", tiny_model.path, "--json", data_dir=base / "data",
    )  # fmt: skip
    return outcome, out


def test_all_slides_are_tried_and_5_outranks_3(mixed_run: tuple[Outcome, Path]) -> None:
    outcome, out = mixed_run

    assert outcome.code == 5, outcome
    assert {path.name for path in (out / "good").iterdir()} == set(SIX_FILES)


def test_3_outranks_4(invalid_run: tuple[Analysis, TinyModel, Cell]) -> None:
    run, *_ = invalid_run

    assert run.outcome.code == 3, run.outcome
    assert {path.name for path in run.folder.iterdir()} == set(SIX_FILES)


def test_json_tells_the_fate_of_every_slide(mixed_run: tuple[Outcome, Path]) -> None:
    outcome, _ = mixed_run
    missing, blocked, good = outcome.document["slides"]

    assert "missing.tiff" in missing["slide"]
    assert "missing.tiff" in missing["error"]
    assert blocked["error"]
    assert good["error"] is None
    assert good["status"] not in {missing["status"], blocked["status"]}


def test_some_failed_patches_are_exit_4(
    damaged_run: tuple[Analysis, dict[Cell, float]],
) -> None:
    run, _ = damaged_run
    (entry,) = run.outcome.document["slides"]

    assert run.outcome.code == 4, run.outcome
    assert entry["counts"]["failed"] == 4
    assert {path.name for path in run.folder.iterdir()} == set(SIX_FILES)


def test_slides_go_into_folders_named_after_their_files(batch_run: dict[str, Analysis]) -> None:
    for run in batch_run.values():
        assert {path.name for path in run.folder.iterdir()} == set(SIX_FILES)
        assert {row["Image"] for row in run.regions} == {run.scene.path.name}


# --- analyze ----------------------------------------------------------------------------------


def test_analyze_json_is_one_object_of_the_contract(main_run: Analysis) -> None:
    document = main_run.outcome.document
    (entry,) = document["slides"]

    assert set(document) == {"slides"}
    assert set(entry) == {
        "slide", "status", "out", "counts", "provider", "seconds", "patches_per_second", "error",
    }  # fmt: skip
    assert Path(entry["out"]) == main_run.folder
    assert entry["counts"] == main_run.provenance["counts"]
    assert entry["provider"] == main_run.provenance["provider"]["used"]
    assert entry["seconds"] > 0
    assert entry["patches_per_second"] > 0
    assert entry["error"] is None


def test_progress_is_plain_lines_without_a_terminal(main_run: Analysis) -> None:
    assert "\r" not in main_run.outcome.stderr
    assert "\x1b" not in main_run.outcome.stderr
    assert "Traceback" not in main_run.outcome.stderr


def test_mpp_option_gives_a_slide_its_scale(
    tmp_path: Path, data_dir: Path, tiny_slide: Scene, tiny_model: TinyModel, main_run: Analysis
) -> None:
    slide = write_tiff(tmp_path / "unscaled.tiff", tiny_slide.levels, mpp=None)
    out = tmp_path / "out"

    outcome = run_cli(
        "analyze", "--no-shield", slide, "--out", out, "--model", tiny_model.path, "--mpp", "2",
        data_dir=data_dir,
    )  # fmt: skip

    assert outcome.code == 0, outcome
    assert read_csv(out / "unscaled" / "patches.csv") == main_run.patches
    provenance = read_json(out / "unscaled" / "provenance.json")
    assert provenance["slide"]["mpp_source"] == "user"
    assert (provenance["slide"]["mpp_x"], provenance["slide"]["mpp_y"]) == (2.0, 2.0)
    (whole,) = read_csv(out / "unscaled" / "regions.csv")
    assert (whole["mpp used"], whole["mpp source"]) == ("2.0", "user")


def test_file_name_that_is_a_formula_is_guarded(
    tmp_path: Path, data_dir: Path, tiny_model: TinyModel
) -> None:
    slide = write_glass_slide(tmp_path / "=1+1.v2.tiff").path

    outcome = run_cli(
        "analyze",
        "--no-shield",
        slide,
        "--out",
        tmp_path / "out",
        "--model",
        tiny_model.path,
        data_dir=data_dir,
    )

    assert outcome.code == 0, outcome
    (whole,) = read_csv(tmp_path / "out" / "=1+1.v2" / "regions.csv")
    assert whole["Image"] == "'=1+1.v2.tiff"
    assert (whole["Patches analyzed"], whole["Mean probability"]) == ("0", "")
    assert float(whole["Coverage %"]) == 0


# --- verify -----------------------------------------------------------------------------------


def test_verify_proves_an_intact_folder(main_run: Analysis, data_dir: Path) -> None:
    outcome = run_cli("verify", main_run.folder, data_dir=data_dir)

    assert outcome.code == 0, outcome
    assert main_run.provenance["slide"]["identity"][:12] in outcome.stdout
    assert main_run.provenance["model"]["name"] in outcome.stdout


@pytest.mark.parametrize("change", ["byte", "missing file", "no provenance"])
def test_verify_finds_a_change(
    main_run: Analysis, tmp_path: Path, data_dir: Path, change: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(main_run.folder, folder)
    victim = "provenance.json" if change == "no provenance" else "patches.csv"
    if change == "byte":
        data = bytearray((folder / victim).read_bytes())
        data[-3] ^= 1
        (folder / victim).write_bytes(data)
    else:
        (folder / victim).unlink()

    outcome = run_cli("verify", folder, data_dir=data_dir)

    assert outcome.code == 3, outcome
    assert victim in outcome.stderr
    assert "Traceback" not in outcome.stderr


# --- info, doctor, models ---------------------------------------------------------------------


def test_info_json(tmp_path: Path, data_dir: Path, tiny_slide: Scene) -> None:
    levels = pyramid(tiny_slide.levels[0], (1, 4))
    slide = write_svs(tmp_path / "a.svs", levels, mpp=0.5, power=20, label=levels[1][:50, :50])

    outcome = run_cli("info", slide, "--json", data_dir=data_dir)

    assert outcome.code == 0, outcome
    document = outcome.document
    assert set(document) == {
        "file", "vendor", "width_l0", "height_l0", "levels", "mpp_x", "mpp_y", "mpp_source",
        "objective_power", "bounds", "identity", "warnings",
    }  # fmt: skip
    assert document["file"] in {"a.svs", str(slide)}
    assert document["vendor"] == "aperio"
    assert (document["width_l0"], document["height_l0"]) == (1320, 900)
    assert document["levels"] == [
        {"width": 1320, "height": 900, "downsample": 1.0, "mpp_x": 0.5, "mpp_y": 0.5},
        {"width": 330, "height": 225, "downsample": 4.0, "mpp_x": 2.0, "mpp_y": 2.0},
    ]
    assert (document["mpp_x"], document["mpp_y"], document["mpp_source"]) == (0.5, 0.5, "file")
    assert document["objective_power"] == 20
    assert document["bounds"] is None
    assert isinstance(document["warnings"], list)


def test_info_leaves_no_trace(data_dir: Path, tiny_slide: Scene) -> None:
    outcome = run_cli("info", tiny_slide.path, data_dir=data_dir)

    assert outcome.code == 0, outcome
    assert not data_dir.exists()
    assert "1320 x 900" in outcome.stdout.replace(",", "")
    assert sorted(path.name for path in tiny_slide.path.parent.iterdir()) == ["tiny.tiff"]


def test_info_and_analysis_agree_on_the_identity(data_dir: Path, main_run: Analysis) -> None:
    outcome = run_cli("info", main_run.scene.path, "--json", data_dir=data_dir)

    assert outcome.document["identity"] == main_run.provenance["slide"]["identity"]


@pytest.mark.parametrize(
    "mpp", ["0", "-0.25", "inf", "nan", "abc", "1e9"], ids=lambda text: f"mpp {text}"
)
def test_info_takes_a_nonsense_resolution_for_unknown(
    tmp_path: Path, data_dir: Path, tiny_slide: Scene, mpp: str
) -> None:
    slide = write_svs(tmp_path / "odd.svs", tiny_slide.levels, mpp=mpp)

    outcome = run_cli("info", slide, "--json", data_dir=data_dir)

    assert outcome.code == 0, outcome
    document = outcome.document
    assert (document["mpp_x"], document["mpp_y"]) == (None, None)
    assert document["mpp_source"] not in {"file", "user"}
    assert {(level["mpp_x"], level["mpp_y"]) for level in document["levels"]} == {(None, None)}


def test_doctor_json(data_dir: Path) -> None:
    outcome = run_cli("doctor", "--json", data_dir=data_dir)

    assert outcome.code == 0, outcome
    document = outcome.document
    assert set(document) == {"versions", "providers", "cuda", "display", "data_dir", "models"}
    assert document["data_dir"] == str(data_dir)
    assert "cpu" in str(document["providers"]).lower()


def test_doctor_speaks_to_people_too(data_dir: Path) -> None:
    outcome = run_cli("doctor", data_dir=data_dir)

    assert outcome.code == 0, outcome
    assert str(data_dir) in outcome.stdout


def test_models_are_listed(data_dir: Path) -> None:
    listed, bare = (
        run_cli("models", *arguments, data_dir=data_dir) for arguments in (["list"], [])
    )

    assert listed.code == 0, listed
    assert (bare.code, bare.stdout) == (0, listed.stdout)


def test_models_show_says_how_a_model_does_beyond_its_archive(
    tiny_model: TinyModel, data_dir: Path
) -> None:
    outcome = run_cli("models", "show", tiny_model.path, data_dir=data_dir)

    assert outcome.code == 0, outcome
    assert "Not tested on slides of other laboratories." in outcome.stdout


def test_models_show_refuses_an_unknown_name(data_dir: Path) -> None:
    outcome = run_cli("models", "show", "no-such-model", data_dir=data_dir)

    assert outcome.code == 3, outcome
    assert len(outcome.error_lines) == 1, outcome
    assert "no-such-model" in outcome.error_lines[0]


def test_help_names_every_command_and_option(data_dir: Path) -> None:
    whole, analyze = (
        run_cli(*arguments, "--help", data_dir=data_dir) for arguments in ([], ["analyze"])
    )

    assert (whole.code, analyze.code) == (0, 0)
    for command in ("info", "analyze", "models", "verify", "doctor"):
        assert command in whole.stdout
    for option in (
        "--out", "--model", "--regions", "--regions-for-all", "--threshold", "--map", "--mpp",
        "--provider", "--threads", "--no-tissue-mask", "--anonymous", "--restart", "--json",
    ):  # fmt: skip
        assert option in analyze.stdout
