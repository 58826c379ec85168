"""The model card: what a model is, stored inside its ONNX file.

The card extends WSInfer's model configuration by one block, ``idc``. Its schema is
``resources/card.schema.json``; the trainer writes cards and the application reads them through
this module only.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from idc_desktop.errors import ModelError
from idc_desktop.models.context_settings import ContextSettings
from idc_desktop.models.operation import Operation
from idc_desktop.models.patch_size import PatchSize
from idc_desktop.plain_text import counted
from idc_desktop.strict_json import load_strictly

CARD_KEY = "idc.card"
"""Key of the card in an ONNX file's ``metadata_props``."""

CLASS_NAMES = ("Other", "IDC")

PATCH_MAP, CONTEXT_MAP = "patch", "context"
"""Names of the maps that a model has, as layers and options name them."""

_MOST_CHARS = 16 << 20  # nearly all of them pixels of golden patches
_MOST_CHARS_WITHOUT_GOLDEN = 1 << 20
_MOST_VALUES = 100_000
_LONGEST_QUOTE = 300


@dataclass(frozen=True)
class ModelCard:
    """A validated card.

    Attributes
    ----------
    name, version, recipe, created
        Identity of the model; `created` is a UTC date.
    patch : PatchSize
        What the model sees at once.
    patch_operation : Operation
        Of the patch map, whose values are the calibrated probabilities.
    context : ContextSettings or None
        Of the context map, if the model brings one.
    golden_patches : ndarray of uint8, shape (n, side, side, 3)
        RGB patches that every installation must classify alike.
    golden_probabilities : ndarray of float64, shape (n,)
        Their expected probabilities.
    document : mapping
        The whole card as it stands in the file.
    """

    name: str
    version: str
    recipe: str
    created: str
    patch: PatchSize
    patch_operation: Operation
    context: ContextSettings | None
    golden_patches: npt.NDArray[np.uint8]
    golden_probabilities: npt.NDArray[np.float64]
    document: Mapping[str, Any]

    @property
    def patch_size_um(self) -> float:
        """Side of a patch on the slide, µm."""
        return self.patch.edge_um

    @property
    def spacing_um_px(self) -> float:
        """Resolution of the patches, µm per pixel."""
        return self.patch.spacing_um_px

    @property
    def threshold(self) -> float:
        """Default operating point of the patch map."""
        return self.patch_operation.threshold

    @property
    def best_map(self) -> str:
        """Name of the map that is shown and measured unless another is asked for."""
        return PATCH_MAP if self.context is None else CONTEXT_MAP

    def operation(self, name: str) -> Operation:
        """Return what thresholds of a map mean; the patch map's for one that has none."""
        if name == CONTEXT_MAP and self.context is not None:
            return self.context.operation
        return self.patch_operation

    @property
    def curve_of(self) -> str:
        """What patches the patch map's operating points are of, for people."""
        in_folds = "out_of_fold_weighted" in self.document["idc"]["metrics"]
        return "patches held out in folds" if in_folds else "validation patches"

    @property
    def prevalence(self) -> float | None:
        """Share of IDC among the patches of the archive that the model is of, if it is known."""
        idc = self.document["idc"]
        share = idc.get("context", {}).get("prevalence")
        return None if share is None else float(share)

    def beyond_its_archive(self) -> tuple[str, ...]:
        """Say in plain words how the model does on slides unlike those of its own data.

        Returns
        -------
        tuple of str
            A sentence on other laboratories' slides, and one on changes of stain and light; where
            nobody looked, they say that.
        """
        idc = self.document["idc"]
        return _elsewhere(idc.get("elsewhere", {})), _shifts(idc.get("shifts"))

    def without_golden(self) -> dict[str, Any]:
        """Return the card's document without the bulky golden pixels, for exports and reports."""
        idc = {key: value for key, value in self.document["idc"].items() if key != "golden"}
        return {**self.document, "idc": idc}


@dataclass(frozen=True)
class Model:
    """What is known of a model without its file: that of a stored run may be gone."""

    sha256: str
    card: ModelCard

    @property
    def words(self) -> str:
        """Name and version, for people."""
        return f"{self.card.name} {self.card.version}"


def parse_card(text: str, source: str) -> ModelCard:
    """Read and validate a card.

    Parameters
    ----------
    text : str
        The JSON document.
    source : str
        Name of the model file, for messages.

    Raises
    ------
    ModelError
        The text is not JSON, exceeds the limits, breaks the schema, or a golden patch has the
        wrong size.
    """
    # Imported here because only a model load needs them, and `info` must start fast.
    from fastjsonschema import JsonSchemaValueException

    try:
        document = load_strictly(text, most_chars=_MOST_CHARS, most_values=_MOST_VALUES)
        _validator()(document)
    except JsonSchemaValueException as error:
        raise ModelError(
            f"{source}: the model card breaks the schema: {error.message[:_LONGEST_QUOTE]}. Export "
            "the model again with idc-trainer."
        ) from error
    except ValueError as error:
        raise ModelError(
            f"{source}: the model card cannot be read ({error}). Export the model again with "
            "idc-trainer."
        ) from error
    golden, side = document["idc"]["golden"], int(document["patch_size_pixels"])
    patches = [_golden_pixels(it["pixels"], index, side, source) for index, it in enumerate(golden)]
    try:
        card = _card(document, patches, [it["probability"] for it in golden])
    except ValueError as error:
        raise ModelError(f"{source}: the model cannot be used: {error}.") from error
    # It stands in every export, and the schema leaves parts of it open.
    if len(json.dumps(card.without_golden())) > _MOST_CHARS_WITHOUT_GOLDEN:
        raise ModelError(
            f"{source}: the model card is longer than {_MOST_CHARS_WITHOUT_GOLDEN:,} characters "
            "without its golden patches. Export the model again with idc-trainer."
        )
    return card


