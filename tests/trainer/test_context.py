"""Settings of the context map: fitted on labelled slides, judged on those that were left out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")
from idc_desktop.maps.context import in_context, neighbourhood
from idc_desktop.models.card import parse_card
from idc_desktop.models.model_file import read_model
from tests.support.models import TinyModel, golden_patches, write_tiny_model
from tests.support.slides import write_tiff
from trainer.cli import main
from trainer.context.fitting import fit, leave_one_out
from trainer.context.planting import SIZES, found_at, found_foci, plant
from trainer.context.report import errors_in_fifth, summary
from trainer.context.slides import IDC, OTHER, UNKNOWN, LabelledMap, read_maps
from trainer.context.verb import written
from trainer.release.model_card import to_json

ALLOWED = {1: 0.03, 4: 0.01}
"""By patches of a focus: how many fewer of the planted foci may be found than by patches alone."""


def painted_map(name: str, seed: int, shape: tuple[int, int] = (30, 30)) -> LabelledMap:
    """Make up what a network says of a slide with one tumour: right on the whole, and noisy."""
    rng = np.random.default_rng(seed)
    rows, cols = np.indices(shape)
    is_idc = (rows - 15) ** 2 + (cols - 12) ** 2 < 30
    odds = np.where(is_idc, 1.5, -2.5) + rng.normal(0, 1.5, shape)
    probability = (1 / (1 + np.exp(-odds))).round(6)
    probability[rng.random(shape) < 0.15] = np.nan
    label = np.where(is_idc, IDC, OTHER).astype(np.uint8)
    label[0] = UNKNOWN
    return LabelledMap(name, probability, label)


MAPS = [painted_map(name, seed) for seed, name in enumerate("abc")]


def test_slides_left_out_gain_without_losing_small_foci() -> None:
    judged = list(leave_one_out(MAPS, 1.4, 0.3, 0.5))
    foci = {one.name: found_foci(one, [it for it in MAPS if it is not one], 1.4) for one in MAPS}
    means = summary(judged, foci)

    assert means["auc"] > means["auc_patch"] + 0.01
    assert means["balanced_accuracy"] > means["balanced_accuracy_patch"]
    for size, most in ALLOWED.items():
        assert means[f"found_{size}_patch"] - means[f"found_{size}"] <= most
    for one in judged:
        assert errors_in_fifth(one, one.uncertainty) > errors_in_fifth(one, one.plain_margin) - 0.1


def test_planted_focus_is_found_as_on_the_whole_slide() -> None:
    """Windows around the plants give what the slide gives with a focus planted in it."""
    slide, others = MAPS[0], MAPS[1:]
    plants = plant(slide, others, 4, count=5)
    again = plant(slide, others, 4, count=5)
    assert np.array_equal(plants.own, again.own)
    found = plants.in_context(1.4)
    benign = slide.scored & (slide.label == OTHER)
    reach = (plants.own.shape[1] - 2) // 2
    padded = np.pad(slide.own, (reach, 2 * reach))
    side = plants.own.shape[1]
    surroundings = np.ones((side, side), np.bool_)
    surroundings[reach : reach + 2, reach : reach + 2] = False
    for window, expected in zip(plants.own, found, strict=True):
        (place,) = (
            (row, col)
            for row, col in np.argwhere(benign).tolist()
            if np.array_equal(
                window[surroundings],
                padded[row : row + side, col : col + side][surroundings],
            )
        )
        here = np.s_[place[0] : place[0] + 2, place[1] : place[1] + 2]
        planted = slide.own.copy()
        planted[here] = window[~surroundings].reshape(2, 2)
        whole = in_context(planted, neighbourhood(planted, slide.counts, 1.4))
        assert expected == pytest.approx(whole[here].max())


def test_foci_are_compared_at_equal_specificity() -> None:
    benign = np.linspace(0, 1, 101)

    assert found_at(np.array([0.85, 0.9, 0.95, 1.0]), benign) == 0.75
    assert set(SIZES) == {1, 2, 4, 9}


def test_block_is_a_cards_and_its_calibration_half_way_to_the_archive(
    tiny_model: TinyModel,
) -> None:
    shares = {}
    for prevalence in (0.1, 0.5):
        block = fit(MAPS, 1.0, prevalence)
        card = {**tiny_model.card, "idc": {**tiny_model.card["idc"], "context": block}}
        parsed = parse_card(to_json(card), "x")
        assert parsed.context is not None
        assert parsed.prevalence == prevalence
        assert list(parsed.context.margins) == sorted(block["margins"])
        shares[prevalence] = block["calibration"]["b"]
    # Half of ln 9, the difference of the two shares in log-odds.
    assert shares[0.5] - shares[0.1] == pytest.approx(np.log(9) / 2, abs=0.35)


def painted_slide(path: Path, model: TinyModel, seed: int) -> None:
    """Paint a slide of 10 x 12 patches with a tumour, and write its labels beside it."""
    rng = np.random.default_rng(seed)
    rows, cols = np.indices((12, 10))
    is_idc = (rows < 5) & (cols < 4)
    colours = golden_patches()
    order = np.argsort(model.probability(colours))
    pick = np.where(is_idc, rng.integers(4, 8, is_idc.shape), rng.integers(0, 5, is_idc.shape))
    pixels = np.concatenate(
        [np.concatenate([colours[order[it]] for it in row], axis=1) for row in pick.tolist()]
    )
    write_tiff(path, pixels, mpp=8.0)
    label = np.where(is_idc, IDC, OTHER).astype(np.uint8)
    Image.fromarray(label).save(path.with_name(f"{path.stem}_labels.png"))


def test_command_writes_a_model_with_a_context_map_and_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_tiny_model(tmp_path / "plain.onnx", name="plain")
    (tmp_path / "slides").mkdir()
    for seed, name in enumerate(("one", "two")):
        painted_slide(tmp_path / "slides" / f"{name}.tiff", model, seed)
    out, report = tmp_path / "new" / "both.onnx", tmp_path / "context.md"
    command = ["context", str(model.path), "--slides", str(tmp_path / "slides")]

    assert main([*command, "--out", str(out), "--report", str(report)]) == 0

    card = read_model(out).card
    assert card.context is not None
    assert card.document["idc"]["context"]["from_sha256"] == model.sha256
    assert len(card.context.operation.curve) > 100
    assert card.context.operation.curve[50].is_by_slide
    assert "AUC of slides left out" in capsys.readouterr().out
    text = report.read_text(encoding="utf-8")
    assert hashlib.sha256(out.read_bytes()).hexdigest() in text
    assert text.count("| two |") == 3
    once_more, _ = written(out, card, MAPS, 0.284, "x")
    out.write_bytes(once_more)
    again = read_model(out).card.document["idc"]["context"]
    assert again["from_sha256"] == model.sha256
    assert again["threshold"] != card.document["idc"]["context"]["threshold"]


def test_labels_that_do_not_fit_are_refused(
    tmp_path: Path, tiny_model: TinyModel, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["context", str(tiny_model.path), "--slides", str(tmp_path), "--out"]
    painted_slide(tmp_path / "one.tiff", tiny_model, 0)
    assert main([*command, str(tmp_path / "x.onnx")]) == 3
    assert "two at least are needed" in capsys.readouterr().err
    painted_slide(tmp_path / "two.tiff", tiny_model, 1)
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "two_labels.png")
    assert main([*command, str(tmp_path / "x.onnx")]) == 3
    assert "two_labels.png has 3 x 3 pixels" in capsys.readouterr().err
    assert not (tmp_path / "x.onnx").exists()


MODELS = Path(__file__).resolve().parents[2] / "resources" / "models"


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["baseline", "vgg16-features"])
def test_shipped_context_map_gains_and_keeps_small_foci(shared_data: Path, name: str) -> None:
    slides = shared_data / "data" / "idc_slides"
    if not slides.is_dir():
        pytest.skip(f"no labelled slides at {slides}")
    model = MODELS / f"{name}.onnx"
    card = read_model(model).card
    maps = read_maps(model, slides)
    foci = {one.name: found_foci(one, [it for it in maps if it is not one], 1.4) for one in maps}
    judged = list(leave_one_out(maps, 1.4, 0.284, card.threshold))
    means = summary(judged, foci)

    assert all(one.context.auc >= one.patch.auc for one in judged)
    assert means["auc"] >= means["auc_patch"] + 0.015
    assert means["balanced_accuracy"] >= means["balanced_accuracy_patch"] + 0.02
    for size, most in ALLOWED.items():
        assert means[f"found_{size}"] >= means[f"found_{size}_patch"] - most
