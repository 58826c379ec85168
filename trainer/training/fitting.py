"""How a method of the comparisons is trained: a network, or a random forest on a feature."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from trainer.data.dataset import PatchStore
from trainer.data.handcrafted import FEATURES, Extract
from trainer.errors import DataError
from trainer.scoring.metrics import Scored
from trainer.settings import Settings
from trainer.training.loop import Means, Outcome, load_best, logits_by_cache, train
from trainer.training.runs import PARTS, RUN_FILE, Data, Run, Sources, load_data, load_run

TREES = 500
SEED = 1
"""Of forests."""

FOREST = (
    "bins, gray levels and kinds of patterns are not known: of a feature's variants the one with "
    "the largest weighted AUC on the validation patches",
    f"random forest of {TREES} trees, both classes weighing alike; the publication's is not known",
)
"""What was assumed of forests."""

Logits = NDArray[np.float64]
Predict = Callable[[PatchStore], Logits]


@dataclass(frozen=True)
class Fitted:
    """A trained method, what was chosen, and how long training took (with its features)."""

    predict: Predict
    detail: str
    minutes: float


def identity(method: str, settings: Settings | None, data: Data, means: Means | None = None) -> str:
    """Digest of method, settings (none of a forest), parts, ImageNet weights and teacher."""
    parts = [getattr(data, name).digest() for name in PARTS]
    what = {"trees": TREES} if settings is None else settings.recorded()
    origins = {} if means is None else means.origins()
    taught = [origins["teacher"]] if "teacher" in origins else []
    whole = [method, what, data.split.name, parts, origins.get("imagenet"), *taught]
    text = json.dumps(whole, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def fit_forest(method: str, data: Data) -> Fitted:
    """Train a random forest per variant of a feature; the validation part chooses the variant."""
    best: tuple[float, Fitted] | None = None
    for variant, extract in FEATURES[method].variants.items():
        started = time.perf_counter()
        forest = RandomForestClassifier(
            TREES, class_weight="balanced", n_jobs=-1, random_state=SEED
        )
        forest.fit(_extract(extract, data.train.store), data.train.store.index.label)
        minutes = (time.perf_counter() - started) / 60
        predict = _forest_logits(forest, extract)
        validation = data.validation
        scored = Scored(predict(validation.store), validation.store.index.label)
        auc = scored.auc(validation.weight)
        if best is None or auc > best[0]:
            best = auc, Fitted(predict, f"{FEATURES[method].source}; {variant}", minutes)
    if best is None:
        raise DataError(f"{method} has no variant to compute.")
    return best[1]


def _forest_logits(forest: RandomForestClassifier, extract: Extract) -> Predict:
    def predict(store: PatchStore) -> Logits:
        share = forest.predict_proba(_extract(extract, store))[:, 1]
        # Half a tree: no forest is certain.
        inside = np.clip(share, 0.5 / TREES, 1 - 0.5 / TREES)
        return np.log(inside / (1 - inside))

    return predict


def _extract(extract: Extract, store: PatchStore) -> NDArray[np.float32]:
    return np.concatenate([extract(patches) for patches in store.batches()])


def train_run(
    sources: Sources, settings: Settings, folder: Path, means: Means, report: Callable[[str], None]
) -> tuple[Run, Data, Outcome]:
    """Train a network as sources and settings say, and keep in its folder what `export` needs.

    Arguments and errors are those of `load_data` and `train`.
    """
    data = load_data(sources)
    for line in data.lines():
        report(line)
    if warning := data.warning():
        report(warning)
    parts = data.train, data.validation
    outcome = train(*parts, settings, folder, report, means, data.split.name)
    return _kept(sources, settings, folder, means, outcome), data, outcome


def _kept(
    sources: Sources, settings: Settings, folder: Path, means: Means, outcome: Outcome
) -> Run:
    """Write what `export` needs of a run."""
    minutes = sum(line.seconds for line in outcome.history) / 60
    if (folder / RUN_FILE).exists():
        # Training a finished run again changes nothing, so neither may its date.
        date = load_run(folder).finished
    else:
        date = datetime.now(UTC).strftime("%Y-%m-%d")
    run = Run(settings, sources, date, minutes, **means.origins())
    run.save(folder)
    return run


def fit_network(
    sources: Sources,
    settings: Settings,
    data: Data,
    folder: Path,
    means: Means,
    report: Callable[[str], None],
) -> Fitted:
    """Train a network in a run folder, or go on there, and keep there what `export` needs.

    Parameters
    ----------
    sources : Sources
        What `data` were loaded from.
    """
    parts = data.train, data.validation
    outcome = train(*parts, settings, folder, report, means, data.split.name)
    run = _kept(sources, settings, folder, means, outcome)
    # Judged as it would be exported: in float32, whatever it was trained in.
    network, _ = load_best(settings, folder, *parts)
    cache = means.cache or folder / "cache"
    predict = logits_by_cache(network, settings, run.imagenet, cache)
    last = outcome.history[outcome.best_epoch]
    detail = f"recipe {settings.recipe}, epoch {last.epoch + 1} of {len(outcome.history)}"
    if last.collapsed:
        detail += f", COLLAPSED: {last.collapsed}"
    return Fitted(predict, detail, run.minutes)
