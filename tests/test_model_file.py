"""Model files: read once, and damaged or foreign ones refused before any inference library."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from idc_desktop.errors import ModelError
from idc_desktop.models.model_file import (
    MAX_BYTES,
    ModelFile,
    bundled_models,
    find_model,
    read_model,
)
from tests.support.models import Defect, TinyModel, write_tiny_model


@pytest.fixture(scope="module")
def tiny_path(tiny_model: TinyModel) -> Path:
    return tiny_model.path


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path.name}: ")
    assert "\n" not in message
    return message


def test_model_is_its_bytes_their_hash_and_its_card(tiny_model: TinyModel) -> None:
    model = read_model(tiny_model.path)

    assert model.data == tiny_model.path.read_bytes()
    assert model.sha256 == hashlib.sha256(model.data).hexdigest()
    assert (model.card.name, model.card.threshold) == ("tiny", 0.5)


def test_file_that_is_swapped_later_takes_no_part(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "m.onnx").path
    model = read_model(path)
    before = model.data

    path.write_bytes(b"something else")

    assert model.data == before


REASONS: dict[Defect, str] = {
    "empty": "not a valid ONNX model",
    "not-onnx": "not a valid ONNX model",
    "truncated": "not a valid ONNX model",
    "no-card": "has no card(s)",
    "card-not-json": "model card cannot be read",
    "card-class-order": "breaks the schema",
    "card-few-golden": "breaks the schema",
    "card-golden-size": "golden patch 0",
    "unknown-domain": "operator domain 'org.example'",
    "runtime-domain": "operator domain 'com.microsoft'",
    "opset-too-new": "opset 21",
    "external-data": "lie outside its file",
}


@pytest.mark.parametrize("defect", REASONS)
def test_each_defect_has_its_reason(tmp_path: Path, defect: Defect) -> None:
    path = write_tiny_model(tmp_path / "broken.onnx", defect=defect).path

    assert REASONS[defect] in refusal(path)


def test_second_card_is_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    proto = onnx.load(tiny_model.path)
    proto.metadata_props.append(proto.metadata_props[0])
    path = tmp_path / "two.onnx"
    onnx.save(proto, path)

    assert "2 card(s)" in refusal(path)


def test_other_metadata_is_nobodys_business(tiny_model: TinyModel, tmp_path: Path) -> None:
    proto = onnx.load(tiny_model.path)
    for key in ("author", "", "idc.card.old"):
        proto.metadata_props.add(key=key, value="x")
    path = tmp_path / "more.onnx"
    onnx.save(proto, path)

    assert read_model(path).card.name == "tiny"


def test_function_of_another_domain_is_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    proto = onnx.load(tiny_model.path)
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    path = tmp_path / "ml.onnx"
    onnx.save(proto, path)

    assert "operator domain 'ai.onnx.ml'" in refusal(path)


def test_model_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    path.touch()
    os.truncate(path, MAX_BYTES + 1)

    assert "larger than 512 MiB" in refusal(path)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("kind", ["missing", "folder", "link to nowhere", "device", "pipe"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "odd.onnx"
    if kind == "folder":
        path.mkdir()
    elif kind == "link to nowhere":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "device":
        path.symlink_to(os.devnull)
    elif kind == "pipe":
        os.mkfifo(path)

    refusal(path)


@pytest.mark.parametrize("suffix", [".h5", ".pkl", ".keras", ".pt", ".ONNX.zip", ""])
def test_only_onnx_files_are_ever_loaded(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps({"weights": 1}))

    with pytest.raises(ModelError, match=r"only \.onnx files are loaded"):
        find_model(str(path))


def test_suffix_in_capitals_is_an_onnx_file_too(tmp_path: Path) -> None:
    assert find_model(str(tmp_path / "M.ONNX")) == tmp_path / "M.ONNX"


@pytest.mark.parametrize("name", ["slide.tiff", "regions.geojson", "folder"])
def test_file_of_another_kind_is_no_unknown_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix:
        path.write_bytes(b"II*\0")
    else:
        path.mkdir()

    with pytest.raises(ModelError, match=r"This is no model: only \.onnx files are loaded") as told:
        find_model(str(path))

    assert "no bundled model of this name" not in str(told.value)


def test_bundled_models_are_found_by_name_and_are_sound() -> None:
    models = bundled_models()

    assert list(models) == sorted(models)
    for name, path in models.items():
        assert find_model(name) == path
        assert read_model(path).card.spacing_um_px == 8.0


@given(
    edits=st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=5),
    cut=st.none() | st.integers(0, 2**20),
)
@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_model_is_read_or_refused_and_nothing_else(
    tiny_path: Path, tmp_path: Path, edits: list[tuple[int, int]], cut: int | None
) -> None:
    data = bytearray(tiny_path.read_bytes())
    for where, mask in edits:
        # Half of the edits in the first and last 400 bytes: graph, opset and metadata heads.
        at = where % len(data) if where % 2 else (where % 800 - 400) % len(data)
        data[at] ^= mask
    if cut is not None:
        del data[cut % len(data) :]
    path = tmp_path / "mutant.onnx"
    path.write_bytes(data)

    model = accepted(path)

    assert model is None or model.data == bytes(data)


@given(data=st.binary(max_size=300))
@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_random_bytes_are_refused_and_nothing_else(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "random.onnx"
    path.write_bytes(data)

    assert accepted(path) is None


def accepted(path: Path) -> ModelFile | None:
    try:
        return read_model(path)
    except ModelError as error:
        message = str(error)
    assert message.startswith(f"{path.name}: ")
    return None


def test_reading_a_model_loads_no_inference_library(tiny_model: TinyModel) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from idc_desktop.models.model_file import read_model\n"
        "read_model(Path(sys.argv[1]))\n"
        "print(sorted({'onnx', 'onnxruntime', 'openslide', 'tensorflow'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tiny_model.path],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    assert done.stdout.strip() == "[]"
