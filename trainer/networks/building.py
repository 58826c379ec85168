"""The networks. Each takes raw uint8 RGB and scales it itself, so no caller can do it wrongly.

A network is two models in a row: a *frozen* part that never changes (none in the baseline), whose
output is computed once per patch and cached, and the part that is *trained*.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from trainer.data.dataset import PATCH
from trainer.errors import RunError
from trainer.networks.cited import COMPARATORS, flat
from trainer.settings import COMPARATOR_NAMES, RECIPE_NAMES, VGG16_NAMES, Settings

WIDTHS = (24, 48, 96, 128)
"""Filters of the corrected baseline's convolutions: 18 million multiply-adds per patch."""

FLOOR = 0.05
"""Optical density; the deviation of 98 % of the data set's patches is 0.05 to 0.48."""

PAPER_WIDTHS = (32, 64, 128, 128)

FEATURE_SCALE = 1 / 64
"""Averages of VGG-16's blocks reach thousands, and their variances would not fit float16."""

Weights = dict[str, list[NDArray[np.float32]]]
"""Layer name -> kernel and bias."""


@dataclass(frozen=True)
class Network:
    """A network, cut where training begins.

    Attributes
    ----------
    frozen : keras.Model or None
        Of uint8 (n, 50, 50, 3) to what `trained` takes.
    trained : keras.Model
        To one logit, (n, 1).
    pretrained : frozenset of str
        Layers of `trained` that start from ImageNet and are trained at a rate of their own.
    """

    frozen: keras.Model | None
    trained: keras.Model
    pretrained: frozenset[str] = frozenset()

    @property
    def whole(self) -> keras.Model:
        """Of uint8 (n, 50, 50, 3) to one logit, (n, 1); shares its weights with the parts."""
        if self.frozen is None:
            return self.trained
        return keras.Model(self.frozen.input, self.trained(self.frozen.output))


def read_imagenet(path: Path | None) -> Weights:
    """Read the ImageNet weights of VGG-16 without its top.

    Parameters
    ----------
    path : Path or None
        A file for ``keras.applications.VGG16(include_top=False)``; `None` lets Keras download it.

    Raises
    ------
    RunError
        The file is missing, damaged or of another network, or it cannot be downloaded.
    """
    if path is not None and not path.is_file():
        raise RunError(f"{path} does not exist. Name a file of VGG-16 weights with --weights.")
    try:
        model = _vgg16("imagenet" if path is None else str(path))
    # Keras and h5py raise whatever the damage leads to, a download anything from a URL to a proxy.
    except Exception as cause:
        where = "The ImageNet weights cannot be downloaded" if path is None else f"{path} holds no"
        what = "" if path is None else " weights of VGG-16 without its top"
        reason = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        raise RunError(
            f"{where}{what} ({reason}). Pass a file that "
            "keras.applications.VGG16(include_top=False) can load with --weights."
        ) from cause
    weights = {
        layer.name: [variable.numpy() for variable in layer.weights]
        for layer in model.layers
        if layer.name in CONVOLUTIONS
    }
    if not all(np.isfinite(value).all() for pair in weights.values() for value in pair):
        raise RunError(f"{path} holds weights that are not numbers. Fetch it again.")
    return weights


def digest(weights: Weights) -> str:
    """SHA-256 over all arrays, first layer first: which weights these are."""
    found = hashlib.sha256()
    for name in sorted(weights):
        for value in weights[name]:
            found.update(np.ascontiguousarray(value).tobytes())
    return found.hexdigest()


def needs_imagenet(settings: Settings) -> bool:
    """Whether the network starts from ImageNet weights."""
    return settings.network in VGG16_NAMES


