"""What ``compare`` does: every method of the paper's Tables 2 to 5, under two protocols.

*paper*: SMOTE on all patches, then a random 80/20 split of patches; threshold 0.5. Leaky. The
official test cases take no part in it, so that the same weights also get an honest figure.

*official*: the published split of whole cases, without those that it does not name; Platt scaling
and threshold (largest Youden index) from its validation cases.

Each (method, protocol) is a file of its own, written when it is done: an interrupted comparison
goes on with what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from idc_desktop.errors import UsageError
from idc_desktop.plain_files import read_json
from trainer.data.handcrafted import DEFINITIONS, FEATURES
from trainer.data.imbalance import SMOTE_ASSUMPTIONS
from trainer.data.splits import VALIDATION_SHARE
from trainer.data.weighting import weightings
from trainer.errors import RunError
from trainer.files import make_folder, replacing, sole_user
from trainer.networks.building import needs_imagenet, read_imagenet
from trainer.scoring.calibration import Platt, calibrate
from trainer.scoring.metrics import Confusion, Interval, Scored, evaluate
from trainer.settings import ASSUMPTIONS, NETWORK_NAMES, RECIPES, Settings, recipe_settings
from trainer.training.fitting import FOREST, SEED, Fitted, fit_forest, fit_network, identity
from trainer.training.loop import Means
from trainer.training.runs import Data, Sources, load_data

PROTOCOLS = ("paper", "official")
METHODS = (*FEATURES, *NETWORK_NAMES)

_PROTOCOL_ASSUMPTIONS = (
    *SMOTE_ASSUMPTIONS,
    f"validation: {VALIDATION_SHARE * 100:g} % of the training patches, at random; the text gives "
    "that share for the features only",
    "neither seeds, repeats nor intervals are stated: one run, with seed "
    f"{Sources.split_seed} of SMOTE and split, {Settings.seed} of networks, {SEED} of forests",
    "the order of the classes is not stated: Table 2 is read with IDC as the positive one",
)


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
    epochs, recipe_epochs : int
        Budget that a network was given, and its recipe's; 0 of a forest.
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
    epochs: int
    recipe_epochs: int
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
    UsageError, DataError, RunError, OutputError
    """
    chosen = {"method": methods or METHODS, "protocol": protocols or PROTOCOLS}
    for kind, known in (("method", METHODS), ("protocol", PROTOCOLS)):
        for name in chosen[kind]:
            if name not in known:
                raise UsageError(f"There is no {kind} {name}; there are: {', '.join(known)}.")
    # All protocols are cut first: one that cannot be run is refused before hours of training.
    cut = {one: _protocol_sources(sources, one) for one in chosen["protocol"]}
    data = {one: load_data(of) for one, of in cut.items()}
    for part in data.values():
        part.require_test()
    make_folder(out / "results")
    with sole_user(out):
        for protocol, of in cut.items():
            for method in chosen["method"]:
                start = data[protocol], out, epochs, weights
                yield _run(method, protocol, of, *start, means or Means(), report)


def _run(
    method: str,
    protocol: str,
    sources: Sources,
    data: Data,
    out: Path,
    epochs: int | None,
    weights: Path | None,
    means: Means,
    report: Callable[[str], None],
) -> Result:
    """Train and score a method, unless its result is there."""
    recipe = "paper" if protocol == "paper" else "corrected"
    settings, imagenet = None, None
    if method not in FEATURES:
        settings = recipe_settings(recipe, method, epochs=epochs)
        if needs_imagenet(settings):
            imagenet = read_imagenet(weights)
    own = identity(method, settings, data, Means(imagenet))
    path = _result_path(out, method, protocol)
    if path.exists() and (done := read_result(path)).identity == own:
        return done
    report(f"{method}, {protocol}: {data.split.name}")
    if settings is None:
        fitted = fit_forest(method, data)
    else:
        of = replace(means, imagenet=imagenet)
        fitted = fit_network(sources, settings, data, out / "runs" / path.stem, of, report)
    done = _score(method, protocol, own, settings, fitted, data)
    _write_result(path, done)
    return done


def assumptions(run: Collection[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return what was assumed where publications leave something open, by what it is of.

    Parameters
    ----------
    run : collection of (method, protocol)
    """
    methods, protocols = {method for method, _ in run}, {protocol for _, protocol in run}
    found: dict[str, tuple[str, ...]] = {}
    if "paper" in protocols:
        found["the paper's protocol"] = _PROTOCOL_ASSUMPTIONS
    if methods.intersection(FEATURES):
        found["handcrafted features"] = (*DEFINITIONS, *FOREST)
    return found | {name: ASSUMPTIONS[name] for name in sorted(methods.intersection(ASSUMPTIONS))}


def read_results(out: Path) -> dict[tuple[str, str], Result]:
    """Read what there is of a comparison, by (method, protocol)."""
    found = [read_result(path) for path in sorted((out / "results").glob("*.json"))]
    return {(one.method, one.protocol): one for one in found}


def read_result(path: Path) -> Result:
    """Read a result; `RunError` where it is damaged."""
    try:
        document: dict[str, Any] = read_json(path)
        figures = {
            group: {name: Interval(**one) for name, one in of.items()}
            for group, of in document["figures"].items()
        }
        confusions = {group: Confusion(**of) for group, of in document["confusions"].items()}
        return Result(**document | {"figures": figures, "confusions": confusions})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
        raise RunError(f"{path} is damaged. Remove it and run the same command again.") from cause


def _protocol_sources(sources: Sources, protocol: str) -> Sources:
    if protocol == "paper":
        return replace(sources, split="random-patch", imbalance="smote-before-split")
    return replace(sources, split="official", unlisted=False, imbalance="none")


def _score(
    method: str, protocol: str, own: str, settings: Settings | None, fitted: Fitted, data: Data
) -> Result:
    if data.split.leaky:
        platt, threshold = Platt(1.0, 0.0), 0.5
        parts = {"test": data.test}
        if len(data.unseen.store.index):
            parts["unseen"] = data.unseen
    else:
        validation = data.validation
        raw = fitted.predict(validation.store)
        platt, threshold = calibrate(raw, validation.store.index.label, validation.weight)
        parts = {"validation": validation, "test": data.test}
    figures: dict[str, dict[str, Interval]] = {}
    confusions: dict[str, Confusion] = {}
    for name, part in parts.items():
        index = part.store.index
        probability = platt.stored(fitted.predict(part.store))
        scored = Scored(probability, index.label)
        for kind, weight in weightings(part.weight).items():
            group = f"{name}_{kind}"
            figures[group] = evaluate(probability, index.label, index.case, weight, threshold)
            confusions[group] = scored.confusion(weight, threshold)
    test = data.test.store.index
    return Result(
        method=method,
        protocol=protocol,
        identity=own,
        split=data.split.name,
        detail=fitted.detail,
        minutes=fitted.minutes,
        epochs=settings.epochs if settings else 0,
        recipe_epochs=RECIPES[settings.recipe, method].epochs if settings else 0,
        patches=len(data.train.store.index),
        tested=len(test),
        cases=len(np.unique(test.case)),
        threshold=threshold,
        figures=figures,
        confusions=confusions,
    )


def _result_path(out: Path, method: str, protocol: str) -> Path:
    return out / "results" / f"{method}.{protocol}.json"


def _write_result(path: Path, result: Result) -> None:
    with replacing(path) as file:
        file.write((json.dumps(asdict(result), indent=1) + "\n").encode())
