"""The last block of a model's graph, as TensorFlow computes and trains it.

A file of ours or of another laboratory keeps no layers, only a graph. So nothing is rebuilt: the
nodes from the last block of convolutions on are computed as they stand, their weights are
variables, and what was learned is written into the same places of the same graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from idc_desktop.errors import ModelError
from trainer.release.onnx_file import restore_float32, store_as_float16

LOGIT = "logit"

Tensors = Mapping[str, tf.Tensor]
Attributes = dict[str, Any]
Nodes = list[onnx.NodeProto]
Weights = dict[str, NDArray[np.float32]]


class Tail:
    """What follows the last pooling but one of a network of convolutions, up to its logit.

    Attributes
    ----------
    given : tuple of str
        Names of the tensors that it is given: what the frozen nodes before it make of a patch.
    convolutions, dense : list of keras.Variable
        What can be trained: weights and biases of its convolutions, and of its dense layers.

    Raises
    ------
    ModelError
        The graph has no such block, or an operator that cannot be trained here.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        graph = self._model.graph
        restore_float32(graph)
        arrays = {it.name: numpy_helper.to_array(it) for it in graph.initializer}
        self._nodes = _last_block(graph)
        made = {name for node in self._nodes for name in node.output}
        needed = [name for node in self._nodes for name in node.input if name]
        known = made | arrays.keys()
        self.given = tuple(dict.fromkeys(it for it in needed if it not in known))
        self._constants = {name: arrays[name] for name in needed if name in arrays}
        names = [(node, name) for node in self._nodes for name in _weights(node, self._nodes)]
        self._variables = {
            name: keras.Variable(self._constants[name], name=name)
            for _, name in names
            if name in self._constants and self._constants[name].dtype == np.float32
        }

        def of(*operators: str) -> list[keras.Variable]:
            mine = [name for node, name in names if node.op_type in operators]
            return [self._variables[name] for name in mine if name in self._variables]

        self.convolutions, self.dense = of("Conv"), of("MatMul", "Gemm")

    def assign(self, weights: Weights | None = None) -> None:
        """Take weights by name; the model's own where none are given."""
        for name, variable in self._variables.items():
            variable.assign((weights or self._constants)[name])

    def logits(self, given: Tensors) -> tf.Tensor:
        """Return the log-odds of patches, shape (n,)."""
        values: dict[str, Any] = {**self._constants, **given}
        values |= {name: it.value for name, it in self._variables.items()}
        for node in self._nodes:
            inputs = [values[name] for name in node.input if name]
            attributes = {it.name: helper.get_attribute_value(it) for it in node.attribute}
            values[node.output[0]] = _OPERATORS[node.op_type](inputs, attributes)
        return tf.reshape(values[LOGIT], [-1])

    def learned(self) -> Weights:
        """Return the weights, by name, rounded to what float16 holds, as files keep them."""
        return {
            name: variable.numpy().astype(np.float16).astype(np.float32)
            for name, variable in self._variables.items()
        }

    def written(self, learned: Weights) -> onnx.ModelProto:
        """Return the model with other weights in its last block."""
        changed = onnx.ModelProto()
        changed.CopyFrom(self._model)
        for tensor in changed.graph.initializer:
            if tensor.name in learned:
                tensor.CopyFrom(numpy_helper.from_array(learned[tensor.name], tensor.name))
        store_as_float16(changed.graph)
        return changed


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether a model computes in integers, whose steps have no slope to follow."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def _last_block(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that the convolutions behind the last pooling but one lead to."""
    nodes = list(graph.node)
    end = next(at for at, node in enumerate(nodes) if LOGIT in node.output)
    nodes = nodes[: end + 1]
    pools = [node for node in nodes if node.op_type == "MaxPool"]
    behind = _led_to(nodes, pools[-2:-1])
    found = _led_to(nodes, [node for node in behind if node.op_type == "Conv"])
    unknown = sorted({node.op_type for node in found} - _OPERATORS.keys())
    if not found or unknown:
        reason = f"it has {', '.join(unknown)}" if unknown else "it has no two blocks"
        raise ModelError(
            f"Its last block of convolutions cannot be trained: {reason}. Use --tune head."
        )
    return found


