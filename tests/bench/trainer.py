"""Speed of the trainer, on painted patches and random VGG-16 weights: ``python -m``, or `figures`.

The rates are those that a training logs: patches of the training part per second, with the random
variants made on the way, without validation. Each is the median of some epochs after the first.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.figure import Figure
from trainer.data.painting import paint_background, paint_tissue

BASELINE_PER_S = 1000.0
FINE_TUNING_PER_S = 15.0
FROZEN_PER_S = 11_613 * 9 / (15 * 60)
"""Eight variants of the training patches and one of as many others within 15 minutes."""

_BASELINE_PATCHES = 4096
_VGG_PATCHES = 512


def figures(rounds: int) -> list[Figure]:
    """Measure in a process of its own, so that TensorFlow starts with the processors given."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.trainer", str(rounds)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"the trainer's bench failed:\n{done.stderr}")
    baseline, frozen, tuning = map(float, done.stdout.split())
    return [
        Figure("baseline training", baseline, "/s", floor=BASELINE_PER_S),
        Figure("VGG-16, frozen blocks 1-4", frozen, "/s", floor=FROZEN_PER_S),
        Figure("VGG-16, fine-tuning blocks 4-5", tuning, "/s", floor=FINE_TUNING_PER_S),
    ]


def main(rounds: int) -> None:
    """Print patches per second: baseline training, frozen blocks 1-4, fine-tuning blocks 4-5."""
    import keras

    from trainer.networks.building import CONVOLUTIONS, build
    from trainer.settings import recipe_settings
    from trainer.training.loop import Means, train

    vgg = keras.applications.VGG16(include_top=False, weights=None, input_shape=(50, 50, 3))
    imagenet = {
        layer.name: [variable.numpy() for variable in layer.weights]
        for layer in vgg.layers
        if layer.name in CONVOLUTIONS
    }
    rates: list[float] = []
    with tempfile.TemporaryDirectory(prefix="idc-trainer-bench-") as folder:
        for network, count, given in (
            ("baseline", _BASELINE_PATCHES, {}),
            ("vgg16-finetuned", _VGG_PATCHES, {"variants": 1, "head_epochs": 0}),
        ):
            settings = recipe_settings("corrected", network, epochs=rounds + 1, **given)
            done = train(
                _painted(count), _painted(64), settings, Path(folder) / network,
                means=Means(imagenet if network != "baseline" else None),
            )  # fmt: skip
            rates.append(statistics.median(one.patches_per_second for one in done.history[1:]))
    settings = recipe_settings("corrected", "vgg16-features")
    rates.insert(1, _frozen_rate(build(settings, imagenet), rounds))
    sys.stdout.write(" ".join(map(str, rates)) + "\n")


def _frozen_rate(network: object, rounds: int) -> float:
    import time

    from trainer.training.caching import CHUNK
    from trainer.training.loop import compiled_frozen

    run = compiled_frozen(network.frozen)
    patches = _painted(2 * CHUNK).store.pixels
    run(patches[:CHUNK])
    rates = []
    for _ in range(rounds):
        started = time.perf_counter()
        for start in range(0, len(patches), CHUNK):
            run(patches[start : start + CHUNK])
        rates.append(len(patches) / (time.perf_counter() - started))
    return statistics.median(rates)


def _painted(count: int) -> object:
    """Return a part of `count` painted patches, half of them "IDC"."""
    import numpy as np

    from trainer.data.dataset import PatchIndex, PatchStore
    from trainer.training.feeding import Part

    rng = np.random.default_rng(count)
    half = count // 2
    pixels = np.concatenate([paint_background(rng, half), paint_tissue(rng, half)])
    label = np.repeat([0, 1], half).astype(np.uint8)
    name = np.array(["painted"] * count)
    index = PatchIndex(name, np.arange(count), np.arange(count), label, name)
    return Part(PatchStore(index, np.arange(count), pixels), np.ones(count))


if __name__ == "__main__":
    main(int(sys.argv[1]))
