"""The paper's Tables 2 to 5 beside what was measured here, as Markdown and CSV.

Tables are made of the results that are there: what was not run says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path

from idc_desktop.plain_text import counted
from trainer.data.splits import LEAKY
from trainer.data.weighting import DESCRIPTION
from trainer.files import replacing, write_csv
from trainer.paper.comparison import Result, assumptions, read_results
from trainer.paper.printed import (
    BESIDE,
    CITATION,
    NOTES,
    TABLE_2,
    TABLE_2_NOTES,
    TABLE_3,
    TABLE_4,
    TABLE_5,
    TITLE_NOTES,
    Printed,
)
from trainer.scoring.markdown import interval, table
from trainer.scoring.metrics import Confusion, decide

MARKDOWN, CSV = "comparison.md", "comparison.csv"

NOT_RUN = "not run"
NOT_AT_HAND = "not at hand"

Results = Mapping[tuple[str, str], Result]

_TABLES = {
    "Table 3": ("The paper's three models", TABLE_3),
    "Table 4": ("Handcrafted features with a random forest", TABLE_4),
    "Table 5": ("Networks of other publications", TABLE_5),
    "Beside the paper": ("Networks that it has no row of", BESIDE),
}
_PRINTED = {"accuracy": "accuracy", "precision": "precision", "f1": "F1", "minutes": "min"}
_LEAKY = {
    "accuracy": "accuracy",
    "precision": "precision",
    "f1_positive": "F1",
    "precision_macro": "macro precision",
    "f1_macro": "macro F1",
}
_HONEST = {"balanced_accuracy": "BAC", "f1_positive": "F1", "auc": "AUC"}
_GROUPS = (
    ("paper", "unseen_weighted", "same weights, unseen cases"),
    ("official", "test_weighted", "official"),
    ("official", "test_unweighted", "official, unweighted"),
)
_SOURCES = (
    ("paper", "test_unweighted", f"paper's protocol here, {LEAKY}"),
    ("paper", "unseen_unweighted", "same weights, unseen test cases"),
    ("official", "test_unweighted", "official split"),
    ("official", "test_weighted", "official split, weighted"),
)
"""Protocol, set of patches and weighting, and name of what stands below a row of Table 2."""
_COLUMNS = ("table", "method", "source", "patches", "figure", "value", "low", "high")


def write_tables(out: Path) -> None:
    """Write ``comparison.md`` and ``comparison.csv`` from the results in a comparison's folder.

    Raises
    ------
    RunError
        A result is damaged.
    OutputError
    """
    results = read_results(out)
    with replacing(out / MARKDOWN) as file:
        file.write(render(results).encode())
    write_csv(out / CSV, [_COLUMNS, *_csv_rows(results)])


def render(results: Results) -> str:
    """Return Tables 2 to 5 as Markdown."""
    notes = _Footnotes()
    lines = [
        "# The paper's tables, and what was measured here",
        "",
        "For Research Use Only. Not for use in diagnostic procedures.",
        "",
        f"*printed*: {CITATION} *{NOT_AT_HAND}*: that cell of the paper could not be read when "
        f"this was written. *{NOT_RUN}*: nobody ran it yet, or there were no such cases.",
        "",
        f"*Paper's protocol*: SMOTE on all patches, random 80/20 split of patches, threshold 0.5. "
        f"**{LEAKY}**: patches of one slide, and what was interpolated from them, are on both "
        "sides; its columns are marked LEAKY. The official test cases take no part in it: *same "
        "weights, unseen cases* are the figures of the same weights on them, weighted. Networks "
        "are trained by the recipe `paper`.",
        "",
        "*Official split*: the published split of whole cases; Platt scaling and threshold "
        "(largest Youden index) from its validation cases. In brackets: 95 % intervals by "
        f"bootstrap over cases. *Weighted*: {DESCRIPTION}. *Unweighted*: each patch counts once. "
        "Networks are trained by the recipe `corrected`, which departs from the paper's settings "
        "on purpose.",
        "",
        "BAC: balanced accuracy. F1 and precision are those of the class IDC unless called macro. "
        "min: of training, of a forest with its features, on a machine shared with other work. The "
        "printed figures are of other patches and cases than those at hand, so our columns compare "
        "with each other first.",
        "",
        *_sizes(results),
        *_table_2(results, notes),
    ]
    for name, (title, rows) in _TABLES.items():
        title += notes.mark(*TITLE_NOTES.get(name, ()))
        lines += ["", f"## {name}. {title}", "", *_table(rows, results, notes)]
    lines += ["", "## Notes", "", *notes.lines()]
    lines += ["", "## What was run", "", *_details(results)]
    if assumed := assumptions(results):
        lines += ["", "## What the publications leave open, and what was assumed", ""]
        lines += ["The networks of Table 3 as the recipe `paper` has them.", ""]
        lines += [f"- {of}: {'; '.join(texts)}" for of, texts in assumed.items()]
    return "\n".join(lines) + "\n"


class _Footnotes:
    """Numbers notes in the order of their first mention."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def mark(self, *keys: str) -> str:
        """Return the marks of notes about the paper."""
        return "".join(self._add(NOTES[key]) for key in keys)

    def mark_short(self, *results: Result | None) -> str:
        """Return a mark for each result of fewer epochs than its recipe has."""
        return "".join(
            self._add(
                f"Under the protocol *{one.protocol}* the budget of epochs was {one.epochs}, where "
                f"the recipe has {one.recipe_epochs}."
            )
            for one in results
            if one and one.epochs < one.recipe_epochs
        )

    def lines(self) -> list[str]:
        return [f"{number}. {text}" for number, text in enumerate(self._texts, start=1)]

    def _add(self, text: str) -> str:
        if text not in self._texts:
            self._texts.append(text)
        return f" [{self._texts.index(text) + 1}]"


