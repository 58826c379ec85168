"""Training that survives a kill: every epoch ends in one checkpoint file, written whole.

All randomness of an epoch comes from (seed, epoch, batch), and the dropout generators are part of
the checkpoint, so a resumed run ends with the weights of an undisturbed one.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from idc_desktop.errors import UsageError
from idc_desktop.plain_files import open_file, read_bytes, read_json
from idc_desktop.plain_text import counted
from trainer.data.dataset import PatchArray, PatchStore
from trainer.errors import RunError
from trainer.files import make_folder, replacing, sole_user
from trainer.networks.building import Network, Weights, build, digest
from trainer.networks.optimizers import Optimizers
from trainer.settings import ASSUMPTIONS, Settings
from trainer.training.caching import Frozen, PatchSet, as_they_are, cached
from trainer.training.checkpoint import (
    CHECKPOINT,
    LOG_JSON,
    Arrays,
    Epoch,
    History,
    State,
    best_epoch,
    read_checkpoint,
    write_logs,
)
from trainer.training.devices import gpu_names
from trainer.training.feeding import Batch, Forward, Inputs, Part, Rows, Teacher, batches, make_feed
from trainer.training.figures import draw_curves
from trainer.training.judging import judge

AVERAGING = 0.997
"""Memory of the weights' running mean per step (300 steps). Validation of single epochs jumps by
several hundredths of AUC between cases; that of the mean does not."""

TUNING_COST = 4
"""Time of an epoch that also trains ImageNet layers, in epochs that train the new layers alone; 2
to 5 were measured. For the time left only."""

FROZEN_WEIGHTS = "frozen.npz"
CURVES = "curves.png"

Report = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """A finished training: the network of the chosen epoch, and the log."""

    network: Network
    history: History
    best_epoch: int


@dataclass(frozen=True)
class Means:
    """What a training runs with; none of it is asked of the data.

    Attributes
    ----------
    imagenet : Weights or None
        For networks that start from them.
    cache : Path or None
        Folder for the frozen part's output; `None`: ``cache`` in the run folder.
    strategy : tf.distribute.Strategy or None
        Over several GPUs; `None`: one device.
    teacher : Path or None
        Run folder of the network that teaches, trained on the same patches.
    """

    imagenet: Weights | None = None
    cache: Path | None = None
    strategy: tf.distribute.Strategy | None = None
    teacher: Path | None = None

    def beside(self, name: str) -> Means:
        """Return the means of a training in a folder of several: the teacher's is named alike."""
        return self if self.teacher is None else replace(self, teacher=self.teacher / name)

    def origins(self) -> dict[str, str]:
        """Return digests of what is trained from or taught by, by name."""
        found = {} if self.imagenet is None else {"imagenet": digest(self.imagenet)}
        if self.teacher is not None:
            path = self.teacher / CHECKPOINT
            if not path.is_file():
                raise RunError(f"{path} does not exist. Train the teacher first: --teacher.")
            found["teacher"] = hashlib.sha256(read_bytes(path)).hexdigest()
        return found


def compiled(model: keras.Model) -> Forward:
    """Compile a network for inference; the function follows later changes of the weights."""
    dtype = model.inputs[0].dtype

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), dtype)])
    def forward(inputs: tf.Tensor) -> tf.Tensor:
        return tf.cast(model(inputs, training=False)[:, 0], tf.float32)

    return lambda inputs: forward(inputs.astype(dtype, copy=False)).numpy().astype(np.float64)


def compiled_frozen(model: keras.Model) -> Callable[[PatchArray], NDArray[np.float32]]:
    """Compile the frozen part of a network: uint8 (n, 50, 50, 3) to float32 (n, ...)."""

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)])
    def run(patches: tf.Tensor) -> tf.Tensor:
        return tf.cast(model(patches, training=False), tf.float32)

    return lambda patches: run(patches).numpy()


def logits(forward: Forward, store: PatchStore, batch: int = 256) -> NDArray[np.float64]:
    """Run a network over a store; float64, shape (n,)."""
    return _run(forward, store.read, len(store.index), batch)


