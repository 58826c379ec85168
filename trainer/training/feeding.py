"""What an epoch is made of: which patches, in which order and weight, as which random variants.

A network without a frozen part is fed pixels, varied anew in every batch. One with a frozen part
is fed that part's cached output, another of the cached variants in every epoch. One that is taught
by a network with a frozen part is fed the pixels of those variants, cached as well, and learns the
teacher's answers to them beside the labels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.augmentation import POLICIES, turn, unchanged
from trainer.data.dataset import PatchArray, PatchStore
from trainer.data.painting import paint_background
from trainer.data.weighting import loss_weights
from trainer.settings import Settings
from trainer.training.caching import Frozen, PatchIds, PatchSet, Vary, as_they_are, cached

PAINTED_POOL = 2000
"""Painted patches are made once and turned anew each time: painting costs more than a step."""


Inputs = NDArray[Any]
Rows = NDArray[np.intp]
Forward = Callable[[Inputs], NDArray[np.float64]]
"""Inputs of a network, (n, ...), to logits (n,)."""
Draw = Callable[[np.random.Generator, int, Rows], Inputs]
"""(randomness, epoch, positions) to random variants of training patches."""
Batch = tuple[Inputs, NDArray[np.float32], NDArray[np.float32]]
"""Inputs, labels and weights."""


@dataclass(frozen=True)
class Part:
    """Patches with their weights: what an epoch is made of, or is judged on.

    `class_weights` makes both classes weigh alike in the loss.
    """

    store: PatchStore
    weight: NDArray[np.float64]
    class_weights: bool = False

    def take(self, which: Rows) -> Part:
        """Return the part of some patches, by position."""
        return Part(self.store.take(which), self.weight[which], self.class_weights)

    def digest(self) -> str:
        """SHA-256 of patches and weights: equal for parts that train alike."""
        found = hashlib.sha256(f"{self.store.index.digest()} {self.class_weights}".encode())
        # Sums differ in their last digits between processors.
        found.update(self.weight.round(3).astype("<f4").tobytes())
        if self.store.blend is not None:
            found.update(self.store.blend.partner.astype("<i8").tobytes())
            found.update(self.store.blend.share.astype("<f4").tobytes())
        return found.hexdigest()


@dataclass(frozen=True)
class Teacher:
    """A trained network that teaches another: its frozen part, and what follows that."""

    frozen: Frozen
    trained: Forward

    def answer(self, features: Inputs, size: int = 1024) -> NDArray[np.float32]:
        """Return its probabilities of IDC, shape (n,)."""
        starts = range(0, len(features), size)
        logit = np.concatenate([self.trained(features[at : at + size]) for at in starts])
        # tanh does not overflow where exp would.
        return (0.5 + 0.5 * np.tanh(0.5 * logit)).astype(np.float32)


def _pixels(side_px: int) -> Frozen:
    """Return what changes nothing: it has the variants themselves cached."""
    shape = (side_px, side_px, 3)
    return Frozen(lambda patches: patches.astype(np.float32), shape, "pixels")


@dataclass(frozen=True)
class Feed:
    """What the trained part of a network is given.

    Attributes
    ----------
    real : callable
        Variants of training patches.
    label : callable
        What training patches at some positions are in an epoch, 0 ... 1.
    painted : callable
        Variants of painted background patches.
    painted_count : int
    judged : callable
        Validation patches at some positions, as they are.
    """

    real: Draw
    label: Callable[[int, Rows], NDArray[np.float32]]
    painted: Draw
    painted_count: int
    judged: Callable[[Rows], Inputs]


def make_feed(
    frozen: Frozen | None,
    train_part: Part,
    validation: Part,
    settings: Settings,
    cache: Path,
    report: Callable[[str, int, int], None],
    teacher: Teacher | None = None,
) -> Feed:
    """Prepare what the network is fed, running its frozen part over all patches if it has one.

    Parameters
    ----------
    frozen : Frozen or None
    cache : Path
        Folder for the frozen part's output.
    report : callable
        Called with (what, patches done, patches in all) while the cache is filled.
    teacher : Teacher, optional
        Of a network without a frozen part.

    Raises
    ------
    OutputError, RunError
        See `trainer.training.caching.cached`.
    """
    wanted = math.ceil(settings.painted * len(train_part.store.index) * settings.epochs)
    pool = np.random.default_rng(settings.seed)
    patch = train_part.store.patch
    none = np.empty((0, patch.side_px, patch.side_px, 3), np.uint8)
    painted = paint_background(pool, min(wanted, PAINTED_POOL), patch) if wanted else none
    augment = POLICIES[settings.augmentation]
    label = train_part.store.index.label.astype(np.float32)
    if frozen is None and teacher is None:
        return Feed(
            lambda rng, epoch, rows: augment(rng, train_part.store.read(rows), None),
            lambda epoch, rows: label[rows],
            lambda rng, epoch, rows: augment(rng, painted[rows], None),
            len(painted),
            validation.store.read,
        )

    variants = 1 if augment is unchanged else (settings.variants or 1)

    def vary(variant: int, ids: PatchIds, patches: PatchArray) -> PatchArray:
        # Eight variants show each patch in each of its eight flips and turns.
        kinds = ((ids + np.uint64(variant)) % np.uint64(8)).astype(np.intp)
        each = (
            augment(
                np.random.default_rng([settings.seed, variant, int(ids[at])]),
                patches[at : at + 1],
                kinds[at : at + 1],
            )
            for at in range(len(patches))
        )
        return np.concatenate([*each])

    def run(what: str, by: Frozen, patches: PatchSet, of: Vary = vary) -> Draw:
        if not patches.count:
            return lambda rng, epoch, rows: np.empty((0, *by.shape), np.float16)
        found = cached(
            *(by, patches, variants if of is vary else 1, of, cache),
            lambda done, total: report(what, done, total),
        )
        return lambda rng, epoch, rows: found[epoch % len(found)][rows]

    real = PatchSet(train_part.store.read, len(label))
    background = PatchSet(lambda rows: painted[rows], len(painted))
    nothing = np.random.default_rng(0)
    if frozen is not None:
        seen = PatchSet(validation.store.read, len(validation.store.index))
        judged = run("frozen part, validation", frozen, seen, as_they_are)
        return Feed(
            run("frozen part, training", frozen, real),
            lambda epoch, rows: label[rows],
            run("frozen part, painted", frozen, background),
            len(painted),
            lambda rows: judged(nothing, 0, rows),
        )
    assert teacher is not None  # neither of the two is above
    features = run("frozen part, teacher", teacher.frozen, real)
    share = settings.taught or 0.0
    every = np.arange(len(label))
    labels = [
        share * teacher.answer(features(nothing, variant, every)) + (1 - share) * label
        for variant in range(variants)
    ]
    as_is = _pixels(patch.side_px)
    pixels = run("variants, training", as_is, real)
    glass = run("variants, painted", as_is, background)
    return Feed(
        lambda rng, epoch, rows: turn(rng, pixels(rng, epoch, rows)),
        lambda epoch, rows: labels[epoch % variants][rows],
        lambda rng, epoch, rows: turn(rng, glass(rng, epoch, rows)),
        len(painted),
        validation.store.read,
    )


def batches(part: Part, feed: Feed, settings: Settings, epoch: int) -> Iterator[Batch]:
    """Yield the batches of an epoch; the next one is made while one is used.

    All randomness comes from (seed, epoch, batch).
    """
    order = np.random.default_rng([settings.seed, epoch]).permutation(len(part.store.index))
    weight = loss_weights(part.weight, part.store.index.label, settings.balance, part.class_weights)

    def make(start: int) -> Batch:
        rng = np.random.default_rng([settings.seed, epoch, start])
        rows = order[start : start + settings.batch]
        inputs = feed.real(rng, epoch, rows)
        batch = inputs, feed.label(epoch, rows), weight[rows]
        if extra := round(settings.painted * len(rows)):
            background = feed.painted(rng, epoch, rng.integers(0, feed.painted_count, extra))
            batch = (
                np.concatenate([inputs, background]),
                np.concatenate([batch[1], np.zeros(extra, np.float32)]),
                np.concatenate([batch[2], np.ones(extra, np.float32)]),
            )
        return mixed(rng, batch, settings.mixup) if settings.mixup else batch

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(make, 0)
        for start in range(settings.batch, len(order) + settings.batch, settings.batch):
            batch = waiting.result()
            if start < len(order):
                waiting = pool.submit(make, start)
            yield batch


def mixed(rng: np.random.Generator, batch: Batch, concentration: float) -> Batch:
    """Mix each example of a batch with another one: mixup (Zhang et al. 2018).

    The loss of a mixed example is that of its two labels, each at its share and weight: cross
    entropy is linear in the label, so one label between 0 and 1 stands for both.

    Parameters
    ----------
    concentration : float
        Both parameters of the beta distribution that the shares are drawn from.
    """
    inputs, label, weight = batch
    other = rng.permutation(len(label))
    share = rng.beta(concentration, concentration, len(label)).astype(np.float32)
    wide = share.reshape(-1, *[1] * (inputs.ndim - 1))
    values = wide * inputs + (1 - wide) * inputs[other]
    if np.issubdtype(inputs.dtype, np.integer):
        values = np.rint(values)
    own, others = share * weight, (1 - share) * weight[other]
    both = own + others
    positive = own * label + others * label[other]
    return (
        values.astype(inputs.dtype),
        np.divide(positive, both, out=np.zeros_like(both), where=both > 0),
        both,
    )
