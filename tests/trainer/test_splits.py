from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the trainer needs the extra 'trainer'")
from sklearn.model_selection import StratifiedGroupKFold

from idc_desktop.errors import UsageError
from tests.trainer.conftest import CASES, SmallData
from trainer.data.dataset import PatchIndex, load_store
from trainer.data.preparing import prepare
from trainer.data.splits import (
    ENOUGH_CASES,
    ENOUGH_PATCHES,
    FOLDS,
    LEAKY,
    Split,
    grouped_kfold,
    official,
    random_patch,
    read_official_cases,
    thinness,
)
from trainer.errors import DataError
from trainer.training.runs import Sources, load_data


@pytest.fixture(scope="module")
def store(small_data: SmallData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    prepare(small_data.patches, folder)
    return folder


@pytest.fixture(scope="module")
def index(store: Path) -> PatchIndex:
    return load_store(store).index


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


def _painted_index(counts: list[int], share: float = 0.3) -> PatchIndex:
    """Cases of some sizes; the names sort as the sizes are given."""
    case = np.repeat([f"case{number:02}" for number in range(len(counts))], counts)
    label = (np.random.default_rng(4).random(len(case)) < share).astype(np.uint8)
    zeros = np.zeros(len(case), np.int64)
    return PatchIndex(case, zeros, zeros, label, case)


@pytest.mark.parametrize("small", [[150] * 9, [15] * 59, [40] * 24])
def test_a_large_case_is_never_a_group_of_its_own(small: list[int]) -> None:
    index = _painted_index([5000, *small])
    cases = len(small) + 1
    groups = [grouped_kfold(index, fold, seed=1).test for fold in range(1, FOLDS + 1)]
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(index)))
    sizes = [len(_cases(index, rows)) for rows in groups]
    assert min(sizes) == cases // FOLDS
    for rows in groups:
        assert not _cases(index, rows) & _cases(index, np.setdiff1d(np.arange(len(index)), rows))
        assert set(index.label[rows]) == {0, 1}
    assert all(
        np.array_equal(rows, grouped_kfold(index, fold, seed=1).test)
        for fold, rows in enumerate(groups, start=1)
    )
    other = [grouped_kfold(index, fold, seed=2).test for fold in range(1, FOLDS + 1)]
    assert any(not np.array_equal(*pair) for pair in zip(groups, other, strict=True))


def test_cases_of_one_class_are_dealt_out_to_all_groups() -> None:
    index = _painted_index([5000, *[60] * 19])
    only = np.isin(index.case, [f"case{number:02}" for number in range(5, 15)])
    index = replace(index, label=np.where(only, 0, index.label).astype(np.uint8))
    for fold in range(1, FOLDS + 1):
        rows = grouped_kfold(index, fold, seed=1).test
        assert len(_cases(index, rows)) == 4
        assert index.label[rows].sum() > 10


def test_cases_of_ordinary_sizes_are_cut_as_scikit_learn_cuts_them() -> None:
    """The folds of figures that were published before."""
    index = _painted_index(np.random.default_rng(2).integers(20, 900, 60).tolist())
    cutter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=1)
    expected = [rows for _, rows in cutter.split(index.label, index.label, index.case)]
    for fold, rows in enumerate(expected, start=1):
        assert np.array_equal(grouped_kfold(index, fold, seed=1).test, rows)


@pytest.mark.parametrize(
    ("counts", "share", "told"),
    [
        ([200] * ENOUGH_CASES, 0.5, ""),
        ([400] * (ENOUGH_CASES - 1), 0.5, "7 cases with"),
        ([5000], 0.5, "1 case with"),
        ([100] * ENOUGH_CASES, 0.01, f"{ENOUGH_PATCHES} patches of each class"),
    ],
)
def test_figures_of_few_cases_or_patches_are_called_chance(
    counts: list[int], share: float, told: str
) -> None:
    found = thinness(_painted_index(counts, share))
    assert told in found
    assert bool(found) == bool(told)


def test_training_on_little_validation_is_warned_of_and_all_cases_are_not(
    small_data: SmallData, store: Path
) -> None:
    sources = Sources(store, small_data.splits, small_data.counts)
    warning = load_data(sources).warning()
    assert warning.startswith("WARNING: the validation part holds 2 cases with 32 patches")
    assert not load_data(replace(sources, split="all-cases")).warning()


@pytest.mark.parametrize("split", ["official", "grouped-kfold", "random-patch"])
@pytest.mark.parametrize("part", ["val", "test"])
def test_mistyped_case_that_is_to_be_held_out_trains_nowhere(
    small_data: SmallData, store: Path, tmp_path: Path, part: str, split: str
) -> None:
    for path in small_data.splits.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    wrong = tmp_path / f"official_{part}.txt"
    wrong.write_text(wrong.read_text(encoding="utf-8").replace("01\n", "O1\n"), encoding="utf-8")
    for counts in (None, small_data.counts):
        with pytest.raises(DataError, match=r"not in the prepared data.*: .0?O1\. Correct"):
            load_data(Sources(store, tmp_path, counts, split=split))


def test_case_of_the_split_that_is_not_at_hand_is_known_by_its_counts(
    small_data: SmallData, store: Path, tmp_path: Path
) -> None:
    for path in small_data.splits.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "official_test.txt").open("a", encoding="utf-8") as file:
        file.write("777\n")
    counts = tmp_path / "counts.csv"
    counts.write_text(small_data.counts.read_text(encoding="utf-8") + "777,9,9\n", "utf-8")
    data = load_data(Sources(store, tmp_path, counts))
    assert set(data.test.store.index.case) == {"301", "302"}
    with pytest.raises(DataError, match="777"):
        load_data(Sources(store, tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "x", "no counts of 8 cases of the prepared data: 101, 102"),
        ("101,", "1O1,", "no counts of 1 case of the prepared data: 101"),
        ("101,120", "101,-120", "line 2: a count is below 0"),
        ("102,", "101,", "line 3: case 101 has other counts above"),
        ("101,120", "101,many", "whole numbers"),
        ("patient_id", "case", "patient_id"),
    ],
    ids=["other ids", "one typo", "negative", "twice", "no number", "no column"],
)
def test_counts_that_do_not_belong_to_the_data_are_refused(
    small_data: SmallData, store: Path, tmp_path: Path, old: str, new: str, told: str
) -> None:
    text = small_data.counts.read_text(encoding="utf-8")
    if old:
        text = text.replace(old, new, 1).replace("101,120,48\n101", "101,120,47\n101")
    else:
        head, *lines = text.splitlines()
        text = "\n".join((head, *(new + line for line in lines)))
    counts = tmp_path / "counts.csv"
    counts.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=told) as refused:
        load_data(Sources(store, small_data.splits, counts))
    assert "counts.csv" in str(refused.value)
    assert refused.value.exit_code == 3


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
