"""What the pages of a report are made of: styles, texts of any script, tables, pictures."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TypeVar
from xml.sax.saxutils import escape

from PIL import Image
from reportlab.lib import colors, pagesizes
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import CondPageBreak, Flowable, KeepTogether, Paragraph, Table
from reportlab.platypus import Image as Picture

from idc_desktop.export.lettering import font_file, runs
from idc_desktop.maps.colormap import lookup_table, round_length_um
from idc_desktop.maps.layers import LayerKind
from idc_desktop.plain_text import one_line

_Row = TypeVar("_Row")

PAGE = pagesizes.A4
MARGIN = 16 * mm
WIDTH = PAGE[0] - 2 * MARGIN
MOST_ROWS = 300
"""Of a table or list; laying out more takes minutes."""

_LONGEST_NAME = 120

BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=8.5, leading=11)
SMALL = ParagraphStyle("small", BODY, fontSize=7, leading=8.6)
HEAD = ParagraphStyle("head", SMALL, fontName="Helvetica-Bold")
TITLE = ParagraphStyle("title", BODY, fontName="Helvetica-Bold", fontSize=15, leading=20)
_SECTION = ParagraphStyle("section", TITLE, fontSize=11, leading=16, spaceBefore=8)
_RIGHT = ParagraphStyle("right", SMALL, alignment=TA_RIGHT)
_HEAD_RIGHT = ParagraphStyle("head-right", HEAD, alignment=TA_RIGHT)
_PADDING = 5  # left and right of a cell
_GRID = [
    ("LINEBELOW", (0, 0), (-1, 0), 0.7, colors.black),
    ("LINEBELOW", (0, 1), (-1, -1), 0.25, colors.lightgrey),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), _PADDING / 2),
    ("RIGHTPADDING", (0, 0), (-1, -1), _PADDING / 2),
    ("TOPPADDING", (0, 0), (-1, -1), 1.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
]


def heading(title: str, room: float = 25 * mm) -> list[Flowable]:
    """Return the title of a section, on another page where there is not so much room below it.

    What follows may go on over several pages: kept together, it would leave others half empty.
    """
    return [CondPageBreak(room), Paragraph(title, _SECTION)]


def facts(rows: Sequence[tuple[str, str | Sequence[str]]]) -> Table:
    """Return names with what is to be said of each: a text, or several below one another."""
    cells = []
    for name, said in rows:
        texts = [said] if isinstance(said, str) else said
        cells.append([Paragraph(text(name), HEAD), [Paragraph(text(it), SMALL) for it in texts]])
    lines = ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.lightgrey)
    return Table(cells, [WIDTH * 0.28, WIDTH * 0.72], style=[lines, *_GRID[2:]])


def unbroken(block: Flowable) -> KeepTogether:
    """Return a short block that stands on one page, the next one if need be."""
    return KeepTogether([block])


def table(
    titles: Sequence[str], shares: Sequence[float], texts: int, rows: Iterable[Sequence[str]]
) -> Table:
    """Return a table whose first columns are texts, and the others figures.

    Parameters
    ----------
    shares : sequence of float
        Width of each column, as a share of the page's.
    texts : int
        How many columns are texts: names of any script, each in the lines that it needs.
    """
    widths = [WIDTH * share for share in shares]
    styles = [HEAD] * texts + [_HEAD_RIGHT] * (len(titles) - texts)
    cells = [[Paragraph(it, style) for it, style in zip(titles, styles, strict=True)]]
    for row in rows:
        named = zip(row[:texts], widths, strict=False)
        names = [name(it, SMALL, width - _PADDING) for it, width in named]
        cells.append([*names, *(Paragraph(text(it), _RIGHT) for it in row[texts:])])
    return Table(cells, widths, repeatRows=1, style=_GRID)


def first_of(rows: Sequence[_Row]) -> tuple[Sequence[_Row], list[Flowable]]:
    """Return as many rows as people read on paper, and what is said where there are more."""
    if len(rows) <= MOST_ROWS:
        return rows, []
    said = f"The first {MOST_ROWS:,} of {len(rows):,}; the tables beside this report have all."
    return rows[:MOST_ROWS], [Paragraph(said, SMALL)]


def picture(image: Image.Image, pt_per_px: float) -> Picture:
    """Return a picture in a size."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90, subsampling="4:4:4")
    data.seek(0)
    return Picture(data, image.width * pt_per_px, image.height * pt_per_px)


