"""report.pdf: what was found and judged, and where it comes from, on a few pages."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from PIL import Image
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
)

from idc_desktop import RESEARCH_USE_NOTICE, __version__
from idc_desktop.export import paper
from idc_desktop.export.content import Analysis, Content
from idc_desktop.export.report_pictures import FOCUS_PX, focus_picture, map_picture
from idc_desktop.maps.layers import CONTEXT
from idc_desktop.models.card import figure_text
from idc_desktop.models.operation import Operation, operating_point_text
from idc_desktop.plain_text import counted, one_line
from idc_desktop.regions.diameter import Diameter, diameter_of
from idc_desktop.regions.editing import by_class
from idc_desktop.regions.foci import Focus, FocusRules, find_foci
from idc_desktop.regions.marks import Mark
from idc_desktop.regions.measures import area_text, length_text, mm2_text, mm_text
from idc_desktop.regions.shape import Region, Verdict
from idc_desktop.regions.statistics import RegionMeter, RegionStatistics, whole_slide
from idc_desktop.regions.verdicts import verdicts_of

_MAP_HEIGHTS = (110 * mm, 95 * mm, 80 * mm, 125 * mm)
"""Tried one after the other, until the last page is no nearly empty one."""

_LEAST_OF_LAST_PAGE = 0.2
_MAX_FOCI = 12
_RULES = FocusRules()
_FOCI_ACROSS = 4
_HELD_OUT = ("test_weighted", "out_of_fold_weighted")
_SAME, _HALF = 1e-3, 0.5


def write_report(file: BinaryIO, content: Content) -> None:
    """Write the report; the same content gives the same bytes."""
    analysis = content.analysis
    foci = _Foci.of(content)
    drawn = map_picture(content, foci.shown)
    written: list[tuple[bool, float, bytes]] = []
    for height in _MAP_HEIGHTS:
        parts = [
            *_front(content, foci, drawn, height),
            *_regions(content),
            *_measurements(content),
            *_foci_pictures(foci, analysis),
            *_model(analysis),
            *_origin(analysis),
        ]
        data, filled = _built(content, parts)
        written.append((filled >= _LEAST_OF_LAST_PAGE, filled, data))
        if written[-1][0]:
            break
    file.write(max(written, key=lambda it: it[:2])[2])


def _built(content: Content, parts: list[Flowable]) -> tuple[bytes, float]:
    """Return the file, and which part of the last page is filled."""
    analysis, data = content.analysis, io.BytesIO()
    document = BaseDocTemplate(
        data,
        pagesize=paper.PAGE,
        title=f"IDC Desktop: {one_line(analysis.image)}",
        author="IDC Desktop",
        subject=RESEARCH_USE_NOTICE,
        creator=f"IDC Desktop {__version__}",
        invariant=True,  # no time, no random identifier
        pageCompression=1,
    )
    height = paper.PAGE[1] - 20 * mm - paper.MARGIN
    frame = Frame(paper.MARGIN, 20 * mm, paper.WIDTH, height, 0, 0, 0, 0)
    template = PageTemplate(frames=[frame], onPage=partial(_write_footer, analysis))
    document.addPageTemplates(template)
    document.build(parts)
    return data.getvalue(), 1 - (frame._y - frame._y1p) / height  # noqa: SLF001 - told nowhere else


def _write_footer(analysis: Analysis, canvas: Canvas, _: BaseDocTemplate) -> None:
    canvas.saveState()
    canvas.setFont("Helvetica-Bold", 8)
    canvas.drawCentredString(paper.PAGE[0] / 2, 13 * mm, RESEARCH_USE_NOTICE)
    canvas.setFont("Helvetica", 6.5)
    identity, model = analysis.slide.pseudonym, analysis.model.sha256[:12]
    said = f"slide {identity}   model {model}   IDC Desktop {__version__}"
    canvas.drawString(paper.MARGIN, 9 * mm, said)
    right = paper.PAGE[0] - paper.MARGIN
    canvas.drawRightString(right, 9 * mm, f"page {canvas.getPageNumber()}")
    canvas.restoreState()


@dataclass(frozen=True)
class _Foci:
    """The foci at the threshold in use, the largest first, and how they are judged."""

    all: list[Focus]
    verdicts: list[Verdict]

    @classmethod
    def of(cls, content: Content) -> _Foci:
        analysis = content.analysis
        foci = find_foci(analysis.layer, analysis.mpp, analysis.threshold, _RULES)
        shapes = [it.shape for it in foci]
        return cls(foci, verdicts_of(shapes, content.regions, analysis.map.grid))

    @property
    def shown(self) -> list[Focus]:
        return self.all[:_MAX_FOCI]


def _front(content: Content, foci: _Foci, drawn: Image.Image, height: float) -> Iterable[Flowable]:
    analysis, whole, sheet = content.analysis, content.figures[-1], content.sheet
    card, counts = analysis.model.card, analysis.map.counts()
    yield paper.name(analysis.image, paper.TITLE, paper.WIDTH)
    named = [("Case", sheet.case), ("Read by", sheet.reader)]
    yield paper.facts(
        [
            *((name, said) for name, said in named if said),
            ("Analyzed on", _moment(analysis.analyzed)),
            ("Model", f"{card.name} {card.version}, {analysis.map_kind} map"),
        ]
    )
    for title, written in (("Conclusion", sheet.conclusion), ("Comment", sheet.comment)):
        if written:
            yield from paper.heading(title)
            yield from paper.prose(written)
    yield from paper.heading("Map")
    yield Paragraph(
        paper.text(
            f"Probability of invasive ductal carcinoma (IDC) per patch of "
            f"{card.patch_size_um:g} µm{_seen_with(analysis)}. Outlined in black: p at or above "
            f"{analysis.threshold:.3f}; in colour: regions, by verdict or class. Numbers: foci."
        ),
        paper.BODY,
    )
    scale = min(paper.WIDTH / drawn.width, height / drawn.height)
    yield paper.picture(drawn, scale)
    width_um = analysis.overview_px_l0 * analysis.mpp[0] * analysis.overview.shape[1]
    yield paper.Scales(width_um / (drawn.width * scale), analysis.layer.kind, analysis.threshold)
    yield from paper.heading("Figures")
    yield paper.unbroken(_at_two_thresholds(content, foci))
    yield Spacer(0, 2 * mm)
    for threshold in _two_thresholds(analysis):
        yield Paragraph(paper.text(_promise(analysis, threshold)), paper.SMALL)
    yield Spacer(0, 2 * mm)
    excluded = counts.get("excluded", 0)
    yield paper.unbroken(
        paper.facts(
            [
                (
                    "Analyzed area",
                    area_text(whole.area_um2 * (whole.coverage_percent or 0) / 100),
                ),
                ("Mean, median, max probability", _probabilities(whole)),
                *_uncertainty(content.uncertainties[-1]),
                ("Patches analyzed", content.patches_analyzed),
                ("Background, not analyzed", f"{counts['background']:,}"),
                *([("Excluded from all figures", f"{excluded:,}")] if excluded else []),
                ("Failed", f"{analysis.map.failed_patches:,}"),
                (
                    "Resolution of level 0",
                    f"{analysis.mpp[0]:g} x {analysis.mpp[1]:g} µm/px, from the "
                    f"{analysis.slide.mpp_source}",
                ),
            ]
        )
    )
    for note in analysis.notes:
        yield Paragraph(paper.text(f"Note: {note}"), paper.BODY)


def _seen_with(analysis: Analysis) -> str:
    return ", each seen together with those around it" if analysis.map_kind == CONTEXT else ""


def _operation(analysis: Analysis) -> Operation:
    return analysis.model.card.operation(analysis.map_kind)


def _two_thresholds(analysis: Analysis) -> tuple[float, float]:
    """Return the threshold in use and another one, to see how much hangs on it.

    That is the model's own; where that one is in use, one that alarms rarely, or misses little.
    """
    operation, used = _operation(analysis), analysis.threshold
    known = (
        operation.threshold,
        operation.specific(),
        operation.screening(),
    )
    apart = (it for it in known if it is not None and abs(it - used) > _SAME)
    return used, next(apart, used / 2 if used > _HALF else (1 + used) / 2)


def _at_two_thresholds(content: Content, foci: _Foci) -> Table:
    analysis = content.analysis
    columns = []
    for threshold in _two_thresholds(analysis):
        is_used = threshold == analysis.threshold
        found = foci.all if is_used else find_foci(analysis.layer, analysis.mpp, threshold, _RULES)
        columns.append(_column(content, threshold, found))
    own = _operation(analysis).threshold
    titles = [
        f"p at or above {it:.3f}{', in use' if it == analysis.threshold else ''}"
        f"{', the model’s own' if it == own else ''}"
        for it in _two_thresholds(analysis)
    ]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    return paper.table(("", *titles), (0.3, 0.35, 0.35), 1, rows)


def _column(content: Content, threshold: float, foci: Sequence[Focus]) -> dict[str, str]:
    """Return the figures of the whole slide at a threshold, by name."""
    analysis, accepted = content.analysis, content.accepted
    meter = RegionMeter(analysis.layer, analysis.mpp)
    whole = whole_slide(analysis.map.grid)
    (figures,) = meter.measure([whole.shape], threshold)
    (accepted_um2,) = accepted.areas_um2([whole], meter, threshold)
    longest = accepted.diameter(analysis.layer, analysis.mpp, threshold)
    largest = foci[0] if foci else None
    return {
        "IDC area": area_text(figures.idc_area_um2),
        "IDC, of the analyzed area": _percent(figures.idc_fraction),
        "Accepted IDC area": (
            "–, no verdict yet"
            if accepted_um2 is None
            else area_text(accepted_um2) + _disputed(accepted.disputed_um2(whole, meter, threshold))
        ),
        "Longest diameter of the accepted tumour": length_text(longest and longest.length),
        "Foci": f"{len(foci):,}",
        "Largest focus": area_text(None if largest is None else largest.area_um2),
        "Longest diameter of the largest focus": length_text(
            None if largest is None else diameter_of([largest.shape], analysis.mpp).length
        ),
    }


def _disputed(area_um2: float) -> str:
    """Say how much of the accepted area was judged otherwise, too; nothing of none."""
    return f", of it {area_text(area_um2)} judged otherwise" if area_um2 else ""


def _promise(analysis: Analysis, threshold: float) -> str:
    """Say what the model's card promises of a threshold."""
    card = analysis.model.card
    where = "labelled slides" if analysis.map_kind == CONTEXT else card.curve_of
    said = operating_point_text(_operation(analysis), threshold, where, card.prevalence)
    return f"{threshold:.3f}: {said}"