def _led_to(nodes: Sequence[onnx.NodeProto], starts: Sequence[onnx.NodeProto]) -> Nodes:
    """Return some nodes and all that need what they make, in order."""
    made = {name for node in starts for name in node.output}
    found = []
    for node in nodes:
        if made.intersection(node.output) or made.intersection(node.input):
            made.update(node.output)
            found.append(node)
    return found


def _weights(node: onnx.NodeProto, nodes: Sequence[onnx.NodeProto]) -> list[str]:
    """Return the names of what a layer weighs by, and of its bias, which may be added behind it."""
    if node.op_type not in ("Conv", "MatMul", "Gemm"):
        return []
    (out,) = node.output
    added = [it for it in nodes if it.op_type == "Add" and out in it.input]
    return [*node.input[1:], *(name for it in added for name in it.input if name != out)]


def _conv(inputs: list[Any], given: Attributes) -> tf.Tensor:
    # Processors have no convolution with the channels first.
    x = tf.transpose(inputs[0], (0, 2, 3, 1))
    pads = given.get("pads", [0, 0, 0, 0])
    x = tf.pad(x, [[0, 0], [pads[0], pads[2]], [pads[1], pads[3]], [0, 0]])
    kernel = tf.transpose(inputs[1], (2, 3, 1, 0))
    strides, dilations = given.get("strides", [1, 1]), given.get("dilations", [1, 1])
    x = tf.nn.conv2d(x, kernel, strides, "VALID", dilations=dilations)
    if len(inputs) > 2:
        x = x + inputs[2]
    return tf.transpose(x, (0, 3, 1, 2))


def _max_pool(inputs: list[Any], given: Attributes) -> tf.Tensor:
    x = tf.transpose(inputs[0], (0, 2, 3, 1))
    x = tf.nn.max_pool2d(x, given["kernel_shape"], given.get("strides", [1, 1]), "VALID")
    return tf.transpose(x, (0, 3, 1, 2))


def _mean(inputs: list[Any], given: Attributes) -> tf.Tensor:
    axes = inputs[1] if len(inputs) > 1 else given.get("axes")
    return tf.reduce_mean(inputs[0], axes, keepdims=bool(given.get("keepdims", 1)))


def _slice(inputs: list[Any], given: Attributes) -> tf.Tensor:
    del given
    x, starts, ends, axes = inputs[:4]
    steps = inputs[4] if len(inputs) > 4 else np.ones_like(starts)
    cuts = [slice(None)] * len(x.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        cuts[axis] = slice(int(start), int(np.clip(end, -(2**31), 2**31 - 1)), int(step))
    return x[tuple(cuts)]


def _reshape(inputs: list[Any], given: Attributes) -> tf.Tensor:
    del given
    x, shape = inputs[0], [int(it) for it in inputs[1]]
    known = tf.shape(x)
    return tf.reshape(x, [known[at] if it == 0 else it for at, it in enumerate(shape)])


_OPERATORS: dict[str, Callable[[list[Any], Attributes], tf.Tensor]] = {
    "Add": lambda x, given: x[0] + x[1],
    "Concat": lambda x, given: tf.concat(x, given["axis"]),
    "Conv": _conv,
    "MatMul": lambda x, given: tf.matmul(x[0], x[1]),
    "MaxPool": _max_pool,
    "Mul": lambda x, given: x[0] * x[1],
    "ReduceMean": _mean,
    "Relu": lambda x, given: tf.nn.relu(x[0]),
    "Reshape": _reshape,
    "Slice": _slice,
    "Sqrt": lambda x, given: tf.sqrt(x[0]),
    "Squeeze": lambda x, given: tf.squeeze(x[0], [int(it) for it in x[1]]),
    "Sub": lambda x, given: x[0] - x[1],
    "Transpose": lambda x, given: tf.transpose(x[0], given["perm"]),
}
"""What the networks of this package are made of behind their first pooling."""
