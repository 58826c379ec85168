"""The model card: the schema is kept, and what breaks it is refused with the reason."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idc_desktop.errors import ModelError
from idc_desktop.models.card import ModelCard, encode_golden, figure_text, parse_card
from idc_desktop.models.model_file import bundled_models, read_model
from tests.support.models import CONTEXT, TinyModel, golden_patches

ABSENT = object()


def changed(card: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return a copy of the card with one value changed or taken out."""
    document = copy.deepcopy(card)
    *parents, last = path.split(".")
    place: Any = document
    for name in parents:
        place = place[int(name)] if name.isdigit() else place[name]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return document


def test_card_is_read_with_all_that_it_says(tiny_model: TinyModel) -> None:
    card = parse_card(json.dumps(tiny_model.card), "tiny.onnx")

    assert (card.name, card.version, card.recipe) == ("tiny", "1.2.3", "formula")
    assert (card.spacing_um_px, card.patch_size_um, card.threshold) == (8.0, 400.0, 0.5)
    assert np.array_equal(card.golden_patches, golden_patches())
    assert card.golden_probabilities == pytest.approx(
        tiny_model.probability(golden_patches()), abs=1e-12
    )
    assert card.context is None
    assert (card.best_map, card.operation("context").threshold) == ("patch", 0.5)
    assert card.document == tiny_model.card


def test_card_without_golden_pixels_is_small_and_otherwise_whole(tiny_model: TinyModel) -> None:
    card = parse_card(json.dumps(tiny_model.card), "tiny.onnx")
    small = card.without_golden()

    assert "golden" not in small["idc"]
    assert {**small["idc"], "golden": tiny_model.card["idc"]["golden"]} == tiny_model.card["idc"]
    assert len(json.dumps(small)) < 3000
    assert "golden" in card.document["idc"]


def test_block_for_a_context_map_is_optional(tiny_model: TinyModel) -> None:
    card = parse_card(json.dumps(changed(tiny_model.card, "idc.context", CONTEXT)), "x")

    assert card.context is not None
    assert card.context.sigma_patches == 1.4
    assert (card.context.a, card.context.b) == (1.2, -0.5)
    assert (card.best_map, card.prevalence) == ("context", 0.3)
    assert (card.operation("context").threshold, card.operation("patch").threshold) == (0.4, 0.5)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sigma_patches", 0.0),
        ("sigma_patches", 6.0),
        ("calibration.a", 0.0),
        ("margins", [1.0]),
        ("threshold", 1.5),
        ("curve", [{"threshold": 0.5}]),
        ("fitted_on", ABSENT),
    ],
)
def test_block_for_a_context_map_that_makes_no_sense_is_refused(
    tiny_model: TinyModel, path: str, value: Any
) -> None:
    card = changed(tiny_model.card, "idc.context", CONTEXT)

    with pytest.raises(ModelError, match="breaks the schema"):
        parse_card(json.dumps(changed(card, f"idc.context.{path}", value)), "x")


ELSEWHERE = {
    "laboratories": 2,
    "slides": 7,
    "patches": 1200,
    "patches_idc": 400,
    "intervals": "by slide",
    "figures": {
        "auc": {"value": 0.875, "low": 0.8, "high": 0.9},
        "sensitivity": {"value": 0.75},
        "specificity": {"value": 0.5},
    },
}


def test_whole_numbers_may_have_a_decimal_point(tiny_model: TinyModel) -> None:
    card = changed(tiny_model.card, "patch_size_pixels", 50.0)

    read = parse_card(json.dumps(card), "m.onnx")

    assert (read.patch.side_px, type(read.patch.side_px)) == (50, int)
    assert read.golden_patches.shape[1:] == (50, 50, 3)


def test_card_that_tells_nothing_of_other_laboratories_says_so(tiny_model: TinyModel) -> None:
    """Cards from before there were such figures are as valid as those that say there are none."""
    for card in (tiny_model.card, changed(tiny_model.card, "idc.elsewhere", {"laboratories": 0})):
        first, second = parse_card(json.dumps(card), "x").beyond_its_archive()
        assert first == "Not tested on slides of other laboratories."
        assert second.startswith("Not tested under strong changes")


