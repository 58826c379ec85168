"""What ``compare`` does: every method of the paper's Tables 2 to 5, under two protocols.

*paper*: SMOTE on all patches, then a random 80/20 split of patches; threshold 0.5. Leaky. The
official test cases take no part in it, so that the same weights also get an honest figure.

*official*: the published split of whole cases, without those that it does not name; Platt scaling
and threshold (largest Youden index) from its validation cases.

Each (method, protocol) is a file of its own, written when it is done: an interrupted comparison
goes on with what is missing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from trainer.calibration import Platt, fit_platt
from trainer.dataset import PatchStore
from trainer.errors import DataError, RunError
from trainer.evaluation import Confusion, Interval, Scored, evaluate, youden_threshold
from trainer.feeding import Part
from trainer.files import make_folder, replacing
from trainer.handcrafted import FEATURES, Extract
from trainer.networks import needs_imagenet, read_imagenet
from trainer.runs import Data, Sources, load_data
from trainer.settings import NETWORK_NAMES, Settings, recipe_settings
from trainer.training import Means, compiled, logits, train

PROTOCOLS = ("paper", "official")
METHODS = (*FEATURES, *NETWORK_NAMES)

TREES = 500
_SEED = 1

Logits = NDArray[np.float64]
Predict = Callable[[PatchStore], Logits]


@dataclass(frozen=True)
class Fitted:
    """A trained method, what was chosen, and how long training took (with its features)."""

    predict: Predict
    detail: str
    minutes: float


@dataclass(frozen=True)
class Result:
    """One method under one protocol.

    Attributes
    ----------
    identity : str
        Of method, settings and data: a result of another one is not reused.
    split, detail : str
    minutes : float
        Of training; of a forest with the computation of its features.
    patches, tested, cases : int
        Patches trained on; patches and cases of the protocol's own test.
    threshold : float
    figures : dict
        Set of patches and weighting -> figure -> value and interval.
    confusions : dict
        Set of patches and weighting -> confusion matrix.
    """

    method: str
    protocol: str
    identity: str
    split: str
    detail: str
    minutes: float
    patches: int
    tested: int
    cases: int
    threshold: float
    figures: dict[str, dict[str, Interval]]
    confusions: dict[str, Confusion]


def compare(
    sources: Sources,
    out: Path,
    methods: Sequence[str] | None = None,
    protocols: Sequence[str] | None = None,
    epochs: int | None = None,
    weights: Path | None = None,
    means: Means | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Iterator[Result]:
    """Run what is missing; yields each result when it is there.

    Parameters
    ----------
    sources : Sources
        Its store, splits and counts are used.
    out : Path
        Gets ``results/*.json`` and the run folders of networks.
    methods, protocols : sequence of str or None
        Of `METHODS` and `PROTOCOLS`; None: all.
    epochs : int or None
        Budget of networks; None: what their recipe says.
    weights : Path or None
        ImageNet weights of VGG-16, for the networks that start from them; None: Keras downloads.
    means : Means or None
        None: the defaults.

    Raises
    ------
    DataError, RunError, OutputError
    """
    chosen = {"method": methods or METHODS, "protocol": protocols or PROTOCOLS}
    for kind, known in (("method", METHODS), ("protocol", PROTOCOLS)):
        for name in chosen[kind]:
            if name not in known:
                raise DataError(f"There is no {kind} {name}; there are: {', '.join(known)}.")
    make_folder(out / "results")
    for protocol in chosen["protocol"]:
        data = load_data(_protocol_sources(sources, protocol))
        for method in chosen["method"]:
            recipe = "paper" if protocol == "paper" else "corrected"
            settings = None
            if method not in FEATURES:
                settings = recipe_settings(recipe, method, epochs=epochs)
            identity = _identity(method, settings, data)
            path = _result_path(out, method, protocol)
            done = read_result(path) if path.exists() else None
            if done is None or done.identity != identity:
                report(f"{method}, {protocol}: {data.split.name}")
                if settings is None:
                    fitted = fit_forest(method, data)
                else:
                    of = means or Means()
                    if needs_imagenet(settings):
                        of = replace(of, imagenet=read_imagenet(weights))
                    fitted = _fit_network(settings, data, out / "runs" / path.stem, of, report)
                done = _score(method, protocol, identity, fitted, data)
                _write_result(path, done)
            yield done


def read_results(out: Path) -> dict[tuple[str, str], Result]:
    """Read what there is of a comparison, by (method, protocol)."""
    found = [read_result(path) for path in sorted((out / "results").glob("*.json"))]
    return {(one.method, one.protocol): one for one in found}


def read_result(path: Path) -> Result:
    """Read a result; `RunError` where it is damaged."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        figures = {
            group: {name: Interval(**one) for name, one in of.items()}
            for group, of in document["figures"].items()
        }
        confusions = {group: Confusion(**of) for group, of in document["confusions"].items()}
        return Result(**document | {"figures": figures, "confusions": confusions})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
        raise RunError(f"{path} is damaged. Remove it and run the same command again.") from cause


def fit_forest(method: str, data: Data) -> Fitted:
    """Train a random forest per variant of a feature; the validation part chooses the variant."""
    best: tuple[float, Fitted] | None = None
    for variant, extract in FEATURES[method].variants.items():
        started = time.perf_counter()
        forest = RandomForestClassifier(
            TREES, class_weight="balanced", n_jobs=-1, random_state=_SEED
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


def _fit_network(
    settings: Settings, data: Data, folder: Path, means: Means, report: Callable[[str], None]
) -> Fitted:
    outcome = train(data.train, data.validation, settings, folder, report, means)
    forward = compiled(outcome.network.whole)
    last = outcome.history[outcome.best_epoch]
    detail = f"recipe {settings.recipe}, epoch {last.epoch + 1} of {len(outcome.history)}"
    if last.collapsed:
        detail += f", COLLAPSED: {last.collapsed}"
    minutes = sum(line.seconds for line in outcome.history) / 60
    return Fitted(lambda store: logits(forward, store), detail, minutes)


def _protocol_sources(sources: Sources, protocol: str) -> Sources:
    if protocol == "paper":
        return replace(sources, split="random-patch", imbalance="smote-before-split")
    return replace(sources, split="official", unlisted=False, imbalance="none")


def _identity(method: str, settings: Settings | None, data: Data) -> str:
    parts = [getattr(data, name).store.index.digest() for name in ("train", "validation", "test")]
    what = {"trees": TREES} if settings is None else settings.recorded()
    text = json.dumps([method, what, data.split.name, parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _score(method: str, protocol: str, identity: str, fitted: Fitted, data: Data) -> Result:
    if data.split.leaky:
        platt, threshold = Platt(1.0, 0.0), 0.5
        parts = {"test": data.test, "unseen": data.unseen}
    else:
        raw, validation = fitted.predict(data.validation.store), data.validation
        label = validation.store.index.label
        platt = fit_platt(raw, label, validation.weight)
        threshold = youden_threshold(Scored(platt.probability(raw), label), validation.weight)
        parts = {"validation": validation, "test": data.test}
    figures: dict[str, dict[str, Interval]] = {}
    confusions: dict[str, Confusion] = {}
    for name, part in parts.items():
        index = part.store.index
        probability = platt.probability(fitted.predict(part.store))
        scored = Scored(probability, index.label)
        for group, weight in _weightings(name, part).items():
            figures[group] = evaluate(probability, index.label, index.case, weight, threshold)
            confusions[group] = scored.confusion(weight, threshold)
    test = data.test.store.index
    return Result(
        method=method,
        protocol=protocol,
        identity=identity,
        split=data.split.name,
        detail=fitted.detail,
        minutes=fitted.minutes,
        patches=len(data.train.store.index),
        tested=len(test),
        cases=len(np.unique(test.case)),
        threshold=threshold,
        figures=figures,
        confusions=confusions,
    )


def _weightings(name: str, part: Part) -> dict[str, NDArray[np.float64]]:
    return {f"{name}_weighted": part.weight, f"{name}_unweighted": np.ones_like(part.weight)}


def _result_path(out: Path, method: str, protocol: str) -> Path:
    return out / "results" / f"{method}.{protocol}.json"


def _write_result(path: Path, result: Result) -> None:
    with replacing(path) as file:
        file.write((json.dumps(asdict(result), indent=1) + "\n").encode())
