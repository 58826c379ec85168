"""Five folds of whole cases, end to end on painted patches."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.conftest import CASES, write_case

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from idc_desktop.models.card import CARD_KEY, parse_card
from trainer.cli import main
from trainer.data.dataset import load_store
from trainer.data.preparing import prepare
from trainer.data.splits import FOLDS
from trainer.release import golden, steps
from trainer.release.case_ids import of_run
from trainer.release.onnx_file import load_file
from trainer.scoring.calibration import calibrate
from trainer.scoring.metrics import evaluate
from trainer.training import crossvalidation
from trainer.training.runs import Sources, load_data, load_run


@pytest.fixture(scope="module")
def command(crossvalidated: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A copy of the folds that tests may change."""
    out = tmp_path_factory.mktemp("copy") / "out"
    shutil.copytree(crossvalidated[-1], out)
    return [*crossvalidated[:-1], str(out)]


def _rows(command: list[str]) -> list[dict[str, str]]:
    path = Path(command[-1]) / "predictions.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_patch_is_tested_once_by_a_network_that_did_not_see_its_case(
    command: list[str],
) -> None:
    rows = _rows(command)
    index = load_store(Path(command[2])).index
    assert [(row["case"], int(row["x"]), int(row["y"])) for row in rows] == list(
        zip(index.case, index.x, index.y, strict=True)
    )
    fold = np.array([int(row["fold"]) for row in rows])
    for number in range(1, FOLDS + 1):
        data = load_data(Sources(Path(command[2]), split="held-out", fold=number))
        tested = set(index.case[fold == number])
        assert tested == set(data.test.store.index.case)
        assert set(data.train.store.index.case) == set(CASES) - tested
        # The last epoch, not one that did well on the cases held out.
        run = json.loads((Path(command[-1]) / f"fold{number}" / "log.json").read_text("utf-8"))
        assert run["settings"]["taken"] == "last"


def test_a_fold_is_a_run_that_can_be_exported_and_has_no_test_figures(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "FEWEST", 10)
    monkeypatch.setattr(golden, "CANDIDATES", 100)
    fold, log = Path(command[-1]) / "fold2", tmp_path / "log.csv"
    run = load_run(fold)
    assert (run.sources.split, run.sources.fold, run.settings.taken) == ("held-out", 2, "last")
    options = ["--out", str(tmp_path / "x.onnx"), "--name", "x", "--test-log", str(log)]
    assert main(["export", str(fold), *options]) == 0
    session = load_file(tmp_path / "x.onnx")
    text = session.get_modelmeta().custom_metadata_map[CARD_KEY]
    idc = parse_card(text, "x.onnx").document["idc"]
    assert set(idc["metrics"]) == {"validation_weighted", "validation_unweighted"}
    held_out = set(load_data(run.sources).validation.store.index.case)
    assert "case_ids" not in idc["calibration"]
    made_by = of_run(fold)
    assert made_by["calibrated"] == held_out
    assert not held_out & made_by["trained"]
    assert not log.exists()


def test_a_fold_is_calibrated_by_the_others_alone(command: list[str]) -> None:
    rows = _rows(command)
    label, fold, called = (
        np.array([int(row[name]) for row in rows]) for name in ("label", "fold", "called")
    )
    logit, weight, probability = (
        np.array([float(row[name]) for row in rows]) for name in ("logit", "weight", "probability")
    )
    for number in range(1, FOLDS + 1):
        own = fold == number
        others = logit[~own], label[~own].astype(np.uint8), weight[~own]
        platt, threshold = calibrate(*others)
        assert np.allclose(platt.probability(logit[own]), probability[own], atol=1e-4)
        clear = np.abs(probability[own] - threshold) > 1e-4
        assert np.array_equal(probability[own][clear] >= threshold, called[own][clear] == 1)


