"""The one file that a training can be continued from, and what it remembers of each epoch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from idc_desktop.plain_files import open_file
from trainer.errors import RunError
from trainer.files import replacing, write_csv
from trainer.settings import Settings

if TYPE_CHECKING:
    import keras

CHECKPOINT = "checkpoint.npz"
LOG_CSV = "log.csv"
LOG_JSON = "log.json"

Arrays = list[NDArray[np.generic]]


@dataclass(frozen=True)
class Epoch:
    """One line of the log; `epoch` counts from 0.

    `loss` and `accuracy` are those of the training batches as the network met them; figures from
    `val_loss` to `positive_share` those of the weighted validation patches, the last three at
    probability 0.5. `collapsed` names the reason for an alarm, else it is empty. `seconds` includes
    validation, `patches_per_second` counts real training patches and does not.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    auc: float
    auprc: float
    val_accuracy: float
    positive_share: float
    collapsed: str
    seconds: float
    patches_per_second: float


History = tuple[Epoch, ...]


def best_epoch(history: History, settings: Settings) -> int:
    """Return the epoch whose network is taken: the last one, or that of the largest AUPRC."""
    if settings.taken == "last":
        return len(history) - 1
    return max(range(len(history)), key=lambda epoch: history[epoch].auprc)


@dataclass(frozen=True)
class Stored:
    """What a checkpoint holds: whose it is, the log, the best network, and all that changes."""

    identity: str
    history: History
    best: Arrays
    now: Arrays


def read_checkpoint(path: Path, best: int, now: int = 0) -> Stored:
    """Read a checkpoint; `best` and `now` say how many arrays of each are wanted.

    Raises
    ------
    RunError
        The file is missing or damaged.
    """
    try:
        # Opened here, since NumPy leaves a file open that is no archive.
        with open_file(path) as file, np.load(file, allow_pickle=False) as arrays:
            meta = json.loads(str(arrays["meta"]))
            return Stored(
                meta["identity"],
                tuple(Epoch(**line) for line in meta["history"]),
                [arrays[f"best{i}"] for i in range(best)],
                [arrays[f"now{i}"] for i in range(now)],
            )
    except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as cause:
        raise RunError(f"{path} is missing or damaged. Remove it and train again.") from cause


class State:
    """Everything that a checkpoint holds: weights, optimizers, dropout, history."""

    def __init__(self, averaged: keras.Model, others: list[keras.Variable], identity: str) -> None:
        self._variables = [*averaged.variables, *others]
        self._best_count = len(averaged.variables)
        self._identity = identity

    def load(self, path: Path) -> tuple[History, Arrays]:
        """Take up a checkpoint where there is one; returns its log and its best network.

        Raises
        ------
        RunError
            The checkpoint is damaged or of another training.
        """
        if not path.exists():
            return (), []
        stored = read_checkpoint(path, self._best_count, len(self._variables))
        if stored.identity != self._identity:
            raise RunError(
                f"{path} belongs to a training with other settings or data. Choose another --out."
            )
        for variable, value in zip(self._variables, stored.now, strict=True):
            variable.assign(value)
        return stored.history, stored.best

    def save(self, path: Path, history: History, best: Arrays) -> None:
        """Write the checkpoint whole; `OutputError` where that fails, and the last one is kept."""
        meta = {"identity": self._identity, "history": [asdict(line) for line in history]}
        arrays: dict[str, Any] = {
            f"now{i}": np.asarray(one) for i, one in enumerate(self._variables)
        }
        arrays |= {f"best{i}": value for i, value in enumerate(best)}
        with replacing(path) as file:
            np.savez(file, meta=np.array(json.dumps(meta)), **arrays)


def write_logs(folder: Path, history: History, about: dict[str, Any]) -> None:
    """Write the epochs as CSV, and as JSON together with what the run is."""
    header = [field.name for field in fields(Epoch)]
    write_csv(folder / LOG_CSV, [header, *(asdict(line).values() for line in history)])
    with replacing(folder / LOG_JSON) as file:
        document = about | {"epochs": [asdict(line) for line in history]}
        file.write((json.dumps(document, indent=1) + "\n").encode())
