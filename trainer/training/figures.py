"""Every figure that the commands draw, as PNG. Some show patches: they stay with the user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from trainer.data.case_layout import CaseMap
from trainer.data.dataset import PatchArray, PatchStore
from trainer.files import replacing
from trainer.scoring.metrics import Confusion, Reliability
from trainer.training.checkpoint import History

CLASSES = ("not IDC", "IDC")
COLOURS = ("#3b6fb6", "#c8443a")

SAMPLES = 8
"""Patches shown of each class."""
_DPI = 150


@contextmanager
def _figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure of a size in inches; it is written to `path` when the block ends."""
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    yield figure
    with replacing(path) as file:
        figure.savefig(file, format="png", metadata={"Software": None})


def draw_samples(store: PatchStore, path: Path, seed: int = 1) -> None:
    """Show random patches of each class, enlarged."""
    rng = np.random.default_rng(seed)
    with _figure(path, SAMPLES, 2.6) as figure:
        grid = figure.subplots(2, SAMPLES, squeeze=False)
        for label, row in enumerate(grid):
            which = np.flatnonzero(store.index.label == label)
            chosen = rng.permutation(which)[:SAMPLES]
            for axes in row:
                axes.set_axis_off()
            row[0].set_title(CLASSES[label], loc="left", fontsize=9)
            for axes, patch in zip(row, store.read(chosen), strict=False):
                axes.imshow(patch)


def draw_distribution(before: Sequence[int], after: Sequence[int], path: Path) -> None:
    """Draw patches per class before and after oversampling; what was added is hatched.

    Parameters
    ----------
    before, after : sequence of int
        Patches that are not IDC, patches that are.
    """
    with _figure(path, 5, 3.2) as figure:
        axes = figure.subplots()
        for place, counts in enumerate((before, after)):
            for label, count in enumerate(counts):
                x, real = place + 0.4 * (label - 0.5), before[label]
                name = CLASSES[label] if place == 0 else None
                axes.bar(x, min(count, real), 0.36, color=COLOURS[label], label=name)
                axes.bar(
                    x,
                    max(count - real, 0),
                    0.36,
                    min(count, real),
                    color="white",
                    edgecolor=COLOURS[label],
                    hatch="///",
                )
                axes.annotate(f"{count:,}", (x, count), ha="center", va="bottom", fontsize=8)
        axes.set_xticks((0, 1), ("as found", "after oversampling"))
        axes.set_ylabel("patches")
        axes.set_ylim(0, 1.1 * max(*before, *after))
        figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)


def draw_confusions(confusions: Mapping[str, Confusion], path: Path) -> None:
    """Draw confusion matrices side by side: share of each row, and the weight of patches."""
    with _figure(path, 3.2 * len(confusions), 3) as figure:
        row = figure.subplots(1, len(confusions), squeeze=False)[0]
        for axes, (name, one) in zip(row, confusions.items(), strict=True):
            table = np.array([[one.tn, one.fp], [one.fn, one.tp]])
            shares = table / table.sum(axis=1, keepdims=True)
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            for (y, x), share in np.ndenumerate(shares):
                text = f"{share:.1%}\n{table[y, x]:,.0f}"
                colour = "white" if share > 0.5 else "black"
                axes.text(x, y, text, ha="center", va="center", color=colour)
            axes.set_xticks((0, 1), CLASSES)
            axes.set_yticks((0, 1), CLASSES)
            axes.set(title=name, xlabel="called", ylabel="label")


def draw_reliability(curves: Mapping[str, Reliability], path: Path) -> None:
    """Draw promised against observed shares of IDC, with how much lies in each bin."""
    with _figure(path, 3.6 * len(curves), 3.8) as figure:
        row = figure.subplots(
            2, len(curves), squeeze=False, sharex=True, height_ratios=(4, 1), sharey="row"
        )
        for column, (name, curve) in enumerate(curves.items()):
            above, below = row[0, column], row[1, column]
            filled = curve.weight > 0
            above.plot((0, 1), (0, 1), color="0.7", linewidth=1)
            above.plot(curve.promised[filled], curve.observed[filled], "o-", color=COLOURS[0])
            above.set(title=f"{name}: ECE {curve.ece:.3f}", xlim=(0, 1), ylim=(0, 1))
            bins = len(curve.weight)
            middle = (np.arange(bins) + 0.5) / bins
            below.bar(middle, curve.weight / curve.weight.sum(), 0.9 / bins, color="0.6")
            below.set(xlabel="predicted probability of IDC")
        row[0, 0].set_ylabel("share of IDC")
        row[1, 0].set_ylabel("patches")


def draw_embedding(points: NDArray[np.floating], label: NDArray[np.uint8], path: Path) -> None:
    """Scatter a plane embedding of patches, coloured by label; points have shape (n, 2)."""
    with _figure(path, 4.5, 4.5) as figure:
        axes = figure.subplots()
        for value, name in enumerate(CLASSES):
            of = points[label == value]
            axes.scatter(of[:, 0], of[:, 1], 3, color=COLOURS[value], label=name, alpha=0.6)
        axes.set_xticks(())
        axes.set_yticks(())
        axes.set_title("t-SNE of the last hidden layer", fontsize=9)
        axes.legend(frameon=False, fontsize=8, markerscale=3)


