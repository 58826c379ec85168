"""Slides of other laboratories, strong shifts, and the log of looks at what is kept back."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.models import TinyModel
from tests.support.scenes import Scene, write_tissue_slide

pytest.importorskip("tensorflow", reason="the trainer needs the extra 'trainer'")
from idc_desktop.errors import IdcError, OutputError
from idc_desktop.models.card import parse_card
from trainer.cli import main
from trainer.data.painting import paint_tissue
from trainer.data.shifts import MILD, STRONG
from trainer.errors import DataError
from trainer.release.model_card import to_json
from trainer.release.robustness import ShiftScores, card_blocks
from trainer.scoring.elsewhere import Elsewhere, SlideScore, read_spots, score_elsewhere
from trainer.scoring.looks import log_look
from trainer.scoring.metrics import Confusion, Interval, Metrics, Ranking, decide

CELL = 200
"""Level-0 pixels of a patch at 2 µm/px."""


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Four by three cells of tissue, at 2 µm/px."""
    path = tmp_path_factory.mktemp("lab") / "one.tiff"
    return write_tissue_slide(path, (4 * CELL, 3 * CELL), 2.0)


def _spots(slide: Scene, labels: dict[tuple[int, int], tuple[str, ...]]) -> None:
    """Write spots: the labels of each cell, side by side in it."""
    rows = [
        f"{col * CELL + 10 + 30 * number},{row * CELL + 50.5},{label}"
        for (row, col), of in labels.items()
        for number, label in enumerate(of)
    ]
    text = "x_l0,y_l0,label\n" + "\n".join(rows) + "\n"
    slide.path.with_name("one_spots.csv").write_text(text, encoding="utf-8")


def test_patches_are_decided_by_the_spots_in_them(slide: Scene, tiny_model: TinyModel) -> None:
    tumour, other = "invasive cancer", "connective tissue"
    _spots(
        slide,
        {
            (0, 0): (tumour, tumour),
            (0, 1): (tumour, other),  # half of them is enough
            (0, 2): (tumour, other, other),
            (1, 0): (other, other),
            (1, 1): (tumour,),  # one spot decides nothing
            (1, 2): (tumour, "undetermined", "unassigned"),
            (2, 3): ("Invasive Cancer ", tumour, "undetermined"),
            (9, 9): (tumour, other),  # off the slide
        },
    )

    found = score_elsewhere(tiny_model.path, tiny_model.threshold, [slide.path.parent])

    (one,) = found.slides
    assert one.label.tolist() == [1, 1, 0, 0, 1]
    assert one.outside == 2
    cells = [(0, 0), (0, 1), (0, 2), (1, 0), (2, 3)]
    # At 2 µm/px each patch pixel is the mean of four by four.
    pixels = slide.levels[0].astype(float).reshape(3 * 50, 4, 4 * 50, 4, 3).mean(axis=(1, 3))
    cut = [pixels[50 * row :, 50 * col :][:50, :50] for row, col in cells]
    assert one.probability == pytest.approx(tiny_model.probability(np.array(cut)), abs=0.01)


def test_command_scores_logs_and_says_what_came_of_it(
    slide: Scene, tiny_model: TinyModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _spots(slide, {(0, 0): ("IDC",) * 2, (1, 1): ("0",) * 2, (2, 2): ("IDC",) * 2})
    log = tmp_path / "log.csv"
    folder = slide.path.parent
    command = ["evaluate", str(tiny_model.path), "--elsewhere", str(folder)]

    assert main(command) == 2
    assert "--log" in capsys.readouterr().err
    assert main([*command, "--log", str(log), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)["elsewhere"]
    assert main([*command, "--log", str(log)]) == 0
    said = capsys.readouterr().out

    assert set(document["groups"]) == {folder.name, f"{folder.name}/one.tiff"}
    one = document["groups"][folder.name]
    assert (one["patches"], one["patches_idc"]) == (3, 2)
    assert document["intervals"] == "by patch"
    assert f"{one['auc']['value']:.3f}" in said
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["sha256"] for row in rows} == {tiny_model.sha256}
    # Two looks at the same with the same file are one.
    assert len(rows) == 2 * 3
    assert float(rows[0]["value"]) == pytest.approx(one["auc"]["value"], abs=1e-6)


def test_nothing_to_score_on_is_a_usage_error(
    tiny_model: TinyModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tiny_model.path)]) == 2
    assert "--data" in capsys.readouterr().err
    command = ["evaluate", str(tiny_model.path), "--elsewhere", str(tmp_path), "--shifts"]
    assert main([*command, "--log", str(tmp_path / "log.csv")]) == 2
    assert "--data" in capsys.readouterr().err


