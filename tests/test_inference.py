"""The classifier: the model contract, honesty about the provider, and silence on the network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idc_desktop.analysis.blocks import analyze_blocks
from idc_desktop.analysis.tiling import PatchReader
from idc_desktop.errors import ModelError
from idc_desktop.maps.layers import NO_VALUE, PATCH
from idc_desktop.maps.probability_map import PatchState
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models import inference
from idc_desktop.models.inference import GOLDEN_TOLERANCE, PatchClassifier, cuda_problem
from idc_desktop.models.model_file import ModelFile, read_model
from idc_desktop.models.patch_size import PatchSize
from idc_desktop.slides.reader import Slide
from tests.support.command import environment
from tests.support.cuda import pretend_cuda
from tests.support.models import Defect, TinyModel, golden_patches, write_tiny_model
from tests.support.scenes import INVALID_COLOR, Scene, write_invalid_slide

NEEDS_NO_GPU = pytest.mark.skipif(cuda_problem() is None, reason="a GPU may be used here")


@pytest.fixture(scope="module")
def classifier(tiny_model: TinyModel) -> PatchClassifier:
    return PatchClassifier(read_model(tiny_model.path), "cpu")


def patches(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    base = rng.integers(60, 220, (count, 1, 1, 3))
    return np.clip(base + rng.integers(-30, 31, (count, 50, 50, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 40])
def test_every_patch_has_its_own_probability(
    classifier: PatchClassifier, tiny_model: TinyModel, count: int
) -> None:
    found = classifier.predict(patches(count))

    assert found.shape == (count,)
    assert found.dtype == np.float32
    assert found == pytest.approx(tiny_model.probability(patches(count)), abs=1e-5)


def test_parts_of_an_array_may_be_given(classifier: PatchClassifier) -> None:
    many = patches(20)

    assert np.array_equal(classifier.predict(many[::2]), classifier.predict(many)[::2])


def test_threads_may_share_a_classifier(classifier: PatchClassifier) -> None:
    groups = [patches(30, seed) for seed in range(12)]
    alone = [classifier.predict(group) for group in groups]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(classifier.predict, groups))

    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


REASONS: dict[Defect, str] = {
    "input-name": "input must be patches",
    "input-float": "input must be patches",
    "input-channels-first": "input must be patches",
    "input-fixed-batch": "input must be patches",
    "output-name": "must have the output probability",
    "output-no-logit": "must have the output logit",
    "output-double": "must have the output probability",
    "output-column": "must have the output probability",
    "output-short": "returns (8,) probabilities for 16 patches",
    "output-nan": "outside 0 to 1",
    "output-out-of-range": "outside 0 to 1",
    "logit-short": "logit is not one finite number for each patch",
    "logit-nan": "logit is not one finite number for each patch",
    "batch-dependent": "with the other patches of its batch",
    "golden-value": "golden patches",
}


@pytest.mark.parametrize("defect", REASONS)
def test_model_that_breaks_the_contract_is_refused_at_load(tmp_path: Path, defect: Defect) -> None:
    model = read_model(write_tiny_model(tmp_path / "broken.onnx", defect=defect).path)

    with pytest.raises(ModelError, match=rf"^broken\.onnx: .*{re.escape(REASONS[defect])}"):
        PatchClassifier(model, "cpu")


@pytest.mark.parametrize(("shift", "fate"), [(0.0, ""), (0.9e-3, ""), (1.1e-3, "off by 0.0011")])
def test_golden_patches_decide_within_a_thousandth(tmp_path: Path, shift: float, fate: str) -> None:
    model = read_model(write_tiny_model(tmp_path / "m.onnx", golden_shift=shift).path)

    if fate:
        with pytest.raises(ModelError, match=fate):
            PatchClassifier(model, "cpu")
    else:
        assert PatchClassifier(model, "cpu").golden_error == pytest.approx(shift, abs=2e-5)
    assert GOLDEN_TOLERANCE == {"cpu": 1e-3, "cuda": 1e-2}


@given(edits=st.lists(st.tuples(st.integers(0, 900), st.integers(1, 255)), min_size=1, max_size=3))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_graph_is_refused_or_keeps_the_contract(
    tiny_model: TinyModel, tmp_path: Path, edits: list[tuple[int, int]]
) -> None:
    data = bytearray(tiny_model.path.read_bytes())
    for where, mask in edits:
        data[where] ^= mask
    path = tmp_path / "mutant.onnx"
    path.write_bytes(data)

    try:
        found = PatchClassifier(read_model(path), "cpu").predict(golden_patches())
    except ModelError as error:
        message = str(error)
    else:
        message = "mutant.onnx: "
        assert found == pytest.approx(tiny_model.probability(golden_patches()), abs=2e-3)
    assert message.startswith("mutant.onnx: ")


def test_name_of_a_dimension_that_is_no_text_is_refused(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    named, broken = b"\x12\x01n", b"\x12\x01\xee"
    data = tiny_model.path.read_bytes()
    assert named in data
    path = tmp_path / "mutant.onnx"
    path.write_bytes(data.replace(named, broken))
    with pytest.raises(ModelError, match=r"mutant\.onnx: .* no text"):
        PatchClassifier(read_model(path), "cpu")


def test_nan_is_a_state_of_its_own_and_never_a_number(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "nan.onnx", nan_color=INVALID_COLOR)
    scene, cell = write_invalid_slide(tmp_path / "s.tiff", model)
    with Slide(scene.path) as slide:
        reader = PatchReader(slide, PatchSize(50, 8.0), TissueSettings())
        results = list(
            analyze_blocks(
                slide,
                reader,
                PatchClassifier(read_model(model.path), "cpu"),
                reader.blocks(),
                threads=2,
                cancel=threading.Event(),
                on_start=lambda block: None,
            )
        )

    (result,) = results
    assert result.states[cell] == PatchState.INVALID_OUTPUT
    assert result.layers[PATCH][cell] == NO_VALUE
    assert list(result.reasons) == [cell]
    assert "nan" in result.reasons[cell]
    assert (result.states == PatchState.OK).sum() == len(scene.tissue) - 1


@NEEDS_NO_GPU
@pytest.mark.parametrize("requested", ["auto", "cuda"])
def test_fall_back_to_the_cpu_is_told_with_its_reason(
    tiny_model: TinyModel, requested: str
) -> None:
    choice = PatchClassifier(read_model(tiny_model.path), requested).provider

    assert (choice.requested, choice.used) == (requested, "cpu")
    assert choice.fallback_reason


@pytest.mark.parametrize("requested", ["auto", "cuda"])
def test_cuda_that_loads_but_cannot_run_the_model_gives_way_to_the_cpu(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, requested: str
) -> None:
    made = pretend_cuda(monkeypatch, 0)
    classifier = PatchClassifier(read_model(tiny_model.path), requested)

    assert made[0].sizes
    assert classifier.provider.used == "cpu"
    reason = classifier.provider.fallback_reason
    assert reason is not None
    assert "out of memory" in reason
    assert "/builds" not in reason
    assert classifier.predict(patches(40)).shape == (40,)


def test_patches_too_many_for_the_card_are_run_in_smaller_batches(
    tiny_model: TinyModel, classifier: PatchClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_cuda(monkeypatch, 70)
    on_card = PatchClassifier(read_model(tiny_model.path), "cuda")
    many = patches(300)

    assert on_card.provider.used == "cuda"
    assert np.array_equal(on_card.predict(many), classifier.predict(many))
    assert on_card.batch_size == 64


def test_card_that_runs_nothing_any_more_is_told(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pretend_cuda(monkeypatch, 70)
    on_card = PatchClassifier(read_model(tiny_model.path), "cuda")
    made[0].most = 0

    with pytest.raises(ModelError, match="out of memory"):
        on_card.predict(patches(3))


def test_batches_on_cuda_are_all_of_one_size(
    tiny_model: TinyModel, classifier: PatchClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pretend_cuda(monkeypatch)
    on_card = PatchClassifier(read_model(tiny_model.path), "cuda")
    many = patches(300)

    assert np.array_equal(on_card.predict(many), classifier.predict(many))
    assert set(made[0].sizes) == {inference.CUDA_BATCH}


@pytest.mark.parametrize("requested", ["auto", "cuda"])
@pytest.mark.parametrize("where", ["session", "libraries"])
def test_cuda_on_which_no_session_can_be_made_gives_way_to_the_cpu(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, requested: str, where: str
) -> None:
    real = onnxruntime.InferenceSession

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDNN failure 4: CUDNN_STATUS_NOT_INITIALIZED ; GPU=0")

    def session(*arguments: Any, providers: list[str], **more: Any) -> Any:
        if "CUDAExecutionProvider" in providers and where == "session":
            fail()
        return real(*arguments, providers=providers, **more)

    monkeypatch.setattr(inference, "cuda_problem", lambda: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    monkeypatch.setattr(onnxruntime, "preload_dlls", fail if where == "libraries" else dict)
    tried: list[str] = []
    made = PatchClassifier(read_model(tiny_model.path), requested, tried.append)

    assert tried == ["cuda", "cpu"]
    assert (made.provider.requested, made.provider.used) == (requested, "cpu")
    assert "CUDNN_STATUS_NOT_INITIALIZED" in str(made.provider.fallback_reason)
    assert made.predict(patches(40)).shape == (40,)


def test_cuda_that_onnxruntime_leaves_out_in_silence_is_told(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = inference._session

    def session(model: ModelFile, provider: str) -> onnxruntime.InferenceSession:
        if provider == "cuda":
            os.write(2, b"Failed to load library with error: libcudnn.so.9: cannot open\n")
        return real(model, "cpu")

    monkeypatch.setattr(inference, "cuda_problem", lambda: None)
    monkeypatch.setattr(inference, "_session", session)
    choice = PatchClassifier(read_model(tiny_model.path), "cuda").provider

    assert (choice.used, choice.fallback_reason) == ("cpu", "libcudnn.so.9: cannot open")


def test_run_that_comes_to_no_end_is_noticed_and_a_short_one_is_not(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pretend_cuda(monkeypatch)
    classifier = PatchClassifier(read_model(tiny_model.path), "cuda")
    begun, end = threading.Event(), threading.Event()

    def hang(names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        begun.set()
        end.wait(20)
        return [np.zeros(len(feed["patches"]), np.float32)]

    assert [classifier.look_at_runs() for _ in range(3)] == [0, 0, 0]
    monkeypatch.setattr(made[0], "run", hang)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(classifier.predict, patches(1))
        assert begun.wait(20)
        assert [classifier.look_at_runs() for _ in range(3)] == [1, 2, 3]
        end.set()
        run.result()
    assert classifier.look_at_runs() == 0


def test_reason_of_a_fall_back_holds_the_cause_without_time_or_path() -> None:
    said = (
        "\x1b[1;31m2026-11-27 09:23:56.029 [E:onnxruntime:Default, bridge.cc:2251 TryGet] "
        "/src/core/bridge.cc:1844 onnxruntime::Provider& Get() [ONNXRuntimeError] : 1 : FAIL : "
        "Failed to load library /home/x/capi/libproviders_cuda.so with error: libcublasLt.so.13: "
        "cannot open shared object file: No such file or directory\n\x1b[m\nRequire CUDA 13.*"
    )
    assert inference._shortened(said) == (
        "libcublasLt.so.13: cannot open shared object file: No such file or directory"
    )
    assert inference._shortened("2026-11-27 09:23:56.0 [W:onnx, a.cc:1 F] no kernel") == "no kernel"
    assert inference._shortened(" \n") == "onnxruntime gave no reason"


def test_cpu_that_was_asked_for_is_no_fall_back(classifier: PatchClassifier) -> None:
    assert (classifier.provider.used, classifier.provider.fallback_reason) == ("cpu", None)


CLASSIFY = """
import os, sys
from pathlib import Path
from idc_desktop.models.inference import PatchClassifier
from idc_desktop.models.model_file import read_model
from tests.support.models import golden_patches
assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
PatchClassifier(read_model(Path(sys.argv[1])), "auto").predict(golden_patches())
print("classified")
"""

REPOSITORY = Path(__file__).resolve().parents[1]


def without_ci(home: Path) -> dict[str, str]:
    """Return an environment in which onnxruntime's own telemetry would not hold back."""
    env = dict(environment(home).items())
    for name in ("CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY"):
        env.pop(name, None)
    return {**env, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}


