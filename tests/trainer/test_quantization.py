"""``quantize``: the int8 form of a small network says what its float form says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.models.card import ModelCard
from tests.trainer.conftest import SmallData, eagerly

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")

import onnx

from idc_desktop.commands.cli import main as desktop
from trainer.cli import main
from trainer.data.painting import paint_background, paint_tissue
from trainer.data.preparing import prepare
from trainer.release import steps
from trainer.release.assessment import load_model
from trainer.release.onnx_file import run_session

BASELINE = Path(__file__).resolve().parents[2] / "resources" / "models" / "baseline.onnx"


@pytest.fixture(scope="module")
def sources(small_data: SmallData, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    store = tmp_path_factory.mktemp("store") / "store"
    prepare(small_data.patches, store)
    return ["--data", str(store), "--splits", str(small_data.splits)]


@dataclass(frozen=True)
class Pair:
    """A float file and the int8 file of it."""

    before: Path
    after: Path

    def cards(self) -> tuple[ModelCard, ModelCard]:
        return load_model(self.before).card, load_model(self.after).card


@pytest.fixture(scope="module")
def pair(sources: list[str], tmp_path_factory: pytest.TempPathFactory) -> Pair:
    out = tmp_path_factory.mktemp("int8") / "int8.onnx"
    command = ["quantize", str(BASELINE), *sources, "--out", str(out)]
    assert main([*command, "--report", str(out.with_suffix(".md"))]) == 0
    return Pair(BASELINE, out)


def test_probabilities_and_calls_are_those_of_the_float_file(pair: Pair) -> None:
    rng = np.random.default_rng(3)
    patches = np.concatenate([paint_tissue(rng, 60), paint_background(rng, 60)])
    before, after = load_model(pair.before), load_model(pair.after)
    (was, logit), (now, other) = (run_session(one.session, patches) for one in (before, after))
    assert not np.array_equal(logit, other)
    assert np.abs(now - was).max() < 0.1
    calls = was >= before.card.threshold, now >= after.card.threshold
    assert 0 < calls[0].sum() < len(patches)
    assert (calls[0] != calls[1]).mean() < 0.05


def test_convolutions_compute_in_int8_and_their_weights_use_seven_bits(pair: Pair) -> None:
    model = onnx.load(pair.after)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 18)]
    made = {name: node for node in model.graph.node for name in node.output}
    tensors = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 4
    for node in convolutions:
        given, weight = (made[name] for name in node.input[:2])
        assert given.op_type == weight.op_type == "DequantizeLinear"
        value = tensors[weight.input[0]]
        assert value.dtype == np.int8
        assert np.abs(value).max() <= 64
        assert tensors[weight.input[1]].shape == (value.shape[0],)
    assert pair.after.stat().st_size < pair.before.stat().st_size


def test_card_is_carried_over_and_names_the_float_file(pair: Pair) -> None:
    before, after = pair.cards()
    was, now = before.document["idc"], after.document["idc"]
    assert (after.name, after.version) == (before.name, f"{before.version}-int8")
    assert now["quantized"]["from_sha256"] == hashlib.sha256(pair.before.read_bytes()).hexdigest()
    assert now["quantized"]["compared"] == 64
    for kept in ("metrics", "training", "licence", "attribution", "intended_use"):
        assert now[kept] == was[kept]
    assert "Computes in int8" in now["limitations"][-1]
    assert now["limitations"][:-1] == was["limitations"]
    on_curve = [point["threshold"] for point in now["validation_curve"]]
    assert on_curve == sorted(on_curve)
    assert after.threshold in on_curve
    report = pair.after.with_suffix(".md").read_text(encoding="utf-8")
    assert now["quantized"]["from_sha256"] in report
    assert "| auc, validation weighted |" in report


def test_the_application_takes_the_file(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    assert desktop(["models", "verify", str(pair.after)]) == 0
    assert "keeps the contract" in capsys.readouterr().out


@pytest.mark.long
def test_a_run_gives_the_file_that_its_export_gives(
    sources: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "FEWEST", 10)
    run, exported = tmp_path / "run", tmp_path / "exported.onnx"
    with eagerly():
        assert main(["train", *sources, "--epochs", "2", "--batch", "32", "--out", str(run)]) == 0
    given = ["--name", "small", "--version", "3.1"]
    assert main(["export", str(run), "--out", str(exported), *given]) == 0
    of_run, of_file = tmp_path / "of_run.onnx", tmp_path / "of_file.onnx"
    assert main(["quantize", str(run), "--out", str(of_run), *given]) == 0
    assert main(["quantize", str(exported), *sources, "--out", str(of_file), *given]) == 0
    assert of_run.read_bytes() == of_file.read_bytes()


def test_what_cannot_be_quantized_is_refused_in_a_line(
    pair: Pair, sources: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.onnx"

    def refused(source: Path, *given: str) -> str:
        code = main(["quantize", str(source), "--out", str(out), *given])
        assert code in (2, 3)
        return capsys.readouterr().err

    assert "in int8 already" in refused(pair.after, *sources)
    assert "--data" in refused(pair.before)
    about = tmp_path / "about.json"
    about.write_text(json.dumps({"data": "x"}), encoding="utf-8")
    assert "--about" in refused(pair.before, *sources, "--about", str(about))
    text = tmp_path / "text.onnx"
    text.write_text("no model", encoding="utf-8")
    assert "cannot be opened" in refused(text, *sources)
    elsewhere = refused(pair.before, *sources, "--elsewhere", str(tmp_path))
    assert "--test-log" in elsewhere
    assert not out.exists()