def _regions(content: Content) -> Iterable[Flowable]:
    if not content.regions:
        return
    yield from paper.heading("Regions")
    analysis = content.analysis
    rows = list(zip(content.rows, content.figures, content.accepted_um2, strict=True))
    # The diagonal of the glass says nothing: of the slide, it is the tumour's that counts.
    tumour = content.accepted.diameter(analysis.layer, analysis.mpp, analysis.threshold)
    of_tumour = "Longest of the whole slide: of the accepted tumour, its parts together."
    yield Paragraph(of_tumour, paper.SMALL)
    yield from _figures_table(rows, analysis, content.rows[-1].id, tumour)
    notes, more = paper.first_of([it for it in content.regions if it.note])
    if notes:
        yield from paper.heading("Notes on regions")
        for region in notes:
            yield from paper.prose(f"{region.name}: {region.note}", paper.SMALL)
        yield from more
    classes = by_class(content.regions)
    if any(it.classification for it in classes):
        yield from paper.heading("Classes")
        same = "Where regions of one class overlap, the common area counts once."
        yield Paragraph(same, paper.SMALL)
        meter = RegionMeter(analysis.layer, analysis.mpp)
        figures = meter.measure([it.shape for it in classes], analysis.threshold)
        nothing = [None] * len(classes)
        rows = list(zip(classes, figures, nothing, strict=True))
        yield from _figures_table(rows, analysis)


