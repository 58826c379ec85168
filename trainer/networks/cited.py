"""The networks that the paper's Table 5 cites, as far as their publications tell.

- *cruz-roa* (Cruz-Roa et al. 2014): a "3-layer CNN" on YUV.
- *alexnet-resize*, *alexnet-crop* (Janowczyk & Madabhushi 2016): the network of their published
  configuration (Caffe's CIFAR-10 network), on patches resized or cut to 32x32 px.
- *accept-reject* (Romano & Hernandez 2019): the publication could not be read.

What was assumed of each: `trainer.settings.ASSUMPTIONS`.
"""

from __future__ import annotations

import math

import keras
from keras import layers, ops

from trainer.data.dataset import PATCH

SMALL = 32
"""Side of what the AlexNet variants see, in pixels."""

_TO_YUV = (
    (0.299, -0.14713, 0.615),
    (0.587, -0.28886, -0.51499),
    (0.114, 0.436, -0.10001),
)


class ToYuv(layers.Layer):
    """RGB in 0..255 to Y in 0..1 and U, V around 0 (ITU-R BT.601)."""

    def call(self, patches: keras.KerasTensor) -> keras.KerasTensor:
        """Convert; shape (n, rows, cols, 3) in and out."""
        return ops.matmul(patches / 255.0, ops.convert_to_tensor(_TO_YUV, patches.dtype))


class AcceptRejectPooling(layers.Layer):
    """Average of those values of each 2x2 window that are not below its mean."""

    def call(self, maps: keras.KerasTensor) -> keras.KerasTensor:
        """Pool; shape (n, rows, cols, channels) to half the rows and columns, odd ends cut."""
        rows, cols, channels = maps.shape[1:]
        inner = maps[:, : rows // 2 * 2, : cols // 2 * 2]
        windows = ops.reshape(inner, (-1, rows // 2, 2, cols // 2, 2, channels))
        accepted = windows >= ops.mean(windows, axis=(2, 4), keepdims=True)
        accepted = ops.cast(accepted, maps.dtype)
        return ops.sum(windows * accepted, axis=(2, 4)) / ops.sum(accepted, axis=(2, 4))


def cruz_roa() -> keras.Model:
    """Build the three-layer network; of uint8 (n, 50, 50, 3) to one logit (n, 1)."""
    patches = _input()
    x = ToYuv()(layers.Rescaling(1.0)(patches))
    for width in (16, 32):
        x = layers.Conv2D(width, 8, activation="tanh")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Dense(128, activation="tanh")(flat(x))
    return _model(patches, x)


def alexnet(resized: bool) -> keras.Model:
    """Build Janowczyk's network on resized or cropped patches."""
    patches = _input()
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0)(patches)
    small = layers.Resizing(SMALL, SMALL) if resized else layers.CenterCrop(SMALL, SMALL)
    x = layers.Conv2D(32, 5, padding="same")(small(scaled))
    x = layers.ReLU()(layers.MaxPooling2D(3, 2, padding="same")(x))
    for width in (32, 64):
        x = layers.Conv2D(width, 5, padding="same", activation="relu")(x)
        x = layers.AveragePooling2D(3, 2, padding="same")(x)
    # Without an activation, as published.
    return _model(patches, layers.Dense(64)(flat(x)))


def accept_reject() -> keras.Model:
    """Build a four-convolution network with accept-reject pooling."""
    patches = _input()
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(patches)
    for width in (24, 48, 96, 128):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = AcceptRejectPooling()(x)
    x = layers.Dropout(0.4)(flat(x))
    return _model(patches, layers.Dense(64, activation="relu")(x))


def flat(maps: keras.KerasTensor) -> keras.KerasTensor:
    """Put the values of each patch in a row; (n, rows, cols, channels) to (n, values).

    Keras' own layer asks for the number of patches, and the converter to ONNX folds that question
    away or keeps it by chance: the same weights would not always give the same file.
    """
    return ops.reshape(maps, (-1, math.prod(maps.shape[1:])))


def _input() -> keras.KerasTensor:
    return keras.Input((PATCH.side_px, PATCH.side_px, 3), dtype="uint8", name="patches")


def _model(patches: keras.KerasTensor, hidden: keras.KerasTensor) -> keras.Model:
    return keras.Model(patches, layers.Dense(1, dtype="float32", name="logit")(hidden))


COMPARATORS = {
    "cruz-roa": cruz_roa,
    "alexnet-resize": lambda: alexnet(resized=True),
    "alexnet-crop": lambda: alexnet(resized=False),
    "accept-reject": accept_reject,
}
"""Builders by the names of `trainer.settings.COMPARATOR_NAMES`."""
