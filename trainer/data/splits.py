"""Which patches train, which validate, which test.

*official*, *grouped-kfold* and *held-out* keep whole cases together. *random-patch* is the split of
Abdolahi et al. 2020: patches of one slide are on both sides of it, so its test figures say little
about a new slide. It is there to reproduce the paper, and whatever comes of it is called leaky.
*all-cases* holds nothing out: its network is judged by those of *held-out*, fold by fold.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from idc_desktop.errors import UsageError
from idc_desktop.plain_files import read_text
from idc_desktop.plain_text import counted
from trainer.data.dataset import PatchIndex
from trainer.data.weighting import CASE_CAP
from trainer.errors import DataError, named

LEAKY = "LEAKY, not a performance claim"
"""What every figure of a leaky protocol is stamped with."""

FOLDS = 5
ENOUGH_CASES, ENOUGH_PATCHES = 8, 100
"""Cases, and patches of each class, from which on a choice by their figures means something."""
TEST_SHARE = 0.2
"""Share of the patches that the paper's random split tests on."""
VALIDATION_SHARE = 0.19
"""Share of its training patches that the paper validates on ("81 % of the training set" train)."""

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class OfficialCases:
    """The published split: three disjoint sets of case ids."""

    train: frozenset[str]
    validation: frozenset[str]
    test: frozenset[str]

    def __post_init__(self) -> None:
        for (first, one), (second, other) in combinations(vars(self).items(), 2):
            if shared := sorted(one & other):
                raise DataError(
                    f"Case {shared[0]} is in the {first} part and in the {second} part of the "
                    f"split ({len(shared)} such cases). Each case may be in one part only."
                )

    def require_known(self, known: Set[str], where: str) -> None:
        """Raise `DataError` where a case held out is not among the known ones, as `where` says.

        A case whose id is mistyped there would train, as one that the split does not name. Of the
        training part an id may be of a case that the data set never held, as two published ones.
        """
        for part, cases in (("validation", self.validation), ("test", self.test)):
            if unknown := cases - known:
                raise DataError(
                    f"The {part} part of the split names {counted(len(unknown), 'case')} not in "
                    f"{where}: {named(unknown)}. Correct these ids, or remove them from the split; "
                    "those of cases that are real but not at hand are known by --counts."
                )


NO_CASES = OfficialCases(frozenset(), frozenset(), frozenset())


@dataclass(frozen=True)
class Split:
    """Positions in an index.

    Attributes
    ----------
    name : str
        Says where the parts come from; that of a leaky split says so.
    train, validation, test : ndarray of int
        Disjoint, but for what `held_out` and `all_cases` say.
    leaky : bool
        Whether patches of one case are in several parts.
    """

    name: str
    train: Rows
    validation: Rows
    test: Rows
    leaky: bool = False


def read_official_cases(folder: Path) -> OfficialCases:
    """Read the published split: ``official_{train,val,test}.txt``, one case id per line.

    Raises
    ------
    DataError
        A file is missing or empty, or a case is in two parts.
    """
    parts = []
    for part in ("train", "val", "test"):
        path = folder / f"official_{part}.txt"
        try:
            cases = frozenset(read_text(path, "utf-8-sig").split())
        except (OSError, UnicodeDecodeError) as cause:
            raise DataError(f"{path} cannot be read. Name its folder with --splits.") from cause
        if not cases:
            raise DataError(f"{path} names no case. Put one case id on each line.")
        parts.append(cases)
    return OfficialCases(*parts)


def official(index: PatchIndex, cases: OfficialCases, unlisted: bool) -> Split:
    """Cut by the published split; `unlisted` adds the cases that it does not name to training."""
    train = _rows(index, cases.train)
    validation, test = _rows(index, cases.validation), _rows(index, cases.test)
    others = np.setdiff1d(np.arange(len(index)), np.concatenate([train, validation, test]))
    if unlisted:
        train = np.union1d(train, others)
    name = "official+unlisted" if unlisted else "official"
    return Split(name, train, validation, test)


