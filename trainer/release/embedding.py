"""What the last hidden layer of an exported model makes of patches, and its plane embedding."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from trainer.data.dataset import PatchStore
from trainer.release.head import hidden_layer
from trainer.release.onnx_file import open_session

MOST = 2000
"""Patches that are embedded: t-SNE takes a minute for 5,000."""


def hidden_features(content: bytes, store: PatchStore) -> NDArray[np.float32]:
    """Run a model up to the input of its last dense layer; shape (n, width).

    Raises
    ------
    ModelError
        The model ends in no dense layer.
    """
    model = onnx.load_from_string(content)
    hidden = hidden_layer(model)
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(hidden, onnx.TensorProto.FLOAT, None)
    )
    session = open_session(model.SerializeToString())
    parts = [session.run([hidden], {"patches": patches})[0] for patches in store.batches(256)]
    return np.concatenate(parts).reshape(len(store.index), -1)


def plane(features: NDArray[np.float32], seed: int = 1) -> NDArray[np.float32]:
    """Embed features in the plane by t-SNE; shape (n, 2)."""
    perplexity = min(30.0, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)


def some(count: int, seed: int = 1) -> NDArray[np.intp]:
    """Choose at most `MOST` of `count` positions, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:MOST])
