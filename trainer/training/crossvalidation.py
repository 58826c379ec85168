"""What ``crossvalidate`` does: every case at hand is judged by a network that never saw it.

Of five groups of whole cases one is held out and four train; five times. The network is that of
the last epoch: the group held out chooses nothing. Calibration and threshold of a group are fitted
to what was said of the four others, each by the network that did not see it.

Each fold is a file of its own, written when it is done: an interrupted command goes on with what
is missing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idc_desktop.plain_files import read_json
from idc_desktop.plain_text import counted
from trainer.data.dataset import PatchIndex, load_store
from trainer.data.splits import FOLDS, NO_CASES, OfficialCases, thinness
from trainer.data.weighting import DESCRIPTION, weightings
from trainer.errors import RunError
from trainer.files import make_folder, replacing, sole_user, write_csv
from trainer.scoring.calibration import Agreement, agreement, calibrate
from trainer.scoring.markdown import interval, table
from trainer.scoring.metrics import (
    ECE_NOTE,
    Interval,
    Metrics,
    Scored,
    decide,
    with_intervals,
)
from trainer.settings import Settings
from trainer.training.feeding import Part
from trainer.training.fitting import fit_network, identity
from trainer.training.loop import Means
from trainer.training.runs import Data, Sources, load_data

MARKDOWN, PREDICTIONS = "crossvalidation.md", "predictions.csv"

_SHOWN = ("auc", "auprc", "balanced_accuracy", "f1_positive", "ece")


@dataclass(frozen=True)
class Fold:
    """What one fold's network says of its test cases.

    Attributes
    ----------
    fold : int
        From 1.
    identity : str
        Of network, settings and data: a fold of others is not reused.
    detail : str
        Recipe and epoch taken.
    minutes : float
        Of training.
    patches : int
        Trained on.
    logit : list of float
        Of the patches held out, in the order of the store.
    """

    fold: int
    identity: str
    detail: str
    minutes: float
    patches: int
    logit: list[float]


@dataclass(frozen=True)
class Tested:
    """Patches held out and what was said of them: of one fold, of some cases, or of all.

    Attributes
    ----------
    index : PatchIndex
    weight : ndarray of float, shape (n,)
        Of the natural mix.
    logit : ndarray of float, shape (n,)
    probability : ndarray of float, shape (n,)
        Calibrated by the other folds.
    called : ndarray of bool, shape (n,)
        Whether that reaches the other folds' threshold.
    fold : ndarray of int, shape (n,)
        From 1.
    """

    index: PatchIndex
    weight: NDArray[np.float64]
    logit: NDArray[np.float64]
    probability: NDArray[np.float64]
    called: NDArray[np.bool_]
    fold: NDArray[np.intp]

    def take(self, rows: NDArray[Any]) -> Tested:
        """Return some patches, by position or by mask."""
        where = np.arange(len(self.index))[rows]
        others = (getattr(self, field.name)[where] for field in fields(self)[1:])
        return Tested(self.index.take(where), *others)

    def figures(self, weight: NDArray[np.float64]) -> dict[str, Interval]:
        """Compute every figure of `Metrics` with its interval, by name."""
        label = self.index.label
        said = Scored(self.probability, label)
        # The folds have thresholds of their own, so decisions are scored as they were made.
        called = Scored(self.called.astype(np.float64), label)
        return with_intervals(
            lambda of: Metrics.of(said.ranking(of), decide(called.confusion(of, 0.5))),
            *(label, self.index.case, weight),
        )

    def agreement(self) -> Agreement:
        """Compare the probabilities with the labels, weighted."""
        return agreement(self.probability, self.index.label, self.index.case, self.weight)


@dataclass(frozen=True)
class Crossvalidation:
    """All folds, and all patches with what was said of them, in the order of the store."""

    folds: tuple[Fold, ...]
    tested: Tested

    def of(self, fold: int) -> Tested:
        """Return what one fold held out."""
        return self.tested.take(self.tested.fold == fold)


def crossvalidate(
    sources: Sources,
    settings: Settings,
    out: Path,
    means: Means,
    report: Callable[[str], None] = lambda line: None,
) -> Crossvalidation:
    """Train and test what is missing of the five folds.

    Parameters
    ----------
    sources : Sources
        Split and fold are set here.
    settings : Settings
        The epoch taken is the last one, whatever they say.
    out : Path
        Gets ``fold<N>.json`` and the run folder ``fold<N>``, which can be exported.
    means : Means
        Without a cache folder, ``cache`` in `out` serves all folds and is removed after the last.

    Raises
    ------
    DataError, RunError, OutputError
    """
    settings = replace(settings, taken="last")
    # All folds are cut first: one that cannot be used is refused before any has trained.
    cut = [replace(sources, split="held-out", fold=number + 1) for number in range(FOLDS)]
    folds = [load_data(one) for one in cut]
    for data in folds:
        data.require_test()
    if few := thinness(load_store(sources.store).index):
        report(f"WARNING: only {few}. What the folds say is largely chance. Add cases.")
    make_folder(out)
    # A patch is in the training part of four folds: what the frozen part says of it serves all.
    shared = replace(means, cache=means.cache or out / "cache")
    with sole_user(out):
        found = tuple(
            _fold(of, data, settings, out, shared.beside(f"fold{of.fold}"), report)
            for of, data in zip(cut, folds, strict=True)
        )
        if means.cache is None:
            shutil.rmtree(out / "cache", ignore_errors=True)
    return Crossvalidation(found, judge(found, [data.test for data in folds]))


def _fold(
    sources: Sources,
    data: Data,
    settings: Settings,
    out: Path,
    means: Means,
    report: Callable[[str], None],
) -> Fold:
    own = identity(settings.network, settings, data, means)
    number = sources.fold
    path = out / f"fold{number}.json"
    if path.exists() and (done := _read(path)).identity == own:
        return done
    report(data.split.name)
    fitted = fit_network(sources, settings, data, out / f"fold{number}", means, report)
    done = Fold(
        fold=number,
        identity=own,
        detail=fitted.detail,
        minutes=fitted.minutes,
        patches=len(data.train.store.index),
        logit=fitted.predict(data.test.store).tolist(),
    )
    with replacing(path) as file:
        file.write((json.dumps(asdict(done)) + "\n").encode())
    return done


def judge(folds: Sequence[Fold], parts: Sequence[Part]) -> Tested:
    """Pool what the folds say, each calibrated by all others; sorted by case, place and label.

    Parameters
    ----------
    parts : sequence of Part
        What each fold held out.
    """

    def joined(values: Iterable[Any]) -> Any:  # noqa: ANN401 - arrays of one type
        return np.concatenate(list(values))

    index = PatchIndex(
        *(joined(getattr(one.store.index, f.name) for one in parts) for f in fields(PatchIndex))
    )
    weight = joined(one.weight for one in parts)
    logit = joined(np.array(one.logit) for one in folds)
    fold = joined(np.full(len(one.logit), one.fold) for one in folds)
    probability, called = np.empty(len(logit)), np.empty(len(logit), bool)
    for one in folds:
        own = fold == one.fold
        platt, threshold = calibrate(logit[~own], index.label[~own], weight[~own])
        probability[own] = platt.stored(logit[own])
        called[own] = probability[own] >= threshold
    tested = Tested(index, weight, logit, probability, called, fold)
    return tested.take(np.lexsort((index.label, index.y, index.x, index.case)))


def write_report(
    found: Crossvalidation, settings: Settings, cases: OfficialCases, out: Path
) -> dict[str, dict[str, Interval]]:
    """Write the pooled predictions as CSV and their figures as Markdown.

    Parameters
    ----------
    cases : OfficialCases
        Names groups of cases to be looked at apart.
    out : Path
        Gets ``crossvalidation.md`` and ``predictions.csv``.

    Returns
    -------
    dict
        The figures of all cases, by weighting.
    """
    tested = found.tested
    index = tested.index
    columns = {
        **{"case": index.case, "x": index.x, "y": index.y, "label": index.label},
        **{"weight": tested.weight.round(6), "fold": tested.fold},
        **{"logit": tested.logit.round(6), "probability": tested.probability},
        "called": tested.called.astype(int),
    }
    write_csv(out / PREDICTIONS, [columns, *zip(*columns.values(), strict=True)])
    figures = {name: tested.figures(of) for name, of in weightings(tested.weight).items()}
    with replacing(out / MARKDOWN) as file:
        file.write(_render(found, figures, settings, cases).encode())
    return figures


def _render(
    found: Crossvalidation,
    figures: Mapping[str, Mapping[str, Interval]],
    settings: Settings,
    cases: OfficialCases,
) -> str:
    folds, tested, index = found.folds, found.tested, found.tested.index
    names = [field.name for field in fields(Metrics)]
    lines = [
        f"# {settings.network} in {len(folds)} folds of whole cases",
        "",
        "For Research Use Only. Not for use in diagnostic procedures.",
        "",
        f"Each of {counted(len(np.unique(index.case)), 'case')} "
        f"({counted(len(index), 'patch')}) is "
        "judged by a network that was not trained on it, of the last epoch, with the calibration "
        "and threshold of the other folds. In brackets: 95 % intervals by bootstrap over "
        f"cases. *weighted*: {DESCRIPTION}. *unweighted*: each patch at hand counts once. "
        f"{ECE_NOTE}",
        "",
        *table(
            ("figure", *figures),
            [(name, *(interval(of[name]) for of in figures.values())) for name in names],
        ),
        "",
        *tested.agreement().lines(),
        "",
        "## By fold, weighted",
        "",
        *table(
            ("fold", "what", "trained on", "min", "cases", "patches", *_SHOWN),
            [
                (
                    *(str(one.fold), one.detail, f"{one.patches:,}", f"{one.minutes:.1f}"),
                    *_sizes(found.of(one.fold)),
                    *_shown(found.of(one.fold)),
                )
                for one in folds
            ],
        ),
    ]
    if groups := _groups(tested, cases):
        lines += ["", "## By the part of the official split that a case is of, weighted", ""]
        header = ("part", "cases", "patches", *_SHOWN)
        rows = [(name, *_sizes(part), *_shown(part)) for name, part in groups.items()]
        lines += table(header, rows)
    lines += ["", "## Settings", ""]
    lines += [f"- {name}: {value}" for name, value in settings.recorded().items()]
    return "\n".join(lines) + "\n"


def _groups(tested: Tested, cases: OfficialCases) -> dict[str, Tested]:
    """Cut by the published split, where it is known; groups of one class are left out."""
    if cases == NO_CASES:
        return {}
    case = tested.index.case
    masks = {name: np.isin(case, sorted(of)) for name, of in vars(cases).items()}
    masks["in none"] = ~np.any(list(masks.values()), axis=0)
    groups = {name: tested.take(mask) for name, mask in masks.items()}
    return {name: of for name, of in groups.items() if len(np.unique(of.index.label)) == 2}


def _sizes(part: Tested) -> tuple[str, str]:
    return str(len(np.unique(part.index.case))), f"{len(part.index):,}"


def _shown(part: Tested) -> list[str]:
    figures = part.figures(part.weight)
    return [interval(figures[name]) for name in _SHOWN]


def _read(path: Path) -> Fold:
    try:
        return Fold(**read_json(path))
    except (OSError, ValueError, TypeError) as cause:
        raise RunError(f"{path} is damaged. Remove it and run the same command again.") from cause
