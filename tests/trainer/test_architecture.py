"""Networks layer by layer, and their pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")

from trainer.networks.building import build
from trainer.settings import RECIPE_NAMES, recipe_settings
from trainer.training.architecture import FROZEN, NEW, PRETRAINED, draw_architectures, stages
from trainer.training.figures import Stage, draw_architecture


def test_baseline_of_the_paper_is_told_layer_by_layer() -> None:
    found = stages(build(recipe_settings("paper", "baseline")))
    convolutions = [one for one in found if one.kind == "conv 3x3"]
    assert [one.shape for one in convolutions] == [
        *((50, 50, 32), (25, 25, 64), (12, 12, 128), (6, 6, 128)),
    ]
    assert convolutions[0].parameters == 3 * 3 * 3 * 32 + 32
    pools = [one for one in found if one.kind == "max pool"]
    assert [one.then for one in pools] == [
        *(("dropout 0.25",), ("dropout 0.25",), ("dropout 0.25",), ("dropout 0.5",)),
    ]
    assert found[-1] == Stage("dense", (2,), 3 * 3 * 128 * 2 + 2, NEW)


@pytest.mark.usefixtures("narrow_vgg")
@pytest.mark.parametrize("recipe", RECIPE_NAMES)
def test_stages_hold_every_weight_and_say_what_becomes_of_it(recipe: str) -> None:
    for name in ("baseline", "vgg16-features", "vgg16-finetuned"):
        network = build(recipe_settings(recipe, name))
        found = stages(network)
        assert sum(one.parameters for one in found) == network.whole.count_params()
        states = {one.state for one in found if one.kind == "conv 3x3"}
        assert (
            states
            == {
                "baseline": {NEW},
                "vgg16-features": {FROZEN},
                "vgg16-finetuned": {FROZEN, PRETRAINED},
            }[name]
        )


@pytest.mark.usefixtures("narrow_vgg")
def test_each_network_of_each_recipe_is_drawn(tmp_path: Path) -> None:
    paths = draw_architectures(tmp_path / "architectures")
    assert len(paths) == len({path.read_bytes() for path in paths}) == 3 * len(RECIPE_NAMES)
    for path in paths:
        with Image.open(path) as image:
            assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_picture_grows_with_the_number_of_layers(tmp_path: Path) -> None:
    one = Stage("conv 3x3", (50, 50, 32), 896, FROZEN, ("batch norm",))
    for count in (2, 6):
        draw_architecture([one] * count, "network", tmp_path / f"{count}.png")
    with Image.open(tmp_path / "2.png") as few, Image.open(tmp_path / "6.png") as many:
        assert few.height == many.height
        assert few.width < many.width
