"""A model for a laboratory: calibrated by its own cases, or with a last layer trained on them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support.models import TinyModel, golden_patches, write_tiny_model
from tests.trainer.conftest import write_case

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")

from idc_desktop.models.inference import PatchClassifier
from idc_desktop.models.model_file import read_model
from trainer.cli import main
from trainer.data.dataset import PatchIndex, PatchStore
from trainer.data.preparing import prepare
from trainer.release.head import Head, hidden_layer, with_end
from trainer.release.onnx_file import open_session, run_session
from trainer.release.reliability import Reliability, rehearse
from trainer.scoring.calibration import Platt
from trainer.training.feeding import Part


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten cases of 12 patches of each class; not IDC is painted glass, fat and ink."""
    root = tmp_path_factory.mktemp("site")
    rng = np.random.default_rng(8)
    for case in range(10):
        write_case(root / "data", f"A26-{case}", 12, rng)
    prepare(root / "data", root / "store")
    return root / "store"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def calibrated(store: Path, model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("calibrated") / "mine.onnx"
    report = ["--report", str(out.with_suffix(".md"))]
    assert (
        main(["calibrate", str(model.path), "--data", str(store), "--out", str(out), *report]) == 0
    )
    return out


def test_calibrated_file_keeps_the_contract_and_the_network(
    calibrated: Path, model: TinyModel
) -> None:
    read = read_model(calibrated)
    classifier = PatchClassifier(read, "cpu")
    patches = golden_patches(20)
    a, b = (read.card.document["idc"]["calibration"][name] for name in "ab")
    _, logit = run_session(open_session(model.path.read_bytes()), patches)

    assert classifier.predict(patches) == pytest.approx(Platt(a, b).probability(logit), abs=1e-6)
    assert (a, b) != pytest.approx(model.calibration, abs=0.01)


def test_card_says_what_it_comes_of_and_names_no_case(calibrated: Path, model: TinyModel) -> None:
    card = read_model(calibrated).card
    idc = card.document["idc"]

    assert (card.name, card.version) == ("tiny", "1.2.3-calibrated")
    assert idc["site"]["base_sha256"] == model.sha256
    assert (idc["site"]["cases"], idc["site"]["patches_idc"]) == (10, 120)
    assert "A26-" not in json.dumps(card.without_golden())
    assert set(idc["metrics"]) == {"out_of_fold_weighted", "out_of_fold_unweighted"}
    assert "5 of these cases calibrated" in calibrated.with_suffix(".md").read_text("utf-8")


def test_page_shows_cases_and_the_worst_errors(calibrated: Path) -> None:
    page = calibrated.with_suffix(".html").read_text("utf-8")

    assert all(f"<td>A26-{case}</td>" in page for case in range(10))
    assert page.count("data:image/png;base64,") == 2 + 2 * 12
    assert "Nobody looked" in page
    assert not re.search(r"https?://|<script|<link|url\(", page)


def test_calibration_by_few_cases_is_refused(
    store: Path,
    model: TinyModel,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    for case in range(6):
        write_case(tmp_path / "data", str(case), 2, rng)
    prepare(tmp_path / "data", tmp_path / "store")
    out = tmp_path / "x.onnx"

    command = ["calibrate", str(model.path), "--data", str(tmp_path / "store"), "--out", str(out)]
    assert main(command) == 3
    said = capsys.readouterr().err
    assert "would say nothing: 6 cases with 12 patches" in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_last_layer_is_trained_anew(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Ranks the classes the wrong way round, whatever calibrates it.
    base = write_tiny_model(tmp_path / "wrong.onnx", slope=-16.0)
    out = tmp_path / "out"

    command = ["fit", "--from", str(base.path), "--data", str(store), "--out", str(out)]
    assert main(command) == 0

    read = read_model(out / "wrong-site.onnx")
    PatchClassifier(read, "cpu")
    idc = read.card.document["idc"]
    assert idc["metrics"]["out_of_fold_weighted"]["auc"]["value"] > 0.75
    assert idc["site"]["trained"] == "last layer"
    assert "A26-" not in json.dumps(read.card.without_golden())
    kept = json.loads((out / "cases.json").read_text())
    assert kept["trained"] == kept["calibrated"] == [f"A26-{case}" for case in range(10)]
    capsys.readouterr()
    part = ["--split", "grouped-kfold", "--part", "test", "--run", str(out)]
    model = str(out / "wrong-site.onnx")
    assert main(["evaluate", model, "--data", str(store), *part]) == 0
    assert "NOT HELD OUT: 2 of these 2 cases trained this model" in capsys.readouterr().out


def test_patches_of_another_size_are_refused(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = write_tiny_model(tmp_path / "wide.onnx", side_px=96, spacing_um_px=4.0)

    command = ["fit", "--from", str(base.path), "--data", str(store), "--out", str(tmp_path / "o")]
    assert main(command) == 3
    assert "tiny sees 96 px at 4" in capsys.readouterr().err


def test_model_that_is_not_there_is_named(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["calibrate", "nobody", "--data", str(store), "--out", str(tmp_path / "o.onnx")]
    assert main(command) == 3
    assert "baseline, vgg16-features" in capsys.readouterr().err


def test_end_can_be_replaced_again_and_again(model: TinyModel) -> None:
    graph = onnx.load(model.path)
    for times in range(3):
        head = Head(np.full(3, times * 1e-6, np.float32), 0.5)
        graph = with_end(graph, Platt(2.0, -1.0), head)
    patches = golden_patches(4)

    probability, logit = run_session(open_session(graph.SerializeToString()), patches)

    sums = patches.astype(float).sum(axis=(1, 2, 3))
    assert logit == pytest.approx(sums * 2e-6 + 0.5, rel=1e-5)
    assert probability == pytest.approx(1 / (1 + np.exp(1 - 2 * logit)), abs=1e-6)
    assert hidden_layer(graph) == hidden_layer(onnx.load(model.path))
    assert len(graph.graph.node) == len(with_end(graph, Platt(1.0, 0.0), head).graph.node)


def test_what_differs_between_cases_is_what_a_promise_is_off_by() -> None:
    rng = np.random.default_rng(5)
    size, count = 40, 60
    case = np.repeat([f"{it:03d}" for it in range(count)], size)
    label = (rng.random(count * size) < 0.4).astype(np.uint8)
    place = np.arange(count * size)
    store = PatchStore(PatchIndex(case, place, place, label, case), place, place)
    alike = 6.0 * label - 3 + rng.normal(0, 1, count * size)
    shift = np.repeat(rng.normal(0, 3, count), size)

    near, far = (rehearse(Part(store, np.ones(len(it))), it) for it in (alike, alike + shift))

    assert (near.drawn, near.others) == (30, 30)
    assert near.share_within == 1.0
    assert far.off_by > 4 * near.off_by
    assert far.expected_off_by == pytest.approx(far.off_by / 2)  # twice as many, against very many
    assert Reliability(30, 270, 0.9, 0.1).expected_off_by == pytest.approx(0.03)
    assert "30 of these cases calibrated and the 30 others tested, 200 times" in far.line()
    assert "Calibrated by all 60" in far.line()


def test_drawn_cases_are_as_many_as_there_are(
    store: Path, model: TinyModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["calibrate", str(model.path), "--data", str(store), "--out", str(tmp_path / "o")]

    assert main([*command, "--drawn", "6"]) == 0
    assert "6 of these cases calibrated and the 4 others" in capsys.readouterr().out
    assert main([*command, "--drawn", "10"]) == 3
    assert "of 10 cases, 5 to 9 can be drawn" in capsys.readouterr().err
