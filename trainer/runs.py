"""What the folder of a finished run holds besides the checkpoint: ``run.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.dataset import PatchStore, load_store
from trainer.errors import DataError, RunError
from trainer.feeding import Part
from trainer.files import replacing
from trainer.settings import Settings
from trainer.splits import Split, read_official_split, with_unlisted
from trainer.weighting import natural_weights, read_natural_counts

RUN_FILE = "run.json"


@dataclass(frozen=True)
class Sources:
    """Where the data of a run lie.

    Attributes
    ----------
    store : Path
        Prepared data folder.
    splits : Path
        Folder of the official split's three files.
    counts : Path
        Natural counts per case.
    unlisted : bool
        Whether cases outside the split join the training part.
    """

    store: Path
    splits: Path
    counts: Path
    unlisted: bool


@dataclass(frozen=True)
class Data:
    """The three parts of a data set, each with its natural-count weights."""

    split: Split
    train: Part
    validation: Part
    test: Part


def load_data(sources: Sources) -> Data:
    """Open the store and cut it by the split.

    Raises
    ------
    DataError
        Files that cannot be used, or no patches for training or validation.
    """
    store = load_store(sources.store)
    counts = read_natural_counts(sources.counts)
    split = read_official_split(sources.splits)
    if sources.unlisted:
        split = with_unlisted(split, frozenset(str(case) for case in np.unique(store.index.case)))

    def part(cases: frozenset[str]) -> Part:
        chosen: PatchStore = store.select(cases)
        return Part(chosen, natural_weights(chosen.index.case, chosen.index.label, counts))

    data = Data(split, part(split.train), part(split.validation), part(split.test))
    for name, one in (("training", data.train), ("validation", data.validation)):
        if len(np.unique(one.store.index.label)) < 2:
            raise DataError(
                f"{sources.store}: the {name} cases of the split have no patches of both classes."
            )
    return data


@dataclass(frozen=True)
class Run:
    """A finished training: its settings and sources, the UTC date, and what it took.

    `imagenet` is the digest of the weights that the network started from, if any.
    """

    settings: Settings
    sources: Sources
    finished: str
    minutes: float
    imagenet: str | None = None

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
        }
        with replacing(folder / RUN_FILE) as file:
            file.write((json.dumps(document, indent=1) + "\n").encode())


def load_run(folder: Path) -> Run:
    """Read ``run.json``; `RunError` where the training has not ended, or the file is damaged."""
    try:
        document = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        sources = document["sources"]
        return Run(
            Settings(**document["settings"]),
            Sources(
                Path(sources["store"]),
                Path(sources["splits"]),
                Path(sources["counts"]),
                bool(sources["unlisted"]),
            ),
            document["finished"],
            document["minutes"],
            document.get("imagenet"),
        )
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise RunError(
            f"{folder} holds no finished training. Let `idc-trainer train` end there first."
        ) from cause
