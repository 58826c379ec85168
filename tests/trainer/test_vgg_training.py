"""The networks with a frozen part: trained, interrupted, exported; and the alarm."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.models.card import CARD_KEY, parse_card
from tests.trainer.conftest import SmallData

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")

import keras

from idc_desktop.errors import OutputError
from trainer.cli import main
from trainer.data.preparing import prepare
from trainer.errors import RunError
from trainer.networks.building import Weights, read_imagenet
from trainer.release import golden, steps
from trainer.release.about import About
from trainer.release.model_card import LEAK, VALIDATED, Evidence, limitations
from trainer.release.onnx_file import load_file, run_session
from trainer.settings import Settings, recipe_settings
from trainer.training import checkpoint
from trainer.training.checkpoint import CHECKPOINT, LOG_CSV, LOG_JSON, Epoch, best_epoch
from trainer.training.fitting import fit_network
from trainer.training.loop import (
    CURVES,
    FROZEN_WEIGHTS,
    Means,
    compiled,
    load_best,
    logits,
    train,
)
from trainer.training.runs import Data, Run, Sources, load_data


@pytest.fixture(scope="module")
def sources(small_data: SmallData, tmp_path_factory: pytest.TempPathFactory) -> Sources:
    store = tmp_path_factory.mktemp("store")
    prepare(small_data.patches, store)
    return Sources(store, small_data.splits, small_data.counts, unlisted=False)


@pytest.fixture(scope="module")
def data(sources: Sources) -> Data:
    return load_data(sources)


@pytest.fixture(scope="module")
def few(data: Data) -> Data:
    """A third of the training patches."""
    rows = np.arange(0, len(data.train.store.index), 3)
    return replace(data, train=data.train.take(rows))


@pytest.fixture
def imagenet(narrow_vgg: Path) -> Weights:
    return read_imagenet(narrow_vgg)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def _settings(network: str, recipe: str = "corrected", **given: object) -> Settings:
    variants = {} if network == "baseline" else {"variants": 1}
    return recipe_settings(recipe, network, **{"epochs": 2, "batch": 16, **variants, **given})


def _difference(one: keras.Model, other: keras.Model) -> float:
    """Largest mean difference of a layer's weights.

    Which threads add up a large gradient depends on the load, and Adam makes a whole step of the
    sign of a gradient near 0: single weights of equal trainings differ, their mean does not.
    """
    pairs = zip(one.weights, other.weights, strict=True)
    return max(float(np.abs(a.numpy() - b.numpy()).mean()) for a, b in pairs)


LARGEST_BYTES = {"vgg16-features": 17.5e6, "vgg16-finetuned": 31.5e6}
"""Blocks 1 to 4 hold 7.6, all five 14.7 million weights of two bytes each; then the head."""


@pytest.mark.parametrize(
    ("network", "wide"),
    [
        ("vgg16-finetuned", False),
        *(pytest.param(name, True, marks=pytest.mark.long) for name in LARGEST_BYTES),
    ],
)
def test_run_of_the_command_line_is_exported_with_its_origin(
    network: str,
    wide: bool,
    sources: Sources,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = request.getfixturevalue("vgg_weights" if wide else "narrow_vgg")
    if not wide:
        request.getfixturevalue("eager")
    monkeypatch.setattr(steps, "FEWEST", 10)
    monkeypatch.setattr(steps, "_BACKGROUND", 20)
    monkeypatch.setattr(golden, "CANDIDATES", 40)
    run, report = tmp_path / "run", tmp_path / "report" / "small.md"
    where = [
        *("--data", str(sources.store), "--splits", str(sources.splits)),
        *("--counts", str(sources.counts)),
    ]
    few = ["--epochs", "1", "--batch", "16", "--variants", "1"]
    command = ["train", *where, "--out", str(run), "--network", network, *few]
    assert main([*command, "--weights", str(weights)]) == 0
    assert {path.name for path in run.iterdir()} == {
        *(CHECKPOINT, LOG_CSV, LOG_JSON, FROZEN_WEIGHTS, "cache", "run.json", "settings.toml"),
        *([CURVES] if wide else []),
    }
    model = tmp_path / "small.onnx"
    command = ["export", str(run), "--out", str(model), "--name", "small"]
    # The weights file is not asked for again: the run holds all that it needs.
    assert main([*command, "--report", str(report)]) == 0
    session = load_file(model)
    card = parse_card(session.get_modelmeta().custom_metadata_map[CARD_KEY], "small.onnx")
    idc = card.document["idc"]
    assert "CC BY 4.0" in idc["licence"]
    assert "Oxford" in idc["attribution"]
    assert any("ImageNet" in line for line in idc["limitations"])
    assert len(idc["training"]["imagenet_sha256"]) == 64
    found, _ = run_session(session, card.golden_patches)
    assert np.abs(found - card.golden_probabilities).max() < 1e-4
    assert not wide or model.stat().st_size < LARGEST_BYTES[network]
    assert report.with_name("small_curves.png").read_bytes().startswith(b"\x89PNG")
    text = report.read_text(encoding="utf-8")
    assert "small_curves.png" in text
    assert "collapse alarm: " in text


@pytest.mark.usefixtures("eager")
def test_interrupted_fine_tuning_ends_as_an_undisturbed_one(
    few: Data, imagenet: Weights, cache: Path, tmp_path: Path
) -> None:
    settings = _settings("vgg16-finetuned", head_epochs=1)
    means = Means(imagenet, cache)

    def interrupt(line: str) -> None:
        if line.startswith("epoch"):
            raise KeyboardInterrupt(line)

    with pytest.raises(KeyboardInterrupt):
        train(few.train, few.validation, settings, tmp_path / "two", interrupt, means)
    resumed = train(few.train, few.validation, settings, tmp_path / "two", means=means)
    whole = train(few.train, few.validation, settings, tmp_path / "one", means=means)
    # A step at the rate of the new layers is up to 1e-3.
    assert _difference(resumed.network.trained, whole.network.trained) < 1e-4
    first, second = whole.history
    assert first.val_loss != second.val_loss
    for epoch, line in enumerate(whole.history):
        assert resumed.history[epoch].loss == pytest.approx(line.loss, rel=1e-3)
    network, _ = load_best(settings, tmp_path / "one", few.train, few.validation)
    assert _difference(network.whole, whole.network.whole) == 0


@pytest.mark.usefixtures("eager")
def test_head_epochs_leave_the_pretrained_layers_alone(
    few: Data, imagenet: Weights, cache: Path, tmp_path: Path
) -> None:
    for head_epochs, same in ((1, True), (0, False)):
        settings = _settings("vgg16-finetuned", epochs=1, head_epochs=head_epochs)
        folder = tmp_path / str(head_epochs)
        done = train(few.train, few.validation, settings, folder, means=Means(imagenet, cache))
        kernel = done.network.trained.get_layer("block5_conv3").kernel.numpy()
        # The running mean of a constant rounds in its last digit.
        assert np.allclose(kernel, imagenet["block5_conv3"][0], atol=1e-7) == same


@pytest.mark.usefixtures("eager")
def test_other_weights_are_another_training(few: Data, imagenet: Weights, tmp_path: Path) -> None:
    settings = _settings("vgg16-features", epochs=1)
    train(few.train, few.validation, settings, tmp_path, means=Means(imagenet))
    kernel, bias = imagenet["block2_conv1"]
    other = imagenet | {"block2_conv1": [kernel * 2, bias]}
    with pytest.raises(RunError, match="other settings"):
        train(few.train, few.validation, settings, tmp_path, means=Means(other))
    (tmp_path / FROZEN_WEIGHTS).write_bytes(b"PK damaged")
    with pytest.raises(RunError, match=FROZEN_WEIGHTS):
        load_best(settings, tmp_path, few.train, few.validation)


@pytest.mark.usefixtures("eager")
def test_full_disk_keeps_the_last_checkpoint_and_the_training_goes_on_later(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings("baseline", epochs=2)
    honest = checkpoint.np.savez
    written = 0

    def full(*given: object, **arrays: object) -> None:
        nonlocal written
        written += 1
        if written == 2:
            raise OSError(28, "No space left on device")
        honest(*given, **arrays)

    monkeypatch.setattr(checkpoint.np, "savez", full)
    with pytest.raises(OutputError, match="No space left"):
        train(data.train, data.validation, settings, tmp_path)
    kept = checkpoint.read_checkpoint(tmp_path / CHECKPOINT, 0)
    assert [line.epoch for line in kept.history] == [0]
    done = train(data.train, data.validation, settings, tmp_path)
    assert [line.epoch for line in done.history] == [0, 1]


def test_epoch_taken_is_the_last_one_of_the_paper_and_else_the_best() -> None:
    history = tuple(
        Epoch(epoch, 0.4, 0.8, 0.4, 0.9, auprc, 0.8, 0.3, "", 1.0, 100.0)
        for epoch, auprc in enumerate((0.7, 0.9, 0.8))
    )
    assert best_epoch(history, _settings("baseline", "paper")) == 2
    assert best_epoch(history, _settings("baseline")) == 1


@pytest.mark.usefixtures("eager")
def test_mixed_precision_is_trained_and_rebuilt_in_float32(
    few: Data, imagenet: Weights, tmp_path: Path
) -> None:
    settings = _settings("vgg16-features", epochs=1, mixed_precision=True)
    done = train(few.train, few.validation, settings, tmp_path, means=Means(imagenet))
    assert done.network.trained.layers[2].compute_dtype == "bfloat16"
    network, _ = load_best(settings, tmp_path, few.train, few.validation)
    assert {layer.compute_dtype for layer in network.whole.layers[1:]} == {"float32"}


@pytest.mark.usefixtures("eager")
def test_alarm_reaches_the_log_of_a_network_that_a_high_rate_destroyed(
    data: Data, tmp_path: Path
) -> None:
    lines: list[str] = []
    settings = _settings("baseline", "paper", epochs=1, learning_rate=0.3)
    done = train(data.train, data.validation, settings, tmp_path, lines.append)
    line = done.history[-1]
    assert line.collapsed
    assert any(text.startswith("ALARM") for text in lines)
    assert line.collapsed in (tmp_path / LOG_CSV).read_text(encoding="utf-8")


@pytest.mark.long
def test_two_replicas_train_like_one(sources: Sources, tmp_path: Path) -> None:
    """In a process of its own: logical devices are laid out before TensorFlow starts."""
    script = f"""
