"""A small data folder in the Kaggle layout, painted: class 0 is background, class 1 is tissue."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from trainer.data.painting import paint_background, paint_tissue

if TYPE_CHECKING:
    import keras

CASES = {"101": 24, "102": 24, "103": 24, "201": 16, "202": 16, "301": 10, "302": 10, "901": 12}


@dataclass(frozen=True)
class SmallData:
    """Where the patches, the split and the natural counts lie."""

    patches: Path
    splits: Path
    counts: Path


def write_case(root: Path, case: str, count: int, rng: np.random.Generator) -> None:
    """Write `count` patches of each class."""
    for label, paint in ((0, paint_background), (1, paint_tissue)):
        folder = root / case / str(label)
        folder.mkdir(parents=True)
        for number, pixels in enumerate(paint(rng, count)):
            name = f"{case}_idx5_x{1 + 50 * number}_y{1 + 50 * label}_class{label}.png"
            Image.fromarray(pixels).save(folder / name)


@pytest.fixture(scope="session")
def vgg_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of VGG-16 in the file form that Keras loads; the real ones are downloaded."""
    keras = pytest.importorskip("keras", reason="the trainer needs the extra 'trainer'")
    path = tmp_path_factory.mktemp("vgg") / "vgg16.weights.h5"
    keras.utils.set_random_seed(11)
    model = keras.applications.VGG16(include_top=False, weights=None, input_shape=(50, 50, 3))
    _save_weights(model, path)
    return path


def _save_weights(model: keras.Model, path: Path) -> None:
    with warnings.catch_warnings():
        # Keras copies its variables in a way that NumPy is about to change.
        warnings.simplefilter("ignore", DeprecationWarning)
        model.save_weights(path)


@contextmanager
def _narrowed() -> Iterator[None]:
    from trainer.networks import building

    def narrow(weights: str | None) -> keras.Model:
        given = building.keras.Input((50, 50, 3))
        model = building.keras.Model(given, building._blocks(given, *building.DEPTHS))
        if weights is not None:
            model.load_weights(weights)
        return model

    with pytest.MonkeyPatch.context() as patch:
        widths = {block: width // 16 for block, width in building.VGG_WIDTHS.items()}
        patch.setattr(building, "VGG_WIDTHS", widths)
        patch.setattr(building, "_vgg16", narrow)
        yield


@pytest.fixture(scope="session")
def narrow_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a VGG-16 that is a sixteenth as wide."""
    keras = pytest.importorskip("keras", reason="the trainer needs the extra 'trainer'")
    from trainer.networks import building

    path = tmp_path_factory.mktemp("vgg") / "narrow.weights.h5"
    keras.utils.set_random_seed(11)
    with _narrowed():
        _save_weights(building._vgg16(None), path)
    return path


@pytest.fixture
def narrow_vgg(narrow_weights: Path) -> Iterator[Path]:
    """Makes VGG-16 a sixteenth as wide; yields its weights."""
    with _narrowed():
        yield narrow_weights


@pytest.fixture
def eager() -> Iterator[None]:
    """Trains as `eagerly` does."""
    with eagerly():
        yield


@contextmanager
def eagerly() -> Iterator[None]:
    """Run each step as it is written, and draw no curves: compiling and drawing take longer."""
    tf = pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")
    from trainer.training import loop

    tf.config.run_functions_eagerly(True)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "draw_curves", lambda *given: None)
            yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> SmallData:
    """Eight cases; 101-103 train, 201-202 validate, 301-302 test, 901 is unlisted."""
    root = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(5)
    for case, count in CASES.items():
        write_case(root / "patches", case, count, rng)
    splits = root / "splits"
    splits.mkdir()
    for part, first in (("train", "1"), ("val", "2"), ("test", "3")):
        cases = [case for case in CASES if case.startswith(first)]
        (splits / f"official_{part}.txt").write_text("\n".join(cases) + "\n", encoding="utf-8")
    counts = root / "counts.csv"
    lines = [f"{case},{5 * count},{2 * count}" for case, count in CASES.items()]
    counts.write_text("patient_id,n0,n1\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return SmallData(root / "patches", splits, counts)


@pytest.fixture(scope="session")
def crossvalidated(small_data: SmallData, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two epochs of the baseline in each fold; returns the command, which ends with its folder."""
    pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")
    from trainer.cli import main
    from trainer.data.preparing import prepare

    root = tmp_path_factory.mktemp("folds")
    prepare(small_data.patches, root / "store")
    files = ["--splits", str(small_data.splits), "--counts", str(small_data.counts)]
    settings = ["--network", "baseline", "--epochs", "2", "--batch", "128"]
    command = ["crossvalidate", "--data", str(root / "store"), *files, *settings]
    command += ["--out", str(root / "out")]
    with eagerly():
        assert main(command) == 0
    return command