def test_card_says_on_how_many_laboratories_it_was_tested(tiny_model: TinyModel) -> None:
    card = changed(tiny_model.card, "idc.elsewhere", ELSEWHERE)
    sentence = parse_card(json.dumps(card), "x").beyond_its_archive()[0]
    assert sentence == (
        "Tested on 2 other laboratories (7 slides, 1,200 patches, 400 of them IDC): AUC 0.875 "
        "(0.800–0.900); at the threshold, sensitivity 0.750 and specificity 0.500. Intervals by "
        "slide."
    )


BREAKS: list[tuple[str, Any]] = [
    ("idc.elsewhere", {}),
    ("idc.elsewhere", {"laboratories": 1}),
    ("idc.elsewhere", {**ELSEWHERE, "figures": {"auc": {"value": 0.9}}}),
    ("idc.elsewhere", {**ELSEWHERE, "worst_slide_auc": "0.9"}),
    ("idc.elsewhere", {**ELSEWHERE, "laboratories": 1.5}),
    ("idc.shifts", {"patches": 2, "cases": 1, "mean": {"auc": 0.9}, "figures": {}}),
    ("idc.shifts", {"mean": {"auc": 0.9}}),
    ("idc.calibration.case_ids", [1]),
    ("spec_version", "2.0"),
    ("num_classes", 3),
    ("class_names", ["IDC", "Other"]),
    ("class_names", ["Other", "IDC", "More"]),
    ("patch_size_pixels", 48),
    ("spacing_um_px", 0),
    ("spacing_um_px", -8.0),
    ("spacing_um_px", 0.2),
    ("spacing_um_px", 16.1),
    ("spacing_um_px", 5e-324),
    ("spacing_um_px", "8.0"),
    ("spacing_um_px", math.nan),
    ("spacing_um_px", math.inf),
    ("transform", [{"name": "ToTensor"}]),
    ("idc", ABSENT),
    ("idc", []),
    ("idc.name", ""),
    ("idc.name", "../../etc/passwd"),
    ("idc.name", "=cmd()"),
    ("idc.name", "a" * 65),
    ("idc.version", "1" * 65),
    ("idc.version", "\ud800"),
    ("idc.recipe", "r" * 201),
    ("idc.created", "31.01.2026"),
    ("idc.training.patches", 10**4200),
    ("idc.training.patches", 1e13),
    ("idc.training.case_ids", ["1" * 201]),
    ("idc.limitations", ["x"] * 101),
    ("idc.limitations", ["x" * 4001]),
    ("idc.metrics", {"a": "x" * (1 << 20)}),
    ("idc.metrics", {"\udfff": 1}),
    ("idc.metrics", {"a": [[]] * 100_000}),
    ("idc.threshold", ABSENT),
    ("idc.threshold", 1.5),
    ("idc.threshold", -0.1),
    ("idc.threshold", math.nan),
    ("idc.threshold", None),
    ("idc.calibration.a", math.nan),
    ("idc.calibration.method", "magic"),
    ("idc.validation_curve", [{"threshold": 0.5}]),
    ("idc.golden", []),
    ("idc.golden.0.probability", 1.01),
    ("idc.golden.0.probability", math.nan),
    ("idc.golden.0.probability", "0.5"),
    ("idc.golden.0.pixels", "not base64!"),
    ("idc.golden.0.pixels", "AAAA"),
    ("idc.golden.0.pixels", "ä" * 10_000),
    ("idc.golden.0.note", "more"),
    ("idc.licence", ""),
]


@pytest.mark.parametrize(
    ("path", "value"), BREAKS, ids=lambda it: "absent" if it is ABSENT else str(it)[:24]
)
def test_break_of_the_schema_is_refused(tiny_model: TinyModel, path: str, value: Any) -> None:
    text = json.dumps(changed(tiny_model.card, path, value))

    with pytest.raises(ModelError, match=r"^strange\.onnx: "):
        parse_card(text, "strange.onnx")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        '"card"',
        "[" * 100_000,
        '{"a": ' + "1" * 5000 + "}",
        "\ud800",
        " " * (17 << 20),
    ],
    ids=lambda text: text[:8].encode("utf-8", "replace"),
)
def test_text_that_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"^strange\.onnx: "):
        parse_card(text, "strange.onnx")


