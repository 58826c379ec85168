"""The models of the engine, kept from one job to the next, and what it runs on."""

from __future__ import annotations

import hashlib
import threading
import time
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from idc_desktop.children.serving import Outbox
from idc_desktop.errors import ModelError
from idc_desktop.processes.engine_messages import StoredModel, Tried, Trying

if TYPE_CHECKING:  # at run time each job imports what it needs: `info` must start fast
    from idc_desktop.models.card import ModelCard
    from idc_desktop.models.inference import PatchClassifier
    from idc_desktop.models.model_file import ModelFile
    from idc_desktop.models.provider import Provider
    from idc_desktop.storage.run_files import StoredRun

_LOOK_EVERY_S = 0.5
_LONGEST_RUN_LOOKS = 40  # VGG-16 takes a quarter of a second for a batch on two busy cores


@lru_cache(maxsize=1)
def model_of(named: str) -> ModelFile:
    """Read a model, once for all jobs of this process: that it is the right one, its hash says."""
    from idc_desktop.models.model_file import find_model, read_model

    return read_model(find_model(named))


@lru_cache(maxsize=1)
def tried_model(named: str, provider: Provider, outbox: Outbox) -> PatchClassifier:
    """Load a model and run it, once for all jobs of this process.

    If that is the end of the process, the parent knows of what.
    """
    from idc_desktop.models.inference import PatchClassifier

    model = model_of(named)
    name = model.path.name
    classifier = PatchClassifier(model, provider, lambda on: outbox.send(Trying(name, on)))
    outbox.send(Tried())
    threading.Thread(target=_watch_runs, args=(classifier, name, outbox), daemon=True).start()
    return classifier


def _watch_runs(classifier: PatchClassifier, name: str, outbox: Outbox) -> None:
    """End this process should the model come to no end, as on a number of patches not tried."""
    while classifier.look_at_runs() <= _LONGEST_RUN_LOOKS:
        # Looks are counted and not seconds: a machine that slept has not looked.
        time.sleep(_LOOK_EVERY_S)
    limit_s = _LONGEST_RUN_LOOKS * _LOOK_EVERY_S
    message = (
        f"{name}: The model did not come to an end within {limit_s:g} s. What was analyzed is "
        "kept. Choose another model."
    )
    outbox.give_up(ModelError(message))


def versions() -> dict[str, str]:
    """Return the versions of all that decides the numbers, by name."""
    import platform
    import sqlite3

    import numpy as np

    from idc_desktop import __version__
    from idc_desktop.analysis.shield import SHIELD_VERSION
    from idc_desktop.analysis.tiling import PREPROCESSING_VERSION
    from idc_desktop.models.inference import RUNTIME_VERSION
    from idc_desktop.slides.reader import OPENSLIDE_VERSION

    return {
        "idc-desktop": __version__,
        "preprocessing": str(PREPROCESSING_VERSION),
        "shield": str(SHIELD_VERSION),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": RUNTIME_VERSION,
        "openslide": OPENSLIDE_VERSION,
        "sqlite": sqlite3.sqlite_version,
    }


@cache
def bundled_model(sha256: str) -> ModelFile | None:
    """Return the bundled model of a hash, if there is one."""
    from idc_desktop.models.model_file import bundled_models, read_model

    for path in bundled_models().values():
        if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return read_model(path)
    return None


def models_not_at_hand(runs: list[StoredRun], chosen: ModelFile) -> tuple[StoredModel, ...]:
    """Return the models of runs, each with its newest, that are neither chosen nor bundled."""
    newest: dict[str, tuple[ModelCard, str | None]] = {}
    for run in runs:
        if run.settings["model"] != chosen.sha256 and (model := run.model) is not None:
            newest.setdefault(model.sha256, (model.card, run.analyzed))
    for sha256 in list(newest):
        if bundled_model(sha256) is not None:
            del newest[sha256]
    return tuple(
        StoredModel(sha256, card.name, card.version, analyzed)
        for sha256, (card, analyzed) in newest.items()
    )
