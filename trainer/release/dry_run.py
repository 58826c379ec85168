"""Which trainings a command would run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from trainer.data.splits import FOLDS
from trainer.settings import Settings
from trainer.training.estimate import lines
from trainer.training.runs import Sources, load_data


def dry_run(verb: str, sources: Sources, settings: Settings | None) -> Iterator[str]:
    """Cut the data as a command would, and say what its trainings hold and cost.

    Parameters
    ----------
    settings : Settings or None
        None: no network is trained, only a last layer.

    Raises
    ------
    DataError
        The data cannot be used.
    """
    cut = {"training": sources}
    if verb in ("crossvalidate", "fit"):
        folds = {f"fold {at + 1}": at + 1 for at in range(FOLDS)}
        cut = {name: replace(sources, split="held-out", fold=at) for name, at in folds.items()}
    if verb == "fit":
        if sources.splits is not None:
            cut["on the official split"] = replace(sources, split="official")
        cut["on all cases"] = replace(sources, split="all-cases")
    return lines([(what, load_data(one)) for what, one in cut.items()], settings)
