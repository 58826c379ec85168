"""A model is its bytes: no part of it may lie in another file, whatever part it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from idc_desktop.errors import ModelError
from idc_desktop.models.inference import PatchClassifier
from idc_desktop.models.model_file import bundled_models, read_model
from tests.support.command import run_cli
from tests.support.models import TinyModel, golden_patches


def tensor() -> TensorProto:
    return numpy_helper.from_array(np.zeros(2, np.float32), "other")


def outside() -> TensorProto:
    found = tensor()
    found.data_location = TensorProto.EXTERNAL
    found.external_data.add(key="location", value="weights.bin")
    return found


def sparse(*, values: TensorProto, indices: TensorProto) -> onnx.SparseTensorProto:
    return helper.make_sparse_tensor(values, indices, [4])


def node(**attributes: object) -> onnx.NodeProto:
    """Return a node that stands for any; only the attributes matter."""
    made = helper.make_node("Constant", [], ["made"])
    made.attribute.extend(helper.make_attribute(key, it) for key, it in attributes.items())
    return made


def graph(*nodes: onnx.NodeProto, initializer: list[TensorProto] | None = None) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "g", [], [], initializer=initializer)


def function(*nodes: onnx.NodeProto, **attributes: object) -> onnx.FunctionProto:
    made = helper.make_function("ai.onnx", "F", [], [], nodes, [helper.make_opsetid("", 18)])
    made.attribute_proto.extend(helper.make_attribute(key, it) for key, it in attributes.items())
    return made


def training(**graphs: onnx.GraphProto) -> onnx.TrainingInfoProto:
    return helper.make_training_info(
        graphs.get("algorithm", graph()), {}, graphs.get("initialization", graph()), {}
    )


Put = Callable[[onnx.ModelProto], object]
PLACES: dict[str, Put] = {
    "initializer": lambda m: m.graph.initializer.append(outside()),
    "values of a sparse initializer": lambda m: m.graph.sparse_initializer.append(
        sparse(values=outside(), indices=tensor())
    ),
    "indices of a sparse initializer": lambda m: m.graph.sparse_initializer.append(
        sparse(values=tensor(), indices=outside())
    ),
    "attribute": lambda m: m.graph.node.append(node(value=outside())),
    "attribute, one of several": lambda m: m.graph.node.append(node(value=[tensor(), outside()])),
    "sparse attribute": lambda m: m.graph.node.append(
        node(value=sparse(values=outside(), indices=tensor()))
    ),
    "sparse attribute, one of several": lambda m: m.graph.node.append(
        node(value=[sparse(values=tensor(), indices=outside())])
    ),
    "attribute of another type": lambda m: m.graph.node.append(disguised()),
    "branch": lambda m: m.graph.node.append(node(then_branch=graph(initializer=[outside()]))),
    "one of several graphs": lambda m: m.graph.node.append(
        node(bodies=[graph(), graph(node(value=outside()))])
    ),
    "body in a body": lambda m: m.graph.node.append(
        node(body=graph(node(body=graph(node(value=outside())))))
    ),
    "function": lambda m: m.functions.append(function(node(value=outside()))),
    "default of a function": lambda m: m.functions.append(function(scale=outside())),
    "graph for training": lambda m: m.training_info.append(
        training(algorithm=graph(initializer=[outside()]))
    ),
    "start of a training": lambda m: m.training_info.append(
        training(initialization=graph(node(value=outside())))
    ),
}


def disguised() -> onnx.NodeProto:
    """Return a node whose attribute is a number by its type, and has a tensor all the same."""
    made = node(value=1.0)
    made.attribute[0].t.CopyFrom(outside())
    assert made.attribute[0].type == AttributeProto.FLOAT
    return made


def refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(ModelError, match=rf"^{path.name}: Numbers of the model lie outside its"):
        read_model(path)


@pytest.mark.parametrize("place", PLACES)
def test_numbers_outside_the_file_are_refused_wherever_they_are_named(
    tiny_model: TinyModel, tmp_path: Path, place: str
) -> None:
    proto = onnx.load(tiny_model.path)
    PLACES[place](proto)

    refused(tmp_path / "m.onnx", proto.SerializeToString())


@pytest.mark.parametrize("part", ["location alone", "entries alone", "location cut to 32 bits"])
def test_half_a_reference_to_another_file_is_one(
    tiny_model: TinyModel, tmp_path: Path, part: str
) -> None:
    proto = onnx.load(tiny_model.path)
    found = outside()
    if part == "entries alone":
        found.ClearField("data_location")
    else:
        del found.external_data[:]
    proto.graph.initializer.append(found)
    data = proto.SerializeToString()
    if part == "location cut to 32 bits":
        long = b"\x70\x81\x80\x80\x80\x10"  # 2**32 + 1
        found.ClearField("data_location")
        inner = found.SerializeToString() + long
        head = onnx.load(tiny_model.path).SerializeToString()
        # A second graph in the file is merged with the first.
        data = head + field(7, field(5, inner))
        assert onnx.load_from_string(data).graph.initializer[-1].data_location == 1

    refused(tmp_path / "m.onnx", data)


def field(number: int, content: bytes) -> bytes:
    """Return a field of bytes as it stands in a file."""
    size, left = b"", len(content)
    while left > 127:
        size, left = size + bytes([left & 127 | 128]), left >> 7
    return bytes([number << 3 | 2]) + size + bytes([left]) + content


@pytest.mark.parametrize("key", [b"\x00", b"\x02", b"\xba\x80\x80\x80\x10"])
def test_key_that_readers_take_for_different_fields_is_refused(
    tiny_model: TinyModel, tmp_path: Path, key: bytes
) -> None:
    """The last one is field 7, the graph, once it is cut to 32 bits."""
    path = tmp_path / "m.onnx"
    path.write_bytes(tiny_model.path.read_bytes() + key + b"\x00")

    with pytest.raises(ModelError, match="damaged protobuf"):
        read_model(path)


def test_numbers_inside_the_file_may_say_so(tiny_model: TinyModel, tmp_path: Path) -> None:
    proto = onnx.load(tiny_model.path)
    for it in proto.graph.initializer:
        it.data_location = TensorProto.DEFAULT
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())

    assert PatchClassifier(read_model(path), "cpu").predict(golden_patches()).shape == (8,)


@pytest.mark.parametrize("where", ["graph", "branch", "function"])
def test_operator_of_another_domain_is_refused_though_no_domain_is_declared(
    tiny_model: TinyModel, tmp_path: Path, where: str
) -> None:
    proto = onnx.load(tiny_model.path)
    foreign = helper.make_node("EPContext", [], [], domain="com.microsoft")
    if where == "graph":
        proto.graph.node.append(foreign)
    elif where == "branch":
        proto.graph.node.append(node(then_branch=graph(foreign)))
    else:
        proto.functions.append(function(foreign))
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())

    with pytest.raises(ModelError, match=r"m\.onnx: The model uses the .* 'com\.microsoft'"):
        read_model(path)


def test_model_that_looks_like_the_format_of_onnxruntime_is_read_as_onnx(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    """What stands at byte 4 makes onnxruntime take it for a format that nobody has looked into."""
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x12\x06xxORTM" + tiny_model.path.read_bytes())

    assert PatchClassifier(read_model(path), "cpu").golden_error < 1e-3


def test_bundled_models_are_far_from_the_limits() -> None:
    for path in bundled_models().values():
        began = time.process_time()
        read_model(path)
        assert time.process_time() - began < 2


@pytest.mark.parametrize("what", ["fields", "messages", "nodes", "nested"])
def test_file_of_millions_of_parts_is_refused_in_a_moment(
    tiny_model: TinyModel, tmp_path: Path, what: str
) -> None:
    data = tiny_model.path.read_bytes()
    if what == "fields":
        data += b"\x08\x01" * (30 << 20)
    elif what == "messages":
        data += b"\x3a\x00" * (2 << 20)  # graphs
    elif what == "nodes":
        data += field(7, b"\x0a\x00" * (2 << 20))
    else:
        inner = b""
        for _ in range(1000):
            inner = field(1, field(5, field(6, inner)))  # the graph of an attribute of a node
        data += field(7, inner)
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    began = time.process_time()

    with pytest.raises(ModelError, match=r"^m\.onnx: This is not a valid ONNX model \("):
        read_model(path)

    assert time.process_time() - began < 5


@pytest.mark.parametrize("command", ["analyze", "verify"])
def test_model_may_be_named_from_where_the_user_is(
    tiny_model: TinyModel, tmp_path: Path, command: str
) -> None:
    """The engine is elsewhere."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(tiny_model.path.read_bytes())
    words = {
        "verify": ["models", "verify", "m.onnx"],
        "analyze": ["analyze", "none.svs", "--model", "m.onnx", "--out", "out"],
    }

    done = run_cli(*words[command], data_dir=Path("data"), cwd=folder)

    if command == "verify":
        assert done.code == 0, done
    else:
        assert done.error_lines == ["none.svs: There is no such file. Check the path."]
