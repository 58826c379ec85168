"""``fit --from … --tune last-block``: what is trained, what stays, and that it goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.trainer.conftest import write_case

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")

from idc_desktop.errors import ModelError
from idc_desktop.models.inference import PatchClassifier
from idc_desktop.models.model_file import read_model
from trainer.cli import main
from trainer.data.preparing import prepare
from trainer.release import tuning
from trainer.release.base_model import find_base, find_float
from trainer.release.onnx_file import open_session, run_session
from trainer.release.tail import Tail

pytestmark = pytest.mark.timeout(900)  # six trainings, however small


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Fit the last block of `baseline` to six cases of painted patches."""
    root = tmp_path_factory.mktemp("tuning")
    rng = np.random.default_rng(8)
    for case in range(6):
        write_case(root / "data", f"A26-{case}", 8, rng)
    prepare(root / "data", root / "store")
    fit = ["fit", "--from", "baseline", "--tune", "last-block", "--data", str(root / "store")]
    command = [*fit, "--epochs", "2", "--learning-rate", "3e-3", "--out", str(root / "out")]
    assert main(command) == 0
    return command


def _out(command: list[str]) -> Path:
    return Path(command[-1])


def test_file_keeps_the_contract_and_says_what_was_trained(command: list[str]) -> None:
    read = read_model(_out(command) / "baseline-site.onnx")
    PatchClassifier(read, "cpu")
    idc = read.card.document["idc"]

    assert (idc["version"], idc["site"]["trained"]) == ("1.0.0", "last block")
    assert idc["training"]["data"].startswith("the last block: ")
    assert idc["metrics"]["out_of_fold_weighted"]["auc"]["value"] > 0.8
    assert "A26-" not in json.dumps(read.card.without_golden())
    assert not (_out(command) / "tuning" / "cache").exists()


def test_layers_before_the_last_block_stay_as_they_were(command: list[str]) -> None:
    before = onnx.load(find_base("baseline"))
    after = onnx.load(_out(command) / "baseline-site.onnx")
    tail = Tail(before)
    (given,) = tail.given
    patches = np.random.default_rng(1).integers(0, 256, (5, 50, 50, 3)).astype(np.uint8)

    def seen(model: onnx.ModelProto) -> tuple[np.ndarray, np.ndarray]:
        value = onnx.helper.make_tensor_value_info(given, onnx.TensorProto.FLOAT, None)
        model.graph.output.append(value)
        session = open_session(model.SerializeToString())
        front, logit = session.run([given, "logit"], {"patches": patches})
        return front, logit

    (front_before, logit_before), (front_after, logit_after) = seen(before), seen(after)
    assert np.array_equal(front_before, front_after)
    assert np.abs(logit_before - logit_after).max() > 0.1


@pytest.mark.parametrize("name", ["baseline", "vgg16-features", "vgg16-finetuned"])
def test_tail_computes_what_the_file_does(name: str) -> None:
    model = onnx.load(find_float(find_base(name)))
    tail = Tail(model)
    patches = np.random.default_rng(2).integers(0, 256, (3, 50, 50, 3)).astype(np.uint8)
    _, logit = run_session(open_session(model.SerializeToString()), patches)
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    for given in tail.given:
        value = onnx.helper.make_tensor_value_info(given, onnx.TensorProto.FLOAT, None)
        shown.graph.output.append(value)
    found = open_session(shown.SerializeToString()).run(list(tail.given), {"patches": patches})

    said = tail.logits(dict(zip(tail.given, found, strict=True))).numpy()
    assert said == pytest.approx(logit, abs=1e-4)
    written = tail.written(tail.learned())
    _, again = run_session(open_session(written.SerializeToString()), patches)
    assert again == pytest.approx(logit, abs=1e-6)


def test_interrupted_tuning_goes_on_and_ends_with_the_same_file(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(_out(command), out)
    for name in ("baseline-site.onnx", "tuning/all.npz", "tuning/without3.npz"):
        (out / name).unlink()
    trained, real = [], tuning._train

    def watched(front, part, *given):  # type: ignore[no-untyped-def]
        trained.append(len(part.store.index))
        return real(front, part, *given)

    monkeypatch.setattr(tuning, "_train", watched)
    assert main([*command[:-1], str(out)]) == 0
    assert len(trained) == 2
    name = "baseline-site.onnx"
    assert (out / name).read_bytes() == (_out(command) / name).read_bytes()


def test_what_computes_in_int8_is_trained_as_its_float_file(tmp_path: Path) -> None:
    quantized = find_base("vgg16-features")
    assert find_float(quantized) == quantized.parent / "float" / "vgg16-features.onnx"
    alone = tmp_path / "mine.onnx"
    shutil.copy(quantized, alone)
    with pytest.raises(ModelError, match=r"mine\.onnx computes in int8"):
        find_float(alone)


def test_settings_of_a_network_are_refused_for_a_last_layer(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = command.index("--tune")
    head = [*command[:at], *command[at + 2 : -1], str(tmp_path / "out")]
    assert main(head) == 2
    assert "--epochs: A last layer is fitted without such settings" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "out"), "--patience", "3"]) == 2
    assert "--patience: It is without effect" in capsys.readouterr().err
    assert main([*command[:1], *command[3:-1], str(tmp_path / "out")]) == 2
    assert "Name the model that it is of with --from" in capsys.readouterr().err
