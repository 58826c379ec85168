"""The networks. Each takes raw uint8 RGB and scales it itself, so no caller can do it wrongly."""

from __future__ import annotations

import keras
from keras import layers

from trainer.dataset import PATCH

WIDTHS = (24, 48, 96, 128)
"""Filters of the baseline's four convolutions: 18 million multiply-adds per patch."""


def baseline(dropout: float = 0.4) -> keras.Model:
    """Build the four-convolution network, of uint8 (n, 50, 50, 3) to one logit (n, 1).

    Pooling comes before normalisation and ReLU: the maximum commutes with the (monotonic) ReLU,
    and the two then work on a quarter of the values.
    """
    patches = keras.Input((PATCH, PATCH, 3), dtype="uint8", name="patches")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(patches)
    for width in WIDTHS:
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.MaxPooling2D(2)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    x = layers.Flatten()(x)
    x = layers.Dropout(dropout)(x)
    x = layers.Dense(64, activation="relu")(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(patches, layers.Dense(1, name="logit")(x), name="baseline")


NETWORKS = {"baseline": baseline}
"""Builders by the names of `trainer.settings.NETWORK_NAMES`."""


def build(name: str, seed: int) -> keras.Model:
    """Build a network with weights drawn from `seed`."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    return NETWORKS[name]()
