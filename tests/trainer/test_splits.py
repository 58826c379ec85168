from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.errors import UsageError
from tests.trainer.conftest import CASES, SmallData
from trainer.dataset import PatchIndex, load_store, prepare
from trainer.errors import DataError
from trainer.splits import (
    FOLDS,
    LEAKY,
    Split,
    grouped_kfold,
    official,
    random_patch,
    read_official_cases,
)


@pytest.fixture(scope="module")
def index(small_data: SmallData, tmp_path_factory: pytest.TempPathFactory) -> PatchIndex:
    folder = tmp_path_factory.mktemp("store")
    prepare(small_data.patches, folder)
    return load_store(folder).index


def _parts(split: Split) -> list[np.ndarray]:
    return [split.train, split.validation, split.test]


def _cases(index: PatchIndex, rows: np.ndarray) -> set[str]:
    return set(index.case[rows].tolist())


def test_unlisted_cases_join_training_only(index: PatchIndex, small_data: SmallData) -> None:
    cases = read_official_cases(small_data.splits)
    narrow, wide = (official(index, cases, unlisted) for unlisted in (False, True))
    assert _cases(index, narrow.train) == {"101", "102", "103"}
    assert _cases(index, wide.train) == {"101", "102", "103", "901"}
    for split in (narrow, wide):
        assert _cases(index, split.validation) == {"201", "202"}
        assert _cases(index, split.test) == {"301", "302"}
        assert not split.leaky
    assert narrow.name != wide.name


def test_folds_test_every_patch_once_and_keep_cases_together(index: PatchIndex) -> None:
    splits = [grouped_kfold(index, fold, seed=3) for fold in range(1, FOLDS + 1)]
    assert sorted(np.concatenate([one.test for one in splits]).tolist()) == list(range(len(index)))
    for split in splits:
        for one, other in combinations(_parts(split), 2):
            assert not _cases(index, one) & _cases(index, other)
        assert sum(map(len, _parts(split))) == len(index)
        assert not split.leaky


def test_folds_have_alike_shares_of_positives() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(20, 200, 60)
    case = np.repeat(np.arange(60).astype(str), counts)
    label = (rng.random(len(case)) < np.repeat(rng.random(60), counts)).astype(np.uint8)
    zeros = np.zeros(len(case), np.int64)
    index = PatchIndex(case, zeros, zeros, label, case)
    folds = [grouped_kfold(index, fold, seed=1).test for fold in range(1, FOLDS + 1)]
    assert np.ptp([label[rows].mean() for rows in folds]) < 0.1
    other = grouped_kfold(index, 1, seed=2).test
    assert not np.array_equal(folds[0], other)
    assert np.array_equal(folds[0], grouped_kfold(index, 1, seed=1).test)


def test_fold_that_cannot_be_is_refused(index: PatchIndex) -> None:
    for fold in (0, FOLDS + 1):
        with pytest.raises(UsageError, match="--fold"):
            grouped_kfold(index, fold, seed=1)
    few = index.take(np.flatnonzero(np.isin(index.case, ["101", "102"])))
    with pytest.raises(DataError, match="2"):
        grouped_kfold(few, 1, seed=1)


def test_random_patch_is_the_papers_split_and_says_that_it_leaks(index: PatchIndex) -> None:
    split = random_patch(index, seed=1)
    sizes = [len(rows) / len(index) for rows in _parts(split)]
    assert sizes == pytest.approx([0.8 * 0.81, 0.8 * 0.19, 0.2], abs=0.01)
    assert len(np.unique(np.concatenate(_parts(split)))) == len(index)
    assert _cases(index, split.train) == _cases(index, split.test) == set(CASES)
    assert split.leaky
    assert LEAKY in split.name


@pytest.mark.parametrize(("one", "other"), [("train", "val"), ("train", "test"), ("val", "test")])
def test_case_in_two_parts_is_refused(
    small_data: SmallData, tmp_path: Path, one: str, other: str
) -> None:
    for path in small_data.splits.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shared = (tmp_path / f"official_{one}.txt").read_text(encoding="utf-8").split()[0]
    with (tmp_path / f"official_{other}.txt").open("a", encoding="utf-8") as file:
        file.write(f"{shared}\n")
    with pytest.raises(DataError, match=shared):
        read_official_cases(tmp_path)


def test_byte_order_mark_is_no_part_of_a_case_id(small_data: SmallData, tmp_path: Path) -> None:
    for path in small_data.splits.iterdir():
        text = path.read_text(encoding="utf-8")
        (tmp_path / path.name).write_text(text, encoding="utf-8-sig")
    assert read_official_cases(tmp_path) == read_official_cases(small_data.splits)


def test_missing_or_empty_file_is_refused(small_data: SmallData, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="official_train"):
        read_official_cases(tmp_path)
    (tmp_path / "official_train.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="names no case"):
        read_official_cases(tmp_path)