def _figures_table(
    rows: Sequence[tuple[Region, RegionStatistics, float | None]],
    analysis: Analysis,
    slide: str = "",
    tumour: Diameter | None = None,
) -> Iterable[Flowable]:
    """Return the table of some rows; that of the id `slide` is as long as the tumour."""
    rows, more = paper.first_of(rows)
    longest = [
        tumour if it.id == slide else diameter_of([it.shape], analysis.mpp) for it, *_ in rows
    ]
    titles = (
        "Name", "Class", "Verdict", "Area mm²", "Longest mm", "Analyzed", "Failed", "IDC mm²",
        "IDC %", "Accepted mm²", "Mean p", "Max p",
    )  # fmt: skip
    shares = (0.18, 0.12, 0.08, 0.08, 0.08, 0.075, 0.06, 0.07, 0.06, 0.075, 0.06, 0.06)
    yield paper.table(
        titles,
        shares,
        3,
        [
            (
                region.name,
                region.classification,
                region.verdict,
                mm2_text(figures.area_um2),
                mm_text(line and line.length),
                f"{figures.patches_analyzed:,}",
                f"{figures.patches_failed:,}",
                mm2_text(figures.idc_area_um2),
                _percent(figures.idc_fraction).removesuffix(" %"),
                mm2_text(accepted),
                _probability(figures.mean_probability),
                _probability(figures.max_probability),
            )
            for (region, figures, accepted), line in zip(rows, longest, strict=True)
        ],
    )
    yield from more


