"""What is kept of slides, so that the list can tell and go on without opening one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from idc_desktop.maps.layers import PATCH
from idc_desktop.maps.shield_notes import cautions, shield_notes
from idc_desktop.models.card import ModelCard
from idc_desktop.models.model_file import ModelFile
from idc_desktop.plain_files import read_json
from idc_desktop.processes.record import RunRecord
from idc_desktop.regions.statistics import RegionMeter, whole_slide
from idc_desktop.storage.atomic import replacing
from idc_desktop.storage.user_data import PRIVATE_FILE, data_folder, make_folder
from idc_desktop.typed_json import build
from idc_desktop.ui.task import answer_within

_LONGEST_LOOK_S = 2.0
_CHANGING = threading.Lock()  # of the kept files: details come from another thread


@dataclass(frozen=True)
class Details:
    """What more the table of slides says, by the same model, map and threshold.

    Attributes
    ----------
    figures : dict of str to str
        The cells of ``cohort.csv``, by column.
    notes : str
        What a reader of the figures should know.
    accepted_um2 : float or None
        Accepted IDC area; None before any verdict.
    judged_foci : int
        How many of the foci have a verdict.
    note : str
        What was written about the slide.
    """

    figures: dict[str, str]
    notes: str = ""
    accepted_um2: float | None = None
    judged_foci: int = 0
    note: str = ""

    def number(self, column: str) -> float | None:
        """Return the number in a cell; None if it is empty."""
        with contextlib.suppress(KeyError, ValueError):
            return float(self.figures[column])
        return None


@dataclass(frozen=True)
class Outcome:
    """The figures of a whole slide by a model.

    Attributes
    ----------
    model : str
        The model's name.
    threshold : float
        At which they are: the one that is set for this slide and model.
    idc_fraction : float or None
        Of the analyzed area; None if nothing was analyzed.
    idc_area_um2 : float
    failed_patches : int
    map : str
        Name of the map that they are of.
    excluded_patches : int
    caution : str
        Why the slide may be none for the model; empty of a usual one.
    is_shielded : bool
        Whether patches that the shield found something on are left out.
    details : Details or None
        None until they are measured.
    """

    model: str
    threshold: float
    idc_fraction: float | None
    idc_area_um2: float
    failed_patches: int
    map: str = PATCH
    excluded_patches: int = 0
    caution: str = ""
    is_shielded: bool = True
    details: Details | None = None

    @property
    def bare(self) -> Outcome:
        """It without details."""
        return replace(self, details=None)

    @classmethod
    def of(cls, record: RunRecord, model: ModelFile, threshold: float, name: str) -> Outcome:
        """Measure one of the maps of a finished run."""
        assert record.map is not None
        assert record.slide is not None
        assert record.slide.mpp_xy is not None
        meter = RegionMeter(record.map.layer(name), record.slide.mpp_xy)
        (found,) = meter.measure([whole_slide(record.map.grid).shape], threshold)
        return cls(
            model.card.name,
            threshold,
            found.idc_fraction,
            found.idc_area_um2,
            record.map.failed_patches,
            name,
            int(np.count_nonzero(record.map.excluded)),
            " ".join(cautions([*record.notes, *shield_notes(record.map)])),
            record.map.is_shielded,
        )

    def text(self, card: ModelCard) -> str:
        """Return a few words for a list, with what is not as the model has it.

        That is another map or threshold, or figures without the shield.
        """
        if self.idc_fraction is None:
            if self.excluded_patches:
                return "all excluded"
            return "all failed" if self.failed_patches else "no tissue"
        text = f"IDC {100 * self.idc_fraction:.0f} %"
        if self.threshold != card.operation(self.map).threshold:
            text += f" at {self.threshold:.3f}"
        if self.map != card.best_map:
            text += f" ({self.map} map)"
        if not self.is_shielded:
            text += " without the shield"
        if self.failed_patches:
            text += f", {self.failed_patches:,} failed"
        return f"{text}: not to be trusted" if self.caution else text

    @classmethod
    def all_stored(cls, slide: Path) -> dict[str, Outcome]:
        """Return what is kept of a slide as it is now, by the SHA-256 of models.

        Can take for ever where its disk does not answer: not for the window's thread.
        """
        try:
            return _read(_file(slide, slide.stat()))
        except OSError:
            return {}

    def store(self, slide: Path, model: ModelFile) -> None:
        """Keep it; if that fails, the list does not tell it the next time."""
        with contextlib.suppress(OSError), _CHANGING:
            file = _file(slide)
            _keep(file, _read(file) | {model.sha256: self})

    def complete(self, slide: Path, model: ModelFile) -> None:
        """Keep its details, if what is kept is still what they are of; for any thread."""
        with contextlib.suppress(OSError), _CHANGING:
            file = _file(slide)
            kept = _read(file)
            former = kept.get(model.sha256)
            if former is not None and former.bare == self.bare:
                _keep(file, kept | {model.sha256: self})

    @staticmethod
    def forget(slide: Path, model: ModelFile) -> None:
        """Drop what is kept by this model: a new analysis has begun."""
        with contextlib.suppress(OSError), _CHANGING:
            file = _file(slide)
            kept = _read(file)
            if kept.pop(model.sha256, None) is not None:
                _keep(file, kept)


def given_mpp(slide: Path) -> float | None:
    """Return the resolution that the user gave of a slide as it is now, µm per pixel, if any."""
    try:
        return _read_mpp(_key(slide))
    except OSError:
        return None


def keep_given_mpp(slide: Path, mpp: float) -> None:
    """Keep the resolution that the user gave; if that fails, it is asked for again."""
    with contextlib.suppress(OSError):
        _write(_place("resolutions", _key(slide)), mpp)


def _write(target: Path, value: object) -> None:
    make_folder(target.parent)
    with replacing(target, PRIVATE_FILE) as file:
        file.write(json.dumps(value).encode())


def _read(file: Path) -> dict[str, Outcome]:
    try:
        kept = read_json(file)
        return {sha256: build(Outcome, values) for sha256, values in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _keep(file: Path, outcomes: dict[str, Outcome]) -> None:
    _write(file, {sha256: asdict(it) for sha256, it in outcomes.items()})


def _read_mpp(key: str) -> float | None:
    try:
        mpp = read_json(_place("resolutions", key))
    except (OSError, ValueError, RecursionError):
        return None
    return mpp if isinstance(mpp, float) and mpp > 0 else None


def _file(slide: Path, about: os.stat_result | None = None) -> Path:
    """Return where outcomes are kept: another place for another given resolution."""
    key = _key(slide, about)
    mpp = _read_mpp(key)
    return _place("outcomes", key if mpp is None else f"{key}\n{mpp!r}")


def _key(slide: Path, about: os.stat_result | None = None) -> str:
    """Return what stands for a slide as it is now; another text once its file is changed.

    Raises `OSError` if there is no such slide, or its share does not answer.
    """
    about = about or _status(slide)
    return "\n".join((str(slide.absolute()), str(about.st_size), str(about.st_mtime_ns)))


def _place(kind: str, key: str) -> Path:
    """Return where something is kept; the name of the file tells nothing."""
    name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    return data_folder() / kind / f"{name[:32]}.json"


def _status(slide: Path) -> os.stat_result:
    """Return the status of a file, asked for in a thread that a dead share may keep for ever."""
    return answer_within(_LONGEST_LOOK_S, slide.stat)
