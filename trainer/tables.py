"""The paper's Tables 2 to 5 beside what was measured here, as Markdown and CSV.

Tables are made of the results that are there: what was not run says so.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from trainer.comparison import Result, read_results
from trainer.evaluation import Confusion, Interval, decide
from trainer.files import replacing
from trainer.paper import (
    CITATION,
    NOTES,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    TABLE_5,
    Printed,
)
from trainer.settings import ASSUMPTIONS
from trainer.splits import LEAKY
from trainer.weighting import DESCRIPTION

MARKDOWN, CSV = "tables.md", "tables.csv"

NOT_RUN = "not run"
NOT_AT_HAND = "not at hand"

Results = Mapping[tuple[str, str], Result]

_TABLES = {
    "Table 3": ("The paper's three models", TABLE_3),
    "Table 4": ("Handcrafted features with a random forest", TABLE_4),
    "Table 5": ("Networks of other publications", TABLE_5),
}
_HEADER = (
    "method",
    "printed accuracy",
    "printed precision",
    "printed F1",
    "printed min",
    f"paper's protocol here, {LEAKY}: accuracy; precision, F1 of IDC; macro precision, F1; min",
    "same weights, unseen test cases: balanced accuracy; F1 of IDC",
    "official split, weighted: balanced accuracy; F1 of IDC; AUC",
    "official split, unweighted: balanced accuracy; F1 of IDC; AUC",
    "min",
)
_COLUMNS = ("table", "method", "source", "patches", "figure", "value", "low", "high")


def write_tables(out: Path) -> None:
    """Write ``tables.md`` and ``tables.csv`` from the results in a comparison's folder.

    Raises
    ------
    RunError
        A result is damaged.
    OutputError
    """
    results = read_results(out)
    with replacing(out / MARKDOWN) as file:
        file.write(render(results).encode())
    with replacing(out / CSV) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(_csv_rows(results))
        text.flush()
        text.detach()


def render(results: Results) -> str:
    """Return Tables 2 to 5 as Markdown."""
    notes = _Footnotes()
    lines = [
        "# The paper's tables, and what was measured here",
        "",
        "For Research Use Only. Not for use in diagnostic procedures.",
        "",
        f"*printed*: {CITATION} *{NOT_AT_HAND}*: that cell of the paper could not be read when "
        f"this was written. *{NOT_RUN}*: nobody ran it yet.",
        "",
        f"*Paper's protocol*: SMOTE on all patches, random 80/20 split of patches, threshold 0.5. "
        f"**{LEAKY}**: patches of one slide, and what was interpolated from them, are on both "
        "sides. The official test cases take no part in it; *same weights* scores them.",
        "",
        "*Official split*: the published split of whole cases; Platt scaling and threshold "
        "(largest Youden index) from its validation cases. In brackets: 95 % intervals by "
        f"bootstrap over cases. *Weighted*: {DESCRIPTION}. *Unweighted*: each patch counts once.",
        "",
        *_sizes(results),
        *_table_2(results, notes),
    ]
    for name, (title, rows) in _TABLES.items():
        lines += ["", f"## {name}. {title}", "", _row(*_HEADER), _rule(len(_HEADER))]
        lines += [_printed_row(row, results, notes) for row in rows]
    lines += ["", "## Notes", "", *notes.lines()]
    lines += ["", "## What was run", "", *_details(results)]
    run = sorted({method for method, _ in results if method in ASSUMPTIONS})
    if run:
        lines += ["", "## What the publications leave open, and what was assumed", ""]
        lines += [f"- {method}: {'; '.join(ASSUMPTIONS[method])}" for method in run]
    return "\n".join(lines) + "\n"


class _Footnotes:
    """Numbers notes in the order of their first mention."""

    def __init__(self) -> None:
        self._keys: list[str] = []

    def mark(self, *keys: str) -> str:
        self._keys += [key for key in keys if key not in self._keys]
        return "".join(f" [{self._keys.index(key) + 1}]" for key in keys)

    def lines(self) -> list[str]:
        return [f"{number}. {NOTES[key]}" for number, key in enumerate(self._keys, start=1)]


def _table_2(results: Results, notes: _Footnotes) -> list[str]:
    header = ("model", "source", "FN", "TN", "FP", "TP", "accuracy", "precision", "F1 of IDC")
    header = (*header, "macro precision", "macro F1")
    title = "## Table 2. Confusion matrices, in percent, and the figures that follow from them"
    lines = ["", title + notes.mark("sums", "half"), "", _row(*header), _rule(len(header))]
    for method, printed in TABLE_2.items():
        mark = notes.mark("last-cell") if method == "vgg16-finetuned" else ""
        lines.append(_confusion_row(method, "printed" + mark, printed))
        lines += [
            _confusion_row(method, source, found) if found else _row(method, source, NOT_RUN)
            for source, found in _confusions(method, results)
        ]
    return lines


def _confusions(method: str, results: Results) -> Iterator[tuple[str, Confusion | None]]:
    for protocol, group, source in (
        ("paper", "test_unweighted", f"paper's protocol here, {LEAKY}"),
        ("paper", "unseen_unweighted", "same weights, unseen test cases"),
        ("official", "test_unweighted", "official split"),
        ("official", "test_weighted", "official split, weighted"),
    ):
        result = results.get((method, protocol))
        yield source, result.confusions[group] if result else None


def _confusion_row(method: str, source: str, one: Confusion) -> str:
    total = one.tn + one.fp + one.fn + one.tp
    cells = [f"{100 * cell / total:.2f}" for cell in (one.fn, one.tn, one.fp, one.tp)]
    if source.startswith("printed"):
        cells = [f"{cell:g}" for cell in (one.fn, one.tn, one.fp, one.tp)]
    found = decide(one)
    of_idc = (found.accuracy, found.precision, found.f1_positive)
    figures = (*of_idc, found.precision_macro, found.f1_macro)
    return _row(method, source, *cells, *(f"{value:.3f}" for value in figures))


def _printed_row(row: Printed, results: Results, notes: _Footnotes) -> str:
    paper, official = (results.get((row.method, one)) for one in ("paper", "official"))
    cells = [row.title + notes.mark(*row.notes)]
    cells += [_plain(value) for value in (row.accuracy, row.precision, row.f1, row.minutes)]
    if paper:
        leaky, unseen = paper.figures["test_unweighted"], paper.figures["unseen_weighted"]
        names = ("accuracy", "precision", "f1_positive", "precision_macro", "f1_macro")
        values = [f"{leaky[name].value:.3f}" for name in names]
        cells.append(
            f"{values[0]}; {values[1]}, {values[2]}; {values[3]}, {values[4]}; {paper.minutes:.1f}"
        )
        cells.append(_intervals(unseen, "balanced_accuracy", "f1_positive"))
    else:
        cells += [NOT_RUN, NOT_RUN]
    for group in ("test_weighted", "test_unweighted"):
        names = ("balanced_accuracy", "f1_positive", "auc")
        cells.append(_intervals(official.figures[group], *names) if official else NOT_RUN)
    cells.append(f"{official.minutes:.1f}" if official else NOT_RUN)
    return _row(*cells)


def _intervals(figures: Mapping[str, Interval], *names: str) -> str:
    found = [figures[name] for name in names]
    return "; ".join(f"{one.value:.3f} ({one.low:.3f}–{one.high:.3f})" for one in found)


def _plain(value: float | None) -> str:
    return NOT_AT_HAND if value is None else f"{value:g}"


def _sizes(results: Results) -> list[str]:
    """Say how many patches and cases the results stand on, per protocol."""
    lines = []
    for protocol in ("paper", "official"):
        of = [one for one in results.values() if one.protocol == protocol]
        if of:
            counts = sorted({one.patches for one in of})
            patches = " or ".join(f"{count:,}" for count in counts)
            test = {round(_total(one.confusions["test_unweighted"])) for one in of}
            tested = " or ".join(f"{count:,}" for count in sorted(test))
            name = " / ".join(sorted({one.split for one in of}))
            lines.append(f"- {name}: {patches} patches train, {tested} test")
    return lines


def _total(one: Confusion) -> float:
    return one.tn + one.fp + one.fn + one.tp


def _details(results: Results) -> list[str]:
    header = ("method", "protocol", "what", "patches", "min", "threshold")
    rows = [
        _row(
            *(one.method, one.protocol, one.detail, f"{one.patches:,}"),
            *(f"{one.minutes:.1f}", f"{one.threshold:.3f}"),
        )
        for one in results.values()
    ]
    return [_row(*header), _rule(len(header)), *rows]


def _csv_rows(results: Results) -> Iterator[tuple[str | float, ...]]:
    for method, one in TABLE_2.items():
        for cell, value in vars(one).items():
            yield "Table 2", method, "printed", "", f"{cell}_percent", value, "", ""
    for name, (_, rows) in _TABLES.items():
        for row in rows:
            for figure in ("accuracy", "precision", "f1", "minutes"):
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
    for group, figures in result.figures.items():
        # Whole unseen cases are honest whatever the rest of the protocol was.
        of = "paper, unseen cases" if group.startswith("unseen") else source
        for figure, one in figures.items():
            numbers = (round(value, 6) for value in (one.value, one.low, one.high))
            yield table, method, of, group, figure, *numbers
        for cell, weight in vars(result.confusions[group]).items():
            yield table, method, of, group, cell, round(weight, 3), "", ""


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(columns: int) -> str:
    return "|---" * columns + "|"