def _measurements(content: Content) -> Iterable[Flowable]:
    if not content.marks:
        return
    yield from paper.heading("Measurements and marks")
    mpp = content.analysis.mpp

    def figure(mark: Mark) -> str:
        length, angle = mark.length(mpp), mark.angle_deg(mpp)
        return (
            length_text(length) if length is not None else "" if angle is None else f"{angle:.1f}°"
        )

    marks, more = paper.first_of(content.marks)
    rows = [(mark.name, mark.kind, figure(mark)) for mark in marks]
    yield paper.table(("Name", "What", "Length, angle"), (0.5, 0.15, 0.2), 2, rows)
    yield from more


def _foci_pictures(foci: _Foci, analysis: Analysis) -> Iterable[Flowable]:
    yield from paper.heading("Foci", 70 * mm)
    if not foci.all:
        yield Paragraph("No area is at or above the threshold.", paper.BODY)
        return
    count, judged = len(foci.all), sum(map(bool, foci.verdicts))
    least_um2 = _RULES.least_um2(analysis.map.grid, analysis.mpp)
    rules = f"{_RULES.neighbours} neighbours, at least {area_text(least_um2)}"
    found = counted(count, "connected area")
    cut = f"; the first {len(foci.shown)} are shown" if count > len(foci.shown) else ""
    said = (
        f"{found} at or above the threshold ({rules}), {judged:,} judged, the largest first{cut}."
    )
    yield Paragraph(said, paper.BODY)
    width = paper.WIDTH / _FOCI_ACROSS
    cells: list[list[Flowable]] = []
    for number, (focus, verdict) in enumerate(zip(foci.shown, foci.verdicts, strict=False), 1):
        x, y = focus.shape.moments(analysis.mpp).centroid
        longest = diameter_of([focus.shape], analysis.mpp).length
        caption = (
            f"<b>{number}</b>  {area_text(focus.area_um2)}, longest {length_text(longest)}"
            f"{f', <b>{verdict}</b>' if verdict else ''}<br/>"
            f"max p {focus.max_probability:.3f}, mean {focus.mean_probability:.3f}<br/>"
            f"at {mm_text(x)}, {mm_text(y)} mm"
        )
        drawn = paper.picture(focus_picture(focus, analysis), (width - 4 * mm) / FOCUS_PX)
        cells.append([drawn, Paragraph(caption, paper.SMALL)])
    cells += [[]] * (-len(cells) % _FOCI_ACROSS)
    rows = [cells[at : at + _FOCI_ACROSS] for at in range(0, len(cells), _FOCI_ACROSS)]
    yield Table(rows, [width] * _FOCI_ACROSS, style=[("VALIGN", (0, 0), (-1, -1), "TOP")])


