"""The comparison with the paper, end to end on painted patches."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.conftest import SmallData, eagerly

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")
from sklearn.ensemble import RandomForestClassifier

from trainer.cli import main
from trainer.data.dataset import load_store
from trainer.data.handcrafted import FEATURES
from trainer.data.imbalance import COMPONENTS, NEIGHBOURS
from trainer.data.preparing import prepare
from trainer.data.splits import LEAKY
from trainer.data.weighting import DESCRIPTION
from trainer.networks.building import build
from trainer.networks.cited import AcceptRejectPooling, ToYuv
from trainer.paper import comparison
from trainer.paper.comparison import METHODS, PROTOCOLS, assumptions, read_results
from trainer.paper.printed import BESIDE, NOTES, TABLE_2, TABLE_3, TABLE_4, TABLE_5
from trainer.paper.tables import NOT_AT_HAND, NOT_RUN, render
from trainer.scoring.metrics import Confusion, decide
from trainer.settings import COMPARATOR_NAMES, RECIPE_NAMES, recipe_settings
from trainer.training import fitting
from trainer.training.fitting import fit_forest
from trainer.training.loop import load_best
from trainer.training.runs import Sources, load_data, load_run


@pytest.fixture(scope="module")
def options(small_data: SmallData, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    store = tmp_path_factory.mktemp("store")
    prepare(small_data.patches, store)
    files = ["--splits", str(small_data.splits), "--counts", str(small_data.counts)]
    return ["--data", str(store), *files]


@pytest.fixture(scope="module")
def folder(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feature and a network under both protocols."""
    folder = tmp_path_factory.mktemp("comparison")
    with pytest.MonkeyPatch.context() as patch, eagerly():
        patch.setattr(fitting, "TREES", 20)
        methods = ["gray-histogram", "alexnet-crop"]
        command = ["compare", *options, "--out", str(folder), "--epochs", "1", "--methods"]
        assert main([*command, *methods]) == 0
    return folder