def logits_by_cache(
    network: Network, settings: Settings, imagenet: str | None, cache: Path
) -> Callable[[PatchStore], NDArray[np.float64]]:
    """Return what runs a network over a store as `logits` does.

    What its frozen part makes of patches is read from a training's cache, or put there; in
    float32, as files compute, whatever the training computed in.

    Parameters
    ----------
    imagenet : str or None
        Digest of the frozen part's weights.
    """
    frozen = _frozen(network, replace(settings, mixed_precision=False), imagenet)
    if frozen is None:
        whole = compiled(network.whole)
        return lambda store: logits(whole, store)
    forward = compiled(network.trained)

    def run(store: PatchStore) -> NDArray[np.float64]:
        count = len(store.index)
        [features] = cached(frozen, PatchSet(store.read, count), 1, as_they_are, cache)
        return _run(forward, features.__getitem__, count)

    return run


def _run(
    forward: Forward, read: Callable[[Rows], Inputs], count: int, batch: int = 256
) -> NDArray[np.float64]:
    order = np.arange(count)
    return np.concatenate([forward(read(order[at : at + batch])) for at in range(0, count, batch)])


def train(
    train_part: Part,
    validation: Part,
    settings: Settings,
    out: Path,
    report: Report = lambda line: None,
    means: Means = Means(),
    split: str = "",
) -> Outcome:
    """Train a network, or go on with a training that was interrupted.

    Parameters
    ----------
    train_part, validation : Part
        Disjoint cases. Validation picks the epoch (largest weighted AUPRC) and ends training.
    settings : Settings
    out : Path
        Run folder: the checkpoint and the logs. A checkpoint of the same settings and data is
        continued; one of others is refused.
    report : callable
        Gets a line per epoch, with the time left.
    means : Means
    split : str
        Name of the split, for logs and curves: that of a leaky one says so.

    Raises
    ------
    RunError
        `out` holds a run of other settings or data, or a damaged checkpoint.
    BusyError
        Another process trains there.
    OutputError
        A checkpoint or the cache cannot be written; what was there before is kept.
    """
    make_folder(out)
    with sole_user(out):
        return _train(train_part, validation, settings, out, report, means, split)


def _train(
    train_part: Part,
    validation: Part,
    settings: Settings,
    out: Path,
    report: Report,
    means: Means,
    split: str,
) -> Outcome:
    strategy = means.strategy or tf.distribute.get_strategy()
    # bfloat16 has the range of float32, so that the loss needs no scaling.
    precision = "mixed_bfloat16" if settings.mixed_precision else "float32"
    side_px = train_part.store.patch.side_px
    network, averaged = (
        build(settings, means.imagenet, strategy.scope(), precision, side_px) for _ in range(2)
    )
    with strategy.scope():
        steps = math.ceil(len(train_part.store.index) / settings.batch)
        optimizers = Optimizers(network, settings, steps)
    identity = settings.recorded() | _data_identity(train_part, validation) | means.origins()
    state = State(
        averaged.trained,
        [*network.trained.variables, *optimizers.variables],
        json.dumps(identity, sort_keys=True),
    )
    history, best = state.load(out / CHECKPOINT)
    if (settings.taught is None) != (means.teacher is None):
        raise UsageError("--taught needs a --teacher, and a teacher needs --taught.")
    if network.frozen is not None:
        _save_frozen(out / FROZEN_WEIGHTS, network.frozen)
    if _ended(history, settings):
        # What a finished run is fed need not be computed again.
        return _outcome(averaged, best, history, settings)
    teacher = None
    if means.teacher is not None:
        teacher = _load_teacher(means.teacher, train_part, validation)
    feed = make_feed(
        *(_frozen(network, settings, identity.get("imagenet")), train_part, validation, settings),
        *(means.cache or out / "cache", _Progress(report), teacher),
    )
    forward = compiled(averaged.trained)
    step = _stepper(network, averaged, optimizers, settings, strategy)
    while not _ended(history, settings):
        epoch = len(history)
        started = time.perf_counter()
        tune = epoch >= (settings.head_epochs or 0)
        found = [step(batch, tune) for batch in batches(train_part, feed, settings, epoch)]
        loss, accuracy = np.array(found, np.float64).mean(axis=0).tolist()
        rate = len(train_part.store.index) / (time.perf_counter() - started)
        if not math.isfinite(loss):
            raise RunError(f"The loss of epoch {epoch + 1} is not a number; lower --learning-rate.")
        judged = judge(_run(forward, feed.judged, len(validation.store.index)), validation)
        seconds = time.perf_counter() - started
        line = Epoch(
            epoch=epoch,
            loss=loss,
            accuracy=accuracy,
            **judged,
            seconds=seconds,
            patches_per_second=rate,
        )
        history = (*history, line)
        if best_epoch(history, settings) == epoch:
            best = [np.asarray(variable) for variable in averaged.trained.variables]
        state.save(out / CHECKPOINT, history, best)
        write_logs(out, history, {"split": split} | _about(settings, identity, strategy))
        title = ", ".join(filter(None, (settings.network, split)))
        draw_curves(history, best_epoch(history, settings), title, out / CURVES)
        report(_line(line, settings))
        if line.collapsed:
            report(f"ALARM: the network has collapsed: {line.collapsed}.")
    return _outcome(averaged, best, history, settings)


