"""A model's report as one HTML file: curves, cases, and the patches that it is most wrong about.

It shows patches and names cases, so it stays in the folder of the run; the Markdown report, which
does neither, may go with the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from idc_desktop.models.card import figure_text
from idc_desktop.plain_text import counted
from trainer.data.dataset import PatchStore
from trainer.scoring.html import Page
from trainer.scoring.metrics import ECE_NOTE, Scored
from trainer.training.crossvalidation import Tested
from trainer.training.figures import CLASSES, COLOURS

_WORST = 12


def write_model_page(
    path: Path, card: Mapping[str, Any], tested: Tested, store: PatchStore
) -> None:
    """Write the page of a model.

    Parameters
    ----------
    card : mapping
        The card's document.
    tested : Tested
        What was said out of fold.
    store : PatchStore
        Holds these patches.
    """
    idc = card["idc"]
    page = Page(f"{idc['name']} {idc['version']}")
    cases = len(np.unique(tested.index.case))
    page.text(
        f"{counted(len(tested.index), 'patch')} in {counted(cases, 'case')}, each judged by what "
        "was trained or fitted without its case. The page shows patches and names cases: it "
        "stays where the data may be."
    )
    page.heading("Figures")
    groups = idc["metrics"]
    names = list(next(iter(groups.values()), {}))
    page.text(
        "In brackets: 95 % intervals by bootstrap over cases, where there are five or more. "
        + ECE_NOTE
    )
    page.table(
        ("figure", *groups),
        [(name, *(figure_text(of.get(name)) for of in groups.values())) for name in names],
    )
    page.figure(_curves(tested), "Sensitivity and precision at every threshold; weighted.")
    page.figure(_reliability(tested), "Promised and observed shares of IDC; weighted.")
    page.items(line.removeprefix("- ") for line in tested.agreement().lines())
    page.heading("Cases")
    page.table(
        ("case", "patches", "IDC", "mean p", "share of IDC", "sensitivity", "specificity", "AUC"),
        _by_case(tested),
    )
    page.heading("The worst errors")
    _add_worst(page, tested, store)
    page.heading("Strong shifts of stain, light and sharpness")
    _add_shifts(page, idc.get("shifts"))
    page.heading("Limitations")
    page.items(idc.get("limitations", ()))
    page.write(path)


def _curves(tested: Tested) -> Figure:
    scored = Scored(tested.probability, tested.index.label)
    sensitivity, specificity = scored.rates(tested.weight)
    weight, label = tested.weight, tested.index.label
    share = float(weight[label == 1].sum() / weight.sum())
    called = share * sensitivity + (1 - share) * (1 - specificity)
    precision = np.divide(share * sensitivity, called, out=np.ones_like(called), where=called > 0)
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    left.plot(1 - specificity, sensitivity, color=COLOURS[0])
    left.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1))
    right.axhline(share, color="0.8", linewidth=1)
    right.plot(sensitivity, precision, color=COLOURS[0])
    right.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    return figure


def _reliability(tested: Tested) -> Figure:
    curve = Scored(tested.probability, tested.index.label).reliability(tested.weight)
    figure = Figure(figsize=(3.6, 3.6), layout="constrained")
    axes = figure.subplots()
    filled = curve.weight > 0
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    axes.plot(curve.promised[filled], curve.observed[filled], "o-", color=COLOURS[0])
    axes.set(xlabel="predicted probability", ylabel="share of IDC", xlim=(0, 1), ylim=(0, 1))
    return figure


def _by_case(tested: Tested) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for case in np.unique(tested.index.case):
        one = tested.take(tested.index.case == case)
        label, called = one.index.label == 1, one.called
        auc = "–"
        if label.any() and not label.all():
            scored = Scored(one.probability, one.index.label)
            auc = f"{scored.auc(np.ones(len(label))):.3f}"
        rows.append(
            (
                *(str(case), f"{len(label):,}", f"{label.sum():,}"),
                *(f"{one.probability.mean():.3f}", f"{label.mean():.3f}"),
                *(_share(called[label]), _share(~called[~label]), auc),
            )
        )
    return rows


def _share(of: NDArray[np.bool_]) -> str:
    return f"{of.mean():.3f}" if len(of) else "–"


def _add_worst(page: Page, tested: Tested, store: PatchStore) -> None:
    index = tested.index
    rows = {str(pixels): at for at, pixels in enumerate(store.index.sha256)}
    wrong = np.where(index.label == 1, 1 - tested.probability, tested.probability)
    for label in (0, 1):
        mine = np.flatnonzero(index.label == label)
        worst = mine[np.argsort(-wrong[mine], kind="stable")][:_WORST]
        page.text(f"Labelled {CLASSES[label]}, and most surely taken for the other:")
        seen = store.read(np.array([rows[str(index.sha256[at])] for at in worst], np.intp))
        for at, pixels in zip(worst, seen, strict=True):
            page.patch(
                pixels,
                f"p = {tested.probability[at]:.3f}, case {index.case[at]}, x {index.x[at]}, "
                f"y {index.y[at]}",
            )


def _add_shifts(page: Page, shifts: Mapping[str, Any] | None) -> None:
    if shifts is None:
        page.text(
            "Nobody looked: `idc-trainer evaluate MODEL --shifts` does, on cases that are held out."
        )
        return
    names = list(next(iter(shifts["figures"].values())))
    page.table(
        ("shift", *names),
        [
            (shift, *(figure_text(float(of[name])) for name in names))
            for shift, of in shifts["figures"].items()
        ],
    )