def test_tables_hold_what_was_run_and_say_what_was_not(folder: Path) -> None:
    text = (folder / "comparison.md").read_text(encoding="utf-8")
    for number in (2, 3, 4, 5):
        assert f"## Table {number}" in text
    tables = {"Table 3": TABLE_3, "Table 4": TABLE_4, "Table 5": TABLE_5}
    for name, rows in (tables | {"Beside the paper": BESIDE}).items():
        section = text.split(f"## {name}")[1].split("##")[0]
        for row in rows:
            [line] = [one for one in section.splitlines() if one.startswith(f"| {row.title}")]
            assert (NOT_RUN in line) is (row.method not in ("gray-histogram", "alexnet-crop"))
            assert (NOT_AT_HAND in line) is (rows is not BESIDE and None in (row.accuracy, row.f1))
    assert LEAKY in text
    with (folder / "comparison.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    of_gray = [row for row in rows if row["method"] == "gray-histogram"]
    assert {row["patches"] for row in of_gray} >= {
        *("train", "test_weighted", "test_unweighted", "unseen_weighted", "validation_weighted"),
    }
    for row in rows:
        if row["patches"].startswith("test") and row["source"].startswith("paper"):
            assert LEAKY in row["source"]
        if row["patches"].startswith("unseen"):
            assert LEAKY not in row["source"]


def test_every_footnote_is_mentioned_and_every_mention_is_a_footnote() -> None:
    text = render({})
    _, after = text.split("## Notes")
    assert len([line for line in after.splitlines() if line[:1].isdigit()]) == len(NOTES)
    assert text.count(NOT_RUN) > 20


def test_results_of_fewer_epochs_than_the_recipe_has_are_marked(folder: Path) -> None:
    text = (folder / "comparison.md").read_text(encoding="utf-8")
    found = dict(re.findall(r"^(\d+)\. Under the (.*budget.*)$", text, re.MULTILINE))
    assert set(found.values()) == {
        "protocol *paper* the budget of epochs was 1, where the recipe has 20.",
        "protocol *official* the budget of epochs was 1, where the recipe has 30.",
    }
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    marked = [row for row in rows if any(f"[{number}]" in row for number in found)]
    assert [row.split("[")[0] for row in marked] == [f"| {BESIDE[0].title} "]
    assert all(f"[{number}]" in marked[0] for number in found)
    with (folder / "comparison.csv").open(encoding="utf-8", newline="") as file:
        epochs = [
            (row["method"], row["figure"], row["value"])
            for row in csv.DictReader(file)
            if "epochs" in row["figure"]
        ]
    assert sorted(epochs) == [
        *[("alexnet-crop", "epochs", "1")] * 2,
        *[("alexnet-crop", "recipe_epochs", value) for value in ("20", "30")],
    ]


def test_what_was_assumed_is_listed_of_what_was_run(folder: Path) -> None:
    text = (folder / "comparison.md").read_text(encoding="utf-8")
    section = text.split("what was assumed")[1]
    listed = [line.split(":")[0] for line in section.splitlines() if line.startswith("- ")]
    assert listed == ["- the paper's protocol", "- handcrafted features", "- alexnet-crop"]
    assert f"{NEIGHBOURS} neighbours" in section
    assert f"{COMPONENTS} principal components" in section
    assert set(assumptions([("lbp", "official")])) == {"handcrafted features"}
    assert set(assumptions([("baseline", "official")])) == {"baseline"}
    assert not assumptions([])


def test_figures_in_notes_follow_from_what_is_printed() -> None:
    baseline, features, tuned = TABLE_2.values()
    for text, values in (
        ("sums", [sum(vars(one).values()) for one in TABLE_2.values()]),
        ("accuracy", [decide(baseline).accuracy]),
        ("averaging", [decide(tuned).precision, decide(tuned).f1_positive]),
        ("natural", [_natural_f1(baseline), _natural_f1(features)]),
    ):
        places = 2 if text == "sums" else 3
        assert all(f"{value:.{places}f}" in NOTES[text] for value in values), text
    less = decide(replace(tuned, tp=0.8))
    for value in (less.accuracy, less.precision_macro, less.f1_macro, less.f1_positive):
        assert f"{value:.3f}" in NOTES["last-cell"]
    fuzzy, best = TABLE_4[0], TABLE_4[-1]
    for printed, cited in ((best.f1, fuzzy.f1), (best.accuracy, fuzzy.accuracy)):
        assert printed is not None
        assert cited is not None
        assert f"{100 * (printed / cited - 1):.1f} %" in NOTES["gain"]


def _natural_f1(one: Confusion, prevalence: float = 0.284) -> float:
    """F1 of IDC at the sensitivity and specificity of a confusion matrix, at another mix."""
    found = decide(one)
    tp, fp = found.sensitivity * prevalence, (1 - found.specificity) * (1 - prevalence)
    return 2 * tp / (tp + fp + prevalence)


def test_committed_reports_are_worded_as_the_code_words_them() -> None:
    reports = Path(__file__).resolve().parents[2] / "resources" / "models" / "reports"
    text = (reports / "comparison.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert not set(NOTES.values()) - {line.partition(". ")[2] for line in lines}
    everything = [(method, protocol) for method in METHODS for protocol in PROTOCOLS]
    for of, texts in assumptions(everything).items():
        assert f"- {of}: {'; '.join(texts)}" in lines
    for path in (reports / "comparison.md", *reports.glob("*_folds.md")):
        assert f"eighted*: {DESCRIPTION}. *" in path.read_text(encoding="utf-8"), path


def test_printed_rows_name_methods_that_can_be_run() -> None:
    printed = {row.method for row in (*TABLE_3, *TABLE_4, *TABLE_5, *BESIDE)} | set(TABLE_2)
    assert printed == set(METHODS)


def test_finished_results_are_not_computed_again(
    folder: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise AssertionError(given)

    monkeypatch.setattr(fitting, "TREES", 20)
    monkeypatch.setattr(comparison, "fit_forest", refuse)
    monkeypatch.setattr(comparison, "fit_network", refuse)
    before = (folder / "comparison.md").read_bytes()
    command = ["compare", *options, "--out", str(folder), "--epochs", "1", "--methods"]
    assert main([*command, "gray-histogram", "alexnet-crop"]) == 0
    assert main(["compare", *options, "--out", str(folder), "--tables-only"]) == 0
    assert (folder / "comparison.md").read_bytes() == before
    monkeypatch.setattr(fitting, "TREES", 21)
    with pytest.raises(AssertionError):
        list(comparison.compare(_sources(options), folder, ["gray-histogram"]))


def _sources(options: list[str]) -> Sources:
    return Sources(*(Path(value) for value in options[1::2]))


def test_protocols_differ_as_they_should(folder: Path) -> None:
    results = read_results(folder)
    assert set(results) == {
        (method, protocol)
        for method in ("gray-histogram", "alexnet-crop")
        for protocol in PROTOCOLS
    }
    for (_, protocol), one in results.items():
        leaky = protocol == "paper"
        assert (LEAKY in one.split) is leaky
        assert (one.threshold == 0.5) is leaky
        assert set(one.figures) == {
            f"{part}_{kind}"
            for part in (("test", "unseen") if leaky else ("validation", "test"))
            for kind in ("weighted", "unweighted")
        }
    # The painted classes are easily told apart, by any honest method.
    assert results["gray-histogram", "official"].figures["test_weighted"]["auc"].value > 0.9


def test_networks_compared_are_runs_that_can_be_exported(folder: Path, options: list[str]) -> None:
    for protocol, split in (("paper", "random-patch"), ("official", "official")):
        where = folder / "runs" / f"alexnet-crop.{protocol}"
        run = load_run(where)
        assert (run.settings.network, run.sources.split) == ("alexnet-crop", split)
        assert run.sources.store == Path(options[1]).resolve()
        data = load_data(run.sources)
        load_best(run.settings, where, data.train, data.validation)


def test_forest_is_scikit_learns_on_the_best_variant(
    options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "TREES", 50)
    data = load_data(_sources(options))
    fitted = fit_forest("gray-histogram", data)
    found = fitted.predict(data.test.store)
    texts = [text for text in FEATURES["gray-histogram"].variants if text in fitted.detail]
    assert len(texts) == 1
    extract = FEATURES["gray-histogram"].variants[texts[0]]
    train, test = (
        (extract(part.store.read(np.arange(len(part.store.index)))), part.store.index.label)
        for part in (data.train, data.test)
    )
    forest = RandomForestClassifier(50, class_weight="balanced", random_state=1).fit(*train)
    share = forest.predict_proba(test[0])[:, 1]
    assert np.allclose(1 / (1 + np.exp(-found)), share.clip(0.01, 0.99))


def test_damaged_result_and_unknown_names_are_refused(
    folder: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path)]
    assert main(["compare", *options, *out, "--methods", "magic"]) == 2
    assert "fuzzy-colour" in capsys.readouterr().err
    assert main(["compare", *options, *out, "--protocols", "magic"]) == 2
    (tmp_path / "results").mkdir(exist_ok=True)
    content = json.loads((folder / "results" / "gray-histogram.paper.json").read_text())
    del content["figures"]
    (tmp_path / "results" / "gray-histogram.paper.json").write_text(json.dumps(content))
    assert main(["compare", *options, *out, "--tables-only"]) == 3
    assert "gray-histogram.paper.json" in capsys.readouterr().err
    assert not (tmp_path / "comparison.md").exists()


def test_protocol_without_cases_to_test_on_is_refused_before_anything_is_trained(
    options: list[str], small_data: SmallData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = tmp_path / "splits"
    shutil.copytree(small_data.splits, splits)
    (splits / "official_test.txt").write_text("999\n", encoding="utf-8")
    command = ["compare", *options[:2], "--out", str(tmp_path / "out"), "--methods", "lbp"]
    assert main([*command, "--splits", str(splits)]) == 3
    assert "test part" in capsys.readouterr().err
    assert main(command) == 2
    assert "--splits" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_papers_protocol_does_without_the_official_split(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "TREES", 20)
    command = ["compare", *options[:2], "--out", str(tmp_path), "--protocols", "paper"]
    assert main([*command, "--methods", "gray-histogram"]) == 0
    [one] = read_results(tmp_path).values()
    assert set(one.figures) == {"test_weighted", "test_unweighted"}


@pytest.mark.parametrize("name", COMPARATOR_NAMES)
def test_comparator_takes_patches_and_gives_a_logit(name: str, options: list[str]) -> None:
    store = load_store(Path(options[1]))
    for recipe in RECIPE_NAMES:
        model = build(recipe_settings(recipe, name)).whole
        assert model(store.read(np.arange(5)), training=False).shape == (5, 1)
        assert model.input.dtype == "uint8"


def test_accept_reject_pooling_rejects_what_is_below_the_mean() -> None:
    window = np.array([[[[1.0], [2], [9]], [[3], [6], [9]], [[9], [9], [9]]]], np.float32)
    assert np.array(AcceptRejectPooling()(window)).ravel().tolist() == [4.5]
    plain = np.full((1, 4, 4, 2), 7, np.float32)
    assert (np.array(AcceptRejectPooling()(plain)) == 7).all()


def test_yuv_of_gray_is_without_colour() -> None:
    found = np.array(ToYuv()(np.full((1, 2, 2, 3), 51.0, np.float32)))
    assert np.allclose(found, [0.2, 0, 0], atol=1e-4)
    red = np.array(ToYuv()(np.array([[[[255.0, 0, 0]]]], np.float32))).ravel()
    assert np.allclose(red, [0.299, -0.147, 0.615], atol=1e-3)
