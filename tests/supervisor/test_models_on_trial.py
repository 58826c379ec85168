"""Models that kill their engine, or keep it for ever: they are blamed, not the slide."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from idc_desktop.errors import (
    ModelError,
)
from idc_desktop.maps.probability_map import ProbabilityMap
from idc_desktop.processes.engine_messages import (
    AnalyzeJob,
    VerifyJob,
)
from idc_desktop.processes.message import Event
from idc_desktop.processes.supervisor import Job
from tests.supervisor.support import (
    CRASHING,
    assert_equal_but_for,
    follow,
)
from tests.support.crashing_engine import VARIABLE, Crash
from tests.support.models import TinyModel
from tests.support.processes import engines_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")


def spoiled(
    model: TinyModel, path: Path, operator: str, *inputs: str, **attributes: object
) -> Path:
    """Write a model whose probability passes through one more operator.

    Beside ``before``, the sound probability, it may take the constants ``yes`` and ``huge``.
    """
    proto = onnx.load(model.path)
    last = next(node for node in proto.graph.node if "probability" in node.output)
    last.output[0] = "before"
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1 << 34]), "huge"))
    node = helper.make_node(operator, list(inputs), ["probability"], **attributes)
    proto.graph.node.append(node)
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("kind", ["analyze", "verify"])
def test_model_that_comes_to_no_end_is_told_at_the_deadline_and_tried_once(
    job: AnalyzeJob, tiny_model: TinyModel, tmp_path: Path, kind: str
) -> None:
    def value(name: str, of: int, *shape: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, of, shape)

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["again"], ["once_more"]),
            helper.make_node("Identity", ["p"], ["the_same"]),
        ],
        "for_ever",
        [
            value("turn", TensorProto.INT64),
            value("again", TensorProto.BOOL),
            value("p", TensorProto.FLOAT, "n"),
        ],
        [value("once_more", TensorProto.BOOL), value("the_same", TensorProto.FLOAT, "n")],
    )
    path = spoiled(tiny_model, tmp_path / "endless.onnx", "Loop", "", "yes", "before", body=body)
    doomed = replace(job, model=str(path)) if kind == "analyze" else VerifyJob(str(path), "cpu")
    seen: list[str] = []

    with pytest.raises(ModelError, match=r"^endless\.onnx: .* said nothing for 4 s\. .* another"):
        follow(
            Job(doomed, "s.tiff", deadline_s=4.0),
            lambda event: seen.append(event.NAME),
        )

    assert seen.count("trying") == 1
    assert not engines_of(os.getpid())


@pytest.mark.parametrize(
    ("how", "why", "engines"), [("abort", "SIGABRT", 1), ("exit", "code 3", 1), ("kill", "KILL", 4)]
)
def test_model_that_kills_the_engine_is_told_and_not_the_slide(
    job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch, how: str, why: str, engines: int
) -> None:
    """A kill comes from a person, or from the system that is out of memory."""
    monkeypatch.setenv(VARIABLE, Crash(how, "model").variable())
    seen: list[str] = []

    with pytest.raises(ModelError, match=rf"^tiny\.onnx: .*{why}\. .* another one\.$"):
        follow(Job(job, "s.tiff", CRASHING), lambda event: seen.append(event.NAME))

    assert seen.count("trying") == engines


def test_model_that_may_have_failed_on_cuda_can_run_on_the_cpu(
    job: AnalyzeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, Crash("segv", "model", on_cuda=True).variable())

    with pytest.raises(ModelError, match=r"or run it on the CPU\.$"):
        follow(Job(replace(job, provider="auto"), "s.tiff", CRASHING))


def test_single_kill_while_the_model_is_tried_costs_nothing(
    job: AnalyzeJob, clean: ProbabilityMap, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    once = str(tmp_path / "killed")
    monkeypatch.setenv(VARIABLE, Crash("kill", "model", once=once).variable())

    said = follow(Job(job, "s.tiff", CRASHING))

    assert Path(once).exists()
    assert said.done
    assert_equal_but_for(said, clean, set())


def test_kills_while_a_model_is_tried_are_forgotten_once_it_was_tried(
    job: AnalyzeJob, clean: ProbabilityMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three, one later, and three again; four in a row would be the end."""
    monkeypatch.setenv(VARIABLE, Crash("slow", "model").variable())
    seen: Counter[str] = Counter()

    def kill(event: Event) -> None:
        seen[event.NAME] += 1
        if (event.NAME, seen[event.NAME]) in {
            ("plan", 1),
            *(("trying", n) for n in (1, 2, 3, 5, 6, 7)),
        }:
            for pid in engines_of(os.getpid()):
                os.kill(pid, signal.SIGKILL)

    said = follow(Job(job, "s.tiff", CRASHING), kill)

    assert seen["trying"] == 8
    assert said.done
    assert_equal_but_for(said, clean, set())


def test_model_that_wants_more_memory_than_there_is_is_told(
    job: AnalyzeJob, tiny_model: TinyModel, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")
    path = spoiled(tiny_model, tmp_path / "bomb.onnx", "ConstantOfShape", "huge")
    running = Job(VerifyJob(str(path), "cpu"), "bomb.onnx")
    limit = 8 << 30
    resource.prlimit(running._child.pid, resource.RLIMIT_AS, (limit, limit))

    with pytest.raises(ModelError, match=r"^bomb\.onnx: .* 68719476736\)\. Choose another one\.$"):
        follow(running)
