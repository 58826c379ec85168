"""overlay.png: the slide with the map, and a legend."""

from __future__ import annotations

from typing import BinaryIO

from PIL import Image, ImageDraw, PngImagePlugin

from idc_desktop import RESEARCH_USE_NOTICE
from idc_desktop.export.content import Analysis, Content
from idc_desktop.export.lettering import Lettering
from idc_desktop.maps.colormap import colorize, lookup_table, outline, round_length_um
from idc_desktop.regions.measures import area_text

_MAP_OPACITY = 0.55


def write_overlay(file: BinaryIO, content: Content) -> None:
    """Write the slide with the map above its legend, as PNG."""
    analysis = content.analysis
    um_per_px = analysis.overview_px_l0 * analysis.mpp[0]
    page = _with_legend(paint_map(analysis), content, um_per_px)
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", RESEARCH_USE_NOTICE)
    info.add_text("Model SHA-256", analysis.model.sha256)
    info.add_text("Slide identity", analysis.slide.identity)
    # Level 1 is several times faster than the default and a fifth larger.
    page.save(file, "PNG", pnginfo=info, compress_level=1)


def paint_map(analysis: Analysis) -> Image.Image:
    """Return the overview with the map and the outline of what counts as IDC, RGB."""
    grid = analysis.map.grid
    picture = Image.fromarray(analysis.overview).convert("RGBA")
    small = Image.fromarray(colorize(analysis.layer, _MAP_OPACITY))
    px_l0 = analysis.overview_px_l0
    # The cells under the picture, in fractions of a cell.
    right = min(float(grid.cols), picture.width * px_l0 / grid.step_x_l0)
    bottom = min(float(grid.rows), picture.height * px_l0 / grid.step_y_l0)
    covered = small.resize(picture.size, Image.Resampling.NEAREST, box=(0.0, 0.0, right, bottom))
    picture.alpha_composite(covered)
    _draw_outline(picture, analysis)
    return picture.convert("RGB")


def _draw_outline(picture: Image.Image, analysis: Analysis) -> None:
    """Draw the border of the area that counts as IDC."""
    grid, px_l0 = analysis.map.grid, analysis.overview_px_l0
    step_x, step_y = grid.step_x_l0 / px_l0, grid.step_y_l0 / px_l0
    draw = ImageDraw.Draw(picture)
    width = max(1, picture.width // 900)
    upper, left = outline(analysis.layer, analysis.threshold)
    for row, col in upper.tolist():
        y = row * step_y
        draw.line([(col * step_x, y), ((col + 1) * step_x, y)], "black", width)
    for row, col in left.tolist():
        x = col * step_x
        draw.line([(x, row * step_y), (x, (row + 1) * step_y)], "black", width)


def _with_legend(picture: Image.Image, content: Content, um_per_px: float) -> Image.Image:
    """Set the picture above a strip with colour bar, scale bar, origin and notice."""
    size = max(12, min(40, picture.width // 60))
    letters = Lettering(size)
    lines = _legend_lines(content)
    gap, bar_width = size // 2, max(120, picture.width // 5)
    text_width = max(int(letters.width(line)) for line in lines)
    width = max(picture.width, text_width + bar_width + 6 * gap)
    line_height = size + gap
    height = picture.height + line_height * max(len(lines), 4) + 2 * gap
    page = Image.new("RGB", (width, height), "white")
    page.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(page)
    top = picture.height + gap
    for number, line in enumerate(lines):
        letters.draw(draw, bar_width + 5 * gap, top + number * line_height, line)
    left = 2 * gap
    bar = Image.fromarray(lookup_table()[None]).resize((bar_width, size))
    page.paste(bar, (left, top))
    kind, threshold = content.analysis.layer.kind, content.analysis.threshold
    at = left + round(kind.fraction(threshold) * (bar_width - 1))
    draw.line([(at, top - gap // 2), (at, top + size + gap // 2)], "red", max(1, size // 8))
    below = top + line_height
    letters.draw(draw, left, below, f"{kind.low:g}")
    letters.draw(draw, left + bar_width // 2, below, kind.unit, align=0.5)
    letters.draw(draw, left + bar_width, below, f"{kind.high:g}", align=1)
    length_um = round_length_um(bar_width * um_per_px)
    ruler = round(length_um / um_per_px)
    level = top + 3 * line_height
    draw.rectangle([left, level, left + ruler, level + max(2, size // 5)], "black")
    letters.draw(draw, left, level - line_height, f"{length_um / 1000:g} mm")
    return page


def _legend_lines(content: Content) -> list[str]:
    analysis, figures = content.analysis, content.figures[-1]
    card, slide = analysis.model.card, analysis.slide
    failed = analysis.map.failed_patches
    fraction = figures.idc_fraction
    share = "" if fraction is None else f", {100 * fraction:.1f} % of the analyzed area"
    return [
        f"{analysis.image}   model {card.name} {card.version} ({analysis.model.sha256[:12]})",
        f"outlined: {analysis.layer.kind.symbol} at or above {analysis.threshold:.3f} (red mark), "
        f"{area_text(figures.idc_area_um2)}{share}",
        f"patches analyzed: {content.patches_analyzed}, "
        + (f"{failed:,} failed (blue)" if failed else "none failed"),
        f"{slide.mpp_x:g} µm/px from the {slide.mpp_source}   "
        f"model at {card.spacing_um_px:g} µm/px   provider {analysis.provider.used}",
        *analysis.notes,
        RESEARCH_USE_NOTICE,
    ]
