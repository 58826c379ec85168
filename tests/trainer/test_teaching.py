"""Learning from a teacher: what is shown, what is asked, and who may teach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from idc_desktop.errors import UsageError

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")

from tests.trainer.conftest import SmallData
from trainer.cli import main
from trainer.data.preparing import prepare
from trainer.errors import RunError
from trainer.settings import recipe_settings
from trainer.training.caching import Frozen
from trainer.training.checkpoint import CHECKPOINT
from trainer.training.feeding import Part, Teacher, batches, make_feed
from trainer.training.loop import Means, train
from trainer.training.runs import Data, Sources, load_data

TAUGHT = recipe_settings("corrected", "baseline", epochs=2, batch=8, taught=0.75, variants=2)


@pytest.fixture(scope="module")
def sources(small_data: SmallData, tmp_path_factory: pytest.TempPathFactory) -> Sources:
    store = tmp_path_factory.mktemp("store")
    prepare(small_data.patches, store)
    return Sources(store, small_data.splits, small_data.counts)


@pytest.fixture(scope="module")
def few(sources: Sources) -> Data:
    data = load_data(sources)
    ends = np.r_[0:10, -10:0]

    def thin(part: Part) -> Part:
        return part.take(np.arange(len(part.weight))[ends])

    return Data(data.split, thin(data.train), thin(data.validation), data.test, data.unseen)


def _mean_colour(patches: np.ndarray) -> np.ndarray:
    return patches.mean(axis=(1, 2), dtype=np.float32)


def _answer(colours: np.ndarray) -> np.ndarray:
    return (colours[:, 0].astype(float) - 180) / 40


def test_the_labels_hold_the_answers_to_the_very_pixels_that_are_shown(
    few: Data, tmp_path: Path
) -> None:
    teacher = Teacher(Frozen(_mean_colour, (3,), "colour"), _answer)
    told: list[str] = []
    feed = make_feed(
        *(None, few.train, few.validation, TAUGHT, tmp_path),
        *(lambda what, done, total: told.append(what), teacher),
    )
    assert set(told) == {"frozen part, teacher", "variants, training", "variants, painted"}
    shown = []
    for epoch in range(2):
        for pixels, label, _ in batches(few.train, feed, TAUGHT, epoch):
            real = label > 0
            # Half a level of red: what is cached of the mean has 11 bits.
            asked = 1 / (1 + np.exp(-_answer(_mean_colour(pixels[real]))))
            true = (label[real] - 0.75 * asked) / 0.25
            assert np.abs(true - true.round()).max() < 0.02
            assert set(true.round()) <= {0.0, 1.0}
            shown.append(pixels[real])
    first, second = np.array_split(np.concatenate(shown), 2)
    assert not {one.tobytes() for one in first} & {one.tobytes() for one in second}


def test_settings_of_teaching_belong_together() -> None:
    with pytest.raises(UsageError, match="--variants"):
        recipe_settings("corrected", "baseline", taught=0.5)
    with pytest.raises(UsageError, match="--taught"):
        recipe_settings("corrected", "vgg16-features", taught=0.5)
    with pytest.raises(UsageError, match="at most 1"):
        recipe_settings("corrected", "baseline", taught=1.5, variants=8)


def test_who_cannot_teach_is_refused(few: Data, tmp_path: Path) -> None:
    parts = few.train, few.validation
    with pytest.raises(UsageError, match="--teacher"):
        train(*parts, TAUGHT, tmp_path / "a")
    with pytest.raises(RunError, match="Train the teacher first"):
        train(*parts, TAUGHT, tmp_path / "b", means=Means(teacher=tmp_path / "none"))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_vgg_network_teaches_the_baseline_and_no_other_cases(
    sources: Sources, vgg_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--data", str(sources.store), "--splits", str(sources.splits)]
    few = ["--epochs", "1", "--batch", "32", "--variants", "1"]
    teacher, out = tmp_path / "teacher", tmp_path / "out"
    vgg = ["--network", "vgg16-features", "--weights", str(vgg_weights), *few]
    assert main(["train", *where, *vgg, "--out", str(teacher)]) == 0
    taught = ["train", *where, *few, "--teacher", str(teacher)]
    assert main([*taught, "--out", str(out)]) == 0
    assert '"teacher": null' not in (out / "run.json").read_text(encoding="utf-8")
    assert (out / CHECKPOINT).exists()
    # What was taught has no frozen part of its own.
    capsys.readouterr()
    assert main([*taught, "--teacher", str(out), "--out", str(tmp_path / "by")]) == 3
    assert "frozen part" in capsys.readouterr().err
    other = ["--split", "grouped-kfold", "--out", str(tmp_path / "other")]
    assert main([*taught, *other]) == 3
    assert "other patches" in capsys.readouterr().err