def test_pooled_figures_are_scikit_learns(command: list[str]) -> None:
    rows = _rows(command)
    label, called = ([int(row[name]) for row in rows] for name in ("label", "called"))
    probability, weight = ([float(row[name]) for row in rows] for name in ("probability", "weight"))
    text = (Path(command[-1]) / "crossvalidation.md").read_text(encoding="utf-8")
    for name, weights in (("weighted", weight), ("unweighted", None)):
        column = ("weighted", "unweighted").index(name) + 2
        for figure, expected in (
            ("auc", roc_auc_score(label, probability, sample_weight=weights)),
            ("balanced_accuracy", balanced_accuracy_score(label, called, sample_weight=weights)),
        ):
            [line] = re.findall(rf"^\| {figure} \|.*$", text, re.MULTILINE)
            assert line.split("|")[column].split()[0] == f"{expected:.3f}"
    assert "| in none | 1 |" in text
    assert "epoch 2 of 2" in text.split("## By fold")[1]
    assert "calibration error of a case" in text


@pytest.mark.usefixtures("eager")  # as the folds were trained, to the last digit
def test_a_finished_fold_is_not_trained_again_and_a_missing_one_is(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(command[-1])
    before = {path.name: path.read_bytes() for path in out.glob("*.*")}
    assert {"fold1.json", "fold5.json", "predictions.csv", "crossvalidation.md"} <= set(before)
    fitted: list[Path] = []
    real = crossvalidation.fit_network

    def watched(sources, settings, data, folder, means, report):  # type: ignore[no-untyped-def]
        fitted.append(folder)
        return real(sources, settings, data, folder, means, report)

    monkeypatch.setattr(crossvalidation, "fit_network", watched)
    (out / "fold3.json").unlink()
    assert main(command) == 0
    assert [folder.name for folder in fitted] == ["fold3"]
    assert {path.name: path.read_bytes() for path in out.glob("*.*")} == before


def test_other_settings_and_damage_are_not_taken_for_done(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(command[-1]) / "fold2.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:50])
    assert main(command) == 3
    assert "fold2.json is damaged" in capsys.readouterr().err
    path.write_bytes(whole)
    # The run folder of the other settings is refused, not overwritten.
    assert main([*command[:-2], "--batch", "16", *command[-2:]]) == 3
    assert path.read_bytes() == whole


def test_a_fold_without_a_class_is_refused_before_any_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        write_case(tmp_path / "data", str(number), 2, np.random.default_rng(number))
    # The fifth case holds one class only, and is a fold of its own.
    shutil.rmtree(tmp_path / "data" / "4" / "1")
    prepare(tmp_path / "data", tmp_path / "store")
    command = ["crossvalidate", "--data", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    assert main(command) == 3
    assert "0 that are" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_figures_of_some_cases(command: list[str]) -> None:
    index = load_store(Path(command[2])).index
    label = index.label.astype(float)
    tested = crossvalidation.Tested(
        *(index, np.ones(len(index)), label, label, label > 0.5, np.ones(len(index), np.intp))
    )
    some = tested.take(index.case == "101")
    assert set(some.index.case) == {"101"}
    assert some.figures(some.weight)["auc"].value == 1
    wrong = replace(some, called=~some.called)
    assert wrong.figures(wrong.weight)["balanced_accuracy"].value == 0


def test_decisions_at_one_threshold_are_scored_as_a_single_networks(command: list[str]) -> None:
    index = load_store(Path(command[2])).index
    rng = np.random.default_rng(6)
    probability = np.clip(rng.normal(0.4 + 0.2 * index.label, 0.2), 0, 1)
    weight = rng.uniform(0.5, 2, len(index))
    tested = crossvalidation.Tested(
        *(index, weight, probability, probability),
        *(probability >= 0.35, np.ones(len(index), np.intp)),
    )
    expected = evaluate(probability, index.label, index.case, weight, 0.35)
    found = tested.figures(weight)
    assert found.keys() == expected.keys()
    for name, one in found.items():
        assert vars(one) == pytest.approx(vars(expected[name]))
