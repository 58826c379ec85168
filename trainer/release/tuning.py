"""``fit --from MODEL --tune last-block``: the last convolutions learn from a laboratory's cases.

What lies before them is computed once for each patch and variant and kept on disk. Each of the six
trainings (five without a group of cases, one with all) is a file when it has ended, so that an
interrupted command goes on; operators are deterministic, so that it ends with the same weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import onnx
import tensorflow as tf
from numpy.typing import NDArray
from onnx import helper

from idc_desktop.errors import UsageError
from trainer.data.dataset import PatchArray
from trainer.files import make_folder, replacing
from trainer.networks.optimizers import adam
from trainer.release.base_model import BaseModel, Logits, together
from trainer.release.onnx_file import open_session
from trainer.release.tail import LOGIT, Tail, Weights
from trainer.settings import Settings
from trainer.training.caching import Frozen
from trainer.training.feeding import Feed, Part, batches, make_feed

TUNING = Settings(
    network="vgg16-finetuned",
    epochs=4,
    variants=2,
    learning_rate=1e-4,
    pretrained_rate=2e-5,
    painted=0.0,
    clipnorm=1.0,
    taken="last",
)
"""Of the dense layers and, at the lower rate, the convolutions before them."""

_OF_NETWORKS = {"network", "recipe"}
_WITHOUT_EFFECT = {"taken", "patience", "taught", "mixed_precision", "head_epochs", "plain"}
_FORMER = "former"

Say = Callable[[str], None]


def tuning_settings(given: Mapping[str, Any]) -> Settings:
    """Return `TUNING` with what was given; `UsageError` where a value cannot be used."""
    named = {name: it for name, it in given.items() if it is not None and name not in _OF_NETWORKS}
    for name in named.keys() & _WITHOUT_EFFECT:
        raise UsageError(f"--{name.replace('_', '-')}: It is without effect on a last block.")
    return replace(TUNING, **named)


def tune(
    base: BaseModel, parts: Sequence[Part], settings: Settings, out: Path, say: Say
) -> tuple[onnx.ModelProto, list[Logits], list[Logits]]:
    """Train the last block on all cases, and without each group of them in turn.

    Parameters
    ----------
    parts : sequence of Part
        The groups.
    out : Path
        Gets what is computed on the way, in ``tuning``.

    Returns
    -------
    model : onnx.ModelProto
        Trained on all.
    said : list of ndarray, shape (n,)
        Log-odds of each group by what was trained without it.
    former : list of ndarray, shape (n,)
        Log-odds of each by the model as it was.

    Raises
    ------
    ModelError
        The model has no last block that can be trained.
    OutputError, RunError
    """
    tf.config.experimental.enable_op_determinism()
    tail = Tail(base.graph)
    front = _Front(base, tail)
    folder = out / "tuning"
    make_folder(folder)
    said, former = [], []
    for held, part in enumerate(parts):
        rest = [it for at, it in enumerate(parts) if at != held]
        what = f"without group {held + 1} of {len(parts)}"
        found = _tuned(front, rest, part, settings, folder / f"without{held + 1}.npz", what, say)
        said.append(found[LOGIT].astype(np.float64))
        former.append(found[_FORMER].astype(np.float64))
    weights = _tuned(front, parts, parts[0], settings, folder / "all.npz", "on all cases", say)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    return tail.written(weights), said, former


class _Front:
    """What lies before a tail: run by onnxruntime, its tensors side by side in one row a patch."""

    def __init__(self, base: BaseModel, tail: Tail) -> None:
        self.tail, self.sha256 = tail, base.sha256
        shown = onnx.ModelProto()
        shown.CopyFrom(base.graph)
        known = {it.name for it in shown.graph.output}
        for name in tail.given:
            if name not in known:
                value = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
                shown.graph.output.append(value)
        self._session = open_session(shown.SerializeToString())
        side = base.card.patch.side_px
        self._shapes = [it.shape[1:] for it in self._tensors(np.zeros((1, side, side, 3), "u1"))]
        widths = [math.prod(shape) for shape in self._shapes]
        self._cuts = np.cumsum(widths[:-1])
        self.frozen = Frozen(self._run, (sum(widths),), f"last-block-{base.sha256[:12]}")

    def _tensors(self, patches: PatchArray) -> list[NDArray[np.float32]]:
        return list(self._session.run(list(self.tail.given), {"patches": patches}))

    def _run(self, patches: PatchArray) -> NDArray[np.float32]:
        found = [it.reshape(len(patches), -1) for it in self._tensors(patches)]
        return np.concatenate(found, axis=1)

    def logits(self, rows: tf.Tensor) -> tf.Tensor:
        """Return what the tail says of rows, shape (n,)."""
        sizes = np.diff([0, *self._cuts, rows.shape[1]]).tolist()
        parts = tf.split(tf.cast(rows, tf.float32), sizes, axis=1)
        shaped = zip(self.tail.given, parts, self._shapes, strict=True)
        return self.tail.logits({name: tf.reshape(it, (-1, *of)) for name, it, of in shaped})


def _tuned(
    front: _Front,
    rest: Sequence[Part],
    held: Part,
    settings: Settings,
    path: Path,
    what: str,
    say: Say,
) -> Weights:
    """Train on some groups, and return the weights with the log-odds of another group."""
    part = together(rest)
    data = [part.digest(), held.digest()]
    text = json.dumps([front.sha256, settings.recorded(), data], sort_keys=True)
    identity = hashlib.sha256(text.encode()).hexdigest()
    # One that is damaged is made anew.
    with suppress(OSError, EOFError, ValueError, KeyError, BadZipFile), np.load(path) as kept:
        if str(kept["identity"]) == identity:
            return {name: kept[name] for name in kept.files if name != "identity"}

    def report(kind: str, done: int, total: int) -> None:
        if done == total or done % 1024 == 0:
            say(f"{what}: {kind}: {done:,}/{total:,} patches")

    feed = make_feed(front.frozen, part, held, settings, path.parent / "cache", report)
    _train(front, part, feed, settings, lambda line: say(f"{what}: {line}"))
    weights = front.tail.learned()
    forward, count = tf.function(front.logits, autograph=False), len(held.store.index)

    def answers(of: Weights | None) -> NDArray[np.float32]:
        front.tail.assign(of)
        rows = (np.arange(at, min(at + 256, count)) for at in range(0, count, 256))
        return np.concatenate([forward(feed.judged(some)).numpy() for some in rows])

    found = {**weights, LOGIT: answers(weights), _FORMER: answers(None)}
    arrays: dict[str, Any] = {**found, "identity": np.array(identity)}
    with replacing(path) as file:
        np.savez(file, **arrays)
    return found


def _train(front: _Front, part: Part, feed: Feed, settings: Settings, say: Say) -> None:
    tail = front.tail
    tail.assign()
    steps = math.ceil(len(part.store.index) / settings.batch)
    rates = (settings.learning_rate, tail.dense), (settings.pretrained_rate or 0, tail.convolutions)
    layers = [(adam(settings, rate, settings.epochs, steps), of) for rate, of in rates]
    for optimizer, of in layers:
        optimizer.build(of)
    trained = [*tail.dense, *tail.convolutions]

    @tf.function(autograph=False)
    def step(rows: tf.Tensor, label: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            each = tf.nn.sigmoid_cross_entropy_with_logits(label, front.logits(rows))
            loss = tf.reduce_mean(weight * each)
        gradients = tape.gradient(loss, trained)
        if settings.clipnorm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, settings.clipnorm)
        for optimizer, of in layers:
            mine, gradients = gradients[: len(of)], gradients[len(of) :]
            optimizer.apply_gradients(zip(mine, of, strict=True))
        return loss

    for epoch in range(settings.epochs):
        losses = [float(step(*batch)) for batch in batches(part, feed, settings, epoch)]
        say(f"epoch {epoch + 1}/{settings.epochs}  loss {np.mean(losses):.4f}")
