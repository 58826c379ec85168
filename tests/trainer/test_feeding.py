"""What batches are made of."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.training.feeding import mixed


@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
def test_mixed_example_has_the_loss_of_both_its_labels(dtype: type[np.generic]) -> None:
    count = 64
    # Each input says which example it is, so that shares and partners can be read off.
    inputs = np.zeros((count, count, 1), dtype)
    inputs[np.arange(count), np.arange(count)] = 200
    label = (np.arange(count) % 3 == 0).astype(np.float32)
    weight = np.linspace(0, 2, count, dtype=np.float32)
    found, soft, heavy = mixed(np.random.default_rng(4), (inputs, label, weight), 0.4)
    assert found.dtype == dtype
    share = found[..., 0].astype(np.float64) / 200
    assert np.allclose(share.sum(1), 1, atol=0.01)
    assert np.allclose(heavy, share @ weight, atol=0.02)
    logit = np.linspace(-3, 3, count)
    loss = [np.logaddexp(0, logit), np.logaddexp(0, -logit)]
    expected = share @ (weight * (1 - label)) * loss[0] + share @ (weight * label) * loss[1]
    assert np.allclose(heavy * ((1 - soft) * loss[0] + soft * loss[1]), expected, atol=0.05)
    assert np.mean(share.max(1) < 0.95) > 0.1, "something was mixed"


def test_same_randomness_mixes_the_same() -> None:
    batch = (np.arange(8, dtype=np.uint8), np.ones(8, np.float32), np.ones(8, np.float32))
    first, second = (mixed(np.random.default_rng(1), batch, 1.0)[0] for _ in range(2))
    assert np.array_equal(first, second)
