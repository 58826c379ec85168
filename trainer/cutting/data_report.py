"""``prepare --report``: what is in the data, and what may spoil a training, on one page."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from idc_desktop.plain_text import counted
from trainer.data.dataset import PatchStore
from trainer.data.preparing import PrepareReport
from trainer.data.splits import thinness
from trainer.data.survey import NearPair, Stain, near_duplicates, survey_stain
from trainer.data.weighting import CASE_CAP
from trainer.errors import named
from trainer.scoring.html import Page
from trainer.training.figures import CLASSES, COLOURS

_PAIRS_SHOWN = 8


def write_data_report(
    path: Path,
    report: PrepareReport,
    store: PatchStore,
    known: Mapping[str, Set[str]],
) -> None:
    """Write the page.

    Parameters
    ----------
    known : mapping
        Name of a file of case ids -> the ids in it.
    """
    page = Page("The data")
    index, patch = store.index, store.patch
    cases = np.unique(index.case)
    page.text(
        f"{counted(len(index), 'patch')} of {patch.side_px} x {patch.side_px} px at "
        f"{patch.spacing_um_px:g} µm per pixel ({patch.edge_um:g} µm) in "
        f"{counted(len(cases), 'case')}: "
        f"{report.negative:,} {CLASSES[0]}, {report.positive:,} {CLASSES[1]}."
    )
    page.text("It shows patches and names cases: it stays where the data may be.")
    if few := thinness(index):
        page.text(f"There are {few}: figures of a model will be largely chance.", warning=True)
    page.heading("Files")
    page.items(report.lines()[3:])
    _add_ids(page, set(map(str, cases)), known)
    stain = survey_stain(store)
    _add_cases(page, store, stain)
    _add_stain(page, stain)
    _add_duplicates(page, store)
    page.write(path)


def _add_ids(page: Page, at_hand: Set[str], known: Mapping[str, Set[str]]) -> None:
    if not known:
        return
    page.heading("Case ids that match nothing")
    for name, ids in known.items():
        for what, missing in (
            (f"in {name}, not in the data", ids - at_hand),
            (f"in the data, not in {name}", at_hand - ids),
        ):
            page.text(f"{len(missing):,} {what}" + (f": {named(missing)}" if missing else ""))


def _add_cases(page: Page, store: PatchStore, stain: Stain) -> None:
    index = store.index
    names, which = np.unique(index.case, return_inverse=True)
    total = np.bincount(which, minlength=len(names))
    positive = np.bincount(which, index.label, len(names)).astype(int)
    page.heading("Cases")
    largest = total.max() / total.sum()
    if largest > 0.2:
        page.text(
            f"The largest case holds {largest:.0%} of all patches. A case weighs as much as "
            f"{CASE_CAP:g} patches at most.",
            warning=True,
        )
    single = int(((positive == 0) | (positive == total)).sum())
    page.text(f"{counted(single, 'case')} of one class only.")
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axes = figure.subplots()
    order = np.argsort(-total, kind="stable")
    at = np.arange(len(names))
    axes.bar(at, (total - positive)[order], 1, color=COLOURS[0], label=CLASSES[0])
    axes.bar(at, positive[order], 1, (total - positive)[order], color=COLOURS[1], label=CLASSES[1])
    axes.set(xlabel="cases, the largest first", ylabel="patches")
    axes.legend(frameon=False)
    page.figure(figure, "Patches of each case.")
    page.table(
        ("case", "patches", CLASSES[0], CLASSES[1], "share of IDC", "stain, deviation"),
        [
            (
                *(str(names[at]), f"{total[at]:,}", f"{total[at] - positive[at]:,}"),
                *(f"{positive[at]:,}", f"{positive[at] / total[at]:.0%}"),
                f"{stain.deviation[at]:.1f}",
            )
            for at in order
        ],
    )


def _add_stain(page: Page, stain: Stain) -> None:
    page.heading("Stain")
    if stain.outlying:
        page.text(
            f"{counted(len(stain.outlying), 'case')} stained unlike the others: "
            f"{named(stain.outlying)}.",
            warning=True,
        )
    else:
        page.text("No case is stained unlike the others.")
    figure = Figure(figsize=(4.5, 3.6), layout="constrained")
    axes = figure.subplots()
    odd = np.isin(stain.case, stain.outlying)
    for which, colour in ((~odd, COLOURS[0]), (odd, COLOURS[1])):
        axes.scatter(stain.density[which, 0], stain.density[which, 1], s=14, color=colour)
    axes.set(xlabel="mean optical density, red", ylabel="green")
    page.figure(figure, "Mean optical density of each case; unlike the others: red.")


def _add_duplicates(page: Page, store: PatchStore) -> None:
    pairs, left_out = near_duplicates(store)
    case = store.index.case
    across = [pair for pair in pairs if case[pair.first] != case[pair.second]]
    within = [pair for pair in pairs if case[pair.first] == case[pair.second]]
    page.heading("Nearly the same pictures")
    page.text(
        f"{len(within):,} pairs within a case, {len(across):,} across cases; "
        f"{counted(left_out, 'patch')} "
        "are too plain, or like too many others, to be compared."
    )
    if across:
        page.text(
            "Pictures that two cases share are in the training and the test part at once, and make "
            "figures better than they are. Is one patient there under two names? A group column "
            "keeps such cases together.",
            warning=True,
        )
    for pair in [*across, *within][:_PAIRS_SHOWN]:
        _show(page, store, pair)


def _show(page: Page, store: PatchStore, pair: NearPair) -> None:
    rows = np.array([pair.first, pair.second])
    for at, pixels in zip(rows, store.read(rows), strict=True):
        index = store.index
        page.patch(
            pixels,
            f"case {index.case[at]}, x {index.x[at]}, y {index.y[at]}, "
            f"{CLASSES[int(index.label[at])]}",
        )