def _model(analysis: Analysis) -> Iterable[Flowable]:
    card = analysis.model.card
    about = card.document["idc"]
    use = about.get("intended_use", {})
    metrics = about.get("metrics", {})
    name = next((it for it in (*_HELD_OUT, *metrics) if it in metrics), "")
    figures: Mapping[str, Any] = metrics.get(name, {})
    rows: list[tuple[str, str | Sequence[str]]] = [
        ("Name", f"{card.name} {card.version}, recipe {card.recipe}, {card.created}"),
        ("SHA-256", analysis.model.sha256),
        ("Input", f"{card.spacing_um_px:g} µm/px, patches of {card.patch_size_um:g} µm"),
        ("Intended for", "; ".join(str(it) for it in use.values())),
        (
            "Model's operating point",
            f"{_operation(analysis).threshold:g} ({analysis.map_kind} map)",
        ),
    ]
    cases, _, weighting = name.replace("_", " ").rpartition(" ")
    for key in ("auc", "sensitivity", "specificity", "precision"):
        if key in figures:
            at = f"at {card.threshold:.3f}, patch map"
            title = "AUC, patch map" if key == "auc" else f"{key.capitalize()} {at}"
            rows.append((f"{title} ({cases}, {weighting})", figure_text(figures[key])))
    rows.append(("Beyond its archive", card.beyond_its_archive()))
    if limits := about.get("limitations"):
        rows.append(("Limits", [f"{number}. {it}" for number, it in enumerate(limits, 1)]))
    yield from paper.heading("Model")
    yield paper.facts(rows)


def _origin(analysis: Analysis) -> Iterable[Flowable]:
    provenance = analysis.provenance()
    slide, grid = provenance["slide"], provenance["grid"]
    yield from paper.heading("Origin")
    yield paper.facts([
        ("Slide identity", f"{slide['identity']} ({slide['identity_kind']})"),
        ("Slide", f"{slide['width_l0']} x {slide['height_l0']} px, {slide['vendor']}"),
        ("Grid", f"{grid['rows']} x {grid['cols']} cells, step {grid['step_x_l0']:g} x "
         f"{grid['step_y_l0']:g} px, from {grid['origin_x_l0']}, {grid['origin_y_l0']}"),
        ("Map, threshold", f"{provenance['map']}, {provenance['threshold']!r}"),
        ("Tissue", analysis.tissue.words()),
        ("Provider", analysis.provider.words()),
        ("Versions", _listed(provenance["versions"])),
    ])  # fmt: skip


def _uncertainty(mean: float | None) -> Iterable[tuple[str, str]]:
    if mean is not None:
        yield "Mean uncertainty", f"{mean:.2f} (0 certain, 1 at the model's threshold)"


def _listed(entries: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in entries.items())


def _moment(analyzed: str | None) -> str:
    """Return when the analysis ended, as it is kept: ``2026-03-31T14:05:00Z``."""
    return "not known" if analyzed is None else analyzed.replace("T", " ").replace("Z", " UTC")


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f} %"


def _probability(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _probabilities(figures: RegionStatistics) -> str:
    three = figures.mean_probability, figures.median_probability, figures.max_probability
    return ", ".join(_probability(value) for value in three)
