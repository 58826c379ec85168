"""The training curves of a run, as the paper's figures 7, 8 and 10 show them; no patch is shown."""

from __future__ import annotations

import io

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trainer.checkpoint import History

_TRAINING, _VALIDATION = "#3b6fb6", "#c8443a"


def draw_curves(history: History, chosen: int, title: str) -> bytes:
    """Draw loss, accuracy and ranking figures over the epochs.

    Parameters
    ----------
    history : tuple of Epoch
    chosen : int
        The epoch whose network is taken, from 0; marked.

    Returns
    -------
    bytes
        A PNG; the same history gives the same bytes.
    """
    figure = Figure(figsize=(11, 3.4), dpi=110, layout="constrained")
    figure.suptitle(f"{title} (validation: weighted cases)", fontsize=10)
    panels = (
        ("loss", (("loss", "training", _TRAINING), ("val_loss", "validation", _VALIDATION))),
        (
            "accuracy at 0.5",
            (
                ("accuracy", "training, as augmented", _TRAINING),
                ("val_accuracy", "validation", _VALIDATION),
            ),
        ),
        (
            "validation ranking",
            (("auc", "AUC", _VALIDATION), ("auprc", "AUPRC", "#7a5195")),
        ),
    )
    epochs = [line.epoch + 1 for line in history]
    for axes, (name, lines) in zip(figure.subplots(1, 3), panels, strict=True):
        for field, label, colour in lines:
            values = [getattr(line, field) for line in history]
            axes.plot(epochs, values, color=colour, label=label, marker="." * (len(epochs) < 2))
        axes.axvline(chosen + 1, color="#888888", linewidth=0.8, linestyle=":", label="taken")
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("epoch", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=7)
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()
