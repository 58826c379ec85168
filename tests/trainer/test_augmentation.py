"""The random variants: the paper's Table 1 against Keras itself, and what every policy keeps."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")

from keras.src.legacy.preprocessing import image as keras_legacy
from scipy import ndimage

from trainer.data.augmentation import POLICIES, affine, turn
from trainer.data.painting import HEMATOXYLIN, paint_tissue
from trainer.data.shifts import stained


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    return paint_tissue(np.random.default_rng(3), 40)


def _keras(patch: np.ndarray, **steps: float) -> np.ndarray:
    with warnings.catch_warnings():
        # The legacy code reaches into a namespace of SciPy that is about to go.
        warnings.simplefilter("ignore", DeprecationWarning)
        return keras_legacy.apply_affine_transform(
            patch.astype(np.float32), row_axis=0, col_axis=1, channel_axis=2, **steps
        )


def _ours(patch: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    channels = [
        ndimage.affine_transform(patch[..., c].astype(np.float32), matrix, order=1, mode="nearest")
        for c in range(3)
    ]
    return np.stack(channels, axis=-1)


@pytest.mark.parametrize(
    "steps",
    [
        {"theta": 33.0},
        {"tx": 6.0, "ty": -9.5},
        {"shear": 20.0},
        {"zx": 0.85, "zy": 1.2},
        {"theta": -40.0, "tx": 10.0, "ty": 3.0, "shear": 0.2, "zx": 1.2, "zy": 0.8},
    ],
)
def test_affine_is_that_of_the_keras_generator(tissue: np.ndarray, steps: dict[str, float]) -> None:
    all_steps = {"theta": 0.0, "tx": 0.0, "ty": 0.0, "shear": 0.0, "zx": 1.0, "zy": 1.0} | steps
    matrix = affine(
        all_steps["theta"],
        np.array([all_steps["tx"], all_steps["ty"]]),
        all_steps["shear"],
        np.array([all_steps["zx"], all_steps["zy"]]),
    )
    expected = _keras(tissue[0], **all_steps)
    assert np.abs(expected - tissue[0]).max() > 30
    assert np.abs(_ours(tissue[0], matrix) - expected).max() < 0.01


def test_paper_policy_draws_what_the_keras_generator_draws(tissue: np.ndarray) -> None:
    """Both move a marked pixel over the same area: mean and spread of its position agree."""
    marked = np.zeros((400, 50, 50, 3), np.uint8)
    marked[:, 10:13, 20:23] = 255
    moved = POLICIES["paper"](np.random.default_rng(0), marked, None)
    generator = keras_legacy.ImageDataGenerator(
        rotation_range=40,
        width_shift_range=0.2,
        height_shift_range=0.2,
        shear_range=0.2,
        zoom_range=0.2,
        fill_mode="nearest",
    )
    np.random.seed(0)  # noqa: NPY002 - the legacy generator knows no other
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = np.stack([generator.random_transform(one.astype(np.float32)) for one in marked])

    def positions(images: np.ndarray) -> np.ndarray:
        mass = images[..., 0].astype(float)
        seen = mass.sum((1, 2)) > 0
        yx = np.indices((50, 50)).reshape(2, -1)
        mass = mass[seen].reshape(seen.sum(), -1)
        return (mass @ yx.T) / mass.sum(1, keepdims=True)

    one, other = positions(moved), positions(theirs)
    assert np.abs(one.mean(0) - other.mean(0)).max() < 1.2
    assert np.abs(one.std(0) / other.std(0) - 1).max() < 0.15


def test_same_seed_gives_the_same_variants_and_none_changes_nothing(tissue: np.ndarray) -> None:
    for name, policy in POLICIES.items():
        one, other = (policy(np.random.default_rng(7), tissue, None) for _ in range(2))
        assert one.dtype == np.uint8
        assert np.array_equal(one, other), name
        assert np.array_equal(one, tissue) == (name == "none"), name


def test_given_kinds_are_the_eight_flips_and_turns(tissue: np.ndarray) -> None:
    same = np.repeat(tissue[:1], 8, axis=0)
    turned = turn(np.random.default_rng(0), same, np.arange(8))
    assert len({one.tobytes() for one in turned}) == 8
    assert all(np.array_equal(np.sort(one, axis=None), np.sort(same[0], None)) for one in turned)


def _density(patches: np.ndarray) -> np.ndarray:
    return -np.log((patches.astype(float) + 1) / 256)


def test_light_scales_what_is_left_of_it_and_a_stain_scales_its_own_density() -> None:
    amount = np.linspace(0.1, 0.8, 50 * 50).reshape(1, 50, 50, 1)
    pure = np.rint(256 * np.exp(-amount * HEMATOXYLIN) - 1).astype(np.uint8)
    darker = stained(light=0.88)(pure)
    assert np.abs((darker + 1.0) / (pure + 1.0) - 0.88).max() < 0.02
    assert np.abs(_density(stained(hematoxylin=1.25)(pure)) - 1.25 * _density(pure)).max() < 0.02
    # What is not there cannot be scaled.
    assert np.abs(stained(eosin=1.25)(pure).astype(int) - pure).max() <= 2


def test_blur_lowers_contrast_and_keeps_the_mean(tissue: np.ndarray) -> None:
    blurred = stained(blur=1.0)(tissue).astype(float)
    assert blurred.std(axis=(1, 2)).mean() < 0.95 * tissue.std(axis=(1, 2)).mean()
    assert np.abs(blurred.mean(axis=(1, 2)) - tissue.mean(axis=(1, 2))).max() < 3


def test_wide_variants_reach_far_and_stay_near_as_well(tissue: np.ndarray) -> None:
    same = np.repeat(tissue[:1], 400, axis=0)
    varied = POLICIES["wide"](np.random.default_rng(1), same, np.zeros(400, int))
    change = np.abs(_density(varied).mean(axis=(1, 2)) - _density(same).mean(axis=(1, 2)))
    # Some hardly change, so that the archive's own look is among what is trained on.
    assert np.quantile(change.max(axis=1), 0.1) < 0.1
    assert np.quantile(change.max(axis=1), 0.9) > 0.3
    mild = POLICIES["corrected"](np.random.default_rng(1), same, np.zeros(400, int))
    near = np.abs(_density(mild).mean(axis=(1, 2)) - _density(same).mean(axis=(1, 2)))
    far = (np.quantile(one.max(axis=1), 0.9) for one in (change, near))
    assert next(far) > 1.5 * next(far)
    gray = np.ptp(varied[:, 10:40, 10:40].astype(int), axis=-1).mean(axis=(1, 2))
    assert 0.02 < (gray < 0.2 * np.median(gray)).mean() < 0.3


def test_wide_variants_keep_light_and_dark_apart(tissue: np.ndarray) -> None:
    """Whatever the colour, what was dense stays denser: the answer is in that."""
    varied = POLICIES["wide"](np.random.default_rng(4), tissue, np.zeros(len(tissue), int))
    before, after = (
        _density(one).mean(axis=-1).reshape(len(tissue), -1) for one in (tissue, varied)
    )
    ranks = [np.corrcoef(one, other)[0, 1] for one, other in zip(before, after, strict=True)]
    assert np.median(ranks) > 0.7


def test_wide_variants_of_bare_glass_and_of_black_are_pictures() -> None:
    plain = np.repeat(np.array([0, 255], np.uint8), 20 * 7500).reshape(40, 50, 50, 3)
    varied = POLICIES["wide"](np.random.default_rng(2), plain, None)
    assert varied[20:].mean() > 150 > varied[:20].mean()
