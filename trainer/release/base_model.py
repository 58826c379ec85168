"""The model that a laboratory starts from: what it makes of patches, and another last layer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from idc_desktop.errors import ModelError
from trainer.data.dataset import PatchIndex, PatchStore
from trainer.release.assessment import load_model
from trainer.release.head import Head
from trainer.release.onnx_file import open_session
from trainer.training.feeding import Part

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""C of the logistic regressions that are tried for a last layer."""


Logits = NDArray[np.float64]
Progress = Callable[[int, int], None]


class BaseModel:
    """The file that a laboratory starts from.

    Attributes
    ----------
    name, sha256 : str
    card : ModelCard
    graph : onnx.ModelProto

    Raises
    ------
    ModelError
        It is none.
    """

    def __init__(self, path: Path) -> None:
        loaded = load_model(path)
        self.name, self.card = path.name, loaded.card
        content = path.read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.graph = onnx.load_from_string(content)

    def run(
        self, parts: Sequence[Part], outputs: Sequence[str], progress: Progress
    ) -> list[NDArray[np.float32]]:
        """Return what some tensors are for the patches of parts, side by side: (n, width)."""
        shown = onnx.ModelProto()
        shown.CopyFrom(self.graph)
        known = {it.name for it in shown.graph.output}
        for output in outputs:
            if output not in known:
                value = helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)
                shown.graph.output.append(value)
        session = open_session(shown.SerializeToString())
        total, done = sum(len(part.store.index) for part in parts), 0
        found = []
        for part in parts:
            rows = []
            for patches in part.store.batches(64):
                values = session.run(list(outputs), {"patches": patches})
                rows.append(np.concatenate([it.reshape(len(patches), -1) for it in values], axis=1))
                done += len(patches)
                progress(done, total)
            found.append(np.concatenate(rows))
        return found


def find_base(name: str) -> Path:
    """Return the file that a name or path stands for: a bundled model, or a file.

    Raises
    ------
    ModelError
        There is none.
    """
    from importlib.resources import files

    bundled = Path(str(files("idc_desktop.resources"))) / "models" / f"{name}.onnx"
    if bundled.is_file():
        return bundled
    path = Path(name)
    if not path.is_file():
        known = ", ".join(sorted(it.stem for it in bundled.parent.glob("*.onnx")))
        raise ModelError(f"{name}: There is no such model. Name a file, or one of: {known}.")
    return path


def find_float(model: Path) -> Path:
    """Return the float file of a model, for what computes in int8 cannot be trained.

    Raises
    ------
    ModelError
        It computes in int8, and its float file lies neither in ``float`` beside it nor among ours.
    """
    quantized = load_model(model).card.document["idc"].get("quantized")
    if quantized is None:
        return model
    for path in sorted((model.parent / "float").glob("*.onnx")):
        if hashlib.sha256(path.read_bytes()).hexdigest() == quantized["from_sha256"]:
            return path
    raise ModelError(
        f"{model.name} computes in int8, and only its last layer can be trained anew. Name the "
        f"float file that it was made of (SHA-256 {quantized['from_sha256']}), or use --tune head."
    )


def together(parts: Sequence[Part]) -> Part:
    """Return several parts of one store as one."""
    stores = [part.store for part in parts]
    index = PatchIndex(
        *(
            np.concatenate([getattr(one.index, name) for one in stores])
            for name in PatchIndex.__dataclass_fields__
        )
    )
    rows = np.concatenate([one.rows for one in stores])
    store = PatchStore(index, rows, stores[0].pixels, None, stores[0].patch)
    return Part(store, np.concatenate([part.weight for part in parts]))


def train_head(features: Sequence[NDArray[np.float32]], parts: Sequence[Part]) -> Head:
    """Train a last layer; its penalty is the one that does best on groups left out in turn."""
    if len(parts) == 1:
        return _head(features, parts, PENALTIES[1])

    def loss(penalty: float) -> float:
        found = 0.0
        for held in range(len(parts)):
            rest = [at for at in range(len(parts)) if at != held]
            head = _head([features[at] for at in rest], [parts[at] for at in rest], penalty)
            label, weight = parts[held].store.index.label, parts[held].weight
            z = head_logits(features[held], head)
            found += float(weight @ (np.logaddexp(0, z) - label * z))
        return found

    return _head(features, parts, min(PENALTIES, key=loss))


def _head(features: Sequence[NDArray[np.float32]], parts: Sequence[Part], penalty: float) -> Head:
    from sklearn.linear_model import LogisticRegression

    x = np.concatenate(features).astype(np.float64)
    label = np.concatenate([part.store.index.label for part in parts])
    weight = np.concatenate([part.weight for part in parts])
    middle, spread = x.mean(axis=0), x.std(axis=0)
    spread[spread < 1e-6] = 1.0  # a neuron that is always silent
    fitted = LogisticRegression(C=penalty, max_iter=500).fit(
        (x - middle) / spread, label, sample_weight=weight
    )
    weights = fitted.coef_[0] / spread
    return Head(weights.astype(np.float32), float(fitted.intercept_[0] - weights @ middle))


def head_logits(features: NDArray[np.float32], head: Head) -> Logits:
    """Return what a last layer makes of features, shape (n,)."""
    said: Logits = features.astype(np.float64) @ head.weight.astype(np.float64) + head.bias
    return said
