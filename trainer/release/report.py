"""The text report of an exported model: figures only, no pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from idc_desktop.models.card import ModelCard, parse_card
from idc_desktop.plain_text import counted
from trainer.data.imbalance import SMOTE_ASSUMPTIONS
from trainer.release.model_card import Document, to_json
from trainer.release.onnx_file import Exported
from trainer.scoring.calibration import Agreement
from trainer.scoring.markdown import interval, table
from trainer.scoring.metrics import ECE_NOTE, Interval, Metrics
from trainer.settings import ASSUMPTIONS
from trainer.training.checkpoint import Epoch, History, best_epoch
from trainer.training.runs import Run

CURVES = "curves"
"""The picture that belongs to the log."""


@dataclass(frozen=True)
class BackgroundCheck:
    """How often painted background of the test seed would be called IDC."""

    patches: int
    mean: float
    share_called: float


def render(
    card: Document,
    exported: Exported,
    run: Run,
    history: History,
    background: BackgroundCheck,
    agreed: Agreement,
    patches_per_second: float,
    cases: str,
    pictures: Mapping[str, str],
) -> str:
    """Return the report as Markdown.

    Parameters
    ----------
    agreed : Agreement
        Of the figures named `cases`.
    pictures : dict
        Names of files beside the report, by what they show.
    """
    idc = card["idc"]
    best = history[best_epoch(history, run.settings)]
    rule = (
        "the last one" if run.settings.taken == "last" else "largest weighted AUPRC on validation"
    )
    without = "" if run.imagenet is None else " without the frozen part, which is run before"
    alarms = sum(bool(line.collapsed) for line in history)
    rates = sorted(line.patches_per_second for line in history)
    lines = [
        f"# {idc['name']} {idc['version']}",
        "",
        "For Research Use Only. Not for use in diagnostic procedures.",
        "",
        f"- file: `{exported.path.name}`, {exported.size:,} bytes, SHA-256 `{exported.sha256}`",
        f"- recipe `{idc['recipe']}`, trained {idc['created']} (UTC)",
        f"- training: {counted(idc['training']['patches'], 'patch')} "
        f"({idc['training']['patches_idc']:,} IDC) of {idc['training']['cases']} cases, "
        f"split `{idc['training']['split']}`",
        f"- {len(history)} epochs in {run.minutes:.1f} min{without}, epoch {best.epoch + 1} taken "
        f"({rule}); median {rates[len(rates) // 2]:,.0f} patches/s",
        *([] if run.imagenet is None else [f"- ImageNet weights: SHA-256 `{run.imagenet}`"]),
        f"- collapse alarm: {best.collapsed or 'none'}"
        + (f" ({alarms} of {len(history)} epochs)" if alarms else ""),
        f"- calibration (Platt): a = {idc['calibration']['a']:.4f}, "
        f"b = {idc['calibration']['b']:.4f}, on {idc['calibration']['fitted_on']}",
        f"- threshold {idc['threshold']:.4f}: {idc['threshold_rule']}",
        f"- parity of file and network: largest difference of probability {exported.parity:.1e}",
        f"- onnxruntime, 1 thread, batches of 16: {patches_per_second:,.0f} patches/s where this "
        "was written",
        f"- painted glass, fat, margins and ink ({background.patches:,}, not those of training): "
        f"mean probability {background.mean:.4f}, {background.share_called:.2%} called IDC",
        "- golden probabilities: "
        + ", ".join(format(one["probability"], ".3f") for one in idc["golden"]),
        "",
        "## Figures, with 95 % intervals (bootstrap over cases)",
        "",
        f"*weighted*: {idc['calibration']['weighting']}. *unweighted*: each patch at hand counts "
        "once. The mix at hand is uneven, so the weighted figures are the ones to compare. "
        "`precision` and `f1_positive` are of the class IDC, `..._macro` the mean of both; figures "
        f"after `ece` are at the threshold above. {ECE_NOTE}",
        "",
        *table(("figure", *idc["metrics"]), _metric_rows(idc["metrics"])),
        "",
        f"Calibration, {cases} weighted:",
        "",
        *agreed.lines(),
        "",
        *_beyond(parse_card(to_json(card), exported.path.name)),
        "",
        f"## Operating points ({cases} weighted)",
        "",
        *table(
            ("threshold", "sensitivity", "specificity"),
            [_operating_point(point) for point in idc["validation_curve"]],
        ),
    ]
    lines += ["", f"## Pictures ({cases})", ""]
    lines += [f"![{kind}]({name})" for kind, name in pictures.items() if kind != CURVES]
    lines += ["", "## Limits", "", *(f"- {line}" for line in idc["limitations"])]
    lines += ["", "## Settings", ""]
    lines += [f"- {name}: {value}" for name, value in idc["training"]["settings"].items()]
    assumed = ASSUMPTIONS[run.settings.network] if run.settings.recipe == "paper" else ()
    if run.sources.imbalance.startswith("smote"):
        assumed = (*assumed, *SMOTE_ASSUMPTIONS)
    if assumed:
        lines += ["", "## What the paper leaves open, and what was assumed", ""]
        lines += [f"- {line}" for line in assumed]
    lines += [
        "",
        "## Log",
        "",
        f"![training curves]({pictures[CURVES]})",
        "",
        "`accuracy` is of the training batches as augmented; figures after it are of the weighted "
        "validation cases, `called` the share called IDC at 0.5.",
        "",
        *table(
            (
                *("epoch", "loss", "accuracy", "val loss", "val accuracy"),
                "called",
                "AUC",
                "AUPRC",
                "s",
            ),
            [_epoch(line) for line in history],
        ),
    ]
    return "\n".join(lines) + "\n"


def _beyond(card: ModelCard) -> Iterator[str]:
    yield "## Beyond its own archive"
    yield ""
    yield from (f"- {sentence}" for sentence in card.beyond_its_archive())
    if shifts := card.document["idc"].get("shifts"):
        figures = {**shifts["figures"], "mean": shifts["mean"]}
        names = list(shifts["mean"])
        rows = [(name, *(f"{of[it]:.3f}" for it in names)) for name, of in figures.items()]
        yield ""
        yield from table(("strong shift", *names), rows)


def _metric_rows(metrics: Document) -> Iterator[tuple[str, ...]]:
    for field in fields(Metrics):
        cells = (Interval(**figures[field.name]) for figures in metrics.values())
        yield field.name, *map(interval, cells)


def _operating_point(point: Document) -> tuple[str, ...]:
    shares = (
        interval(Interval(point[name], *point.get(f"{name}_95ci", ())))
        for name in ("sensitivity", "specificity")
    )
    return f"{point['threshold']:.4f}", *shares


def _epoch(line: Epoch) -> tuple[str, ...]:
    return (
        *(str(line.epoch + 1), f"{line.loss:.4f}", f"{line.accuracy:.4f}", f"{line.val_loss:.4f}"),
        *(f"{line.val_accuracy:.4f}", f"{line.positive_share:.3f}", f"{line.auc:.4f}"),
        *(f"{line.auprc:.4f}", f"{line.seconds:.1f}"),
    )
