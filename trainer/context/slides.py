"""Complete labelled slides, and the maps that a model makes of them.

Slides are read by ``idc-desktop analyze``, as any user's are. A slide ``NAME.tiff`` (or of any
other format) has its labels beside it in ``NAME_labels.png``: one grey pixel per patch of its grid,
255 is IDC, 127 is not, 0 says nothing.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from idc_desktop.maps.context import log_odds
from idc_desktop.plain_files import open_text, read_json
from trainer.errors import DataError
from trainer.files import scratch_folder
from trainer.scoring.elsewhere import analyze

LABELS = "_labels.png"
IDC, OTHER, UNKNOWN = 255, 127, 0
"""Values of the pixels of a file of labels."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelledMap:
    """What a model says of a slide, and what is known of it; arrays are (rows, cols) of its grid.

    Attributes
    ----------
    name : str
        Of the slide, without suffix.
    probability : ndarray of float
        Of the patch map; NaN where nothing is analyzed.
    label : ndarray of uint8
        `IDC`, `OTHER` or `UNKNOWN`.
    """

    name: str
    probability: Floats
    label: NDArray[np.uint8]

    @cached_property
    def counts(self) -> Flags:
        """Patches that give to their neighbours, and take."""
        return ~np.isnan(self.probability)

    @cached_property
    def scored(self) -> Flags:
        """Those of them whose label is known."""
        return self.counts & (self.label != UNKNOWN)

    @cached_property
    def own(self) -> Floats:
        """Log-odds of the patches, each by itself; 0 where they do not count."""
        return np.where(self.counts, log_odds(np.where(self.counts, self.probability, 0.5)), 0.0)

    @cached_property
    def is_idc(self) -> NDArray[np.uint8]:
        """Labels of the scored patches: 1 is IDC, 0 is not; shape (n,)."""
        return np.equal(self.label[self.scored], IDC).astype(np.uint8)


def read_maps(model: Path, folder: Path, mpp: float | None = None) -> list[LabelledMap]:
    """Have the application analyze the labelled slides of a folder.

    Parameters
    ----------
    model : Path
        ONNX file.
    mpp : float or None
        µm per pixel of the slides, where the files do not say.

    Raises
    ------
    DataError
        No or few labelled slides, labels that do not fit theirs, or a slide that cannot be read.
    """
    labelled = _labelled(folder)
    with scratch_folder() as scratch:
        results = analyze(model, list(labelled), scratch, mpp)
        pairs = zip(labelled.items(), results, strict=True)
        maps = [_map(slide.stem, labels, result) for (slide, labels), result in pairs]
    for one in maps:
        if len(np.unique(one.is_idc)) < 2:
            raise DataError(
                f"{one.name}{LABELS} labels patches of one class only, as far as they are analyzed "
                "(255 is IDC, 127 is not). Take the slide out of the folder."
            )
    return maps


def _labelled(folder: Path) -> dict[Path, Path]:
    """Find the slides of a folder that have labels."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as cause:
        raise DataError(f"{folder} cannot be read ({cause.strerror}).") from cause
    found: dict[Path, Path] = {}
    for labels in paths:
        if labels.name.endswith(LABELS):
            stem = labels.name.removesuffix(LABELS)
            slides = [it for it in paths if it.stem == stem]
            if len(slides) != 1:
                raise DataError(
                    f"{labels.name}: {len(slides)} slides are named {stem}.*, and there must be "
                    "one beside it."
                )
            found[slides[0]] = labels
    if len(found) < 2:
        raise DataError(
            f"{folder} holds {len(found)} labelled slides, and each is judged with settings of the "
            f"others: two at least are needed. Beside a slide NAME.tiff lies NAME{LABELS}."
        )
    return found


def _map(name: str, labels: Path, result: Path) -> LabelledMap:
    grid = read_json(result / "provenance.json")["grid"]
    probability = np.full((grid["rows"], grid["cols"]), np.nan)
    with open_text(result / "patches.csv") as file:
        for row in csv.DictReader(file):
            if row["prob_IDC"]:  # with what is left out of figures: it is labelled, too
                probability[int(row["row"]), int(row["col"])] = float(row["prob_IDC"])
    try:
        with Image.open(labels) as picture:
            label = np.asarray(picture.convert("L"))
    except (OSError, ValueError) as cause:
        raise DataError(f"{labels.name} cannot be read as a picture ({cause}).") from cause
    if label.shape != probability.shape:
        there, wanted = ("{} x {}".format(*it.shape) for it in (label, probability))
        raise DataError(
            f"{labels.name} has {there} pixels (rows x columns), and the slide {wanted} patches: "
            "one pixel stands for one patch."
        )
    if not np.isin(label, (IDC, OTHER, UNKNOWN)).all():
        raise DataError(
            f"{labels.name} has other values than 255 (IDC), 127 (not) and 0 (unknown)."
        )
    return LabelledMap(name, probability, label)


def logits_of_idc(maps: Sequence[LabelledMap]) -> Floats:
    """Return the log-odds of all patches of IDC, shape (n,)."""
    return np.concatenate([one.own[one.scored & (one.label == IDC)] for one in maps])
