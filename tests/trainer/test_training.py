"""Training, export and the command line, end to end on painted patches."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.models.card import CARD_KEY, parse_card
from tests.support.scenes import write_tissue_slide
from tests.trainer.conftest import SmallData
from trainer.data.painting import paint_background, paint_tissue
from trainer.errors import DataError, ParityError, RunError
from trainer.release.about import About, read_about
from trainer.scoring.calibration import Platt
from trainer.settings import Settings

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")

import onnx

from trainer import cli
from trainer.cli import main
from trainer.data.dataset import load_store
from trainer.data.imbalance import NEIGHBOURS
from trainer.data.preparing import prepare
from trainer.data.shifts import STRONG
from trainer.data.splits import LEAKY
from trainer.networks.building import build
from trainer.release import golden, onnx_file, steps
from trainer.training import loop
from trainer.training.checkpoint import CHECKPOINT, LOG_JSON
from trainer.training.loop import compiled, logits, train
from trainer.training.runs import Data, Sources, load_data

SETTINGS = Settings(epochs=2, batch=24)
"""Seven whole batches: one of another size would be compiled apart."""
ABOUT = About(data="painted patches", limitations=("Of paint.",))


@pytest.fixture(scope="module", autouse=True)
def _little_of_everything() -> Iterator[None]:
    """Little is painted, and the data set is smaller than what parity asks for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "FEWEST", 10)
        patch.setattr(steps, "_BACKGROUND", 50)
        patch.setattr(golden, "CANDIDATES", 200)
        yield


@pytest.fixture(scope="module")
def sources(small_data: SmallData, tmp_path_factory: pytest.TempPathFactory) -> Sources:
    store = tmp_path_factory.mktemp("store")
    prepare(small_data.patches, store)
    return Sources(store, small_data.splits, small_data.counts, unlisted=True)


@pytest.fixture(scope="module")
def data(sources: Sources) -> Data:
    return load_data(sources)


def _options(sources: Sources) -> list[str]:
    return [
        *("--data", str(sources.store)),
        *("--splits", str(sources.splits)),
        *("--counts", str(sources.counts)),
    ]


@pytest.fixture(scope="module")
def run(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the command line."""
    folder = tmp_path_factory.mktemp("run")
    settings = ["--epochs", str(SETTINGS.epochs), "--batch", str(SETTINGS.batch)]
    assert main(["train", *_options(sources), "--out", str(folder), *settings]) == 0
    return folder


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of another laboratory with labelled spots."""
    folder = tmp_path_factory.mktemp("other") / "lab"
    folder.mkdir()
    write_tissue_slide(folder / "one.tiff", (600, 200), 2.0)
    spots = ("10,10,IDC", "60,60,IDC", "210,10,0", "260,60,0", "410,10,IDC", "460,60,IDC")
    text = "\n".join(("x_l0,y_l0,label", *spots, ""))
    (folder / "one_spots.csv").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, laboratory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run, exported, with its test cases and another laboratory's slide scored."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "about.json").write_text(json.dumps(asdict(ABOUT)), encoding="utf-8")
    code = main(
        [
            *("export", str(run), "--out", str(folder / "small.onnx"), "--name", "small"),
            *("--report", str(folder / "small.md"), "--test-log", str(folder / "test.csv")),
            *("--about", str(folder / "about.json")),
            *("--elsewhere", str(laboratory), "--publish-case-ids"),
        ]
    )
    assert code == 0
    return folder


def _checkpoint(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / CHECKPOINT) as stored:
        return {name: stored[name] for name in stored.files if name != "meta"}


def test_interrupted_training_ends_with_the_weights_of_an_undisturbed_one(
    data: Data, run: Path, tmp_path: Path
) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt):
        train(data.train, data.validation, SETTINGS, tmp_path, interrupt)
    outcome = train(data.train, data.validation, SETTINGS, tmp_path)
    assert len(outcome.history) == SETTINGS.epochs
    whole, parts = _checkpoint(run), _checkpoint(tmp_path)
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        assert np.array_equal(value, parts[name]), name


