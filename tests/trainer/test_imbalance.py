"""Oversampling, against imbalanced-learn itself, and where it may reach."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.errors import UsageError
from tests.trainer.conftest import SmallData
from trainer.data.dataset import PatchStore, load_store
from trainer.data.preparing import prepare
from trainer.errors import DataError
from trainer.settings import IMBALANCES

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")
from imblearn.over_sampling import SMOTE

from trainer.data.imbalance import oversample, recipes, smote
from trainer.data.splits import LEAKY
from trainer.data.weighting import loss_weights
from trainer.settings import Settings
from trainer.training.runs import Run, Sources, load_data, load_run


@pytest.fixture(scope="module")
def sources(small_data: SmallData, tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """The small data without every second positive patch."""
    root = tmp_path_factory.mktemp("uneven")
    shutil.copytree(small_data.patches, root / "patches")
    for path in sorted((root / "patches").glob("*/1/*.png"))[::2]:
        path.unlink()
    prepare(root / "patches", root / "store")
    return Sources(root / "store", small_data.splits, small_data.counts)


@pytest.fixture(scope="module")
def uneven(sources: Sources) -> PatchStore:
    return load_store(sources.store)


@pytest.mark.parametrize("rare", [0, 1])
def test_recipes_are_what_imbalanced_learn_makes_of_float_data(rare: int) -> None:
    rng = np.random.default_rng(0)
    label = rng.permutation(np.repeat([1 - rare, rare], [150, 60])).astype(np.uint8)
    points = rng.normal(size=(210, 7))
    expected, made_label = SMOTE(random_state=4).fit_resample(points, label)
    near, far, share = recipes(label, points[label == rare], seed=4)
    assert (label[near] == rare).all()
    assert (label[far] == rare).all()
    assert (made_label[210:] == rare).all()
    assert 0 <= share.min() <= share.max() <= 0.5
    mixed = points[near] + share[:, None] * (points[far] - points[near])
    assert np.allclose(mixed, expected[210:], atol=1e-12)


def test_synthetic_patches_are_those_of_imbalanced_learn_on_float_pixels(
    uneven: PatchStore,
) -> None:
    label = uneven.index.label
    pixels = uneven.read(np.arange(len(label))).reshape(len(label), -1).astype(np.float32)
    expected, _ = SMOTE(random_state=2).fit_resample(pixels, label)
    # With as many components as there are patches the distances are those of the pixels.
    grown = smote(uneven, seed=2, components=int((label == 1).sum())).store
    found = grown.read(np.arange(len(grown.index))).reshape(len(expected), -1)
    assert np.bincount(grown.index.label).tolist() == [(label == 0).sum()] * 2
    assert np.abs(found - expected).max() <= 0.5 + 1e-3


def test_synthetic_pixels_lie_between_those_of_their_parents(uneven: PatchStore) -> None:
    grown = smote(uneven, seed=1)
    made = np.arange(len(uneven.index), len(grown.store.index))
    one = grown.store.pixels[grown.store.rows[made]]
    other = grown.store.pixels[grown.store.blend.partner[made]]
    found = grown.store.read(made)
    assert (found >= np.minimum(one, other)).all()
    assert (found <= np.maximum(one, other)).all()
    # All but the few whose share of the other one is next to nothing.
    assert (found != one).any(axis=(1, 2, 3)).mean() > 0.9
    real = np.arange(len(uneven.index))
    assert np.array_equal(uneven.read(real), grown.store.read(real))


def test_part_of_a_grown_store_reads_the_same(uneven: PatchStore) -> None:
    grown = smote(uneven, seed=1).store
    which = np.random.default_rng(0).permutation(len(grown.index))[:50]
    assert np.array_equal(grown.take(which).read(np.arange(50)), grown.read(which))
    assert np.array_equal(np.concatenate(list(grown.take(which).batches(7))), grown.read(which))


def test_oversampling_repeats_real_patches(uneven: PatchStore) -> None:
    grown = oversample(uneven, seed=1)
    assert len(set(np.bincount(grown.store.index.label).tolist())) == 1
    assert set(grown.store.rows.tolist()) == set(uneven.rows.tolist())
    assert np.array_equal(grown.store.index.sha256, uneven.index.sha256[grown.origin])


def test_too_few_patches_for_neighbours_are_refused(uneven: PatchStore) -> None:
    label = uneven.index.label
    few = np.concatenate([np.flatnonzero(label == 0), np.flatnonzero(label == 1)[:5]])
    with pytest.raises(DataError, match="there are 5"):
        smote(uneven.take(few), seed=1)


def test_smote_in_training_leaves_the_other_parts_alone(sources: Sources) -> None:
    plain = load_data(sources)
    for imbalance in ("smote", "oversample"):
        grown = load_data(replace(sources, imbalance=imbalance))
        assert len(grown.train.store.index) > len(plain.train.store.index)
        assert len(set(np.bincount(grown.train.store.index.label).tolist())) == 1
        for name in ("validation", "test"):
            one, other = getattr(plain, name), getattr(grown, name)
            assert np.array_equal(one.store.rows, other.store.rows)
            assert np.array_equal(one.weight, other.weight)
        assert set(grown.train.store.index.case) == set(plain.train.store.index.case)
        assert not grown.split.leaky


def test_smote_before_the_split_leaks_and_says_so(sources: Sources) -> None:
    paper = replace(sources, split="random-patch", imbalance="smote-before-split")
    data = load_data(paper)
    assert data.split.leaky
    assert LEAKY in data.split.name
    assert set(data.unseen.store.index.case.tolist()) == {"301", "302"}
    assert any(data.test.store.blend.share > 0)
    for part in (data.train, data.validation, data.test):
        assert not set(part.store.index.case.tolist()) & {"301", "302"}
    with pytest.raises(UsageError, match="random-patch"):
        replace(sources, imbalance="smote-before-split")


def test_class_weights_make_both_classes_weigh_alike(sources: Sources) -> None:
    label = np.array([0, 0, 0, 1], np.uint8)
    weight = np.array([1.0, 2, 3, 4])
    found = loss_weights(weight, label, 0.5, class_weights=True)
    assert found[:3].sum() == pytest.approx(found[3])
    assert found.mean() == pytest.approx(1)
    assert found[2] / found[0] == pytest.approx(3**0.5)
    assert loss_weights(weight, label, 0.0).tolist() == [1, 1, 1, 1]
    assert load_data(replace(sources, imbalance="class-weights")).train.class_weights


def test_run_remembers_its_split_and_imbalance(sources: Sources, tmp_path: Path) -> None:
    for imbalance in IMBALANCES:
        of = replace(sources, split="random-patch", split_seed=7, imbalance=imbalance)
        for one in (of, replace(of, splits=None, counts=None)):
            Run(Settings(), one, "2026-01-01", 1.0).save(tmp_path)
            assert load_run(tmp_path).sources == one


def test_own_data_need_neither_official_split_nor_counts(sources: Sources) -> None:
    own = Sources(sources.store, split="grouped-kfold", fold=2)
    data = load_data(own)
    assert {len(part.store.index) > 0 for part in (data.train, data.validation, data.test)} == {
        True
    }
    assert (data.train.weight == 1).all()
    assert not len(load_data(replace(own, split="random-patch")).unseen.store.index)
    with pytest.raises(UsageError, match="--splits"):
        Sources(sources.store)