def name(whole: str, style: ParagraphStyle, width: float) -> Paragraph:
    """Return a name in the lines that it needs; one that would fill a page is cut."""
    # regions.csv has it whole.
    cut = len(whole) > _LONGEST_NAME
    return _wrapped(f"{whole[: _LONGEST_NAME - 1]}…" if cut else whole, style, width)


def prose(written: str, style: ParagraphStyle = BODY) -> list[Paragraph]:
    """Return what somebody wrote, line by line."""
    return [_wrapped(line, style, WIDTH) for line in written.splitlines() if line.strip()]


def text(words: str) -> str:
    """Return a text for a paragraph, in the fonts of every PDF reader where they have it all."""
    if _is_everywhere(words):
        return escape(words)
    return "".join(f'<font name="{_font(file)}">{escape(run)}</font>' for file, run in runs(words))


def _wrapped(words: str, style: ParagraphStyle, width: float) -> Paragraph:
    if _is_everywhere(words):
        return Paragraph(text(words), style)
    # A line is cut while the letters have their own order: in the order in which they are seen,
    # the first line of Arabic would hold the last words.
    lines = simpleSplit(words, _font(runs("a")[0][0]), style.fontSize, width)
    return Paragraph("<br/>".join(map(text, lines)), style)


def _is_everywhere(words: str) -> bool:
    try:
        return one_line(words) == words == words.encode("cp1252").decode("cp1252")
    except UnicodeEncodeError:
        return False


@cache
def _font(file: str) -> str:
    """Return the name of a font of ours, which a report embeds as far as it needs it."""
    own = file.partition(".")[0]
    pdfmetrics.registerFont(TTFont(own, str(font_file(file))))
    pdfmetrics.registerFontFamily(own, own, own, own, own)
    return own


class Scales(Flowable):  # type: ignore[misc]  # reportlab is not typed
    """Under the map: a bar of a round length, and the colours with the threshold."""

    def __init__(self, um_per_pt: float, kind: LayerKind, threshold: float) -> None:
        super().__init__()
        self._um = round_length_um(WIDTH / 4 * um_per_pt)
        self._length = self._um / um_per_pt
        self._kind, self._threshold = kind, threshold
        self.width, self.height = WIDTH, 12 * mm

    def draw(self) -> None:
        """Draw them side by side."""
        canvas, middle = self.canv, WIDTH / 4
        canvas.setFont("Helvetica", 7)
        canvas.rect(middle - self._length / 2, 5 * mm, self._length, 0.8, fill=1)
        canvas.drawCentredString(middle, 2 * mm, f"{self._um / 1000:g} mm")
        left, length = WIDTH / 2, WIDTH / 3
        for number, (red, green, blue) in enumerate(lookup_table() / 255):
            canvas.setFillColorRGB(red, green, blue)
            step = length / 256
            canvas.rect(left + number * step, 5 * mm, 1.5 * step, 2 * mm, stroke=0, fill=1)
        canvas.setFillColorRGB(0, 0, 0)
        canvas.drawString(left, 2 * mm, f"{self._kind.low:g}")
        canvas.drawRightString(left + length, 2 * mm, f"{self._kind.high:g}")
        at = left + self._kind.fraction(self._threshold) * length
        canvas.drawCentredString(at, 8 * mm, f"{self._threshold:.3g}")
        canvas.setStrokeColorRGB(1, 0, 0)
        canvas.line(at, 4.6 * mm, at, 7.4 * mm)
        canvas.setStrokeColorRGB(0, 0, 0)
        canvas.drawString(left + length + 3 * mm, 5.2 * mm, self._kind.unit)
