"""A model file: read once, hashed, and its card taken out, without any inference library.

The session is later built from the very bytes that were hashed here, so a file that is swapped
afterwards, or data outside the file, can never take part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from idc_desktop.card import CARD_KEY, ModelCard, parse_card
from idc_desktop.errors import ModelError

MAX_BYTES = 512 << 20
MAX_OPSET = 18

# Field numbers of onnx.proto: ModelProto, OperatorSetIdProto, StringStringEntryProto.
_OPSET_IMPORT, _METADATA_PROPS = 8, 14
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_ENTRY_KEY, _ENTRY_VALUE = 1, 2


@dataclass(frozen=True)
class ModelFile:
    """The bytes of an ONNX file, their SHA-256, and the validated card inside."""

    path: Path
    data: bytes
    sha256: str
    card: ModelCard


def bundled_models() -> dict[str, Path]:
    """Return the models that ship with the application, name -> file, in alphabetical order."""
    folder = Path(str(files("idc_desktop.resources"))) / "models"
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}


def find_model(name_or_file: str) -> Path:
    """Return the file of a bundled model's name, or the given ``.onnx`` file.

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
        raise ModelError(
            f"{name_or_file}: There is no bundled model of this name (there are: "
            f"{', '.join(bundled) or 'none'}), and only .onnx files are loaded."
        )
    return path


def read_model(path: Path) -> ModelFile:
    """Read a model file and validate its card.

    Raises
    ------
    ModelError
        The file cannot be read, is too large, is no ONNX model, uses operators beyond the
        standard domain or opset 18, or has no valid card.
    """
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"{path.name}: This is not a file. Give an .onnx file.")
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path.name}: The model is larger than {MAX_BYTES >> 20} MiB.")
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path.name}: The model cannot be read ({error.strerror}).") from error
    cards = []
    opsets = []
    try:
        for number, value in _fields(data):
            if number == _METADATA_PROPS and isinstance(value, memoryview):
                entry = dict(_fields(value))
                if _text(entry.get(_ENTRY_KEY)) == CARD_KEY:
                    cards.append(_text(entry.get(_ENTRY_VALUE)))
            elif number == _OPSET_IMPORT and isinstance(value, memoryview):
                entry = dict(_fields(value))
                opsets.append((_text(entry.get(_OPSET_DOMAIN)), entry.get(_OPSET_VERSION, 0)))
    except ValueError as error:
        raise ModelError(f"{path.name}: This is not a valid ONNX model ({error}).") from error
    if not opsets:
        raise ModelError(f"{path.name}: This is not a valid ONNX model (it names no opset).")
    for domain, version in opsets:
        if domain not in ("", "ai.onnx"):
            raise ModelError(f"{path.name}: The model uses the operator domain {domain!r}.")
        if not isinstance(version, int) or version > MAX_OPSET:
            raise ModelError(f"{path.name}: The model needs opset {version}, not <= {MAX_OPSET}.")
    if len(cards) != 1:
        raise ModelError(
            f"{path.name}: The model has {len(cards) or 'no'} card(s) ({CARD_KEY} in its "
            "metadata). Export it with idc-trainer."
        )
    card = parse_card(cards[0], path.name)
    return ModelFile(path, data, hashlib.sha256(data).hexdigest(), card)


def _text(value: int | memoryview | None) -> str:
    return str(value, "utf-8") if isinstance(value, memoryview) else ""


def _fields(data: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the (number, value) pairs of one protobuf message; `ValueError` if it is damaged."""
    view, at = memoryview(data), 0
    while at < len(view):
        key, at = _varint(view, at)
        kind = key & 7
        value: int | memoryview
        if kind == 0:
            value, at = _varint(view, at)
        else:
            size = {1: 8, 5: 4}.get(kind)
            if kind == 2:
                size, at = _varint(view, at)
            if size is None or at + size > len(view):
                raise ValueError("damaged protobuf")
            value, at = view[at : at + size], at + size
        yield key >> 3, value


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise ValueError("damaged protobuf")
        byte, at = view[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("damaged protobuf")
