"""Names in any script, in pictures and PDF, with fonts that we bring: alike on every system.

What is drawn is in the order in which it is seen, and Arabic letters have the form that their
neighbours give them: neither Pillow nor the PDF is left to do it, which they do on few systems.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from importlib.resources import files
from itertools import groupby
from pathlib import Path

from PIL import ImageDraw, ImageFont

from idc_desktop.plain_text import one_line

_DEJAVU, _MICRO_HEI = "DejaVuSans.ttf", "wqy-microhei.ttc"
_FONTS = (_DEJAVU, _MICRO_HEI)
"""The first has Latin, Greek, Cyrillic, Arabic, Hebrew …; the other Chinese, Japanese, Korean."""

_LAST_OF_LATIN_1 = "ÿ"  # up to here the first has all that a line may hold: no need to look

_LAM_ALEF = "ل[اأإآ]"  # two letters, always written as one
_TATWEEL = "ـ"
_FORMS = {(0, 0): "isolated", (1, 0): "final", (0, 1): "initial", (1, 1): "medial"}
_PRESENTATION_FORMS = (*range(0xFB50, 0xFDD0), *range(0xFE70, 0xFEFD))
_KINDS = {"R": "R", "AL": "R", "L": "L", "EN": "N", "AN": "N", "NSM": "M"}
_MIRRORED = str.maketrans("()[]{}<>«»", ")(][}{><»«")


class Lettering:
    """Draws lines of text in one size.

    Parameters
    ----------
    size_px : int
        Size of the font.
    """

    def __init__(self, size_px: int) -> None:
        self._size_px = size_px
        self._ascent = self._font(_DEJAVU).getmetrics()[0]

    def width(self, text: str) -> float:
        """Return the width of a line in pixels."""
        return sum(self._font(name).getlength(run) for name, run in runs(text))

    def draw(
        self, canvas: ImageDraw.ImageDraw, x: float, y: float, text: str, align: float = 0.0
    ) -> None:
        """Draw a line in black.

        Parameters
        ----------
        x, y : float
            Its upper left corner, upper middle (`align` 0.5) or upper right (1).
        """
        x -= align * self.width(text)
        for name, run in runs(text):
            font = self._font(name)
            canvas.text((x, y + self._ascent), run, "black", font, anchor="ls")
            x += font.getlength(run)

    def _font(self, name: str) -> ImageFont.FreeTypeFont:
        basic = ImageFont.Layout.BASIC
        return ImageFont.truetype(font_file(name), self._size_px, layout_engine=basic)


def runs(text: str) -> list[tuple[str, str]]:
    r"""Return the parts of a line in one font each, from left to right.

    A sign that no font has, or that does something to a line, is spelled as in Python's strings:
    ``\u0915``, ``\n``.

    Returns
    -------
    list of (font, part)
        Fonts by their file's name; see `font_file`.
    """
    placed = [_placed(sign) for sign in _as_seen(one_line(text))]
    return [
        (name, "".join(part for _, part in group))
        for name, group in groupby(placed, key=lambda it: it[0])
    ]


def font_file(name: str) -> Path:
    """Return where a font lies."""
    return Path(str(files("idc_desktop.resources"))) / "fonts" / name


def _placed(sign: str) -> tuple[str, str]:
    """Return the font that has a sign, and what is drawn of it."""
    for name in _FONTS:
        if sign <= _LAST_OF_LATIN_1 or ord(sign) in _signs(name):
            return name, sign
    return _DEJAVU, sign.encode("ascii", "backslashreplace").decode("ascii")


@cache
def _signs(name: str) -> frozenset[int]:
    from reportlab.pdfbase.ttfonts import TTFontFile

    return frozenset(TTFontFile(str(font_file(name))).charToGlyph)


def _as_seen(text: str) -> str:
    """Return the signs from left to right, as they are drawn."""
    shaped = _shaped(unicodedata.normalize("NFC", text))
    shown = "".join(it for it in shaped if unicodedata.category(it) != "Cf")
    kinds = "".join(_KINDS.get(unicodedata.bidirectional(it), "-") for it in shown)
    seen, done = [], 0
    # From a sign that is written to the left up to the last one, or a number, before one to the
    # right. The line itself goes to the right, as our own words in it do.
    while found := re.compile("R(?:[^L]*[RNM])?").search(kinds, done):
        start, end = found.span()
        while shown[end : end + 1] == ")" and shown.count("(", start, end) > shown.count(
            ")", start, end
        ):
            end += 1
        # Numbers are read to the right, and marks follow the letter that they belong to.
        parts = re.finditer("N(?:[N-]*N)?|.M*", kinds[start:end])
        spans = [(start + it.start(), start + it.end()) for it in parts]
        seen += [shown[done:start], *(shown[a:b].translate(_MIRRORED) for a, b in reversed(spans))]
        done = end
    return "".join((*seen, shown[done:]))


def _shaped(text: str) -> str:
    """Give Arabic letters the form that they have between their neighbours."""
    forms = _arabic_forms()
    letters = re.findall(f"{_LAM_ALEF}|.", text, re.DOTALL)
    places = [n for n, it in enumerate(letters) if unicodedata.category(it[0]) != "Mn"]
    shaped = list(letters)
    for before, at, after in zip([None, *places], places, [*places[1:], None], strict=False):
        own = forms.get(letters[at], {})
        joins_before = before is not None and _joins(letters[before], "initial")
        joins_after = after is not None and _joins(letters[after], "final")
        form = _FORMS[joins_before and "final" in own, joins_after and "initial" in own]
        shaped[at] = own.get(form, letters[at])
    return "".join(shaped)


def _joins(letter: str, form: str) -> bool:
    return letter == _TATWEEL or form in _arabic_forms().get(letter, ())


@cache
def _arabic_forms() -> dict[str, dict[str, str]]:
    """Return the forms of each letter, by their names in Unicode."""
    forms: dict[str, dict[str, str]] = {}
    for code in _PRESENTATION_FORMS:
        kind, *parts = unicodedata.decomposition(chr(code)).split() or [""]
        letters = "".join(chr(int(it, 16)) for it in parts)
        if len(letters) == 1 or re.fullmatch(_LAM_ALEF, letters):
            forms.setdefault(letters, {})[kind.strip("<>")] = chr(code)
    return forms
