"""Slides that do not look like a scan of H&E say so in every output, and no other does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from idc_desktop.analysis.appearance import Appearance
from idc_desktop.slides.levels import UNREADABLE_GREY
from tests.support import artefacts
from tests.support.command import read_csv, run_cli
from tests.support.models import TinyModel
from tests.support.slides import PINK, Canvas, Rgb, damage_tile, write_tiff

STRIP = 96


def stained(light: float = 1.0, glass: int = 242) -> Rgb:
    """Paint noisy tissue on noisy glass."""
    canvas = Canvas(500, 400, 8.0)
    canvas.pixels[:] = glass
    canvas.paint((60, 80, 260, 240), PINK, seed=3)
    noise = np.random.default_rng(4).normal(0, 5, canvas.pixels.shape)
    spoilt: Rgb = ((canvas.pixels + noise) * light).clip(0, 255).astype(np.uint8)
    return spoilt


def grey(picture: Rgb) -> Rgb:
    return np.repeat(picture.mean(axis=-1, keepdims=True).astype(np.uint8), 3, axis=-1)


def padded(picture: Rgb, value: int, rows: int = 40) -> Rgb:
    return np.pad(picture, ((0, rows), (0, 0), (0, 0)), constant_values=value)


def notes(picture: Rgb) -> list[str]:
    appearance = Appearance()
    for row in range(0, len(picture), STRIP):
        appearance.add(picture[row : row + STRIP])
    return appearance.notes()


@pytest.mark.parametrize(
    "picture",
    [
        stained(),
        stained(0.9),
        stained(glass=255),
        padded(stained(), 255),  # white padding is glass
        padded(stained(), 0),  # and black is not scanned
        padded(stained(), 160, rows=4),
        np.full((STRIP, 100, 3), 243, np.uint8),  # no tissue
        grey(stained())[:82],  # a speck on glass
        np.full((1, 1, 3), 255, np.uint8),
    ],
)
def test_nothing_is_said_of_a_usual_slide(picture: Rgb) -> None:
    assert notes(picture) == []


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (grey(stained()), "not coloured"),
        (stained(0.45), "is dark"),
        (grey(stained(0.45)), "is dark"),
        (np.zeros((STRIP, 100, 3), np.uint8), "is dark"),
        (artefacts.brown(stained()), "not those of haematoxylin and eosin"),
        (artefacts.misread(stained()), "photometric"),
        (stained()[..., [1, 0, 2]], "not those of haematoxylin and eosin"),
        (padded(stained(), 128), "9 % of the slide is filled with a flat grey"),
        (padded(stained(), 190, rows=400), "49 % of the slide"),
    ],
)
def test_slide_that_is_none_of_the_stain_is_told(picture: Rgb, words: str) -> None:
    (note,) = notes(picture)

    assert words in note


def test_grey_slide_with_padding_has_both_notes() -> None:
    coloured, padding = notes(padded(grey(stained()), 128))

    assert "not coloured" in coloured
    assert "flat grey" in padding


def test_nothing_was_seen_and_nothing_is_said() -> None:
    assert Appearance().notes() == []


def test_note_stands_in_every_output(tiny_model: TinyModel, data_dir: Path, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "grey.tiff", [grey(stained())], mpp=8.0)

    outcome = run_cli(
        "analyze", path, "--out", tmp_path, "--model", tiny_model.path, data_dir=data_dir
    )

    assert outcome.code == 0, outcome
    assert any("note: grey.tiff: The slide is not coloured" in it for it in outcome.error_lines)
    provenance = json.loads((tmp_path / "grey" / "provenance.json").read_text("utf-8"))
    assert any("not coloured" in note for note in provenance["notes"])
    whole = read_csv(tmp_path / "grey" / "regions.csv")[-1]
    assert "not coloured" in whole["Note"]


def test_what_cannot_be_read_is_not_taken_for_grey_padding_or_a_grey_scan(
    tmp_path: Path, tiny_model: TinyModel
) -> None:
    canvas = Canvas(512, 512, 8.0)
    canvas.paint((0, 0, 512, 512), PINK, seed=3)
    path = write_tiff(tmp_path / "torn.tiff", canvas.pixels, mpp=8.0, compression="jpeg")
    for number in range(10):
        damage_tile(path, 0, *divmod(number, 4))

    done = run_cli(
        "analyze", path, "--out", tmp_path / "out", "--model", tiny_model.path,
        data_dir=tmp_path / "data",
    )  # fmt: skip

    assert "patches failed" in done.stderr
    assert not [it for it in done.error_lines if "grey" in it or "coloured" in it or "dark" in it]


def test_slide_of_which_nothing_can_be_read_looks_like_nothing() -> None:
    appearance = Appearance()
    appearance.leave_out(STRIP * 100)
    appearance.add(np.full((STRIP, 100, 3), UNREADABLE_GREY, np.uint8))
    assert appearance.notes() == []
