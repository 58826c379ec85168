"""The cache of a frozen network's output."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.errors import OutputError
from trainer.data.painting import paint_tissue
from trainer.errors import RunError
from trainer.training import caching
from trainer.training.caching import CHUNK, Features, Frozen, PatchSet, cached

PATCHES = paint_tissue(np.random.default_rng(2), CHUNK + 20)


class Counting:
    """A frozen network that counts what it is run on: the mean colour, times a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.seen = 0
        self.stop_after = 10**9

    def __call__(self, patches: np.ndarray) -> np.ndarray:
        self.seen += len(patches)
        if self.seen > self.stop_after:
            raise KeyboardInterrupt
        return patches.mean((1, 2), dtype=np.float32) * self.factor


def _vary(variant: int, ids: np.ndarray, patches: np.ndarray) -> np.ndarray:
    return np.minimum(patches, 255 - 10 * variant)


def _run(
    counting: Counting, folder: Path, variants: int = 3, patches: np.ndarray = PATCHES
) -> list[Features]:
    known = PatchSet(lambda rows: patches[rows], len(patches))
    return cached(Frozen(counting, (3,), "mean"), known, variants, _vary, folder)


def _check(found: list[Features], patches: np.ndarray) -> None:
    backwards = np.arange(len(patches))[::-1]
    for variant, features in enumerate(found):
        assert features[backwards].dtype == np.float16
        expected = _vary(variant, np.arange(0), patches).mean((1, 2))[::-1]
        assert np.allclose(features[backwards], expected, rtol=1e-3)


def test_output_is_what_the_network_says_and_is_computed_once(tmp_path: Path) -> None:
    counting = Counting()
    _check(_run(counting, tmp_path), PATCHES)
    assert counting.seen == 3 * len(PATCHES)
    _check(_run(counting, tmp_path), PATCHES)
    assert counting.seen == 3 * len(PATCHES)


def test_sets_that_share_patches_share_their_output(tmp_path: Path) -> None:
    counting = Counting()
    _run(counting, tmp_path, patches=PATCHES[:90])
    # The other half of it, some of it twice, and in another order.
    others = np.concatenate([PATCHES[60:], PATCHES[100:110]])[::-1]
    _check(_run(counting, tmp_path, patches=others), others)
    assert counting.seen == 3 * len(PATCHES)
    _check(_run(counting, tmp_path), PATCHES)
    assert counting.seen == 3 * len(PATCHES)


def test_another_network_shape_or_variation_gets_files_of_its_own(tmp_path: Path) -> None:
    known = PatchSet(lambda rows: PATCHES[rows], 5)
    counting = Counting()
    for frozen, vary in (
        (Frozen(counting, (3,), "a"), _vary),
        (Frozen(counting, (3,), "b"), _vary),
        (Frozen(counting, (3,), "a"), lambda variant, ids, patches: patches // 2),
        (Frozen(lambda patches: counting(patches)[:, :2], (2,), "a"), _vary),
    ):
        cached(frozen, known, 1, vary, tmp_path)
    assert counting.seen == 4 * 5


def test_interrupted_cache_goes_on_with_the_first_missing_file(tmp_path: Path) -> None:
    counting = Counting()
    counting.stop_after = len(PATCHES) + 1
    with pytest.raises(KeyboardInterrupt):
        _run(counting, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    counting.seen, counting.stop_after = 0, 10**9
    _run(counting, tmp_path)
    assert counting.seen == 2 * len(PATCHES)


def test_too_little_space_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(caching.shutil, "disk_usage", lambda folder: little)
    with pytest.raises(OutputError, match="--cache"):
        _run(Counting(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_values_beyond_float16_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="float16"):
        _run(Counting(1e6), tmp_path)
    assert not list(tmp_path.iterdir())
    _run(Counting(), tmp_path)
    damaged = sorted(tmp_path.iterdir())[1]
    damaged.write_bytes(damaged.read_bytes()[:200])
    with pytest.raises(RunError, match="damaged"):
        _run(Counting(), tmp_path)