def _no_spots(folder: Path) -> str:
    (folder / "one_spots.csv").unlink()
    return "holds no labelled slide"


def _no_slide(folder: Path) -> str:
    (folder / "two_spots.csv").write_text("x_l0,y_l0,label\n1,1,IDC\n", encoding="utf-8")
    return "two_spots.csv: 0 slides"


def _two_slides(folder: Path) -> str:
    (folder / "one.svs").write_bytes(b"")
    return "one_spots.csv: 2 slides"


def _damaged_slide(folder: Path) -> str:
    (folder / "one.tiff").write_bytes(b"II*\0")
    return "one.tiff"


def _one_class(folder: Path) -> str:
    (folder / "one_spots.csv").write_text("x_l0,y_l0,label\n1,1,IDC\n2,2,IDC\n", encoding="utf-8")
    return "1 patch, 1 of them IDC"


SPOILERS = (_no_spots, _no_slide, _two_slides, _damaged_slide, _one_class)


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda it: it.__name__)
def test_folder_that_cannot_be_scored_is_refused_by_name(
    spoil: Callable[[Path], str], tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    one = write_tissue_slide(folder / "one.tiff", (2 * CELL, CELL), 2.0)
    _spots(one, {(0, 0): ("IDC",) * 2, (0, 1): ("0",) * 2})
    message = spoil(folder)

    with pytest.raises(DataError, match=message.replace("(", "[(]")):
        score_elsewhere(tiny_model.path, 0.5, [folder])


@pytest.mark.parametrize(
    "text",
    [
        "x,y,label\n1,1,IDC\n",
        "x_l0,y_l0,label\n1,one,IDC\n",
        "x_l0,y_l0,label\n1,nan,IDC\n",
        "x_l0,y_l0,label\n1,1\n",
        "x_l0,y_l0,label\n1,1,undetermined\n",
        "",
    ],
)
def test_spots_that_cannot_be_used_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a_spots.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"^a_spots\.csv "):
        read_spots(path)


def _slide(laboratory: str, name: str, probability: list[float], label: list[int]) -> SlideScore:
    return SlideScore(laboratory, name, np.array(probability), np.array(label, np.uint8), 0)


def test_intervals_draw_slides_where_there_are_enough_of_them() -> None:
    rng = np.random.default_rng(0)
    slides = tuple(
        _slide(f"lab{number % 2}", f"{number}.tiff", list(rng.random(20)), [0, 1] * 10)
        for number in range(6)
    )
    many, few = Elsewhere(0.5, slides), Elsewhere(0.5, slides[:4])
    assert (many.by_slide, few.by_slide) == (True, False)
    assert list(many.groups)[:3] == ["lab0 + lab1", "lab0", "lab1"]
    pooled = many.scores()["lab0 + lab1"]["auc"]
    assert pooled.low is not None
    assert pooled.high is not None
    assert pooled.low < pooled.value < pooled.high
    assert many.worst_auc == min(
        of["auc"].value for name, of in many.scores().items() if "/" in name
    )


def test_slide_of_one_class_has_no_figures_and_is_pooled() -> None:
    slides = (
        _slide("lab", "a", [0.2, 0.4], [0, 0]),
        _slide("lab", "b", [0.1, 0.9, 0.3], [0, 1, 1]),
    )
    found = Elsewhere(0.5, slides)
    assert found.scores()["lab/a"] == {}
    assert found.scores()["lab"]["auc"].value == pytest.approx(5 / 6)
    assert found.scores()["lab"]["specificity"].value == 1
    assert any("one class only" in line for line in found.lines())