import trainer
import tensorflow as tf
from pathlib import Path
device = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from trainer.training.runs import Sources, load_data
from trainer.settings import recipe_settings
from trainer.training.loop import Means, train
root = Path({str(tmp_path)!r})
data = load_data(Sources(Path({str(sources.store)!r}), Path({str(sources.splits)!r}),
    Path({str(sources.counts)!r}), unlisted=False))
# Dropout differs between replicas; the paper's rates are at their place without it.
settings = recipe_settings("corrected", "baseline", epochs=2, batch=17)
two = Means(strategy=tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
done = train(data.train, data.validation, settings, root / "two", means=two)
again = train(data.train, data.validation, settings, root / "two", means=two)
one = train(data.train, data.validation, settings, root / "one")
assert again.history == done.history
assert two.strategy.num_replicas_in_sync == 2
print(*(line.auc for line in done.history), *(line.auc for line in one.history))
print(*(line.loss for line in done.history), *(line.loss for line in one.history))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    auc, loss = (np.array(line.split(), float) for line in done.stdout.splitlines()[-2:])
    assert auc[1] > 0.8
    assert np.abs(loss[:2] - loss[2:]).max() < 0.1


@pytest.mark.parametrize("leaky", [False, True])
def test_limitations_are_those_of_the_split_and_recipe(data: Data, leaky: bool) -> None:
    where = Path("nowhere")
    sources = Sources(where, where, where, split="random-patch" if leaky else "official")
    run = Run(recipe_settings("paper", "vgg16-finetuned"), sources, "2026-01-01", 1.0, "0" * 64)
    evidence = Evidence("validation", data.validation.store.index, "", LEAK if leaky else VALIDATED)
    lines = "\n".join(limitations(run, evidence, About(limitations=("Of one laboratory.",))))
    assert "one laboratory" in lines
    assert ("LEAKY" in lines) == leaky
    assert ("named test" in lines) != leaky
    assert "never saw them" in lines
    assert "blocks 4 and 5" in lines.lower()
    assert "literal settings" in lines


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("mixed", [False, True])
def test_patches_that_are_cached_are_judged_without_the_frozen_part(
    mixed: bool,
    sources: Sources,
    few: Data,
    imagenet: Weights,
    tmp_path: Path,
) -> None:
    settings = _settings("vgg16-features", epochs=1, mixed_precision=mixed)
    cache = tmp_path / "cache"
    means = Means(imagenet, cache)
    fitted = fit_network(sources, settings, few, tmp_path / "run", means, lambda line: None)
    held_out = few.validation.store
    network, _ = load_best(settings, tmp_path / "run", few.train, few.validation)
    before = set(cache.iterdir())
    said = fitted.predict(held_out)
    # In bfloat16 the training cached what no file will compute.
    assert (set(cache.iterdir()) == before) != mixed
    assert np.allclose(said, logits(compiled(network.whole), held_out), atol=2e-3)
