"""Model files: design §4. What breaks the contract is refused when it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.conftest import Analysis
from tests.support.command import Outcome, run_cli
from tests.support.models import DEFECTS, Defect, TinyModel, write_tiny_model

Verdicts = dict[Defect | None, tuple[Outcome, TinyModel]]


def test_sound_model_is_accepted(model_verdicts: Verdicts) -> None:
    outcome, model = model_verdicts[None]

    assert outcome.code == 0, outcome
    assert model.sha256 in outcome.stdout


@pytest.mark.parametrize("defect", DEFECTS)
def test_broken_model_is_refused_in_one_line(model_verdicts: Verdicts, defect: Defect) -> None:
    outcome, model = model_verdicts[defect]

    assert outcome.code == 3, outcome
    assert len(outcome.error_lines) == 1, outcome
    assert model.path.name in outcome.error_lines[0]


def test_golden_difference_is_told(model_verdicts: Verdicts) -> None:
    outcome, _ = model_verdicts["golden-value"]

    assert "0.01" in outcome.stderr


def test_golden_difference_within_1e_3_is_accepted(tmp_path: Path, data_dir: Path) -> None:
    model = write_tiny_model(tmp_path / "near.onnx", golden_shift=9e-4)

    outcome = run_cli("models", "verify", model.path, data_dir=data_dir)

    assert outcome.code == 0, outcome


def test_analysis_with_a_broken_model_writes_nothing(
    tmp_path: Path, data_dir: Path, main_run: Analysis
) -> None:
    model = write_tiny_model(tmp_path / "broken.onnx", defect="golden-value")

    outcome = run_cli(
        "analyze", "--no-shield", main_run.scene.path, "--out", tmp_path / "out",
        "--model", model.path, data_dir=data_dir,
    )  # fmt: skip

    assert outcome.code == 3, outcome
    assert "broken.onnx" in outcome.error_lines[-1]
    assert not list(tmp_path.glob("out/*/*"))