def grouped_kfold(index: PatchIndex, fold: int, seed: int, folds: int = FOLDS) -> Split:
    """Cut all cases into `folds` groups of alike size and share of positives.

    Where a large case would be (nearly) a group of its own, cases are dealt out instead, as many
    to each group, and none counts for more than `trainer.data.weighting.CASE_CAP` patches.

    Parameters
    ----------
    fold : int
        1 ... `folds`: the group that tests. The next one validates, the others train.
    seed : int
        Decides the groups.

    Raises
    ------
    DataError
        Fewer cases than folds.
    UsageError
        No such fold.
    """
    groups = _groups(index, fold, seed, folds)
    test, validation = groups[fold - 1], groups[fold % folds]
    train = np.setdiff1d(np.arange(len(index)), np.concatenate([test, validation]))
    name = f"grouped-kfold, fold {fold} of {folds}, seed {seed}"
    return Split(name, train, validation, test)


def held_out(index: PatchIndex, fold: int, seed: int, folds: int = FOLDS) -> Split:
    """Hold one of the groups of `grouped_kfold` out and train on all others.

    The group is validation and test part at once: its figures may be watched, but nothing may be
    chosen by them. Arguments and errors are those of `grouped_kfold`.
    """
    group = _groups(index, fold, seed, folds)[fold - 1]
    train = np.setdiff1d(np.arange(len(index)), group)
    return Split(f"held-out, fold {fold} of {folds}, seed {seed}", train, group, group)


def all_cases(index: PatchIndex, seed: int, folds: int = FOLDS) -> Split:
    """Train on everything. What stands for validation, a fifth of the cases, is trained on too."""
    return Split(
        "all cases, those watched among them",
        np.arange(len(index)),
        _groups(index, 1, seed, folds)[0],
        np.arange(0),
    )


def _groups(index: PatchIndex, fold: int, seed: int, folds: int) -> list[Rows]:
    from sklearn.model_selection import StratifiedGroupKFold

    count = len(np.unique(index.case))
    if count < folds:
        raise DataError(f"{folds} folds need at least {folds} cases; the data hold {count}.")
    if not 1 <= fold <= folds:
        raise UsageError(f"--fold must be 1 to {folds}.")
    cutter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    groups = [group for _, group in cutter.split(index.label, index.label, index.case)]
    fewest = min(len(np.unique(index.case[group])) for group in groups)
    return groups if 3 * fewest >= 2 * (count // folds) else _dealt(index, seed, folds)


def _dealt(index: PatchIndex, seed: int, folds: int) -> list[Rows]:
    """Deal cases out, the large ones first, each to where its classes are rarest so far."""
    names, which = np.unique(index.case, return_inverse=True)
    sizes = np.stack([np.bincount(which, index.label == of, len(names)) for of in (0, 1)], axis=1)
    total = sizes.sum(axis=1, keepdims=True)
    shares = sizes * np.minimum(1, CASE_CAP / total)
    shares /= np.maximum(shares.sum(axis=0), 1)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-shares[order].max(axis=1), kind="stable")]
    held, filled = np.zeros(folds, int), np.zeros((folds, 2))
    group_of = np.empty(len(names), int)
    for case in order:
        crowding = ((filled + shares[case]) ** 2 - filled**2).sum(axis=1)
        group = int(np.argmin(np.where(held == held.min(), crowding, np.inf)))
        group_of[case] = group
        held[group] += 1
        filled[group] += shares[case]
    return [np.flatnonzero(group_of[which] == group) for group in range(folds)]


def thinness(index: PatchIndex) -> str:
    """Say of how little figures of these patches would be; empty where there is enough."""
    cases = len(np.unique(index.case))
    negative, positive = np.bincount(index.label, minlength=2).tolist()
    if cases >= ENOUGH_CASES and min(negative, positive) >= ENOUGH_PATCHES:
        return ""
    return (
        f"{cases} {'case' if cases == 1 else 'cases'} with {negative} patches that are not IDC and "
        f"{positive} that are (at least {ENOUGH_CASES} cases and {ENOUGH_PATCHES} patches of each "
        "class are wanted)"
    )


def random_patch(index: PatchIndex, seed: int) -> Split:
    """Cut patches at random, 80/20, whatever case they are of; 19 % of the 80 validate."""
    order = np.random.default_rng(seed).permutation(len(index))
    test, rest = np.split(order, [round(TEST_SHARE * len(order))])
    validation, train = np.split(rest, [round(VALIDATION_SHARE * len(rest))])
    train, validation, test = (np.sort(part) for part in (train, validation, test))
    return Split(f"random-patch, seed {seed}: {LEAKY}", train, validation, test, leaky=True)


def _rows(index: PatchIndex, cases: frozenset[str]) -> Rows:
    return np.flatnonzero(np.isin(index.case, sorted(cases)))
