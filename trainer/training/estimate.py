"""``--dry-run``: what would be trained on what, and about how long and how large it gets."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from trainer.data.painting import paint_tissue
from trainer.networks.building import build
from trainer.settings import Settings
from trainer.training.runs import Data

_FROZEN_PATCHES = 32
_TIMED = 3


@dataclass(frozen=True)
class Estimate:
    """What one training costs here.

    Attributes
    ----------
    frozen_s, epochs_s : float
        Seconds of the frozen part, once, and of all epochs.
    cache_bytes : int
        Disk for the frozen part's output.
    """

    frozen_s: float
    epochs_s: float
    cache_bytes: int

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.frozen_s + self.epochs_s


def estimate(settings: Settings, data: Data) -> Estimate:
    """Time a few steps of the network on painted patches, and reckon the rest."""
    patch = data.train.store.patch
    network = build(settings, side_px=patch.side_px)
    patches = paint_tissue(np.random.default_rng(0), settings.batch, patch)
    count = len(data.train.store.index)
    every = math.ceil(count * (1 + settings.painted))
    frozen_s, cache = 0.0, 0
    inputs: np.ndarray = patches
    if network.frozen is not None:
        frozen, some = network.frozen, patches[:_FROZEN_PATCHES]
        per_patch = _timed(lambda: frozen(some, training=False)) / len(some)
        variants = settings.variants or 1
        rows = variants * every + len(data.validation.store.index)
        frozen_s = per_patch * rows
        cache = rows * math.prod(frozen.output_shape[1:]) * 2
        values = frozen(some, training=False).numpy()
        inputs = np.resize(values, (settings.batch, *values.shape[1:])).astype(np.float32)
    step_s = _timed(_step(network.trained, inputs))
    return Estimate(frozen_s, step_s * math.ceil(every / settings.batch) * settings.epochs, cache)


def _step(model: keras.Model, inputs: np.ndarray) -> Callable[[], object]:
    """Return one forward and backward pass, compiled."""

    @tf.function
    def step(given: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(given, training=True)))
        return tape.gradient(loss, model.trainable_variables)

    dtype = model.inputs[0].dtype
    given = tf.cast(inputs, dtype)
    return lambda: step(given)


def _timed(work: Callable[[], object]) -> float:
    work()  # it is compiled first
    started = time.perf_counter()
    for _ in range(_TIMED):
        work()
    return (time.perf_counter() - started) / _TIMED


def lines(trainings: list[tuple[str, Data]], settings: Settings | None) -> Iterator[str]:
    """Say what each training holds, and what all of them cost."""
    total, cache = 0.0, 0
    for what, data in trainings:
        yield f"{what}:"
        yield from (f"  {line}" for line in data.lines())
        if warning := data.warning():
            yield f"  {warning}"
    if settings is None:
        return
    found = estimate(settings, trainings[0][1])
    first = len(trainings[0][1].train.store.index)
    for _, data in trainings:
        total += found.epochs_s * len(data.train.store.index) / first
    # Trainings of one command share what the frozen part makes of a patch.
    largest = max(len(data.train.store.index) for _, data in trainings) / first
    total += found.frozen_s * largest
    cache = int(found.cache_bytes * largest)
    for name, value in settings.recorded().items():
        yield f"{name}: {value}"
    yield f"about {_duration(total)} on this machine as busy as it is now"
    if memory := _memory():
        yield f"about {memory / 1e9:.1f} GB of memory"
    if cache:
        yield f"about {cache / 1e9:.1f} GB of disk for the cache while it runs"


def _memory() -> int:
    """Return the most memory that this process has taken, bytes; 0 where that cannot be known."""
    if sys.platform == "win32":
        return 0
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
