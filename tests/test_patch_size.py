"""Models of other patch sizes and resolutions than ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from idc_desktop.analysis.tiling import PatchReader
from idc_desktop.errors import ModelError, SlideError
from idc_desktop.maps.tissue import TissueSettings
from idc_desktop.models.model_file import read_model
from idc_desktop.models.patch_size import PatchSize
from idc_desktop.slides.reader import Slide
from tests.support.command import read_csv, read_json, run_cli
from tests.support.models import write_tiny_model
from tests.support.scenes import write_tissue_slide

MPP = 2.0
SIZE = (1000, 600)  # 5.2 x 3.1 patches of 384 µm


def test_areas_are_those_of_the_patches_that_the_model_sees(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "wide.onnx", side_px=96, spacing_um_px=4.0)
    scene = write_tissue_slide(tmp_path / "slide.tiff", SIZE, MPP, downsamples=(1, 2))

    outcome = run_cli(
        *("analyze", scene.path, "--model", model.path, "--out", tmp_path / "out"),
        "--no-shield",
        data_dir=tmp_path / "data",
    )

    assert outcome.code == 0, outcome
    folder = tmp_path / "out" / "slide"
    patches = read_csv(folder / "patches.csv")
    assert {(int(it["row"]), int(it["col"])) for it in patches} == {*np.ndindex(4, 6)} - {
        (3, 5)
    }  # a corner that covers 3 % of its cell
    assert [int(it["width"]) for it in patches[:6]] == [192] * 5 + [40]
    (whole,) = read_csv(folder / "regions.csv")
    assert float(whole["Area µm^2"]) == 1000 * 600 * MPP**2
    positive = sum(
        int(it["width"]) * int(it["height"]) * MPP**2
        for it in patches
        if float(it["prob_IDC"]) >= model.threshold
    )
    assert float(whole["IDC area µm^2"]) == pytest.approx(positive, rel=1e-9)
    fine = scene.levels[1][:288, :480].reshape(3, 96, 5, 96, 3).swapaxes(1, 2)
    expected = model.probability(fine.reshape(-1, 96, 96, 3)).reshape(3, 5)
    found = {(int(it["row"]), int(it["col"])): float(it["prob_IDC"]) for it in patches}
    assert [found[cell] for cell in np.ndindex(3, 5)] == pytest.approx(expected.ravel(), abs=1e-6)
    provenance = read_json(folder / "provenance.json")
    assert (provenance["grid"]["step_x_l0"], provenance["model"]["spacing_um_px"]) == (192.0, 4.0)


@pytest.mark.parametrize(("side_px", "spacing_um_px"), [(32, 2.0), (512, 2.0), (64, 16.0)])
def test_model_whose_patches_are_too_small_or_too_large_is_refused(
    tmp_path: Path, side_px: int, spacing_um_px: float
) -> None:
    model = write_tiny_model(tmp_path / "m.onnx", side_px=side_px, spacing_um_px=spacing_um_px)

    with pytest.raises(ModelError, match="not within 100 to 1000 µm"):
        read_model(model.path)


@pytest.mark.parametrize(("side_px", "spacing_um_px"), [(32, 4.0), (512, 0.25), (62, 16.0)])
def test_smallest_and_largest_patches_are_taken(
    tmp_path: Path, side_px: int, spacing_um_px: float
) -> None:
    model = write_tiny_model(tmp_path / "m.onnx", side_px=side_px, spacing_um_px=spacing_um_px)

    assert read_model(model.path).card.patch == PatchSize(side_px, spacing_um_px)


@pytest.mark.parametrize("side_px", [33, 64, 96])
def test_tissue_is_told_where_mask_pixels_are_no_whole_pixels(tmp_path: Path, side_px: int) -> None:
    scene = write_tissue_slide(tmp_path / "slide.tiff", SIZE, MPP)

    with Slide(scene.path) as slide:
        reader = PatchReader(slide, PatchSize(side_px, 4.0), TissueSettings())
        tissue, patches = reader.read(next(reader.blocks()))

    whole = np.ravel_multi_index(np.indices((2, 2)), (reader.grid.rows, reader.grid.cols))
    assert tissue[whole].all()
    assert patches.shape[1:] == (side_px, side_px, 3)


def test_grid_of_too_many_patches_is_refused(tmp_path: Path) -> None:
    scene = write_tissue_slide(tmp_path / "slide.tiff", (2000, 1200), 15.0)

    with (
        Slide(scene.path, 99.0) as slide,
        pytest.raises(SlideError, match="1,161 x 1,934 patches"),
    ):
        PatchReader(slide, PatchSize(64, 1.6), TissueSettings())