def analysis_of(scene: Scene, model: TinyModel, out: Path) -> list[str]:
    return [
        sys.executable, "-m", "idc_desktop", "analyze", str(scene.path), "--out", str(out),
        "--model", str(model.path),
    ]  # fmt: skip


Command = Callable[[Scene, TinyModel, Path], list[str]]
COMMANDS: dict[str, Command] = {
    "session": lambda scene, model, out: [sys.executable, "-c", CLASSIFY, str(model.path)],
    "analyze": analysis_of,
}


def working(*command: str) -> bool:
    """Whether a tool is there and may be used here."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not working("strace", "-f"), reason="strace is missing or not permitted")
@pytest.mark.parametrize("name", COMMANDS)
def test_no_internet_socket_is_ever_made(
    tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path, name: str
) -> None:
    trace = tmp_path / "trace.txt"
    command = COMMANDS[name](tiny_slide, tiny_model, tmp_path / "out")
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=network", "-o", trace, *command],
        capture_output=True, text=True, env=without_ci(tmp_path), cwd=REPOSITORY, timeout=110,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert re.findall(r".*AF_INET.*", trace.read_text(encoding="utf-8", errors="replace")) == []
    assert not list(tmp_path.rglob("*Microsoft*"))


@pytest.mark.skipif(not working("unshare", "-n"), reason="unshare is missing or not permitted")
def test_analysis_needs_no_network(
    tiny_slide: Scene, tiny_model: TinyModel, tmp_path: Path
) -> None:
    done = subprocess.run(
        ["unshare", "-n", *analysis_of(tiny_slide, tiny_model, tmp_path / "out")],
        capture_output=True, text=True, env=without_ci(tmp_path), cwd=REPOSITORY, timeout=60,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not working("strace", "-f"), reason="strace is missing or not permitted")
def test_trace_would_show_an_internet_socket(tmp_path: Path) -> None:
    """The test above can fail: a program that does make one is caught."""
    trace = tmp_path / "trace.txt"
    script = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()"
    subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=network", "-o", trace, sys.executable, "-c", script],
        check=True, timeout=60,
    )  # fmt: skip

    assert "AF_INET" in trace.read_text(encoding="utf-8")
    assert os.environ.get("ORT_DISABLE_TELEMETRY") == "1"  # by importing idc_desktop here, too