def test_card_says_in_plain_words_how_the_model_does_elsewhere(tiny_model: TinyModel) -> None:
    def metrics(auc: float) -> Metrics:
        return Metrics.of(Ranking(auc, 0.5, 0.1, 0.02), decide(Confusion(5, 1, 1, 3)))

    shifts = ShiftScores(
        *(200, 29, metrics(0.95), {"eosin": metrics(0.94)}),
        {"gray": metrics(0.61), "haze": metrics(0.81)},
    )
    labs = Elsewhere(0.5, (_slide("Secret lab", "a", [0.1, 0.9, 0.3, 0.2], [0, 1, 1, 0]),))

    def sentences(*found: object) -> tuple[str, ...]:
        blocks = card_blocks(*found)  # type: ignore[arg-type]
        document = {**tiny_model.card, "idc": {**tiny_model.card["idc"], **blocks}}
        text = to_json(document)
        assert "Secret" not in text
        return parse_card(text, "x").beyond_its_archive()

    elsewhere, strong = sentences(shifts, labs)
    assert "1 other laboratory (1 slide, 4 patches, 2 of them IDC): AUC 1.000" in elsewhere
    assert "sensitivity 0.500" in elsewhere
    assert "Under 2 strong changes" in strong
    assert "AUC 0.710 on average, 0.610 at worst (gray)" in strong
    assert sentences(None, None) == (
        "Not tested on slides of other laboratories.",
        "Not tested under strong changes of stain, light and sharpness.",
    )


def test_log_keeps_what_it_holds_and_other_files_are_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log_look(log, "a.onnx", "1", {"test": {"auc": Interval(0.5)}})
    before = log.read_bytes()
    log_look(log, "a.onnx", "1", {"test": {"auc": Interval(0.6)}})
    assert log.read_bytes() == before
    log_look(log, "b.onnx", "2", {"test": {"auc": Interval(0.7, 0.6, 0.8)}})
    assert log.read_bytes().startswith(before)
    assert log.read_text(encoding="utf-8").splitlines()[1:] == [
        "a.onnx,1,test,auc,0.500000,,",
        "b.onnx,2,test,auc,0.700000,0.600000,0.800000",
    ]
    notes = tmp_path / "notes.csv"
    notes.write_text("mine\n", encoding="utf-8")
    with pytest.raises(OutputError, match=r"notes\.csv"):
        log_look(notes, "a.onnx", "1", {})
    with pytest.raises(IdcError, match=tmp_path.name):
        log_look(tmp_path, "a.onnx", "1", {})
    assert notes.read_text(encoding="utf-8") == "mine\n"


@pytest.mark.parametrize("name", sorted({**MILD, **STRONG}))
def test_shift_changes_every_patch_and_the_same_way_each_time(name: str) -> None:
    shift = {**MILD, **STRONG}[name]
    patches = paint_tissue(np.random.default_rng(4), 6)
    kept = patches.copy()
    changed = shift(patches)
    assert changed.shape == patches.shape
    assert changed.dtype == np.uint8
    assert np.array_equal(patches, kept)
    assert all(not np.array_equal(one, other) for one, other in zip(changed, patches, strict=True))
    # Whatever else is in the batch.
    assert np.array_equal(shift(patches[2:4]), changed[2:4])


def test_strong_shifts_are_stronger_than_mild_ones() -> None:
    patches = paint_tissue(np.random.default_rng(4), 40)

    def moved(name: str) -> float:
        shift = {**MILD, **STRONG}[name]
        return float(np.abs(shift(patches).astype(float) - patches).mean())

    for strong, mild in (
        ("pale stain", "hematoxylin -25 %"),
        ("dark stain", "hematoxylin +25 %"),
        ("much eosin", "eosin +25 %"),
        ("light -40 %", "light -12 %"),
        ("blur of 12 µm", "softened"),
    ):
        assert moved(strong) > 1.2 * moved(mild), strong
    gray = STRONG["gray"](patches)
    assert np.array_equal(gray[..., 0], gray[..., 2])