def _outcome(network: Network, best: Arrays, history: History, settings: Settings) -> Outcome:
    _assign(network.trained, best)
    return Outcome(network, history, best_epoch(history, settings))


def _ended(history: History, settings: Settings) -> bool:
    """Whether all epochs are done, or too many since the best one."""
    waited = len(history) - 1 - best_epoch(history, settings) if history else 0
    return len(history) >= settings.epochs or waited >= settings.patience


def load_best(
    settings: Settings, out: Path, train_part: Part, validation: Part
) -> tuple[Network, History]:
    """Rebuild the chosen network of a run from its folder.

    Raises
    ------
    RunError
        A file of the run is missing or damaged, or the run was trained on other data.
    """
    network = build(settings, side_px=train_part.store.patch.side_px)
    stored = read_checkpoint(out / CHECKPOINT, len(network.trained.variables))
    if not _data_identity(train_part, validation).items() <= json.loads(stored.identity).items():
        raise RunError(
            f"{out} was trained on other patches or natural counts than its sources hold now. "
            "Bring those back, or train again with another --out."
        )
    _assign(network.trained, stored.best)
    if network.frozen is not None:
        path = out / FROZEN_WEIGHTS
        try:
            with open_file(path) as file, np.load(file, allow_pickle=False) as arrays:
                network.frozen.set_weights([arrays[name] for name in arrays.files])
        except (OSError, EOFError, ValueError) as cause:
            raise RunError(
                f"{path} is missing or damaged. Remove it and run `idc-trainer train` again."
            ) from cause
    return network, stored.history


def _load_teacher(folder: Path, train_part: Part, validation: Part) -> Teacher:
    """Rebuild a network that teaches; `RunError` unless it was trained on the same patches."""
    try:
        log = read_json(folder / LOG_JSON)
        settings, imagenet = Settings(**log["settings"]), log["imagenet"]
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise RunError(f"{folder} holds no training that could teach.") from cause
    network, _ = load_best(settings, folder, train_part, validation)
    # The frozen part computes as it did in the teacher's training, and shares what is cached.
    precision = "mixed_bfloat16" if settings.mixed_precision else "float32"
    working = build(settings, precision=precision, side_px=train_part.store.patch.side_px)
    frozen = _frozen(working, settings, imagenet)
    if frozen is None or network.frozen is None or working.frozen is None:
        raise RunError(f"{folder}: only a network with a frozen part teaches, a VGG-16 network.")
    working.frozen.set_weights(network.frozen.get_weights())
    return Teacher(frozen, compiled(network.trained))


def _data_identity(train_part: Part, validation: Part) -> dict[str, str]:
    return {"train": train_part.digest(), "val": validation.digest()}


