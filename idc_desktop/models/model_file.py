"""A model file: read once, hashed, and its card taken out, without any inference library.

The session is later built from the very bytes that were hashed here, so a file that is swapped
afterwards, or data outside the file, can never take part.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from idc_desktop.errors import ModelError
from idc_desktop.models.card import CARD_KEY, Model, parse_card
from idc_desktop.models.protobuf import FieldReader, Value, text_of

MAX_BYTES = 512 << 20
MAX_OPSET = 18

# What of onnx.proto is looked at: field number -> kind of message, for each kind.
_PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 14: "property", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 9: "opset", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor", 10: "tensor", 6: "graph", 11: "graph", 22: "sparse", 23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}  # fmt: skip
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_PROPERTY_KEY, _PROPERTY_VALUE = 1, 2
_NODE_DOMAIN = 7
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14

_STANDARD_DOMAINS = ("", "ai.onnx")
_MOST_FIELDS = 1_000_000  # of all messages; VGG-16 has 2,000
_DEEPEST = 100  # messages in messages: more than protobuf's own readers take
_LONGEST_QUOTE = 60
_REMEDY = "Choose another one, or export it again with idc-trainer."


@dataclass(frozen=True)
class ModelFile(Model):
    """The bytes of an ONNX file, their SHA-256, and the validated card inside."""

    path: Path
    data: bytes


def bundled_models() -> dict[str, Path]:
    """Return the models that ship with the application, name -> file, in alphabetical order."""
    folder = Path(str(files("idc_desktop.resources"))) / "models"
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}


def find_model(name_or_file: str) -> Path:
    """Return the file of a bundled model's name, or the given ``.onnx`` file; its absolute path.

    Raises
    ------
    ModelError
        It is neither.
    """
    bundled = bundled_models()
    if name_or_file in bundled:
        return bundled[name_or_file]
    path = Path(name_or_file)
    if path.suffix.lower() != ".onnx":
        names = ", ".join(bundled) or "none"
        if os.path.lexists(path):
            raise ModelError(
                f"{path.name}: This is no model: only .onnx files are loaded. Give one, or the "
                f"name of a bundled model ({names})."
            )
        raise ModelError(
            f"{path.name}: There is no bundled model of this name (there are: {names}), and only "
            ".onnx files are loaded."
        )
    return path.absolute()


def read_model(path: Path) -> ModelFile:
    """Read a model file and validate its card.

    Raises
    ------
    ModelError
        The file cannot be read, is too large, is no ONNX model, keeps numbers in other files,
        uses operators beyond the standard domain or opset 18, or has no valid card.
    """
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"{path.name}: This is not a file. Give an .onnx file.")
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(
                f"{path.name}: The model is larger than {MAX_BYTES >> 20} MiB. {_REMEDY}"
            )
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path.name}: The model cannot be read ({error.strerror}).") from error
    try:
        outline = _Outline(data)
    except ValueError as error:
        raise ModelError(
            f"{path.name}: This is not a valid ONNX model ({error}). {_REMEDY}"
        ) from error
    except ModelError as error:
        raise ModelError(f"{path.name}: {error}") from error
    cards = outline.cards
    if len(cards) != 1:
        raise ModelError(
            f"{path.name}: The model has {len(cards) or 'no'} card(s) ({CARD_KEY} in its "
            "metadata). Export it with idc-trainer."
        )
    card = parse_card(cards[0], path.name)
    return ModelFile(hashlib.sha256(data).hexdigest(), card, path, data)


class _Outline:
    """What a model consists of, as far as it decides whether the model may be used at all.

    Attributes
    ----------
    cards : list of str

    Raises
    ------
    ValueError
        The bytes are no ONNX model.
    ModelError
        A part of it lies in another file, or needs operators that are not of the standard.
    """

    def __init__(self, data: bytes) -> None:
        self.cards: list[str] = []
        self._has_opset = False
        self._reader = FieldReader(_MOST_FIELDS)
        self._look("model", memoryview(data), 0)
        if not self._has_opset:
            raise ValueError("it names no opset")

    def _look(self, kind: str, message: memoryview, depth: int) -> None:
        """Look at a message and at all inside it."""
        if depth > _DEEPEST:
            raise ValueError("messages in messages without end")
        if kind == "opset":
            self._check_opset(dict(self._reader.fields(message)))
        elif kind == "property":
            entry = dict(self._reader.fields(message))
            if text_of(entry.get(_PROPERTY_KEY)) == CARD_KEY:
                self.cards.append(text_of(entry.get(_PROPERTY_VALUE)))
        else:
            parts = _PARTS[kind]
            for number, value in self._reader.fields(message):
                self._check_field(kind, number, value)
                if number in parts and isinstance(value, memoryview):
                    self._look(parts[number], value, depth + 1)

    def _check_opset(self, entry: dict[int, Value]) -> None:
        self._has_opset = True
        _require_standard(text_of(entry.get(_OPSET_DOMAIN)))
        version = entry.get(_OPSET_VERSION, 0)
        if not isinstance(version, int) or version > MAX_OPSET:
            raise ModelError(f"The model needs opset {version}, not <= {MAX_OPSET}. {_REMEDY}")

    def _check_field(self, kind: str, number: int, value: Value) -> None:
        if kind == "node" and number == _NODE_DOMAIN:
            _require_standard(text_of(value))
        # Inside the file is what a location of 0 says, and what none at all means.
        elsewhere = number == _TENSOR_DATA_LOCATION and value != 0
        if kind == "tensor" and (elsewhere or number == _TENSOR_EXTERNAL_DATA):
            raise ModelError(
                "Numbers of the model lie outside its file. Save it again as one file, without "
                "external data."
            )


def _require_standard(domain: str) -> None:
    if domain not in _STANDARD_DOMAINS:
        named = domain[:_LONGEST_QUOTE]
        raise ModelError(
            f"The model uses the operator domain {named!r}, not the standard. {_REMEDY}"
        )