def build(
    settings: Settings,
    imagenet: Weights | None = None,
    scope: AbstractContextManager[object] | None = None,
    precision: str = "float32",
    side_px: int = PATCH.side_px,
) -> Network:
    """Build a network: new layers drawn from the seed, the others from `imagenet` if given.

    Parameters
    ----------
    scope : context manager, optional
        Of a distribution strategy; the variables are made within.
    precision : str
        Keras' name of what the layers compute in.
    side_px : int
        Of the patches.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(settings.seed)
    with scope or nullcontext():
        keras.config.set_dtype_policy(precision)
        network = NETWORKS[settings.recipe, settings.network](side_px)
        keras.config.set_dtype_policy("float32")
    for model in (network.frozen, network.trained):
        if imagenet is None or model is None:
            continue
        for layer in model.layers:
            if layer.name in CONVOLUTIONS:
                layer.set_weights(imagenet[layer.name])
    return network


def _baseline(side: int, dropout: float = 0.4) -> Network:
    """Four convolutions with batch normalisation, on optical density as it is and evened out.

    Pooling comes before normalisation and ReLU: the maximum commutes with the (monotonic) ReLU,
    and the two then work on a quarter of the values.
    """
    patches = keras.Input((side, side, 3), dtype="uint8", name="patches")
    density = _density(patches)
    x = _side_by_side([density, _evened(density)])
    for width in WIDTHS:
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D(2)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    x = flat(x)
    x = layers.Dropout(dropout)(x)
    x = layers.Dense(64, activation="relu")(x)
    x = layers.Dropout(dropout)(x)
    return Network(None, keras.Model(patches, _logit(x), name="baseline"))


def _density(patches: keras.KerasTensor) -> keras.KerasTensor:
    """Optical density, natural logarithm: 0 where all light comes through, 5.5 where none does."""
    light = layers.Rescaling(1 / 256, offset=1 / 256, dtype="float32")(patches)
    return -ops.log(light)


def _evened(density: keras.KerasTensor) -> keras.KerasTensor:
    """Density less its mean over the patch, in units of its deviation: what no lamp changes.

    Stain that is twice as dark everywhere and light of another colour leave it as it is. The
    floor of the deviation keeps noise on bare glass small.
    """
    # Row by row, or the sums of 2,500 values would differ between runtimes in the fourth digit.
    rows = ops.mean(density, axis=1, keepdims=True)
    centred = density - ops.mean(rows, axis=2, keepdims=True)
    spread = ops.mean(ops.square(centred), axis=(1, 2, 3), keepdims=True)
    return centred / ops.sqrt(spread + FLOOR**2)


def _paper_baseline(side: int) -> Network:
    patches = keras.Input((side, side, 3), dtype="uint8", name="patches")
    x = layers.Rescaling(1 / 255)(patches)
    for width, dropout in zip(PAPER_WIDTHS, (0.25, 0.25, 0.25, 0.5), strict=True):
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
        x = layers.Dropout(dropout)(x)
    return Network(None, keras.Model(patches, _softmax_logit(flat(x))))


def _features(side: int) -> Network:
    patches, x = _caffe_input(side)
    statistics = []
    for block in (1, 2, 3, 4):
        x = _blocks(x, block)
        statistics.append(_statistics(x))
    return _cut(patches, _side_by_side(statistics), _head)


def _finetuned(side: int) -> Network:
    patches, x = _caffe_input(side)

    def trained(third: keras.KerasTensor) -> keras.KerasTensor:
        fourth = _blocks(third, 4)
        fifth = _blocks(fourth, 5)
        return _head(_side_by_side([_average(third), _average(fourth), _average(fifth)]))

    return _cut(patches, _blocks(x, 1, 2, 3), trained)


def _paper_features(side: int) -> Network:
    patches, x = _plain_input(side)

    def head(features: keras.KerasTensor) -> keras.KerasTensor:
        hidden = layers.Dense(512, activation="relu")(features)
        return _softmax_logit(layers.Dropout(0.5)(hidden))

    return _cut(patches, flat(_blocks(x, 1, 2, 3, 4, 5)), head)


def _paper_finetuned(side: int) -> Network:
    patches, x = _plain_input(side)

    def trained(third: keras.KerasTensor) -> keras.KerasTensor:
        fifth = flat(_blocks(third, 4, 5))
        return _softmax_logit(layers.Dense(512, activation="relu")(fifth))

    return _cut(patches, _blocks(x, 1, 2, 3), trained)


def _comparator(name: str, side: int) -> Network:
    if side != PATCH.side_px:
        raise RunError(f"{name} is made for patches of {PATCH.side_px} px; these have {side}.")
    return Network(None, COMPARATORS[name]())


NETWORKS: dict[tuple[str, str], Callable[[int], Network]] = {
    ("corrected", "baseline"): _baseline,
    ("corrected", "vgg16-features"): _features,
    ("corrected", "vgg16-finetuned"): _finetuned,
    ("paper", "baseline"): _paper_baseline,
    ("paper", "vgg16-features"): _paper_features,
    ("paper", "vgg16-finetuned"): _paper_finetuned,
    **{
        (recipe, name): partial(_comparator, name)
        for recipe in RECIPE_NAMES
        for name in COMPARATOR_NAMES
    },
}
"""(recipe, network) -> builder; the recipes decide layers as well as settings."""

DEPTHS = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}
"""Convolutions of each block of VGG-16."""
VGG_WIDTHS = {1: 64, 2: 128, 3: 256, 4: 512, 5: 512}
"""Filters of each."""
CONVOLUTIONS = tuple(
    f"block{block}_conv{number}"
    for block, depth in DEPTHS.items()
    for number in range(1, depth + 1)
)


def _vgg16(weights: str | None) -> keras.Model:
    return keras.applications.VGG16(
        include_top=False, weights=weights, input_shape=(PATCH.side_px, PATCH.side_px, 3)
    )


def _caffe_input(side: int) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Input scaled as VGG-16 was trained: BGR, unscaled, less the mean colour of ImageNet."""
    patches = keras.Input((side, side, 3), dtype="uint8", name="patches")
    rgb = layers.Rescaling(1.0)(patches)
    return patches, keras.applications.vgg16.preprocess_input(rgb)