def _table_2(results: Results, notes: _Footnotes) -> list[str]:
    cells_and_idc = ("FN", "TN", "FP", "TP", "accuracy", "precision", "F1 of IDC")
    header = ("model", "source", *cells_and_idc, "macro precision", "macro F1")
    title = "## Table 2. Confusion matrices, in percent, and the figures that follow from them"
    lines = ["", title + notes.mark(*TITLE_NOTES["Table 2"]), ""]
    rows = []
    for method, printed in TABLE_2.items():
        source = "printed" + notes.mark(*TABLE_2_NOTES.get(method, ()))
        cells = (printed.fn, printed.tn, printed.fp, printed.tp)
        rows.append((method, source, *map(str, cells), *_decided(printed)))
        for protocol, group, source in _SOURCES:
            result = results.get((method, protocol))
            found = result.confusions.get(group) if result else None
            figures = _percent(found) if found else [NOT_RUN] * 9
            rows.append((method, source + notes.mark_short(result), *figures))
    return [*lines, *table(header, rows)]


def _percent(one: Confusion) -> list[str]:
    total = one.tn + one.fp + one.fn + one.tp
    cells = (one.fn, one.tn, one.fp, one.tp)
    return [*(f"{100 * cell / total:.2f}" for cell in cells), *_decided(one)]


def _decided(one: Confusion) -> list[str]:
    found = decide(one)
    of_idc = (found.accuracy, found.precision, found.f1_positive)
    return [f"{value:.3f}" for value in (*of_idc, found.precision_macro, found.f1_macro)]


def _table(rows: tuple[Printed, ...], results: Results, notes: _Footnotes) -> list[str]:
    """Lay out a table; columns of which no printed cell is at hand are left out."""
    printed = {
        field: name
        for field, name in _PRINTED.items()
        if any(getattr(row, field) is not None for row in rows)
    }
    header = ["method", *(f"printed {name}" for name in printed.values())]
    header += [f"LEAKY {name}" for name in (*_LEAKY.values(), "min")]
    for _, _, title in _GROUPS:
        header += [f"{title}: {name}" for name in _HONEST.values()]
    lines = []
    for row in rows:
        paper, official = (results.get((row.method, one)) for one in ("paper", "official"))
        cells = [row.title + notes.mark(*row.notes) + notes.mark_short(paper, official)]
        cells += [_plain(getattr(row, field)) for field in printed]
        if paper:
            figures = paper.figures["test_unweighted"]
            cells += [f"{figures[name].value:.3f}" for name in _LEAKY]
        else:
            cells += [NOT_RUN] * len(_LEAKY)
        cells.append(_minutes(paper))
        for protocol, group, _ in _GROUPS:
            result = results.get((row.method, protocol))
            cells += (
                [interval(result.figures[group][name]) for name in _HONEST]
                if result and group in result.figures
                else [NOT_RUN] * len(_HONEST)
            )
        lines.append((*cells, _minutes(official)))
    return table((*header, "official: min"), lines)


def _minutes(result: Result | None) -> str:
    return f"{result.minutes:.1f}" if result else NOT_RUN


def _plain(value: float | None) -> str:
    return NOT_AT_HAND if value is None else f"{value:g}"


def _sizes(results: Results) -> list[str]:
    """Say how many patches and cases the results stand on."""
    return sorted(
        {
            f"- {one.split}: {counted(one.patches, 'patch')} train, {one.tested:,} of "
            f"{counted(one.cases, 'case')} "
            "test"
            for one in results.values()
        }
    )


def _details(results: Results) -> list[str]:
    header = ("method", "protocol", "what", "epochs given", "patches", "min", "threshold")
    rows = [
        (
            *(one.method, one.protocol, one.detail),
            f"{one.epochs} of {one.recipe_epochs}" if one.recipe_epochs else "–",
            *(f"{one.patches:,}", f"{one.minutes:.1f}", f"{one.threshold:.3f}"),
        )
        for one in results.values()
    ]
    return table(header, rows)


def _csv_rows(results: Results) -> Iterator[tuple[str | float, ...]]:
    for method, one in TABLE_2.items():
        for cell, value in vars(one).items():
            yield "Table 2", method, "printed", "", f"{cell}_percent", value, "", ""
    for name, (_, rows) in _TABLES.items():
        for row in rows:
            for figure in () if rows is BESIDE else _PRINTED:
                value = getattr(row, figure)
                shown = NOT_AT_HAND if value is None else value
                yield name, row.method, "printed", "", figure, shown, "", ""
            for protocol in ("paper", "official"):
                yield from _result_rows(name, row.method, protocol, results)


def _result_rows(
    table: str, method: str, protocol: str, results: Results
) -> Iterator[tuple[str | float, ...]]:
    source = f"{protocol}: {LEAKY}" if protocol == "paper" else protocol
    result = results.get((method, protocol))
    if result is None:
        yield table, method, source, "", "", NOT_RUN, "", ""
        return
    yield table, method, source, "train", "minutes", round(result.minutes, 2), "", ""
    if result.recipe_epochs:
        yield table, method, source, "train", "epochs", result.epochs, "", ""
        yield table, method, source, "train", "recipe_epochs", result.recipe_epochs, "", ""
    for group, figures in result.figures.items():
        # Whole unseen cases are honest whatever the rest of the protocol was.
        of = "paper, unseen cases" if group.startswith("unseen") else source
        for figure, one in figures.items():
            numbers = ("" if it is None else round(it, 6) for it in astuple(one))
            yield table, method, of, group, figure, *numbers
        for cell, weight in vars(result.confusions[group]).items():
            yield table, method, of, group, cell, round(weight, 3), "", ""
