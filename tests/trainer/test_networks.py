"""The networks, where their weights come from, and the recipes that set them up."""

from __future__ import annotations

import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")

import keras

from idc_desktop.errors import UsageError
from trainer.data.painting import paint_tissue
from trainer.errors import RunError
from trainer.networks.building import Weights, _evened, build, digest, read_imagenet
from trainer.release.onnx_file import convert, open_session, predict_logits, run_session
from trainer.scoring.calibration import Platt
from trainer.settings import ASSUMPTIONS, NETWORK_NAMES, RECIPES, recipe_settings


@pytest.fixture
def imagenet(narrow_vgg: Path) -> Weights:
    return read_imagenet(narrow_vgg)


@pytest.fixture(scope="module")
def patches() -> np.ndarray:
    return paint_tissue(np.random.default_rng(1), 3)


@pytest.mark.parametrize(("recipe", "name"), sorted(RECIPES))
def test_every_recipe_builds_a_network_of_raw_pixels_to_one_logit(
    recipe: str, name: str, imagenet: Weights, patches: np.ndarray
) -> None:
    settings = recipe_settings(recipe, name)
    network = build(settings, imagenet)
    logit = network.whole(patches).numpy()
    assert logit.shape == (3, 1)
    if network.frozen is not None:
        assert not network.frozen.trainable_variables
        features = network.frozen(patches)
        assert np.allclose(network.trained(features), logit, atol=1e-4)
    tuned = {layer.split("_")[0] for layer in network.pretrained}
    assert tuned == ({"block4", "block5"} if name == "vgg16-finetuned" else set())
    again = build(settings, imagenet)
    pairs = zip(network.whole.weights, again.whole.weights, strict=True)
    assert all(np.array_equal(one.numpy(), other.numpy()) for one, other in pairs)


def test_corrected_vgg_sees_pixels_scaled_as_it_was_trained(
    vgg_weights: Path, patches: np.ndarray
) -> None:
    network = build(recipe_settings("corrected", "vgg16-finetuned"), read_imagenet(vgg_weights))
    vgg = keras.applications.VGG16(include_top=False, weights=vgg_weights, input_shape=(50, 50, 3))
    third = keras.Model(vgg.input, vgg.get_layer("block3_pool").output)
    expected = third(keras.applications.vgg16.preprocess_input(patches.astype(np.float32)))
    assert np.allclose(network.frozen(patches), expected, rtol=1e-4, atol=1e-3)


def test_statistics_are_computed_in_full_precision_whatever_the_rest_is(
    imagenet: Weights, patches: np.ndarray
) -> None:
    settings = recipe_settings("corrected", "vgg16-features")
    network = build(settings, imagenet, precision="mixed_bfloat16")
    assert network.frozen.output.dtype == "float32"
    found = network.frozen(patches).numpy()
    assert not np.array_equal(found, found.astype(ml_dtypes.bfloat16).astype(np.float32))


def test_paper_networks_have_the_stated_layers() -> None:
    baseline, features, finetuned = (
        build(recipe_settings("paper", name)).trained for name in NETWORK_NAMES[:3]
    )
    convolutions = [one for one in baseline.layers if isinstance(one, keras.layers.Conv2D)]
    assert [one.filters for one in convolutions] == [32, 64, 128, 128]
    for model in (features, finetuned):
        dense = [one.units for one in model.layers if isinstance(one, keras.layers.Dense)]
        assert dense == [512, 2]
    # The head that the reference counts: 512 * 512 + 512 + 512 * 2 + 2.
    assert features.count_params() == 263_682
    settings = recipe_settings("paper", "vgg16-features")
    assert (settings.epochs, settings.batch, settings.learning_rate) == (50, 32, 1e-3)
    assert (settings.beta_2, settings.weight_decay, settings.plain) == (0.99, 0, True)
    assert all(ASSUMPTIONS[name] for name in NETWORK_NAMES[:3])


def test_weights_of_another_kind_are_refused(tmp_path: Path, vgg_weights: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        read_imagenet(tmp_path / "none.weights.h5")
    damaged = tmp_path / "damaged.weights.h5"
    damaged.write_bytes(vgg_weights.read_bytes()[:100_000])
    with pytest.raises(RunError, match="--weights"):
        read_imagenet(damaged)
    other = tmp_path / "other.weights.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(other)
    with pytest.raises(RunError, match="--weights"):
        read_imagenet(other)


def test_digest_tells_weights_apart(imagenet: Weights) -> None:
    kernel, bias = imagenet["block1_conv1"]
    changed = imagenet | {"block1_conv1": [kernel, bias + 1]}
    assert digest(imagenet) == digest(dict(reversed(imagenet.items())))
    assert digest(imagenet) != digest(changed)


def test_settings_that_do_not_fit_the_network_are_refused() -> None:
    with pytest.raises(UsageError, match="--recipe"):
        recipe_settings("best", "baseline")
    with pytest.raises(UsageError, match="--network"):
        recipe_settings("paper", "resnet")
    with pytest.raises(UsageError, match="--variants"):
        recipe_settings("corrected", "baseline", variants=3)
    with pytest.raises(UsageError, match="--pretrained-rate"):
        recipe_settings("corrected", "vgg16-features", pretrained_rate=1e-4)
    with pytest.raises(UsageError, match="at least 1"):
        recipe_settings("corrected", "vgg16-features", variants=0)
    for name in ("learning_rate", "weight_decay", "painted", "balance", "mixup", "clipnorm"):
        for value in (float("nan"), float("inf"), float("-inf"), 1e300):
            with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must be at"):
                recipe_settings("corrected", "baseline", **{name: value})
    with pytest.raises(UsageError, match="--beta-2 must be at most"):
        recipe_settings("corrected", "baseline", beta_2=1.0)
    with pytest.raises(UsageError, match="--seed"):
        recipe_settings("corrected", "baseline", seed=2**32)
    assert recipe_settings("corrected", "baseline", epochs=None) == RECIPES["corrected", "baseline"]


def test_recorded_settings_leave_out_what_a_network_does_not_use() -> None:
    assert list(recipe_settings("corrected", "baseline").recorded()) == [
        *("network", "recipe", "augmentation", "epochs", "batch", "learning_rate"),
        *("weight_decay", "taken", "patience", "painted", "balance", "seed"),
    ]


def test_evened_density_is_blind_to_light_and_to_the_amount_of_stain() -> None:
    patches = paint_tissue(np.random.default_rng(3), 4)
    density = -np.log((patches.astype(np.float32) + 1) / 256)
    # Well stained: far above the floor that keeps the noise of bare glass small.
    density *= 0.4 / density.std(axis=(1, 2), keepdims=True)
    given = keras.Input((50, 50, 3))
    evened = keras.Model(given, _evened(given))
    lamp = np.array([0.1, 0.2, 0.35], np.float32)
    plain, changed = (evened(one).numpy() for one in (density, 1.7 * density + lamp))
    assert plain.std() == pytest.approx(1, abs=0.02)
    assert np.abs(changed - plain).max() < 0.05


def test_patches_of_one_colour_give_finite_and_equal_answers_in_file_and_network() -> None:
    model = build(recipe_settings("corrected", "baseline")).whole
    levels = np.array([0, 1, 128, 254, 255], np.uint8)
    plain = np.repeat(levels, 7500).reshape(-1, 50, 50, 3)
    found = predict_logits(model, plain)
    assert np.isfinite(found).all()
    session = open_session(convert(model, Platt(1, 0)).content())
    assert np.abs(run_session(session, plain)[1] - found).max() < 1e-5
