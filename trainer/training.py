"""Training that survives a kill: every epoch ends in one checkpoint file, written whole.

All randomness of an epoch comes from (seed, epoch, batch), and the dropout generators are part of
the checkpoint, so a resumed run ends with the weights of an undisturbed one.
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from zipfile import BadZipFile

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.augmentation import POLICIES, turn
from trainer.dataset import PATCH, PatchArray, PatchStore
from trainer.errors import RunError
from trainer.evaluation import Scored
from trainer.files import make_folder, replacing
from trainer.networks import build
from trainer.painting import paint_background
from trainer.settings import Settings

AVERAGING = 0.997
"""Memory of the weights' running mean per step (300 steps). Validation of single epochs jumps by
several hundredths of AUC between cases; that of the mean does not."""

_NO_PATCHES = np.empty((0, PATCH, PATCH, 3), np.uint8)

CHECKPOINT = "checkpoint.npz"
LOG = "log.csv"

PAINTED_POOL = 2000
"""Painted patches are made once and turned anew each time: painting costs more than a step."""


@dataclass(frozen=True)
class Part:
    """Patches with their weights: what an epoch is made of, or is judged on."""

    store: PatchStore
    weight: NDArray[np.float64]


@dataclass(frozen=True)
class Epoch:
    """One line of the log; `epoch` counts from 0.

    `auc` and `auprc` are those of the weighted validation patches, `seconds` includes validation,
    `patches_per_second` counts real training patches and does not.
    """

    epoch: int
    loss: float
    auc: float
    auprc: float
    seconds: float
    patches_per_second: float


@dataclass(frozen=True)
class Outcome:
    """A finished training: the averaged network of the best epoch, and the log."""

    model: keras.Model
    history: tuple[Epoch, ...]
    best_epoch: int


Forward = Callable[[PatchArray], NDArray[np.float64]]
"""uint8 (n, 50, 50, 3) to logits (n,)."""


def compiled(model: keras.Model) -> Forward:
    """Compile a network for inference; the function follows later changes of the weights."""

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)])
    def forward(patches: tf.Tensor) -> tf.Tensor:
        return model(patches, training=False)[:, 0]

    return lambda patches: forward(patches).numpy().astype(np.float64)


def logits(forward: Forward, store: PatchStore, batch: int = 256) -> NDArray[np.float64]:
    """Run a network over a store; float64, shape (n,)."""
    order = np.arange(len(store.index))
    starts = range(0, len(order), batch)
    return np.concatenate([forward(store.read(order[at : at + batch])) for at in starts])


def train(
    train_part: Part,
    validation: Part,
    settings: Settings,
    out: Path,
    report: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Train a network, or go on with a training that was interrupted.

    Parameters
    ----------
    train_part, validation : Part
        Disjoint cases. Validation picks the epoch (largest weighted AUPRC) and ends training.
    settings : Settings
    out : Path
        Run folder: ``checkpoint.npz`` and ``log.csv``. A checkpoint of the same settings and data
        is continued; one of others is refused.
    report : callable
        Gets a line per epoch, with the time left.

    Raises
    ------
    RunError
        `out` holds a run of other settings or data, or a damaged checkpoint.
    OutputError
        A checkpoint cannot be written; the one before is kept.
    """
    make_folder(out)
    model, averaged = (build(settings.network, settings.seed) for _ in range(2))
    steps = math.ceil(len(train_part.store.index) / settings.batch)
    schedule = keras.optimizers.schedules.CosineDecay(
        settings.learning_rate / 20,
        decay_steps=(settings.epochs - 1) * steps + 1,
        warmup_target=settings.learning_rate,
        warmup_steps=min(steps, 500),
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay)
    optimizer.build(model.trainable_variables)
    identity = json.dumps(
        asdict(settings)
        | {"train": train_part.store.index.digest(), "val": validation.store.index.digest()},
        sort_keys=True,
    )
    state = _State(averaged, [*model.variables, *optimizer.variables], identity)
    history, best = state.load(out / CHECKPOINT)
    forward = compiled(averaged)
    wanted = math.ceil(settings.painted * len(train_part.store.index) * settings.epochs)
    pool = np.random.default_rng(settings.seed)
    painted = paint_background(pool, min(wanted, PAINTED_POOL)) if wanted else _NO_PATCHES

    @tf.function(reduce_retracing=True)
    def step(patches: tf.Tensor, label: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logit = model(patches, training=True)[:, 0]
            each = tf.nn.sigmoid_cross_entropy_with_logits(label, logit)
            loss = tf.reduce_mean(weight * each)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        # The first steps forget faster, or the mean would long hold the random start.
        done = tf.cast(optimizer.iterations, tf.float32)
        keep = tf.minimum(AVERAGING, (1 + done) / (10 + done))
        for mean, now in zip(averaged.weights, model.weights, strict=True):
            mean.assign(keep * mean.value + (1 - keep) * now.value)
        return loss

    for epoch in range(len(history), settings.epochs):
        if history and epoch - 1 - _best_epoch(history) >= settings.patience:
            break
        started = time.perf_counter()
        batches = _batches(train_part, painted, settings, epoch)
        losses = [step(*batch) for batch in batches]
        loss = float(np.mean([float(value) for value in losses]))
        rate = len(train_part.store.index) / (time.perf_counter() - started)
        if not math.isfinite(loss):
            raise RunError(f"The loss of epoch {epoch + 1} is not a number; lower --learning-rate.")
        logit = logits(forward, validation.store)
        probability = 1 / (1 + np.exp(-logit))
        scored = Scored(probability, validation.store.index.label)
        judged = scored.metrics(validation.weight, 0.5)
        seconds = time.perf_counter() - started
        line = Epoch(epoch, loss, judged.auc, judged.auprc, seconds, rate)
        history = (*history, line)
        if _best_epoch(history) == epoch:
            best = [variable.numpy() for variable in averaged.variables]
        state.save(out / CHECKPOINT, history, best)
        _write_log(out / LOG, history)
        left = seconds * (settings.epochs - epoch - 1)
        report(
            f"epoch {epoch + 1}/{settings.epochs}  loss {loss:.4f}  val AUC {judged.auc:.4f}  "
            f"AUPRC {judged.auprc:.4f}  {rate:,.0f} patches/s  at most {left / 60:.1f} min left"
        )
    for variable, value in zip(averaged.variables, best, strict=True):
        variable.assign(value)
    return Outcome(averaged, history, _best_epoch(history))


def load_best(settings: Settings, out: Path) -> tuple[keras.Model, tuple[Epoch, ...]]:
    """Rebuild the best network of a run from its checkpoint."""
    model = build(settings.network, settings.seed)
    stored = _read_checkpoint(out / CHECKPOINT, len(model.variables))
    for variable, value in zip(model.variables, stored.best, strict=True):
        variable.assign(value)
    return model, stored.history


def _best_epoch(history: tuple[Epoch, ...]) -> int:
    return max(range(len(history)), key=lambda epoch: history[epoch].auprc)


def _batches(
    part: Part, painted: PatchArray, settings: Settings, epoch: int
) -> Iterator[tuple[PatchArray, NDArray[np.float32], NDArray[np.float32]]]:
    """Yield (patches, labels, weights) of an epoch; the next batch is made while one is used."""
    order = np.random.default_rng([settings.seed, epoch]).permutation(len(part.store.index))
    balance = part.weight**settings.balance
    weight = (balance / balance.mean()).astype(np.float32)
    label = part.store.index.label.astype(np.float32)
    augment = POLICIES[settings.augmentation]

    def make(start: int) -> tuple[PatchArray, NDArray[np.float32], NDArray[np.float32]]:
        rng = np.random.default_rng([settings.seed, epoch, start])
        rows = order[start : start + settings.batch]
        patches = augment(rng, part.store.read(rows))
        extra = round(settings.painted * len(rows))
        if not extra:
            return patches, label[rows], weight[rows]
        background = turn(rng, painted[rng.integers(0, len(painted), extra)])
        return (
            np.concatenate([patches, background]),
            np.concatenate([label[rows], np.zeros(extra, np.float32)]),
            np.concatenate([weight[rows], np.ones(extra, np.float32)]),
        )

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(make, 0)
        for start in range(settings.batch, len(order) + settings.batch, settings.batch):
            batch = waiting.result()
            if start < len(order):
                waiting = pool.submit(make, start)
            yield batch


@dataclass(frozen=True)
class _Stored:
    identity: str
    history: tuple[Epoch, ...]
    best: list[NDArray[np.generic]]
    now: list[NDArray[np.generic]]


def _read_checkpoint(path: Path, best: int, now: int = 0) -> _Stored:
    try:
        # Opened here, since NumPy leaves a file open that is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            meta = json.loads(str(arrays["meta"]))
            return _Stored(
                meta["identity"],
                tuple(Epoch(**line) for line in meta["history"]),
                [arrays[f"best{i}"] for i in range(best)],
                [arrays[f"now{i}"] for i in range(now)],
            )
    except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as cause:
        raise RunError(f"{path} is missing or damaged. Remove it and train again.") from cause


class _State:
    """Everything that a checkpoint holds, in one file: weights, optimizer, dropout, history."""

    def __init__(self, averaged: keras.Model, others: list[keras.Variable], identity: str) -> None:
        self._variables = [*averaged.variables, *others]
        self._best_count = len(averaged.variables)
        self._identity = identity

    def load(self, path: Path) -> tuple[tuple[Epoch, ...], list[NDArray[np.generic]]]:
        if not path.exists():
            return (), []
        stored = _read_checkpoint(path, self._best_count, len(self._variables))
        if stored.identity != self._identity:
            raise RunError(
                f"{path} belongs to a training with other settings or data. Choose another --out."
            )
        for variable, value in zip(self._variables, stored.now, strict=True):
            variable.assign(value)
        return stored.history, stored.best

    def save(self, path: Path, history: tuple[Epoch, ...], best: list[NDArray[np.generic]]) -> None:
        meta = {"identity": self._identity, "history": [asdict(line) for line in history]}
        arrays = {f"now{i}": variable.numpy() for i, variable in enumerate(self._variables)}
        arrays |= {f"best{i}": value for i, value in enumerate(best)}
        with replacing(path) as file:
            np.savez(file, meta=np.array(json.dumps(meta)), **arrays)


def _write_log(path: Path, history: tuple[Epoch, ...]) -> None:
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([field.name for field in fields(Epoch)])
        writer.writerows(asdict(line).values() for line in history)
        text.flush()
        text.detach()
