"""How a model does on slides of other laboratories, with spots that a pathologist labelled.

Slides are read by ``idc-desktop analyze``, as any user's are: the trainer opens none itself, and
what is scored is what users get, tissue mask and all. A slide ``NAME.tiff`` (or of any other
format) has its spots beside it in ``NAME_spots.csv``: the columns ``x_l0, y_l0, label``, level-0
pixels.

A patch counts if at least two labelled spots lie in it, and is IDC if at least half of them are:
spots are smaller than patches, and labels moved from a neighbouring section may be one spot off.
"""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idc_desktop.plain_files import open_text
from idc_desktop.plain_text import counted
from trainer.errors import DataError
from trainer.scoring.markdown import interval
from trainer.scoring.metrics import FEWEST_CASES, Interval, evaluate

SPOTS = "_spots.csv"
POSITIVE = frozenset({"invasive cancer", "idc", "1"})
"""Labels, in lower case, of spots that are IDC."""
UNKNOWN = frozenset({"", "undetermined", "unassigned"})
"""Labels, in lower case, of spots that say nothing; those of neither set are not IDC."""
FEWEST_SPOTS = 2
"""In a patch that counts."""

SHOWN = ("auc", "sensitivity", "specificity")


@dataclass(frozen=True)
class Spots:
    """Labelled places of a slide: level-0 position, shape (n, 2), and whether each is IDC."""

    at: NDArray[np.float64]
    positive: NDArray[np.bool_]


@dataclass(frozen=True)
class SlideScore:
    """The patches of a slide that spots decide.

    Attributes
    ----------
    laboratory, slide : str
        Names of folder and file.
    probability : ndarray of float, shape (n,)
    label : ndarray of uint8, shape (n,)
    outside : int
        Labelled spots in no analyzed patch: on what was taken for background, or failed.
    """

    laboratory: str
    slide: str
    probability: NDArray[np.float64]
    label: NDArray[np.uint8]
    outside: int