@pytest.mark.parametrize(
    "value", ["1e999", "-1e999", "NaN", "Infinity", '{"auc": 0.5, "auc": 0.6}', "9" * 19]
)
def test_card_that_cannot_be_written_again_as_it_is_read_is_refused(
    tiny_model: TinyModel, value: str
) -> None:
    text = json.dumps(changed(tiny_model.card, "idc.metrics", {"x": "HERE"}))

    with pytest.raises(ModelError, match=r"^strange\.onnx: the model card cannot be read \("):
        parse_card(text.replace('"HERE"', value), "strange.onnx")


@pytest.mark.parametrize(("depth", "is_taken"), [(20, True), (40, False), (900, False)])
def test_card_is_nested_as_deep_as_can_be_shown(
    tiny_model: TinyModel, depth: int, is_taken: bool
) -> None:
    text = json.dumps(changed(tiny_model.card, "idc.metrics", {"x": {"auc": "HERE"}}))
    deep = '{"value":' * depth + "0.5" + "}" * depth

    card = accepted(text.replace('"HERE"', deep))

    assert (card is not None) == is_taken
    if card is not None:
        assert figure_text(card.document["idc"]["metrics"]["x"]["auc"]) == "0.500"


def test_interval_that_does_not_hold_its_figure_is_not_shown() -> None:
    assert figure_text({"value": 0.011, "low": 0.012, "high": 0.029}) == "0.011"
    assert figure_text({"value": 0.9, "low": 0.8, "high": 0.95}) == "0.900 (0.800–0.950)"


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([])
)
PATHS = [
    "spec_version", "architecture", "num_classes", "class_names", "spacing_um_px", "idc.name",
    "idc.version", "idc.threshold", "idc.training", "idc.training.patches", "idc.calibration.b",
    "idc.validation_curve", "idc.metrics", "idc.golden", "idc.golden.3", "idc.golden.3.pixels",
    "idc.golden.3.probability", "idc.intended_use", "idc.context", "idc.elsewhere", "idc.shifts",
]  # fmt: skip


@given(path=st.sampled_from(PATHS), value=SCALARS)
@settings(max_examples=200, deadline=None)
def test_any_value_anywhere_is_accepted_or_refused_and_nothing_else(
    tiny_model: TinyModel, path: str, value: Any
) -> None:
    if path == "idc.golden.3":
        document = copy.deepcopy(tiny_model.card)
        document["idc"]["golden"][3] = value
    else:
        document = changed(tiny_model.card, path, value)

    card = accepted(json.dumps(document))

    if card is not None:
        assert 0 <= card.threshold <= 1
        assert 0.25 <= card.spacing_um_px <= 16
        assert ((card.golden_probabilities >= 0) & (card.golden_probabilities <= 1)).all()
        assert card.golden_patches.shape[1:] == (50, 50, 3)
        assert len(card.beyond_its_archive()) == 2


@given(text=st.text())
@settings(max_examples=100, deadline=None)
def test_any_text_is_refused_and_nothing_else(text: str) -> None:
    assert accepted(text) is None


def accepted(text: str) -> ModelCard | None:
    try:
        return parse_card(text, "x.onnx")
    except ModelError:
        return None


def test_golden_patch_survives_the_card() -> None:
    patch = golden_patches()[0]

    entry = encode_golden(patch, 0.25)

    assert entry["probability"] == 0.25
    assert len(entry["pixels"]) == 10_000
    for wrong in (patch[:49], patch.astype(np.int16), patch[None]):
        with pytest.raises(ValueError, match="golden patch"):
            encode_golden(wrong, 0.25)


def test_schema_in_the_repository_is_valid_json() -> None:
    path = Path(__file__).resolve().parents[1] / "resources" / "card.schema.json"

    assert json.loads(path.read_text(encoding="utf-8"))["type"] == "object"


def test_what_operating_points_are_of_is_said() -> None:
    cards = {name: read_model(path).card for name, path in bundled_models().items()}
    assert cards["baseline"].curve_of == "validation patches"
    assert cards["vgg16-features"].curve_of == "patches held out in folds"
