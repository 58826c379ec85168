"""Runs of the command line that many tests look at; each happens once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.contract.expected import Grid, probabilities
from tests.contract.regions import feature_collection
from tests.support import scenes
from tests.support.command import Outcome, read_csv, read_json, run_cli, run_many
from tests.support.models import DEFECTS, Defect, TinyModel, write_tiny_model
from tests.support.scenes import Cell, Scene
from tests.support.slides import damage_tile, write_tiff

Outcomes = dict[str, Outcome]


@dataclass(frozen=True)
class Analysis:
    """One finished ``analyze`` of one slide."""

    outcome: Outcome
    folder: Path
    data_dir: Path
    scene: Scene

    @cached_property
    def patches(self) -> list[dict[str, str]]:
        return read_csv(self.folder / "patches.csv")

    @cached_property
    def regions(self) -> list[dict[str, str]]:
        return read_csv(self.folder / "regions.csv")

    @cached_property
    def provenance(self) -> dict[str, Any]:
        return read_json(self.folder / "provenance.json")

    @cached_property
    def geojson(self) -> dict[str, Any]:
        return read_json(self.folder / "patches.geojson")

    @cached_property
    def grid(self) -> Grid:
        return Grid.of(self.scene.path)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(scope="session")
def regions_file(workspace: Path) -> Path:
    path = workspace / "regions.geojson"
    path.write_text(json.dumps(feature_collection()), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def main_run(
    workspace: Path, tiny_slide: Scene, tiny_model: TinyModel, regions_file: Path
) -> Analysis:
    """The tiny slide with regions, everything else as it comes."""
    out, data = workspace / "main", workspace / "main-data"
    outcome = run_cli(
        "analyze", tiny_slide.path, "--out", out, "--model", tiny_model.path,
        "--regions", regions_file, "--provider", "cpu", "--json", "--no-shield", data_dir=data,
    )  # fmt: skip
    assert outcome.code == 0, outcome
    return Analysis(outcome, out / "tiny", data, tiny_slide)


@pytest.fixture(scope="session")
def tiny_probabilities(tiny_slide: Scene, tiny_model: TinyModel) -> dict[Cell, float]:
    return probabilities(tiny_slide, tiny_model, Grid.of(tiny_slide.path), level=1)


@pytest.fixture(scope="session")
def batch_run(workspace: Path, tiny_model: TinyModel, regions_file: Path) -> dict[str, Analysis]:
    """Slides of many geometries in one command, by stem."""
    folder = workspace / "batch"
    folder.mkdir()
    # Sizes leave at least 40 % of the last row and column on the slide: never a doubtful sliver.
    slides = [
        scenes.write_tiny_slide(folder / "single.tiff", tiny_model, (1,)),
        scenes.write_tissue_slide(folder / "float.tiff", (1080, 760), 2.43),
        scenes.write_tissue_slide(folder / "aniso.tiff", (1100, 750), (2.0, 2.3517), seed=2),
        scenes.write_tissue_slide(
            folder / "fine.tiff", (3008, 2000), 0.499, downsamples=(1, 4, 16), seed=3
        ),
        scenes.write_coded_slide(folder / "levels.tiff", (1536, 1104), 1.998, (1, 2, 4, 8)),
        scenes.write_coded_slide(folder / "nearly.tiff", (720, 500), 2.0125, (1, 4)),
        scenes.write_coded_slide(folder / "beyond.tiff", (720, 500), 2.0375, (1, 4)),
        scenes.write_coded_slide(folder / "coarse.tiff", (165, 115), 9.0, (1,), spread=0),
        scenes.write_gappy_slide(folder / "gaps.svs"),
        scenes.write_glass_slide(folder / "glass.tiff"),
    ]
    out, data = workspace / "batch-out", workspace / "batch-data"
    outcome = run_cli(
        "analyze", "--no-shield", *(slide.path for slide in slides), "--out", out,
        "--model", tiny_model.path, "--regions", regions_file, "--regions-for-all",
        "--provider", "cpu", "--json",
        data_dir=data,
    )  # fmt: skip
    assert outcome.code == 0, outcome
    return {
        slide.path.stem: Analysis(outcome, out / slide.path.stem, data, slide) for slide in slides
    }


@pytest.fixture(scope="session")
def invalid_run(workspace: Path) -> tuple[Analysis, TinyModel, Cell]:
    """A slide with one patch for which the model answers NaN."""
    folder = workspace / "invalid"
    folder.mkdir()
    model = write_tiny_model(folder / "nan.onnx", nan_color=scenes.INVALID_COLOR)
    scene, cell = scenes.write_invalid_slide(folder / "invalid.tiff", model)
    outcome = run_cli(
        "analyze", "--no-shield", scene.path, folder / "missing.tiff", "--out", folder / "out",
        "--model", model.path, "--provider", "cpu", "--json", data_dir=folder / "data",
    )  # fmt: skip
    return Analysis(outcome, folder / "out" / "invalid", folder / "data", scene), model, cell


@pytest.fixture(scope="session")
def damaged_run(workspace: Path, tiny_model: TinyModel) -> tuple[Analysis, dict[Cell, float]]:
    """A slide with one broken tile in the level that is analyzed, and what it was before."""
    folder = workspace / "damaged"
    folder.mkdir()
    scene = scenes.write_tissue_slide(
        folder / "damaged.tiff", (1600, 1280), 2.0, downsamples=(1, 4, 16), tile=64, seed=5
    )
    sound = probabilities(scene, tiny_model, Grid.of(scene.path), level=1)
    assert damage_tile(scene.path, 1, 2, 2) == (128, 128, 192, 192)
    outcome = run_cli(
        "analyze", "--no-shield", scene.path, "--out", folder / "out", "--model", tiny_model.path,
        "--provider", "cpu", "--json", data_dir=folder / "data",
    )  # fmt: skip
    return Analysis(outcome, folder / "out" / "damaged", folder / "data", scene), sound


@pytest.fixture(scope="session")
def model_verdicts(workspace: Path) -> dict[Defect | None, tuple[Outcome, TinyModel]]:
    """What ``models verify`` says of a sound model (None) and of every broken one."""
    folder = workspace / "defects"
    folder.mkdir()
    models: dict[Defect | None, TinyModel] = {None: write_tiny_model(folder / "sound.onnx")}
    for defect in DEFECTS:
        models[defect] = write_tiny_model(folder / f"{defect}.onnx", defect=defect)
    commands = [("models", "verify", model.path) for model in models.values()]
    outcomes = run_many(commands, folder / "data")
    return {
        defect: (outcome, model)
        for (defect, model), outcome in zip(models.items(), outcomes, strict=True)
    }


@pytest.fixture(scope="session")
def refusals(workspace: Path, tiny_slide: Scene, tiny_model: TinyModel) -> Outcomes:
    """Commands that must be refused before any work, by what is wrong with them."""
    folder = workspace / "refusals"
    folder.mkdir()
    out, slide, model = folder / "out", tiny_slide.path, tiny_model.path
    pixels = tiny_slide.levels[0]
    for name, mpp in (("unscaled", None), ("nonsense", 0.005), ("overview", 29.0), ("far", 150.0)):
        write_tiff(folder / f"{name}.tiff", pixels, mpp=mpp)
    (folder / "rubbish.tiff").write_bytes(b"no slide at all" * 100)
    (folder / "empty.svs").write_bytes(b"")
    (folder / "folder.svs").mkdir()
    (folder / "cut.tiff").write_bytes(slide.read_bytes()[:3000])
    (folder / "rubbish.geojson").write_text("{", encoding="utf-8")
    (folder / "other.geojson").write_text('{"type": "Topology"}', encoding="utf-8")
    (folder / "open-ring.geojson").write_text(_OPEN_RING, encoding="utf-8")
    (folder / "blocked").write_text("in the way", encoding="utf-8")
    (folder / "half").mkdir()
    (folder / "half" / "tiny").write_text("in the way", encoding="utf-8")
    (folder / "twin").mkdir()
    twin = folder / "twin" / "tiny.svs"
    twin.symlink_to(slide)

    def analyze(*rest: object, slide: Path = slide, model: object = model) -> tuple[object, ...]:
        return ("analyze", slide, "--out", out, "--model", model, *rest)

    commands: dict[str, tuple[object, ...]] = {
        "missing": analyze(slide=folder / "missing.tiff"),
        "unscaled": analyze(slide=folder / "unscaled.tiff"),
        "nonsense": analyze(slide=folder / "nonsense.tiff"),
        "overview": analyze(slide=folder / "overview.tiff"),
        "far": analyze(slide=folder / "far.tiff"),
        "rubbish": analyze(slide=folder / "rubbish.tiff"),
        "empty": analyze(slide=folder / "empty.svs"),
        "folder": analyze(slide=folder / "folder.svs"),
        "cut": analyze(slide=folder / "cut.tiff"),
        "info missing": ("info", folder / "missing.tiff"),
        "info rubbish": ("info", folder / "rubbish.tiff"),
        "model missing": analyze(model=folder / "missing.onnx"),
        "model unknown": analyze(model="no-such-model"),
        "model not onnx": analyze(model=slide),
        "context": analyze("--map", "context"),
        "regions missing": analyze("--regions", folder / "missing.geojson"),
        "regions rubbish": analyze("--regions", folder / "rubbish.geojson"),
        "regions other": analyze("--regions", folder / "other.geojson"),
        "regions open ring": analyze("--regions", folder / "open-ring.geojson"),
        "out blocked": ("analyze", slide, "--out", folder / "blocked", "--model", model),
        "half blocked": ("analyze", slide, "--out", folder / "half", "--model", model),
        "verify nothing": ("verify", folder / "missing"),
        "mpp zero": analyze("--mpp", "0"),
        "mpp endless": analyze("--mpp", "inf"),
        "mpp coarse": analyze("--mpp", "12"),
        "unknown command": ("frobnicate",),
        "unknown option": analyze("--frobnicate"),
        "no out": ("analyze", slide, "--model", model),
        "no slide": ("analyze", "--out", out),
        "threshold text": analyze("--threshold", "half"),
        "threshold high": analyze("--threshold", "1.5"),
        "threshold nan": analyze("--threshold", "nan"),
        "provider": analyze("--provider", "abacus"),
        "map": analyze("--map", "treasure"),
        "threads": analyze("--threads", "0"),
        "mpp text": analyze("--mpp", "eight"),
        "twins": ("analyze", slide, twin, "--out", folder / "twins-out", "--model", model),
    }
    outcomes = run_many(commands.values(), folder / "data")
    return dict(zip(commands, outcomes, strict=True))


_OPEN_RING = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"objectType": "annotation", "name": "open"},
                "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [9, 0]]]},
            }
        ],
    }
)