def _plain_input(side: int) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    patches = keras.Input((side, side, 3), dtype="uint8", name="patches")
    return patches, layers.Rescaling(1 / 255)(patches)


def _blocks(x: keras.KerasTensor, *blocks: int) -> keras.KerasTensor:
    """Apply blocks of VGG-16, each with its pooling; names are the published ones."""
    for block in blocks:
        for number in range(1, DEPTHS[block] + 1):
            name = f"block{block}_conv{number}"
            x = layers.Conv2D(VGG_WIDTHS[block], 3, padding="same", activation="relu", name=name)(x)
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    return x


def _average(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.GlobalAveragePooling2D()(x)


def _statistics(x: keras.KerasTensor) -> keras.KerasTensor:
    """Average and standard deviation of each filter over the patch, (n, 2 * filters).

    The deviations raised the AUC in five folds from 0.898 to 0.906.
    """
    x = layers.Activation("linear", dtype="float32")(x)
    average = ops.mean(x, axis=(1, 2), keepdims=True)
    # The root of 0 has no gradient.
    deviation = ops.sqrt(ops.mean(ops.square(x - average), axis=(1, 2)) + 1e-3)
    return _side_by_side([average[:, 0, 0], deviation])


def _side_by_side(parts: list[keras.KerasTensor]) -> keras.KerasTensor:
    """Concatenate in float32, since bfloat16 has three digits only."""
    return layers.Concatenate(dtype="float32")(parts)


def _head(features: keras.KerasTensor) -> keras.KerasTensor:
    x = layers.Rescaling(FEATURE_SCALE)(features)
    x = layers.BatchNormalization()(x)
    x = layers.Dropout(0.3)(x)
    x = layers.Dense(512, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    return _logit(x)


def _logit(x: keras.KerasTensor) -> keras.KerasTensor:
    """One neuron, in float32 whatever the precision of the rest."""
    return layers.Dense(1, dtype="float32", name="logit")(x)


def _softmax_logit(x: keras.KerasTensor) -> keras.KerasTensor:
    """Two neurons, as in the paper; the softmax of two is the sigmoid of their difference."""
    scores = layers.Dense(2, dtype="float32")(x)
    return layers.Subtract(dtype="float32", name="logit")([scores[:, 1:], scores[:, :1]])


def _cut(
    patches: keras.KerasTensor,
    features: keras.KerasTensor,
    rest: Callable[[keras.KerasTensor], keras.KerasTensor],
) -> Network:
    """Put a frozen part and a trained part side by side."""
    frozen = keras.Model(patches, features, name="frozen")
    frozen.trainable = False
    given = keras.Input(features.shape[1:], name="features")
    trained = keras.Model(given, rest(given), name="trained")
    names = {layer.name for layer in trained.layers}
    return Network(frozen, trained, frozenset(names.intersection(CONVOLUTIONS)))