@dataclass(frozen=True)
class Elsewhere:
    """A model's scores on the slides of other laboratories, at its card's threshold."""

    threshold: float
    slides: tuple[SlideScore, ...]

    @property
    def laboratories(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(dict.fromkeys(one.laboratory for one in self.slides))

    @property
    def by_slide(self) -> bool:
        """Whether intervals of all draw slides; of few slides they draw patches, and say less."""
        return len(self.slides) >= FEWEST_CASES

    @property
    def groups(self) -> dict[str, tuple[SlideScore, ...]]:
        """The slides whose patches are scored together, by name: all, by laboratory, each alone."""
        labs = {
            name: tuple(one for one in self.slides if one.laboratory == name)
            for name in self.laboratories
        }
        alone = {f"{one.laboratory}/{one.slide}": (one,) for one in self.slides}
        return {" + ".join(labs): self.slides} | labs | alone

    def scores(self) -> dict[str, dict[str, Interval]]:
        """Figures of each of `groups`, the first of all slides; empty where one class is there."""
        return {name: _figures(slides, self.threshold) for name, slides in self.groups.items()}

    @property
    def worst_auc(self) -> float | None:
        """The smallest AUC of a slide; None where each has one class only."""
        found = (_figures((one,), self.threshold) for one in self.slides)
        return min((of["auc"].value for of in found if of), default=None)

    def document(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        scores = self.scores()
        return {
            "threshold": self.threshold,
            "intervals": "by slide" if self.by_slide else "by patch",
            "groups": {
                name: {
                    "patches": sum(len(one.label) for one in slides),
                    "patches_idc": sum(int(one.label.sum()) for one in slides),
                    "spots_outside": sum(one.outside for one in slides),
                    **{figure: asdict(one) for figure, one in scores[name].items()},
                }
                for name, slides in self.groups.items()
            },
        }

    def lines(self) -> Iterator[str]:
        """Say the figures of all patches, of laboratories and of slides, a line each."""
        document, scores = self.document()["groups"], self.scores()
        width = max(map(len, document))
        yield f"{'':{width}} {'patches':>8} {'IDC':>6}" + "".join(f" {name:>22}" for name in SHOWN)
        for name, of in document.items():
            texts = "".join(f" {interval(one):>22}" for one in scores[name].values())
            counts = f"{of['patches']:>8,} {of['patches_idc']:>6,}"
            yield f"{name:{width}} {counts}{texts or '  one class only'}"
        by = "slide" if self.by_slide else "patch: they say nothing of further slides"
        yield f"at the threshold {self.threshold:.4f}; 95 % intervals by {by}"
        if outside := sum(one.outside for one in self.slides):
            yield f"labelled spots in no analyzed patch (background, or failed): {outside}"


def _figures(slides: Sequence[SlideScore], threshold: float) -> dict[str, Interval]:
    probability = np.concatenate([one.probability for one in slides])
    label = np.concatenate([one.label for one in slides])
    if len(np.unique(label)) < 2:
        return {}
    unit = np.arange(len(label)).astype(str)
    if len(slides) >= FEWEST_CASES:
        unit = np.repeat(np.arange(len(slides)).astype(str), [len(one.label) for one in slides])
    found = evaluate(probability, label, unit, np.ones(len(label)), threshold)
    return {name: found[name] for name in SHOWN}


def score_elsewhere(
    model: Path, threshold: float, folders: Sequence[Path], mpp: float | None = None
) -> Elsewhere:
    """Analyze the labelled slides of folders, one a laboratory, and score a model on them.

    Parameters
    ----------
    threshold : float
        The card's.
    mpp : float or None
        µm per pixel of the slides, where the files do not say.

    Raises
    ------
    DataError
        A folder without labelled slides, spots that cannot be used, a slide that cannot be read,
        or labels that leave nothing to score.
    """
    labelled = {folder: _labelled(folder) for folder in folders}
    if len({folder.resolve().name for folder in folders}) < len(folders):
        raise DataError("Two folders of other laboratories have one name; rename one of them.")
    slides: list[SlideScore] = []
    for folder, of in labelled.items():
        with tempfile.TemporaryDirectory() as scratch:
            results = analyze(model, list(of), Path(scratch), mpp)
            for (slide, spots), result in zip(of.items(), results, strict=True):
                read = _read_patches(result / "patches.csv")
                slides.append(_score(folder.resolve().name, slide.name, spots, *read))
    found = Elsewhere(threshold, tuple(slides))
    label = np.concatenate([one.label for one in slides])
    if len(np.unique(label)) < 2:
        raise DataError(
            f"The spots decide {counted(len(label), 'patch')}, {int(label.sum())} of them IDC: "
            "both classes "
            f"are needed. A patch counts with {FEWEST_SPOTS} labelled spots in it; labels of IDC "
            f"are: {', '.join(sorted(POSITIVE))}."
        )
    return found


def _labelled(folder: Path) -> dict[Path, Spots]:
    """Find the slides of a folder that have spots."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as cause:
        raise DataError(f"{folder} cannot be read ({cause.strerror}).") from cause
    found: dict[Path, Spots] = {}
    for name in names:
        if not name.endswith(SPOTS):
            continue
        stem = name.removesuffix(SPOTS)
        slides = [folder / it for it in names if Path(it).stem == stem and it != name]
        files = [path for path in slides if path.is_file()] or slides
        if len(files) != 1:
            raise DataError(
                f"{name}: {len(files)} slides are named {stem}.*, and there must be one beside it."
            )
        found[files[0]] = read_spots(folder / name)
    if not found:
        raise DataError(
            f"{folder} holds no labelled slide: beside a slide NAME.tiff lies NAME{SPOTS} with the "
            "columns x_l0, y_l0, label."
        )
    return found


def read_spots(path: Path) -> Spots:
    """Read the labelled spots of a slide; those whose label says nothing are left out.

    Raises
    ------
    DataError
        The file cannot be read, lacks a column, or a position is no number.
    """
    at: list[tuple[float, float]] = []
    positive: list[bool] = []
    try:
        with open_text(path, "utf-8-sig") as file:
            reader = csv.DictReader(file)
            for row in reader:
                label = row["label"].strip().lower()
                place = float(row["x_l0"]), float(row["y_l0"])
                if not all(map(math.isfinite, place)):
                    raise ValueError(f"line {reader.line_num}: a position is not finite")
                if label not in UNKNOWN:
                    at.append(place)
                    positive.append(label in POSITIVE)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as cause:
        raise DataError(
            f"{path.name} cannot be read as labelled spots ({cause}). It needs the columns x_l0, "
            "y_l0, label, with positions in level-0 pixels."
        ) from cause
    if not at:
        raise DataError(f"{path.name} has no labelled spot.")
    return Spots(np.array(at), np.array(positive))


def analyze(model: Path, slides: Sequence[Path], scratch: Path, mpp: float | None) -> list[Path]:
    """Have the application analyze slides on the CPU; returns the results folder of each.

    Parameters
    ----------
    scratch : Path
        An empty folder, which they are in.

    Raises
    ------
    DataError
        A slide that cannot be read.
    """
    command = [sys.executable, "-P", "-m", "idc_desktop", "analyze", *map(str, slides)]
    command += ["--model", str(model.absolute()), "--out", str(scratch / "results")]
    command += ["--provider", "cpu", "--json"]
    command += [] if mpp is None else ["--mpp", repr(mpp)]
    path = os.pathsep.join(it or str(Path.cwd()) for it in sys.path)
    # A data folder of its own: what is scored was computed by this file, here and now.
    environment = {**os.environ, "PYTHONPATH": path, "IDC_DESKTOP_DATA_DIR": str(scratch / "data")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    try:
        report: list[dict[str, Any]] = json.loads(done.stdout)["slides"]
    except (ValueError, KeyError):
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise DataError(f"idc-desktop analyze: {said[-1]}") from None
    for one in report:
        if one["error"] is not None:
            raise DataError(f"idc-desktop analyze: {one['error']}")
    return [Path(one["out"]) for one in report]


def _read_patches(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read the analyzed patches: boxes (x, y, width, height), shape (n, 4), and probabilities."""
    with open_text(path) as file:
        rows = [row for row in csv.DictReader(file) if row["prob_IDC"]]
    boxes = [[float(row[name]) for name in ("minx", "miny", "width", "height")] for row in rows]
    probability = np.array([float(row["prob_IDC"]) for row in rows])
    return np.array(boxes).reshape(-1, 4), probability


def _score(
    laboratory: str,
    slide: str,
    spots: Spots,
    boxes: NDArray[np.float64],
    probability: NDArray[np.float64],
) -> SlideScore:
    corner, size = boxes[:, None, :2], boxes[:, None, 2:]
    inside = np.all((spots.at >= corner) & (spots.at < corner + size), axis=-1)
    count, positive = inside.sum(axis=1), inside[:, spots.positive].sum(axis=1)
    decided = count >= FEWEST_SPOTS
    return SlideScore(
        laboratory,
        slide,
        probability[decided],
        (2 * positive[decided] >= count[decided]).astype(np.uint8),
        int((~inside.any(axis=0)).sum()),
    )