def _stepper(
    network: Network,
    averaged: Network,
    optimizers: Optimizers,
    settings: Settings,
    strategy: tf.distribute.Strategy,
) -> Callable[[Batch, bool], NDArray[np.float32]]:
    """Return the function that does one step and returns (loss, accuracy)."""
    model = network.trained
    dtype = model.inputs[0].dtype

    def replica(
        inputs: tf.Tensor, label: tf.Tensor, weight: tf.Tensor, share: tf.Tensor, tune: bool
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logit = tf.cast(model(tf.cast(inputs, dtype), training=True)[:, 0], tf.float32)
            each = tf.nn.sigmoid_cross_entropy_with_logits(label, logit)
            loss = tf.reduce_mean(weight * each) * share
        optimizers.apply(tape, loss, tune)
        right = tf.cast((logit > 0) == (label > 0.5), tf.float32)
        return tf.stack([loss, tf.reduce_mean(right) * share])

    @tf.function(reduce_retracing=True)
    def step(batch: Any, tune: bool) -> tf.Tensor:  # noqa: ANN401 - one batch, or one per replica
        found = strategy.reduce("SUM", strategy.run(replica, (*batch, tune)), axis=None)
        # The first steps forget faster, or the mean would long hold the random start.
        done = optimizers.steps_done
        keep = tf.minimum(AVERAGING, (1 + done) / (10 + done))
        for mean, now in zip(averaged.trained.weights, model.weights, strict=True):
            mean.assign(now.value if settings.plain else keep * mean.value + (1 - keep) * now.value)
        return found

    replicas = strategy.num_replicas_in_sync
    return lambda batch, tune: step(
        (*batch, np.float32(1)) if replicas == 1 else _spread(batch, strategy), tune
    ).numpy()


def _spread(batch: Batch, strategy: tf.distribute.Strategy) -> Any:  # noqa: ANN401
    """Cut a batch into one part per replica; each part's share of the loss goes with it."""
    inputs, label, weight = batch
    replicas = strategy.num_replicas_in_sync
    if (lacking := replicas - len(label)) > 0:
        # A replica without any patch could not normalise its batch: give it one that weighs 0.
        again = np.arange(lacking) % len(label)
        inputs = np.concatenate([inputs, inputs[again]])
        label = np.concatenate([label, label[again]])
        weight = np.concatenate([weight, np.zeros(lacking, np.float32)])
    cuts = zip(*(np.array_split(one, replicas) for one in (inputs, label, weight)), strict=True)
    parts = [(*cut, np.float32(len(cut[1]) / len(label))) for cut in cuts]

    def part(context: tf.distribute.InputContext, which: int) -> tf.Tensor:
        return tf.convert_to_tensor(parts[context.replica_id_in_sync_group][which])

    return tuple(
        strategy.experimental_distribute_values_from_function(
            lambda context, which=which: part(context, which)
        )
        for which in range(4)
    )


def _line(line: Epoch, settings: Settings) -> str:
    left = settings.epochs - line.epoch - 1
    if line.epoch < (head := settings.head_epochs or 0):
        left += max(settings.epochs - head, 0) * (TUNING_COST - 1)
    return (
        f"epoch {line.epoch + 1}/{settings.epochs}  loss {line.loss:.4f}  "
        f"val AUC {line.auc:.4f}  AUPRC {line.auprc:.4f}  "
        f"{line.patches_per_second:,.0f} patches/s  at most {line.seconds * left / 60:.0f} min left"
    )


class _Progress:
    """Turns the progress of what is cached into a line now and then, with the time left."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._started = self._told = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._told < 10:
            return
        took = now - self._started
        left = took / done * (total - done) / 60
        self._report(
            f"{what}: {done:,}/{counted(total, 'patch')}  "
            f"{done / took:,.0f} patches/s  {left:.1f} min left"
        )
        self._told = now
        if done == total:
            self._started = now


def _frozen(network: Network, settings: Settings, imagenet: str | None) -> Frozen | None:
    """Return what the cache needs of a frozen part; `imagenet` is the digest of its weights."""
    if network.frozen is None:
        return None
    key = imagenet[:12] if imagenet is not None else "random"
    precision = "-mixed" if settings.mixed_precision else ""
    return Frozen(
        compiled_frozen(network.frozen),
        network.frozen.output_shape[1:],
        f"{settings.network}-{settings.recipe}-{key}{precision}",
    )


def _save_frozen(path: Path, frozen: keras.Model) -> None:
    """Keep the frozen weights with the run, so that it can be exported without their source."""
    if not path.exists():
        arrays: dict[str, Any] = {f"w{i}": np.asarray(one) for i, one in enumerate(frozen.weights)}
        with replacing(path) as file:
            np.savez(file, **arrays)


def _assign(model: keras.Model, values: Arrays) -> None:
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)


def _about(
    settings: Settings, identity: dict[str, Any], strategy: tf.distribute.Strategy
) -> dict[str, Any]:
    return {
        "settings": settings.recorded(),
        "assumptions": ASSUMPTIONS[settings.network] if settings.recipe == "paper" else (),
        "data": {name: identity[name] for name in ("train", "val")},
        "imagenet": identity.get("imagenet"),
        "teacher": identity.get("teacher"),
        "devices": gpu_names() or ["CPU"],
        "replicas": strategy.num_replicas_in_sync,
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
    }
