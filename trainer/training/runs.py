"""What the folder of a finished run holds besides the checkpoint: ``run.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from idc_desktop.errors import UsageError
from idc_desktop.plain_files import read_json
from idc_desktop.plain_text import counted
from trainer.data.dataset import PatchIndex, load_store
from trainer.data.imbalance import oversample, smote
from trainer.data.splits import (
    NO_CASES,
    OfficialCases,
    Split,
    all_cases,
    grouped_kfold,
    held_out,
    official,
    random_patch,
    read_official_cases,
    thinness,
)
from trainer.data.weighting import natural_weights, read_natural_counts
from trainer.errors import DataError, RunError, named
from trainer.files import replacing
from trainer.settings import LARGEST_SEED, Settings
from trainer.training.feeding import Part

RUN_FILE = "run.json"

PARTS = ("train", "validation", "test", "unseen")
_PATHS = ("store", "splits", "counts")


@dataclass(frozen=True)
class Sources:
    """Where the data of a run lie.

    Attributes
    ----------
    store : Path
        Prepared data folder.
    splits : Path or None
        Folder of the official split's three files; other splits do without.
    counts : Path or None
        Natural counts per case; None: the patches at hand are all there are.
    unlisted : bool
        Whether cases outside the official split join the training part.
    split : str
        One of `trainer.settings.SPLITS`.
    fold : int
        Of grouped-kfold and held-out, from 1.
    split_seed : int
        Of groups of cases, random-patch and oversampling.
    imbalance : str
        One of `trainer.settings.IMBALANCES`.
    """

    store: Path
    splits: Path | None = None
    counts: Path | None = None
    unlisted: bool = True
    split: str = "official"
    fold: int = 1
    split_seed: int = 1
    imbalance: str = "none"

    def __post_init__(self) -> None:
        if not 0 <= self.split_seed <= LARGEST_SEED:
            raise UsageError(f"--split-seed must be 0 to {LARGEST_SEED}.")
        if self.split == "official" and self.splits is None:
            raise UsageError(
                "The official split needs the folder of official_*.txt: name it with --splits. "
                "Data without one are cut by --split grouped-kfold."
            )
        if self.imbalance == "smote-before-split" and self.split != "random-patch":
            raise UsageError(
                "--smote before-split reproduces the paper's leak and needs --split random-patch; "
                "for an honest split take --smote training."
            )


@dataclass(frozen=True)
class Data:
    """The parts of a data set, each with its natural-count weights.

    Beside a leaky split, `unseen` holds the official test cases, which are in none of its parts:
    the honest figures of the same weights are theirs. It is empty otherwise.
    """

    split: Split
    train: Part
    validation: Part
    test: Part
    unseen: Part

    def warning(self) -> str:
        """Say that too little chooses the epoch, calibration and threshold; empty if not so."""
        if np.isin(self.split.validation, self.split.train).any():
            return ""  # what is trained on chooses nothing
        few = thinness(self.validation.store.index)
        return few and (
            f"WARNING: the validation part holds {few}. Which epoch, calibration and threshold it "
            "chooses is largely chance, and so are its figures. Add cases, or use "
            "`idc-trainer fit`, which calibrates by all cases."
        )

    def lines(self) -> list[str]:
        """Say what the parts hold, a line each."""
        parts = [(name, getattr(self, name).store.index) for name in PARTS]
        return [
            f"split: {self.split.name}",
            *(
                f"{name}: {counted(len(index), 'patch')} ({index.label.sum():,} IDC) in "
                f"{counted(len(np.unique(index.case)), 'case')}"
                for name, index in parts
                if len(index)
            ),
        ]

    def require_test(self) -> None:
        """Raise `DataError` unless both classes are there to test on."""
        _require_both(self.split, "test", self.test)
        if len(self.unseen.store.index):
            _require_both(self.split, "unseen", self.unseen)


def load_data(sources: Sources) -> Data:
    """Open the store and cut it by the split.

    Raises
    ------
    DataError
        Files that cannot be used or do not belong together, or no patches for training or
        validation.
    """
    store = load_store(sources.store)
    counts = {} if sources.counts is None else read_natural_counts(sources.counts)
    cases = NO_CASES if sources.splits is None else read_official_cases(sources.splits)
    at_hand = {str(case) for case in store.index.case}
    where = "the prepared data"
    if sources.counts is not None:
        if uncounted := at_hand - counts.keys():
            raise DataError(
                f"{sources.counts} has no counts of {counted(len(uncounted), 'case')} of the "
                f"prepared data: {named(uncounted)}. Correct its ids, or add those lines."
            )
        where += f" or {sources.counts.name}"
    cases.require_known(at_hand | counts.keys(), where)
    whole = Part(store, natural_weights(store.index.case, store.index.label, counts))
    tested = np.isin(store.index.case, sorted(cases.test))
    kept = np.flatnonzero(~tested) if sources.split == "random-patch" else np.arange(len(tested))
    pool = whole.take(kept)
    if sources.imbalance == "smote-before-split":
        pool = _grown(pool, sources)
    split = _cut(pool.store.index, cases, sources)
    train, validation, test = (pool.take(getattr(split, name)) for name in PARTS[:3])
    for name, one in (("training", train), ("validation", validation)):
        _require_both(split, name, one)
    if sources.imbalance in ("smote", "oversample"):
        train = _grown(train, sources)
    train = replace(train, class_weights=sources.imbalance == "class-weights")
    unseen = whole.take(np.setdiff1d(np.arange(len(tested)), kept))
    return Data(split, train, validation, test, unseen)


def _require_both(split: Split, name: str, part: Part) -> None:
    of_class = np.bincount(part.store.index.label, minlength=2)
    if not of_class.all():
        raise DataError(
            f"The {name} part of the split ({split.name}) has {of_class[0]} patches that are not "
            f"IDC and {of_class[1]} that are, and needs both. Do the case ids of the split match "
            "those of the prepared data?"
        )


def _grown(part: Part, sources: Sources) -> Part:
    """Balance the classes of a part; an added patch weighs as the one that it goes by."""
    grow = oversample if sources.imbalance == "oversample" else smote
    grown = grow(part.store, sources.split_seed)
    return Part(grown.store, part.weight[grown.origin])


def _cut(index: PatchIndex, cases: OfficialCases, sources: Sources) -> Split:
    if sources.split == "grouped-kfold":
        return grouped_kfold(index, sources.fold, sources.split_seed)
    if sources.split == "held-out":
        return held_out(index, sources.fold, sources.split_seed)
    if sources.split == "all-cases":
        return all_cases(index, sources.split_seed)
    if sources.split == "random-patch":
        split = random_patch(index, sources.split_seed)
        if sources.imbalance == "smote-before-split":
            return replace(split, name=f"SMOTE, then {split.name}")
        return split
    return official(index, cases, sources.unlisted)


@dataclass(frozen=True)
class Run:
    """A finished training: its settings and sources, the UTC date, and what it took.

    `imagenet` is the digest of the weights that the network started from, `teacher` that of the
    network that taught it, if any.
    """

    settings: Settings
    sources: Sources
    finished: str
    minutes: float
    imagenet: str | None = None
    teacher: str | None = None

    def save(self, folder: Path) -> None:
        """Write ``run.json``."""
        document = {
            "settings": self.settings.recorded(),
            "sources": {
                name: str(value.resolve()) if isinstance(value, Path) else value
                for name, value in vars(self.sources).items()
            },
            "finished": self.finished,
            "minutes": self.minutes,
            "imagenet": self.imagenet,
            "teacher": self.teacher,
        }
        with replacing(folder / RUN_FILE) as file:
            file.write((json.dumps(document, indent=1) + "\n").encode())


def load_run(folder: Path) -> Run:
    """Read ``run.json``; `RunError` where the training has not ended, or the file is damaged."""
    try:
        document = read_json(folder / RUN_FILE)
        sources = document["sources"]
        return Run(
            Settings(**document["settings"]),
            Sources(**sources | {name: Path(sources[name]) for name in _PATHS if sources[name]}),
            document["finished"],
            document["minutes"],
            document.get("imagenet"),
            document.get("teacher"),
        )
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise RunError(
            f"{folder} holds no finished training. Let `idc-trainer train` end there first."
        ) from cause