def draw_map(case: CaseMap, threshold: float, path: Path) -> None:
    """Draw a case: tissue, labels, probabilities, and where the two disagree."""
    rows, cols = case.label.shape
    with _figure(path, 13, 1.2 + 3.1 * min(rows / cols, 2)) as figure:
        row = figure.subplots(1, 4, squeeze=False)[0]
        extent = (0, cols, rows, 0)
        row[0].imshow(case.thumbnail, extent=extent)
        row[1].imshow(_painted(case.label >= 0, case.label == 1), extent=extent)
        shown = row[2].imshow(case.probability, cmap="viridis", vmin=0, vmax=1, extent=extent)
        figure.colorbar(shown, ax=row[2], shrink=0.7)
        row[3].imshow(_errors(case, threshold), extent=extent)
        titles = (f"case {case.case}", "label", "probability of IDC", "missed (blue), false (red)")
        for axes, title in zip(row, titles, strict=True):
            _frame(axes, title)


def _frame(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xticks(())
    axes.set_yticks(())


def _painted(known: NDArray[np.bool_], positive: NDArray[np.bool_]) -> PatchArray:
    """White where nothing is known, grey where negative, red where positive."""
    image = np.full((*known.shape, 3), 255, np.uint8)
    image[known] = (200, 200, 205)
    image[positive] = (200, 68, 58)
    return image


def _errors(case: CaseMap, threshold: float) -> PatchArray:
    called = np.nan_to_num(case.probability) >= threshold
    image = _painted(case.label >= 0, (case.label == 0) & called)
    image[(case.label == 1) & ~called] = (59, 111, 182)
    return image


def draw_curves(history: History, chosen: int, title: str, path: Path) -> None:
    """Draw loss, accuracy and ranking over the epochs, as the paper's figures 7, 8 and 10 do.

    Parameters
    ----------
    history : tuple of Epoch
    chosen : int
        The epoch whose network is taken, from 0; marked.
    """
    training, validation = COLOURS
    panels = {
        "loss": (("loss", "training", training), ("val_loss", "validation", validation)),
        "accuracy at 0.5": (
            ("accuracy", "training, as augmented", training),
            ("val_accuracy", "validation", validation),
        ),
        "validation ranking": (("auc", "AUC", validation), ("auprc", "AUPRC", "#7a5195")),
    }
    epochs = [line.epoch + 1 for line in history]
    with _figure(path, 11, 3.4) as figure:
        figure.suptitle(f"{title} (validation: weighted cases)", fontsize=10)
        for axes, (name, lines) in zip(figure.subplots(1, 3), panels.items(), strict=True):
            for field, label, colour in lines:
                values = [getattr(line, field) for line in history]
                axes.plot(epochs, values, ".-", color=colour, label=label, markersize=4)
            axes.axvline(chosen + 1, color="#888888", linewidth=0.8, linestyle=":", label="taken")
            axes.set_title(name, fontsize=9)
            axes.set_xlabel("epoch", fontsize=8)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.tick_params(labelsize=8)
            axes.grid(alpha=0.25)
            axes.legend(fontsize=7)


@dataclass(frozen=True)
class Stage:
    """A layer, with what follows it and changes no shape.

    Attributes
    ----------
    kind : str
        As ``conv 3x3``.
    shape : tuple of int
        Of its output for one patch: (rows, cols, channels) or (values,).
    parameters : int
    state : str
        `FROZEN`, `PRETRAINED` or `NEW`.
    then : tuple of str
        What follows: ``batch norm``, ``dropout 0.5``.
    """

    kind: str
    shape: tuple[int, ...]
    parameters: int
    state: str
    then: tuple[str, ...] = ()


def draw_architecture(stages: Sequence[Stage], title: str, path: Path) -> None:
    """Draw a network as a row of boxes, as the paper's figures 3 to 6 do.

    A box is as high as its map (of values without a map, as their number), and the wider the more
    channels there are; below it stand kind, shape and number of weights.
    """
    states = list(dict.fromkeys(one.state for one in stages))
    shades = dict(zip(states, ("#a9b4c2", *COLOURS) if len(states) > 1 else COLOURS, strict=False))
    with _figure(path, 1.6 + 0.62 * len(stages), 4.2) as figure:
        axes = figure.subplots()
        x = 0.0
        for one in stages:
            height = one.shape[0] / 50 if len(one.shape) == 3 else np.log2(one.shape[0] + 1) / 12
            width = 0.2 + 0.06 * np.log2(one.shape[-1] + 1)
            box = Rectangle((x, -height / 2), width, height, facecolor=shades[one.state])
            box.set_edgecolor("#333333")
            axes.add_patch(box)
            size = "x".join(map(str, one.shape))
            weights = [f"{one.parameters:,}"] if one.parameters else []
            text = "\n".join((one.kind, size, *weights, *one.then))
            axes.text(x + width / 2, -0.62, text, ha="center", va="top", fontsize=5.5)
            x += 1.0
        axes.set(xlim=(-0.3, x), ylim=(-1.1, 0.6))
        axes.set_axis_off()
        total = sum(one.parameters for one in stages)
        axes.set_title(f"{title}: {total:,} weights", fontsize=9)
        handles = [Patch(facecolor=shades[state], label=state) for state in states]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7)
