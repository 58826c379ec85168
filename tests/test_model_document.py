"""The worked example of docs/model-file.md, on a network as PyTorch exports one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from idc_desktop.models.inference import PatchClassifier
from idc_desktop.models.model_file import read_model
from idc_desktop.models.patch_size import PatchSize

PAGE = Path(__file__).parents[1] / "docs" / "model-file.md"
SIDE = 96


def write_network(path: Path) -> None:
    """Write a small network of two scores for float images, channels first."""
    random = np.random.default_rng(3)
    shapes = {"kernel": (4, 3, 5, 5), "weight": (4, 2), "bias": (2,)}
    values = {name: random.normal(0, 0.4, it).astype(np.float32) for name, it in shapes.items()}
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["maps"], strides=[4, 4]),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["means"]),
        helper.make_node("Flatten", ["means"], ["row"]),
        helper.make_node("Gemm", ["row", "weight", "bias"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(it, name) for name, it in values.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )


def expected(net: Path, patches: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Normalise and run the network as its own code would; return the softmax of IDC."""
    images = (patches / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    session = onnxruntime.InferenceSession(net.read_bytes())
    feed = {"image": images.transpose(0, 3, 1, 2).astype(np.float32)}
    (scores,) = session.run(["scores"], feed)
    odds = np.exp(scores.astype(float))
    return odds[:, 1] / odds.sum(axis=1)


def test_network_of_another_program_becomes_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    write_network(tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)

    exec(compile(code, str(PAGE), "exec"), {})

    model = read_model(shutil.copy("my-resnet.onnx", tmp_path / "copy.onnx"))
    classifier = PatchClassifier(model, "cpu")
    assert model.card.patch == PatchSize(SIDE, 4.0)
    patches = np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
    assert classifier.predict(patches) == pytest.approx(
        expected(tmp_path / "net.onnx", patches), abs=1e-5
    )
