"""The end of a model's graph: its last dense layer and its calibration, and how to replace them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from idc_desktop.errors import ModelError
from trainer.scoring.calibration import Platt

_DENSE = ("MatMul", "Gemm")
_OLD, _NEW = "former_", "head_"


@dataclass(frozen=True)
class Head:
    """A last dense layer: ``logit = hidden @ weight + bias``.

    Attributes
    ----------
    weight : ndarray of float32, shape (width,)
    bias : float
    """

    weight: NDArray[np.float32]
    bias: float


def hidden_layer(model: onnx.ModelProto) -> str:
    """Return the name of what the last dense layer is given; `ModelError` where there is none."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    name = "logit"
    while name in made_by and made_by[name].op_type not in _DENSE:
        name = made_by[name].input[0]
    if name not in made_by:
        raise ModelError("The model ends in no dense layer, so it has no features.")
    return str(made_by[name].input[0])


def with_end(model: onnx.ModelProto, platt: Platt, head: Head | None = None) -> onnx.ModelProto:
    """Return a model with another calibration, and another last dense layer if one is given."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    hidden = hidden_layer(model) if head is not None else ""
    replaced = ["probability", *(["logit"] if head is not None else [])]
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [f"{_OLD}{it}" if it in replaced else it for it in names]

    def constant(name: str, value: NDArray[np.generic]) -> str:
        graph.initializer.append(numpy_helper.from_array(value, f"{_NEW}{name}"))
        return f"{_NEW}{name}"

    def add(operator: str, inputs: list[str], output: str) -> None:
        name = f"{_NEW}{operator}_{output}"
        graph.node.append(helper.make_node(operator, inputs, [output], name))

    _rename_earlier(graph)
    if head is not None:
        weight = constant("weight", head.weight.astype(np.float32).reshape(-1, 1))
        bias = constant("bias", np.array([head.bias], np.float32))
        add("MatMul", [hidden, weight], f"{_NEW}product")
        add("Add", [f"{_NEW}product", bias], f"{_NEW}sum")
        shape = constant("shape", np.array([-1], np.int64))
        add("Reshape", [f"{_NEW}sum", shape], "logit")
    add("Mul", ["logit", constant("a", np.array(platt.a, np.float32))], f"{_NEW}scaled")
    shifted = f"{_NEW}shifted"
    add("Add", [f"{_NEW}scaled", constant("b", np.array(platt.b, np.float32))], shifted)
    add("Sigmoid", [shifted], "probability")
    _prune(graph)
    onnx.checker.check_model(changed)
    return changed


def _rename_earlier(graph: onnx.GraphProto) -> None:
    """Rename what an earlier change of this kind has left, so that names stay different."""

    def renamed(name: str) -> str:
        return f"{_OLD}{name}" if name.startswith(_NEW) else name

    for node in graph.node:
        node.name = renamed(node.name)
        node.input[:] = [renamed(it) for it in node.input]
        node.output[:] = [renamed(it) for it in node.output]
    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)


def _prune(graph: onnx.GraphProto) -> None:
    """Remove what no output needs."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    kept = kept[::-1]
    tensors = [it for it in graph.initializer if it.name in needed]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.initializer.extend(tensors)
