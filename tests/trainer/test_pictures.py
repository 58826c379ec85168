"""Augmentation and painting: what may change in a patch, and what may not."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.data.augmentation import POLICIES, corrected, turn
from trainer.data.painting import paint_background, paint_tissue


def test_turns_are_the_eight_symmetries() -> None:
    patch = np.random.default_rng(0).integers(0, 256, (50, 50, 3)).astype(np.uint8)
    turned = turn(np.random.default_rng(1), np.stack([patch] * 200))
    flips = [np.rot90(one, k) for one in (patch, patch[:, ::-1]) for k in range(4)]
    assert len({one.tobytes() for one in turned}) == 8
    assert {one.tobytes() for one in turned} == {one.tobytes() for one in flips}


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_variants_repeat_with_the_seed_and_leave_the_input_alone(policy: str) -> None:
    patches = paint_tissue(np.random.default_rng(0), 40)
    before = patches.copy()
    one, two = (POLICIES[policy](np.random.default_rng(7), patches) for _ in range(2))
    assert np.array_equal(one, two)
    assert np.array_equal(patches, before)
    assert one.shape == patches.shape
    assert one.dtype == np.uint8


def test_jitter_stays_moderate_and_white_stays_light() -> None:
    rng = np.random.default_rng(0)
    patches = paint_tissue(rng, 200)
    change = corrected(rng, patches).mean((1, 2)) - patches.mean((1, 2))
    assert np.abs(change).max() < 80
    assert corrected(rng, np.full((50, 50, 50, 3), 255, np.uint8)).min() > 190


@pytest.mark.parametrize("paint", [paint_background, paint_tissue])
def test_painting_repeats_with_the_seed_and_varies_within_it(paint: object) -> None:
    assert callable(paint)
    one, two = (paint(np.random.default_rng(3), 30) for _ in range(2))
    assert np.array_equal(one, two)
    assert one.shape == (30, 50, 50, 3)
    assert len({patch.tobytes() for patch in one}) == 30
