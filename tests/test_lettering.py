"""Names in any script, as pictures and PDF show them."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from idc_desktop.export.lettering import Lettering, font_file, runs

DEJAVU, MICRO_HEI = "DejaVuSans.ttf", "wqy-microhei.ttc"
NAMES = {
    "Polish": "Ognisko Łódź",
    "Russian": "Опухоль",
    "Greek": "Καρκίνος",
    "Turkish": "ığş",
    "Chinese": "浸润癌",
    "Japanese": "腫瘍の領域アイ",
    "Korean": "유방암",
    "signs": "µm² ≥ → – …",
}


def seen(text: str) -> str:
    return "".join(run for _, run in runs(text))


@pytest.mark.parametrize("script", NAMES)
def test_every_sign_has_a_font(script: str) -> None:
    assert seen(NAMES[script]) == NAMES[script]


def test_each_sign_is_drawn_in_the_first_font_that_has_it() -> None:
    assert runs("A 癌ż") == [(DEJAVU, "A "), (MICRO_HEI, "癌"), (DEJAVU, "ż")]


def test_composed_signs_take_the_place_of_their_parts() -> None:
    """So a Mac writes the names of files."""
    assert runs(unicodedata.normalize("NFD", "Łódź é 유")) == runs("Łódź é 유")


def test_letters_of_latin_1_are_all_there() -> None:
    # What has no glyph is drawn as an empty box, like this sign that no font can have.
    font = ImageFont.truetype(font_file(DEJAVU), 20)
    box = bytes(font.getmask("\uffff"))
    printable = [it for it in map(chr, range(33, 256)) if it.isprintable()]
    assert len(printable) > 180
    assert not [it for it in printable if bytes(font.getmask(it)) == box]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("हि", r"\u0939\u093f"),
        ("a\nb\x1b\u202e", r"a\nb\x1b\u202e"),
        ("\udc80", r"\udc80"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_cannot_be_drawn_is_spelled(text: str, shown: str) -> None:
    assert seen(text) == shown


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("ورم", "ﻡ ﺭ ﻭ"),  # waw and reh join to the right only
        ("كتلة", "ﺔ ﻠ ﺘ ﻛ"),
        ("پستان", "ﻥ ﺎ ﺘ ﺴ ﭘ"),
        ("سلام", "ﻡ ﻼ ﺳ"),  # lam and alef are one
        ("لا", "ﻻ"),
        ("كَت", "ﺖ ﻛ َ"),  # a mark lies between letters that join
        ("می‌خو", "ﻮ ﺧ ﯽ ﻣ"),  # a sign that keeps letters apart
        ("كـ", "ـ ﻛ"),
    ],
)
def test_arabic_letters_have_the_form_of_their_place(text: str, forms: str) -> None:
    assert seen(text) == forms.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("שלום עולם", "םלוע םולש"),
        ("slide שלום 12.svs ok", "slide 12 םולש.svs ok"),
        ("שלום 3.5 (עולם)", "(םלוע) 3.5 םולש"),
        ("a (שלום) b", "a (םולש) b"),
        ("x = 5", "x = 5"),
    ],
)
def test_hebrew_is_written_to_the_left_and_numbers_to_the_right(text: str, shown: str) -> None:
    assert seen(text) == shown


def test_width_is_that_of_what_is_drawn_wherever_it_begins() -> None:
    letters, text = Lettering(24), "癌 Łódź 12"
    width = letters.width(text)

    def columns(x: float, align: float) -> tuple[int, int]:
        page = Image.new("L", (400, 40), 255)
        letters.draw(ImageDraw.Draw(page), x, 4, text, align)
        inked = np.flatnonzero((np.asarray(page) < 255).any(axis=0))
        return int(inked[0]), int(inked[-1])

    first, last = columns(10, 0.0)
    assert 10 <= first <= 14
    assert 0 <= 10 + width - last <= 4
    assert columns(10 + width, 1.0) == pytest.approx((first, last), abs=1)
    assert columns(10 + width / 2, 0.5) == pytest.approx((first, last), abs=1)