def card_without_golden(document: object) -> ModelCard:
    """Return the card of a document as `ModelCard.without_golden` gave it.

    Raises
    ------
    ValueError
        It is none.
    """
    from fastjsonschema import JsonSchemaValueException

    try:
        _validator(without_golden=True)(document)
    except JsonSchemaValueException as error:
        raise ValueError(f"the model card breaks the schema: {error.message}") from error
    assert isinstance(document, Mapping)
    return _card(document, [], [])


def _card(
    document: Mapping[str, Any], patches: list[npt.NDArray[np.uint8]], expected: list[float]
) -> ModelCard:
    idc = document["idc"]
    # To JSON, 50.0 is a whole number, too.
    patch = PatchSize(int(document["patch_size_pixels"]), float(document["spacing_um_px"]))
    shape = (len(patches), patch.side_px, patch.side_px, 3)
    return ModelCard(
        name=idc["name"],
        version=idc["version"],
        recipe=idc["recipe"],
        created=idc["created"],
        patch=patch,
        patch_operation=Operation.from_document(idc["threshold"], idc["validation_curve"]),
        context=ContextSettings.from_document(idc["context"]) if "context" in idc else None,
        golden_patches=np.array(patches, np.uint8).reshape(shape),
        golden_probabilities=np.array(expected, float),
        document=document,
    )


def figure_text(figure: object) -> str:
    """Say a figure of a card's metrics, with its interval where the card has one that holds it.

    Resamples of calibration errors lie above the figure; older cards give such intervals.

    Parameters
    ----------
    figure : object
        A number, or an object with ``value`` and perhaps ``low`` and ``high``. The schema leaves
        metrics open, so that it may be anything else as well: that is said as it stands.
    """
    if figure is None:
        return "–"
    if not isinstance(figure, Mapping) or "value" not in figure:
        return f"{figure:.3f}" if isinstance(figure, float) else str(figure)
    value, low, high = figure["value"], figure.get("low"), figure.get("high")
    if low is None or high is None or (_are_numbers(low, value, high) and not low <= value <= high):
        return figure_text(value)
    return f"{figure_text(value)} ({figure_text(low)}–{figure_text(high)})"


def _are_numbers(*values: object) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _elsewhere(block: Mapping[str, Any]) -> str:
    laboratories = block.get("laboratories", 0)
    if not laboratories:
        return "Not tested on slides of other laboratories."
    figures = {name: figure_text(block["figures"][name]) for name in block["figures"]}
    worst = block.get("worst_slide_auc")
    return (
        f"Tested on {counted(laboratories, 'other laboratory', 'other laboratories')} "
        f"({counted(block['slides'], 'slide')}, {counted(block['patches'], 'patch')}, "
        f"{block['patches_idc']:,} of them IDC): AUC {figures['auc']}"
        + (f", {worst:.3f} on the worst slide" if worst is not None else "")
        + f"; at the threshold, sensitivity {figures['sensitivity']} and specificity "
        f"{figures['specificity']}. Intervals {block['intervals']}."
    )


def _shifts(block: Mapping[str, Any] | None) -> str:
    if block is None:
        return "Not tested under strong changes of stain, light and sharpness."
    worst = block["worst"]
    return (
        f"Under {len(block['figures'])} strong changes of stain, light and sharpness "
        f"({counted(block['patches'], 'patch')} of {counted(block['cases'], 'case')}): AUC "
        f"{block['mean']['auc']:.3f} on average, {worst['auc']:.3f} at worst ({worst['shift']})."
    )


def encode_golden(pixels: npt.NDArray[np.uint8], probability: float) -> dict[str, Any]:
    """Return one entry of the card's ``golden`` list for a (side, side, 3) RGB patch."""
    if pixels.shape != (len(pixels), len(pixels), 3) or pixels.dtype != np.uint8:
        raise ValueError(
            f"a golden patch is uint8 (side, side, 3), not {pixels.dtype} {pixels.shape}"
        )
    return {
        "pixels": base64.b64encode(np.ascontiguousarray(pixels).tobytes()).decode("ascii"),
        "probability": float(probability),
    }


def _golden_pixels(text: str, index: int, side: int, source: str) -> npt.NDArray[np.uint8]:
    expected = side * side * 3
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ModelError(f"{source}: golden patch {index} is not base64 ({error}).") from error
    if len(data) != expected:
        raise ModelError(f"{source}: golden patch {index} has {len(data)} bytes, not {expected}.")
    return np.frombuffer(data, np.uint8).reshape(side, side, 3)


@cache
def _validator(*, without_golden: bool = False) -> Any:  # noqa: ANN401 - fastjsonschema is untyped
    import fastjsonschema

    schema = json.loads(
        (files("idc_desktop.resources") / "card.schema.json").read_text(encoding="utf-8")
    )
    if without_golden:
        schema["properties"]["idc"]["required"].remove("golden")
    return fastjsonschema.compile(schema)
