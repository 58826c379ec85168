"""A network for patches of another size and resolution, from a manifest to the application."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from idc_desktop.models.patch_size import PatchSize
from tests.support.command import read_csv, run_cli
from tests.support.scenes import write_tissue_slide
from trainer.data.painting import paint_background, paint_tissue

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")

from trainer.cli import main
from trainer.release import golden, steps

PATCH = PatchSize(96, 4.0)
CASES, EACH = 10, 6


@pytest.fixture
def store(tmp_path: Path) -> Path:
    rng = np.random.default_rng(6)
    rows = []
    for label, paint in ((0, paint_background), (1, paint_tissue)):
        for number, pixels in enumerate(paint(rng, CASES * EACH, PATCH)):
            name = f"{label}_{number}.png"
            Image.fromarray(pixels).save(tmp_path / name)
            rows.append((name, label, number % CASES))
    with (tmp_path / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("file", "label", "case"), *rows])
    size = ["--size", "96", "--spacing", "4"]
    assert main(["prepare", str(tmp_path), "--out", str(tmp_path / "store"), *size]) == 0
    return tmp_path / "store"


@pytest.mark.long
@pytest.mark.timeout(900)
def test_network_of_96_px_at_4_um_runs_in_the_application(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "FEWEST", 10)
    monkeypatch.setattr(golden, "CANDIDATES", 100)
    run, model = tmp_path / "run", tmp_path / "wide.onnx"
    data = ["--data", str(store), "--split", "grouped-kfold"]
    assert main(["train", *data, "--out", str(run), "--epochs", "1", "--batch", "16"]) == 0
    assert main(["export", str(run), "--out", str(model), "--name", "wide"]) == 0
    scene = write_tissue_slide(tmp_path / "slide.tiff", (1000, 600), 2.0)

    verified = run_cli("models", "verify", model, data_dir=tmp_path / "data")
    outcome = run_cli(
        *("analyze", scene.path, "--model", model, "--out", tmp_path / "out"),
        data_dir=tmp_path / "data",
    )

    assert verified.code == 0, verified
    assert outcome.code == 0, outcome
    patches = read_csv(tmp_path / "out" / "slide" / "patches.csv")
    assert {int(it["width"]) for it in patches} == {192, 40}
    (whole,) = read_csv(tmp_path / "out" / "slide" / "regions.csv")
    assert float(whole["Area µm^2"]) == 1000 * 600 * 4
    assert len(patches) == 23  # a corner of 3 % is background
