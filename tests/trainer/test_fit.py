"""``fit``, end to end on painted patches: folds, the official twin, all cases, one file."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.models.card import CARD_KEY, parse_card
from tests.trainer.conftest import CASES

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")

from trainer.cli import main
from trainer.data.painting import paint_tissue
from trainer.errors import RunError
from trainer.release import steps
from trainer.release.case_ids import CASES as CASES_JSON
from trainer.release.onnx_file import load_file, run_session
from trainer.scoring.calibration import Platt, agreement, calibrate
from trainer.training import crossvalidation, fitting, loop
from trainer.training.checkpoint import LOG_CSV


def whole(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that a dozen trainings stand behind."""
    return pytest.mark.long(pytest.mark.timeout(600)(test))


@pytest.fixture(scope="module")
def command(crossvalidated: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The folds are there already: what they hold is what `crossvalidate` makes."""
    root = tmp_path_factory.mktemp("fit")
    shutil.copytree(crossvalidated[-1], root / "out" / "folds")
    about = root / "about.json"
    about.write_text(json.dumps({"data": "painted patches"}), encoding="utf-8")
    options = ["--name", "small", "--about", str(about), "--test-log", str(root / "log.csv")]
    command = ["fit", *crossvalidated[1:-2], *options, "--out", str(root / "out")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "FEWEST", 10)
        patch.setattr(crossvalidation, "fit_network", None)
        assert main(command) == 0
    return command


def _out(command: list[str]) -> Path:
    return Path(command[-1])


def _card(command: list[str]) -> dict:
    session = load_file(_out(command) / "small.onnx")
    text = session.get_modelmeta().custom_metadata_map[CARD_KEY]
    return parse_card(text, "small.onnx").document["idc"]


def _predictions(command: list[str]) -> dict[str, np.ndarray]:
    path = _out(command) / "folds" / "predictions.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = ("label", "logit", "weight")
    return {name: np.array([float(row[name]) for row in rows]) for name in names}


@whole
def test_calibration_and_threshold_are_those_of_the_cases_left_out(command: list[str]) -> None:
    told = _predictions(command)
    label = told["label"].astype(np.uint8)
    platt, threshold = calibrate(told["logit"], label, told["weight"])
    card = _card(command)
    assert card["calibration"]["a"] == pytest.approx(platt.a, abs=1e-3)
    assert card["calibration"]["b"] == pytest.approx(platt.b, abs=1e-3)
    assert card["threshold"] == pytest.approx(threshold, abs=1e-3)
    patches = paint_tissue(np.random.default_rng(2), 20)
    probability, logit = run_session(load_file(_out(command) / "small.onnx"), patches)
    assert np.allclose(platt.probability(logit), probability, atol=1e-3)


@whole
def test_the_file_is_trained_on_every_case_and_says_what_its_figures_are_of(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    card = _card(command)
    assert "case_ids" not in card["training"]
    assert "case_ids" not in card["calibration"]
    assert json.loads((_out(command) / CASES_JSON).read_text())["trained"] == sorted(CASES)
    assert card["training"]["data"] == "painted patches, all cases"
    groups = ("out_of_fold", "official_validation", "official_test")
    kinds = ("weighted", "unweighted")
    assert set(card["metrics"]) == {f"{of}_{kind}" for of in groups for kind in kinds}
    assert "trained on every case" in " ".join(card["limitations"])
    report = (_out(command) / "small.md").read_text(encoding="utf-8")
    assert "calibration error of a case" in report
    assert "recalibration" in report
    model = str(_out(command) / "small.onnx")
    assert main(["evaluate", model, *command[1:7], "--part", "validation"]) == 0
    assert "does not name the cases" in capsys.readouterr().out
    known = ["--run", str(_out(command)), "--part", "validation"]
    assert main(["evaluate", model, *command[1:7], *known]) == 0
    assert "NOT HELD OUT" in capsys.readouterr().out
    log = (_out(command).parent / "log.csv").read_text(encoding="utf-8")
    assert "official_test_weighted" in log
    assert "out_of_fold" not in log


@whole
def test_an_interrupted_fit_goes_on_and_ends_with_the_same_file(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(_out(command), out)
    shutil.rmtree(out / "final")
    (out / "small.onnx").unlink()
    monkeypatch.setattr(steps, "FEWEST", 10)
    again = [*command[:-1], str(out)]
    trained: list[str] = []
    real = fitting.train

    def watched(*given, **named):  # type: ignore[no-untyped-def]
        trained.append(given[3].name)
        return real(*given, **named)

    def killed(folder, history, about):  # type: ignore[no-untyped-def]
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "train", watched)
    with monkeypatch.context() as one:
        # The checkpoint of the first epoch has just been written.
        one.setattr(loop, "write_logs", killed)
        assert main(again) == 130
    assert not (out / "small.onnx").exists()
    assert main(again) == 0
    # Those of the folds are not even looked at again; the twin's run is found whole.
    assert trained == ["official", "final"] * 2
    assert len((out / "final" / LOG_CSV).read_text(encoding="utf-8").splitlines()) == 3
    assert (out / "small.onnx").read_bytes() == (_out(command) / "small.onnx").read_bytes()


@whole
def test_a_run_of_all_cases_is_not_exported_with_figures_of_its_own(command: list[str]) -> None:
    with pytest.raises(RunError, match="trained on every case"):
        steps.release(
            *(_out(command) / "final", _out(command) / "x.onnx", "x", "1.0.0", steps.About())
        )


@whole
def test_without_an_official_split_the_folds_alone_stand(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "FEWEST", 10)
    out = tmp_path / "out"
    for name in ("folds", "final"):
        shutil.copytree(_out(command) / name, out / name)
    at = command.index("--splits")
    assert main([*command[:at], *command[at + 2 : -1], str(out)]) == 0
    assert set(_card([str(out)])["metrics"]) == {"out_of_fold_weighted", "out_of_fold_unweighted"}
    assert not (out / "official").exists()
    assert not (out / "cache").exists()


@whole
def test_what_was_trained_in_bfloat16_is_written_in_float32(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "FEWEST", 10)
    at = command.index("--splits")
    options = [*command[:at], *command[at + 2 : -1], str(tmp_path / "out"), "--epochs", "1"]
    assert main([*options, "--mixed-precision"]) == 0
    assert _card([str(tmp_path / "out")])["training"]["settings"]["mixed_precision"] is True


def test_calibration_undoes_what_networks_overstate() -> None:
    """Logits that are twice as large as they should be, and shifted."""
    rng = np.random.default_rng(8)
    truth = rng.normal(-1, 2, 4000)
    label = (rng.random(4000) < Platt(1, 0).probability(truth)).astype(np.uint8)
    platt, _ = calibrate(2 * truth + 0.6, label, np.ones(4000))
    assert platt.a == pytest.approx(0.5, abs=0.05)
    assert platt.b == pytest.approx(-0.3, abs=0.1)


def test_agreement_finds_what_is_too_certain_and_in_which_cases() -> None:
    rng = np.random.default_rng(5)
    case = np.repeat([f"case{number}" for number in range(10)], 400)
    truth = rng.normal(0, 1.5, 4000)
    label = (rng.random(4000) < Platt(1, 0).probability(truth)).astype(np.uint8)
    honest = agreement(Platt(1, 0).probability(truth), label, case, np.ones(4000))
    assert honest.slope.low < 1 < honest.slope.high
    assert honest.intercept.low < 0 < honest.intercept.high
    assert honest.case_error < 0.03
    certain = agreement(Platt(2, 0).probability(truth), label, case, np.ones(4000))
    assert certain.slope.value == pytest.approx(0.5, abs=0.05)
    assert certain.slope.high < 1
    biased = np.where(case == "case3", 0.9, Platt(1, 0).probability(truth))
    found = agreement(biased, label, case, np.ones(4000))
    assert np.argmax(found.case_errors) == 3
    assert max(found.case_errors) == pytest.approx(0.4, abs=0.05)
