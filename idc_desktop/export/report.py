"""report.pdf: map, figures, foci, model and origin on a few pages."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, BinaryIO
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from reportlab.lib import colors, pagesizes
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
)
from reportlab.platypus import Image as Picture

from idc_desktop import RESEARCH_USE_NOTICE, __version__
from idc_desktop.export.content import Analysis, Content
from idc_desktop.export.lettering import font_file, runs
from idc_desktop.export.overlay import paint_map
from idc_desktop.maps.colormap import lookup_table, round_length_um
from idc_desktop.maps.layers import CONTEXT, LayerKind
from idc_desktop.models.card import figure_text
from idc_desktop.plain_text import one_line
from idc_desktop.regions.editing import by_class
from idc_desktop.regions.foci import Focus, FocusRules, find_foci
from idc_desktop.regions.shape import Region
from idc_desktop.regions.statistics import RegionMeter, RegionStatistics

_MARGIN = 16 * mm
_WIDTH = pagesizes.A4[0] - 2 * _MARGIN
_MAP_PX = 1_800  # longer side of the map: about 250 dpi
_MAP_HEIGHT = 120 * mm
_MAX_FOCI = 12
_LONGEST_NAME = 120
_RULES = FocusRules()
_FOCI_ACROSS = 4
_FOCUS_PX = 320
_FOCUS_MARGIN = 0.35  # of the focus, around it
_HELD_OUT = ("test_weighted", "out_of_fold_weighted")

_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=8.5, leading=11)
_LEAD = ParagraphStyle("lead", _BODY, keepWithNext=1)
_SMALL = ParagraphStyle("small", _BODY, fontSize=7, leading=8.6)
_RIGHT = ParagraphStyle("right", _SMALL, alignment=TA_RIGHT)
_HEAD = ParagraphStyle("head", _SMALL, fontName="Helvetica-Bold")
_HEAD_RIGHT = ParagraphStyle("head-right", _HEAD, alignment=TA_RIGHT)
_TITLE = ParagraphStyle("title", _BODY, fontName="Helvetica-Bold", fontSize=15, leading=20)
_SECTION = ParagraphStyle("section", _TITLE, fontSize=11, leading=16, spaceBefore=8, keepWithNext=1)
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


def write_report(file: BinaryIO, content: Content) -> None:
    """Write the report; the same content gives the same bytes."""
    analysis = content.analysis
    document = BaseDocTemplate(
        file,
        pagesize=pagesizes.A4,
        title=f"IDC Desktop: {one_line(analysis.image)}",
        author="IDC Desktop",
        subject=RESEARCH_USE_NOTICE,
        creator=f"IDC Desktop {__version__}",
        invariant=True,  # no time, no random identifier
        pageCompression=1,
    )
    frame = Frame(_MARGIN, 20 * mm, _WIDTH, pagesizes.A4[1] - 20 * mm - _MARGIN, 0, 0, 0, 0)

    def finish_page(canvas: Canvas, _: BaseDocTemplate) -> None:
        _write_footer(canvas, analysis)

    document.addPageTemplates(PageTemplate(frames=[frame], onPage=finish_page))
    foci = find_foci(analysis.layer, analysis.mpp, analysis.threshold, _RULES)
    document.build(
        [
            *_front(content, foci[:_MAX_FOCI]),
            *_region_tables(content),
            *_foci(analysis, foci),
            *_model(analysis),
            *_origin(analysis),
        ]
    )


def _write_footer(canvas: Canvas, analysis: Analysis) -> None:
    canvas.saveState()
    canvas.setFont("Helvetica-Bold", 8)
    canvas.drawCentredString(pagesizes.A4[0] / 2, 13 * mm, RESEARCH_USE_NOTICE)
    canvas.setFont("Helvetica", 6.5)
    identity, model = analysis.slide.pseudonym, analysis.model.sha256[:12]
    canvas.drawString(
        _MARGIN, 9 * mm, f"slide {identity}   model {model}   IDC Desktop {__version__}"
    )
    canvas.drawRightString(pagesizes.A4[0] - _MARGIN, 9 * mm, f"page {canvas.getPageNumber()}")
    canvas.restoreState()


def _front(content: Content, foci: Sequence[Focus]) -> Iterable[Flowable]:
    analysis, whole = content.analysis, content.figures[-1]
    card, counts = analysis.model.card, analysis.map.counts()
    failed = analysis.map.failed_patches
    yield _name(analysis.image, _TITLE, _WIDTH)
    yield Paragraph(
        _text(
            f"Probability of invasive ductal carcinoma (IDC) per patch of "
            f"{card.patch_size_um:g} µm{_seen_with(analysis)}. "
            f"Model {card.name} {card.version}. "
            f"Outlined in black: p at or above {analysis.threshold:.3f}; in colour: regions. "
            "Numbers: foci."
        ),
        _BODY,
    )
    yield Spacer(0, 3 * mm)
    picture = _drawn_map(content, foci)
    scale = min(_WIDTH / picture.width, _MAP_HEIGHT / picture.height)
    yield _picture(picture, scale)
    width_um = analysis.overview_px_l0 * analysis.mpp[0] * analysis.overview.shape[1]
    um_per_pt = width_um / (picture.width * scale)
    yield _Scales(um_per_pt, analysis.layer.kind, analysis.threshold)
    rows = [
        (
            "Analyzed area",
            f"{whole.area_um2 * (whole.coverage_percent or 0) / 100 / 1e6:.2f} mm²",
        ),
        ("IDC area", f"{whole.idc_area_um2 / 1e6:.2f} mm²"),
        ("IDC, of the analyzed area", _percent(whole.idc_fraction)),
        ("Mean, median, max probability", _probabilities(whole)),
        *_uncertainty(content.uncertainties[-1]),
        ("Analyzed on", _moment(analysis.analyzed)),
        ("Patches analyzed", content.patches_analyzed),
        ("Background, not analyzed", f"{counts['background']:,}"),
        ("Failed", f"{failed:,}"),
        (
            "Resolution of level 0",
            f"{analysis.mpp[0]:g} x {analysis.mpp[1]:g} µm/px, from the "
            f"{analysis.slide.mpp_source}",
        ),
    ]
    yield _facts(rows)
    for note in analysis.notes:
        yield Paragraph(_text(f"Note: {note}"), _BODY)


def _seen_with(analysis: Analysis) -> str:
    return ", each seen together with those around it" if analysis.map_kind == CONTEXT else ""


def _drawn_map(content: Content, foci: Sequence[Focus]) -> Image.Image:
    """Return the map with the outlines of the regions and the numbers of the foci."""
    analysis = content.analysis
    picture = paint_map(analysis)
    width = picture.width
    picture.thumbnail((_MAP_PX, _MAP_PX), Image.Resampling.BOX)
    px_l0 = analysis.overview_px_l0 * width / picture.width
    draw = ImageDraw.Draw(picture)
    origin = np.array(analysis.slide.bounds_origin_l0)
    for region in content.regions:
        for ring in region.shape.rings:
            draw.line(_closed((ring - origin) / px_l0), region.rgb, 5)
    font = ImageFont.load_default(max(picture.size) / 45)
    for number, focus in enumerate(foci, 1):
        # Beside its rightmost corner: it hides nothing of the focus and belongs to no other.
        outline = focus.shape.polygons[0][0]
        x, y = (outline[outline[:, 0].argmax()] - origin) / px_l0
        draw.text((x + 4, y), str(number), "black", font, stroke_width=3, stroke_fill="white")
    return picture


def _uncertainty(mean: float | None) -> Iterable[tuple[str, str]]:
    if mean is not None:
        yield "Mean uncertainty", f"{mean:.2f} (0 certain, 1 at the model's threshold)"


def _closed(points: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in [*points.tolist(), points[0].tolist()]]


def _region_tables(content: Content) -> Iterable[Flowable]:
    if not content.regions:
        return
    yield Paragraph("Regions", _SECTION)
    yield _figures_table(list(zip(content.rows, content.figures, strict=True)))
    classes = by_class(content.regions)
    if len(classes) > 1 or len(content.regions) > 1:
        yield Paragraph("Classes", _SECTION)
        yield Paragraph("Where regions of one class overlap, the common area counts once.", _SMALL)
        analysis = content.analysis
        meter = RegionMeter(analysis.layer, analysis.mpp)
        figures = meter.measure([it.shape for it in classes], analysis.threshold)
        yield _figures_table(list(zip(classes, figures, strict=True)))


def _figures_table(rows: Sequence[tuple[Region, RegionStatistics]]) -> Table:
    titles = (
        "Name", "Class", "Area mm²", "Patches", "Analyzed", "Failed", "IDC mm²", "IDC %",
        "Mean p", "Median p", "Max p",
    )  # fmt: skip
    shares = (0.2, 0.14, 0.08, 0.075, 0.08, 0.065, 0.08, 0.07, 0.07, 0.07, 0.07)
    widths = [_WIDTH * it for it in shares]
    styles = (_HEAD, _HEAD, *[_HEAD_RIGHT] * 9)
    cells = [[Paragraph(title, style) for title, style in zip(titles, styles, strict=True)]]
    for region, figures in rows:
        numbers = (
            f"{figures.area_um2 / 1e6:.3f}",
            f"{figures.patches:,}",
            f"{figures.patches_analyzed:,}",
            f"{figures.patches_failed:,}",
            f"{figures.idc_area_um2 / 1e6:.3f}",
            _percent(figures.idc_fraction).removesuffix(" %"),
            *(_probability(p) for p in _three(figures)),
        )
        names = zip((region.name, region.classification), widths, strict=False)
        cells.append(
            [
                *(_name(text, _SMALL, width - _PADDING) for text, width in names),
                *(Paragraph(it, _RIGHT) for it in numbers),
            ]
        )
    return Table(cells, widths, repeatRows=1, style=_GRID)


def _foci(analysis: Analysis, foci: Sequence[Focus]) -> Iterable[Flowable]:
    yield Paragraph("Foci", _SECTION)
    if not foci:
        yield Paragraph("No area is at or above the threshold.", _BODY)
        return
    shown = foci[:_MAX_FOCI]
    rules = f"{_RULES.neighbours} neighbours, at least {_RULES.min_area_um2 / 1e6:g} mm²"
    found = f"{len(foci):,} connected area{'' if len(foci) == 1 else 's'}"
    cut = f"; the first {len(shown)} are shown" if len(foci) > len(shown) else ""
    yield Paragraph(f"{found} at or above the threshold ({rules}), the largest first{cut}.", _LEAD)
    width = _WIDTH / _FOCI_ACROSS
    cells = [_focus_cell(n, focus, analysis, width) for n, focus in enumerate(shown, 1)]
    cells += [[]] * (-len(cells) % _FOCI_ACROSS)
    rows = [cells[at : at + _FOCI_ACROSS] for at in range(0, len(cells), _FOCI_ACROSS)]
    yield Table(rows, [width] * _FOCI_ACROSS, style=[("VALIGN", (0, 0), (-1, -1), "TOP")])


def _focus_cell(number: int, focus: Focus, analysis: Analysis, width: float) -> list[Flowable]:
    px_l0 = analysis.overview_px_l0
    origin = np.array(analysis.slide.bounds_origin_l0)
    left, top, right, bottom = focus.shape.bounds
    half = max(right - left, bottom - top) * (0.5 + _FOCUS_MARGIN) / px_l0
    centre = (np.array([left + right, top + bottom]) / 2 - origin) / px_l0
    x1, y1, x2, y2 = (int(it) for it in np.rint([*(centre - half), *(centre + half)]))
    box = x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)
    crop = Image.new("RGB", (box[2] - box[0], box[3] - box[1]), "white")
    slide = Image.fromarray(analysis.overview)
    crop.paste(slide.crop(box), (0, 0))
    # What lies beyond the overview comes as black.
    inside = Image.new("L", slide.size, 255).crop(box)
    crop.paste("white", (0, 0), Image.eval(inside, lambda value: 255 - value))
    scale = _FOCUS_PX / crop.width
    crop = crop.resize((_FOCUS_PX, _FOCUS_PX), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(crop)
    for ring in focus.shape.rings:
        draw.line(_closed(((ring - origin) / px_l0 - (centre - half)) * scale), "black", 3)
    x, y = focus.shape.moments(analysis.mpp).centroid
    caption = (
        f"<b>{number}</b>  {focus.area_um2 / 1e6:.2f} mm²<br/>"
        f"max p {focus.max_probability:.3f}, mean {focus.mean_probability:.3f}<br/>"
        f"at {x / 1000:.2f}, {y / 1000:.2f} mm"
    )
    return [_picture(crop, (width - 4 * mm) / _FOCUS_PX), Paragraph(caption, _SMALL)]


def _model(analysis: Analysis) -> Iterable[Flowable]:
    card = analysis.model.card
    about = card.document["idc"]
    use = about.get("intended_use", {})
    metrics = about.get("metrics", {})
    name = next((it for it in (*_HELD_OUT, *metrics) if it in metrics), "")
    figures: Mapping[str, Any] = metrics.get(name, {})
    rows = [
        ("Name", f"{card.name} {card.version}, recipe {card.recipe}, {card.created}"),
        ("SHA-256", analysis.model.sha256),
        ("Input", f"{card.spacing_um_px:g} µm/px, patches of {card.patch_size_um:g} µm"),
        ("Intended for", "; ".join(str(it) for it in use.values())),
        (
            "Model's operating point",
            f"{card.operation(analysis.map_kind).threshold:g} ({analysis.map_kind} map)",
        ),
    ]
    for key in ("auc", "sensitivity", "specificity", "precision"):
        if key in figures:
            at = f"at {card.threshold:.3f}, patch map"
            title = "AUC, patch map" if key == "auc" else f"{key.capitalize()} {at}"
            rows.append((f"{title} ({name.replace('_', ', ')})", figure_text(figures[key])))
    rows += [("Beyond its archive", it) for it in card.beyond_its_archive()]
    rows += [("Limit", str(limit)) for limit in about.get("limitations", [])]
    yield KeepTogether([Paragraph("Model", _SECTION), _facts(rows)])


def _origin(analysis: Analysis) -> Iterable[Flowable]:
    provenance = analysis.provenance()
    slide, grid = provenance["slide"], provenance["grid"]
    provider = provenance["provider"]
    rows = [
        ("Slide identity", f"{slide['identity']} ({slide['identity_kind']})"),
        ("Slide", f"{slide['width_l0']} x {slide['height_l0']} px, {slide['vendor']}"),
        ("Grid", f"{grid['rows']} x {grid['cols']} cells, step {grid['step_x_l0']:g} x "
         f"{grid['step_y_l0']:g} px, from {grid['origin_x_l0']}, {grid['origin_y_l0']}"),
        ("Map, threshold", f"{provenance['map']}, {provenance['threshold']!r}"),
        ("Tissue", _listed(provenance["tissue"])),
        ("Provider", _listed({key.replace("_", " "): it for key, it in provider.items() if it})),
        ("Versions", _listed(provenance["versions"])),
    ]  # fmt: skip
    yield KeepTogether([Paragraph("Origin", _SECTION), _facts(rows)])


def _listed(entries: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in entries.items())


def _facts(rows: Sequence[tuple[str, str]]) -> Table:
    cells = [[Paragraph(_text(name), _HEAD), Paragraph(_text(it), _SMALL)] for name, it in rows]
    return Table(cells, [_WIDTH * 0.28, _WIDTH * 0.72], style=_GRID[1:])


class _Scales(Flowable):  # type: ignore[misc]  # reportlab is not typed
    """Under the map: a bar of a round length, and the colours with the threshold."""

    def __init__(self, um_per_pt: float, kind: LayerKind, threshold: float) -> None:
        super().__init__()
        self._um = round_length_um(_WIDTH / 4 * um_per_pt)
        self._length = self._um / um_per_pt
        self._kind, self._threshold = kind, threshold
        self.width, self.height = _WIDTH, 12 * mm

    def draw(self) -> None:
        """Draw them side by side."""
        canvas, middle = self.canv, _WIDTH / 4
        canvas.setFont("Helvetica", 7)
        canvas.rect(middle - self._length / 2, 5 * mm, self._length, 0.8, fill=1)
        canvas.drawCentredString(middle, 2 * mm, f"{self._um / 1000:g} mm")
        left, length = _WIDTH / 2, _WIDTH / 3
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


def _picture(image: Image.Image, pt_per_px: float) -> Picture:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90, subsampling="4:4:4")
    data.seek(0)
    return Picture(data, image.width * pt_per_px, image.height * pt_per_px)


def _shortened(text: str) -> str:
    """Cut what would fill a page of its own; regions.csv has it whole."""
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def _name(text: str, style: ParagraphStyle, width: float) -> Paragraph:
    """Return a name of any script in the lines that it needs."""
    shown = _shortened(text)
    if _is_everywhere(shown):
        return Paragraph(_text(shown), style)
    # A line is cut while the letters have their own order: in the order in which they are seen,
    # the first line of Arabic would hold the last words.
    lines = simpleSplit(shown, _font(runs("a")[0][0]), style.fontSize, width)
    return Paragraph("<br/>".join(map(_text, lines)), style)


def _text(text: str) -> str:
    """Return a text for a paragraph, in the fonts of every PDF reader where they have it all."""
    if _is_everywhere(text):
        return escape(text)
    return "".join(f'<font name="{_font(file)}">{escape(run)}</font>' for file, run in runs(text))


def _is_everywhere(text: str) -> bool:
    try:
        return one_line(text) == text == text.encode("cp1252").decode("cp1252")
    except UnicodeEncodeError:
        return False


@cache
def _font(file: str) -> str:
    """Return the name of a font of ours, which a report embeds as far as it needs it."""
    name = file.partition(".")[0]
    pdfmetrics.registerFont(TTFont(name, str(font_file(file))))
    pdfmetrics.registerFontFamily(name, name, name, name, name)
    return name


def _moment(analyzed: str | None) -> str:
    """Return when the analysis ended, as it is kept: ``2026-03-31T14:05:00Z``."""
    return "not known" if analyzed is None else analyzed.replace("T", " ").replace("Z", " UTC")


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f} %"


def _probability(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _three(figures: RegionStatistics) -> tuple[float | None, ...]:
    return figures.mean_probability, figures.median_probability, figures.max_probability


def _probabilities(figures: RegionStatistics) -> str:
    return ", ".join(_probability(value) for value in _three(figures))