def test_a_finished_run_is_not_fed_again(
    data: Data, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise AssertionError(given)

    monkeypatch.setattr(loop, "make_feed", refuse)
    outcome = train(data.train, data.validation, SETTINGS, run)
    assert len(outcome.history) == SETTINGS.epochs
    with np.load(run / CHECKPOINT) as stored:
        for number, variable in enumerate(outcome.network.trained.variables):
            assert np.array_equal(np.asarray(variable), stored[f"best{number}"])


def test_checkpoint_of_other_settings_or_a_damaged_one_is_refused(
    data: Data, run: Path, tmp_path: Path
) -> None:
    content = (run / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(RunError, match="other settings"):
        train(data.train, data.validation, replace(SETTINGS, seed=2), tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == content
    (tmp_path / CHECKPOINT).write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match="damaged"):
        train(data.train, data.validation, SETTINGS, tmp_path)


def test_training_never_sees_validation_or_test_cases(data: Data) -> None:
    cases = [
        set(part.store.index.case.tolist()) for part in (data.train, data.validation, data.test)
    ]
    assert cases == [{"101", "102", "103", "901"}, {"201", "202"}, {"301", "302"}]


def test_store_runs_through_the_network_in_order(data: Data) -> None:
    forward = compiled(build(SETTINGS).whole)
    store = data.test.store
    one_by_one = [logits(forward, store.select(frozenset({case}))) for case in ("301", "302")]
    assert np.allclose(np.concatenate(one_by_one), logits(forward, store, batch=7), atol=1e-4)


def test_export_obeys_the_model_contract(exported: Path) -> None:
    onnx = pytest.importorskip("onnx")
    content = (exported / "small.onnx").read_bytes()
    proto = onnx.load_from_string(content)
    assert [(one.domain, one.version <= 18) for one in proto.opset_import] == [("", True)]
    assert not [node.op_type for node in proto.graph.node if node.domain or node.doc_string]
    assert not [one for one in proto.graph.initializer if one.external_data]
    assert str(Path.home()).encode() not in content
    large = [one for one in proto.graph.initializer if np.prod(one.dims) > 1000]
    assert large
    assert {one.data_type for one in large} == {onnx.TensorProto.FLOAT16}
    session = onnx_file.open_session(content)
    assert [(one.name, one.type) for one in session.get_inputs()] == [("patches", "tensor(uint8)")]
    assert session.get_inputs()[0].shape[1:] == [50, 50, 3]
    outputs = {one.name: one.type for one in session.get_outputs()}
    assert outputs == {"probability": "tensor(float)", "logit": "tensor(float)"}
    patches = paint_tissue(np.random.default_rng(0), 37)
    probability, logit = onnx_file.run_session(session, patches, 37)
    assert probability.shape == logit.shape == (37,)
    for size in (1, 16):
        assert np.allclose(onnx_file.run_session(session, patches, size)[0], probability, atol=1e-6)
    card = parse_card(session.get_modelmeta().custom_metadata_map[CARD_KEY], "small.onnx")
    calibration = card.document["idc"]["calibration"]
    expected = Platt(calibration["a"], calibration["b"]).probability(logit)
    assert np.abs(expected - probability).max() < 1e-5


def test_card_carries_golden_patches_that_are_reproduced(exported: Path) -> None:
    session = onnx_file.load_file(exported / "small.onnx")
    card = parse_card(session.get_modelmeta().custom_metadata_map[CARD_KEY], "small.onnx")
    found, _ = onnx_file.run_session(session, card.golden_patches)
    assert len(found) >= 8
    assert np.abs(found - card.golden_probabilities).max() < 1e-4
    assert np.ptp(found) > 0.5
    assert set(card.document["idc"]["metrics"]) == {
        f"{part}_{kind}" for part in ("validation", "test") for kind in ("weighted", "unweighted")
    }


def test_export_repeats_byte_for_byte_and_logs_the_file(
    run: Path, exported: Path, laboratory: Path, tmp_path: Path
) -> None:
    again = steps.release(
        *(run, tmp_path / "again.onnx", "small", "1.0.0", ABOUT),
        test_log=tmp_path / "log",
        elsewhere=[laboratory],
        publish_case_ids=True,
    )
    assert (tmp_path / "again.onnx").read_bytes() == (exported / "small.onnx").read_bytes()
    assert again.exported.sha256 in (exported / "test.csv").read_text(encoding="utf-8")
    assert again.exported.sha256 in (exported / "small.md").read_text(encoding="utf-8")
    assert again.exported.parity <= 1e-4


def test_order_of_the_converter_does_not_show_in_the_file(exported: Path) -> None:
    """It merges and sorts by addresses in memory; and it folds questions for a shape, or not."""
    graph = onnx.load(exported / "small.onnx").graph
    other = onnx.GraphProto.FromString(graph.SerializeToString())
    for entries in (other.node, other.initializer):
        turned = list(entries)[::-1]
        del entries[:]
        entries.extend(turned)
    for found in (graph, other):
        onnx_file.canonicalize(found)

    assert other == graph
    assert "Shape" not in {node.op_type for node in graph.node}


@pytest.mark.usefixtures("eager")
def test_export_of_a_leaky_run_says_so_on_every_figure(sources: Sources, tmp_path: Path) -> None:
    options = [*_options(sources), "--split", "random-patch", "--smote", "before-split"]
    run = tmp_path / "run"
    assert main(["train", *options, "--out", str(run), "--epochs", "1", "--batch", "64"]) == 0
    found = steps.release(
        *(run, tmp_path / "x.onnx", "x", "1.0.0", About()),
        report=tmp_path / "x.md",
        test_log=tmp_path / "log",
    )
    log = json.loads((run / LOG_JSON).read_text(encoding="utf-8"))
    assert LEAKY in log["split"]
    honest = {"unseen_weighted", "unseen_unweighted"}
    assert honest < set(found.metrics)
    assert all(name.startswith("leaky_") for name in set(found.metrics) - honest)
    session = onnx_file.load_file(tmp_path / "x.onnx")
    card = parse_card(session.get_modelmeta().custom_metadata_map[CARD_KEY], "x.onnx").document
    assert LEAKY in card["idc"]["training"]["split"]
    assert LEAKY in " ".join(card["idc"]["limitations"])
    assert card["idc"]["training"]["imbalance"] == "smote-before-split"
    assert "leaky_test_weighted" in (tmp_path / "log").read_text(encoding="utf-8")
    assert f"SMOTE: {NEIGHBOURS} neighbours" in (tmp_path / "x.md").read_text(encoding="utf-8")


def test_file_that_differs_from_its_network_is_not_written(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = onnx_file.load_file(exported / "small.onnx")
    card = session.get_modelmeta().custom_metadata_map[CARD_KEY]
    converted = onnx_file.convert(build(replace(SETTINGS, seed=3)).whole, Platt(1, 0))
    patches = paint_background(np.random.default_rng(0), 40)
    honest: Callable[..., np.ndarray] = onnx_file.predict_logits
    monkeypatch.setattr(onnx_file, "predict_logits", lambda *given: honest(*given) + 0.01)
    with pytest.raises(ParityError, match="differ"):
        onnx_file.export_model(converted, card, patches, tmp_path / "no.onnx", fewest=40)
    with pytest.raises(ParityError, match="1000"):
        onnx_file.export_model(converted, card, patches, tmp_path / "no.onnx")
    assert not list(tmp_path.iterdir())


def test_weights_beyond_float16_are_refused() -> None:
    model = build(SETTINGS).whole
    kernel = model.weights[0]
    kernel.assign(kernel.numpy() + 1e6)
    with pytest.raises(RunError, match="float16"):
        onnx_file.round_weights(model)


def test_evaluate_prints_both_weightings(
    sources: Sources, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(exported / "small.onnx")
    assert main(["evaluate", model, *_options(sources), "--part", "test", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["weighted"]["auc"].keys() == {"value", "low", "high"}
    assert found["unweighted"]["auc"]["value"] > 0.9
    assert (found["cases"], found["cases_not_held_out"]) == (2, {})
    # The figures of the report, which are the network's: on some processors two patches whose
    # probabilities the file gives within the parity of 1e-4 change places (one pair: 0.00125).
    with (exported / "test.csv").open(encoding="utf-8", newline="") as file:
        logged = {(row["cases"], row["figure"]): row["value"] for row in csv.DictReader(file)}
    for kind in ("weighted", "unweighted"):
        for figure, one in found[kind].items():
            assert one["value"] == pytest.approx(float(logged[f"test_{kind}", figure]), abs=0.005)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("train", "NOT HELD OUT: 4 of these 4 cases trained this model (101, 102, 103, 901)"),
        ("validation", "NOT HELD OUT: 2 of these 2 cases calibrated this model (201, 202)"),
    ],
)
def test_evaluate_names_cases_that_trained_or_calibrated_the_model(
    sources: Sources, exported: Path, capsys: pytest.CaptureFixture[str], part: str, told: str
) -> None:
    model = str(exported / "small.onnx")
    assert main(["evaluate", model, *_options(sources), "--part", part]) == 0
    assert told in capsys.readouterr().out


def test_card_report_and_log_tell_of_shifts_and_other_laboratories(exported: Path) -> None:
    content = (exported / "small.onnx").read_bytes()
    properties = onnx_file.open_session(content).get_modelmeta().custom_metadata_map
    card = parse_card(properties[CARD_KEY], "small.onnx")
    elsewhere, shifts = card.beyond_its_archive()
    assert "Tested on 1 other laboratory (1 slide, 3 patches, 2 of them IDC)" in elsewhere
    assert f"Under {len(STRONG)} strong changes" in shifts
    assert set(card.document["idc"]["shifts"]["figures"]) == set(STRONG)
    report = (exported / "small.md").read_text(encoding="utf-8")
    assert elsewhere in report
    assert "| gray | " in report
    logged = (exported / "test.csv").read_text(encoding="utf-8")
    # The log knows the file that was written, not the one that was scored for its card.
    assert f"{hashlib.sha256(content).hexdigest()},lab/one.tiff,auc," in logged


def test_other_laboratories_are_not_looked_at_without_a_log(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "x.onnx")
    command = ["export", str(run), "--out", out, "--name", "x", "--elsewhere", str(tmp_path)]
    assert main(command) == 2
    assert "--test-log" in capsys.readouterr().err


def test_card_says_of_the_data_what_it_was_told_and_nothing_else(exported: Path) -> None:
    session = onnx_file.load_file(exported / "small.onnx")
    card = parse_card(session.get_modelmeta().custom_metadata_map[CARD_KEY], "small.onnx")
    idc = card.document["idc"]
    assert idc["training"]["data"].startswith("painted patches, ")
    assert "Of paint." in idc["limitations"]
    assert idc["licence"] == idc["intended_use"]["scanner"] == "not stated"


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "{", '{"author": "x"}', '{"licence": 3}', '{"limitations": [""]}', "[" * 100_000),
        *('{"licence": "\\ud800"}', json.dumps({"data": "x" * 2001})),
        json.dumps({"limitations": ["x"] * 81}),
    ],
)
def test_description_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "about.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"about\.json"):
        read_about(path)


def test_run_whose_natural_counts_changed_is_neither_continued_nor_exported(
    sources: Sources, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sources.counts is not None
    counts = tmp_path / "counts.csv"
    lines = sources.counts.read_text(encoding="utf-8").replace("101,120,48", "101,240,48")
    counts.write_text(lines, encoding="utf-8")
    options = [*_options(sources)[:-1], str(counts)]
    settings = ["--epochs", str(SETTINGS.epochs), "--batch", str(SETTINGS.batch)]
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert main(["train", *options, "--out", str(run), *settings]) == 3
    assert "other settings or data" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    shutil.copytree(run, tmp_path / "run")
    document = json.loads((run / "run.json").read_text(encoding="utf-8"))
    document["sources"]["counts"] = str(counts)
    (tmp_path / "run" / "run.json").write_text(json.dumps(document), encoding="utf-8")
    out = tmp_path / "x.onnx"
    assert main(["export", str(tmp_path / "run"), "--out", str(out), "--name", "x"]) == 3
    assert "natural counts" in capsys.readouterr().err
    assert not out.exists()


def test_missing_package_of_the_trainer_is_named(
    monkeypatch: pytest.MonkeyPatch, sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.setattr(cli, "_import_tensorflow", missing)
    assert main(["evaluate", "x.onnx", *_options(sources)]) == 2
    assert "tensorflow is not installed" in (text := capsys.readouterr().err)
    assert ".[trainer]" in text


def test_reader_that_leaves_is_no_defect(
    monkeypatch: pytest.MonkeyPatch, sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli, "_import_tensorflow", gone)
    monkeypatch.setattr(cli.os, "dup2", lambda one, other: None)
    assert main(["evaluate", "x.onnx", *_options(sources)]) == 5
    assert not capsys.readouterr().err


def test_refusals_are_one_line_with_their_exit_code(
    sources: Sources, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    out = ["--out", str(tmp_path / "out")]
    blocked = ["--out", str(tmp_path / "file" / "x.onnx")]
    refused = {
        ("prepare", str(tmp_path / "empty"), *out): 3,
        ("export", str(tmp_path / "empty"), *out, "--name", "x"): 3,
        ("export", str(run), *blocked, "--name", "x"): 5,
        ("train", *_options(sources), *out, "--network", "none"): 2,
        ("train", *_options(sources), *out, "--epochs", "0"): 2,
        ("train", *_options(sources), *out, "--split-seed", "-1"): 2,
        ("export", str(run), *out, "--name", "x", "--about", str(tmp_path / "file")): 3,
        ("evaluate", str(tmp_path / "file"), *_options(sources)): 3,
    }
    for command, code in refused.items():
        assert main(command) == code, command
        assert len(capsys.readouterr().err.strip().splitlines()) == 1, command


def test_help_needs_no_tensorflow_and_wrong_usage_exits_2() -> None:
    check = (
        "import sys; from trainer.cli import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert 'tensorflow' not in sys.modules and 'onnxruntime' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", check], capture_output=True).returncode == 0
    with pytest.raises(SystemExit) as refused:
        main(["train"])
    assert refused.value.code == 2


def test_store_opens_for_reading_only(sources: Sources) -> None:
    assert not load_store(sources.store).pixels.flags.writeable
